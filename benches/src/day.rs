//! What a relay's day takes of the processor: relays that watch, compare and sweep each other, as their own status
//! counts it.
//!
//! Three networks of relay processes run at once on loopback. In one a day is a day, and what its relays take is what
//! a relay takes by being there, discovery included; the calendar of the other two is a hundred times as fast, and in
//! the last of them relays read letters of their own. What the second takes beyond the first, divided by the frames
//! that it sends beyond those, is what a frame costs, both ends together and with all that it causes: signatures,
//! timers, links opened and lost. What the third takes beyond the second are the readings, which cost a relay the
//! same in a network of any size. Used in docs/experiments/costs.md.

use std::path::Path;
use std::time::{Duration, Instant};

use poste_node::devnet::{Devnet, DevnetLauncher, DevnetPlan};
use poste_node::home::Home;
use poste_node::status::{self, Status};

use crate::failure::BenchFailure;
use crate::road::RELAY;
use crate::row::Row;

/// The rows about a relay's day; about `most` of wall time and a start. The relays are this program, started with
/// [`RELAY`]; call it from the main thread, or they end too early.
///
/// # Errors
/// [`BenchFailure`] if relays do not start or do not answer.
pub async fn measure(folder: &Path, most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let mut calm = start(&folder.join("calm"), MINUTE_MS, 0).await?;
    let mut busy = start(&folder.join("busy"), MINUTE_MS / FASTER, 0).await?;
    let mut reading = start(&folder.join("reading"), MINUTE_MS / FASTER, READINGS).await?;
    tokio::time::sleep(SETTLE).await;
    let nets = [&calm, &busy, &reading];
    let mut before = Vec::new();
    for net in nets {
        before.push(used(net).await?);
    }
    let started = Instant::now();
    tokio::time::sleep(most).await;
    let mut took = Vec::new();
    for (net, before) in nets.into_iter().zip(before) {
        took.push(used(net).await?.since(&before));
    }
    // Days of the fast calendar, each of one relay.
    let days = started.elapsed().as_secs_f64() * f64::from(FASTER) / DAY_S * RELAYS as f64;
    calm.stop().await;
    busy.stop().await;
    reading.stop().await;
    let [calm, busy, reading] = took.as_slice() else {
        return Err(BenchFailure::Wrong("not everything was measured"));
    };
    let work = busy.since(calm);
    if work.frames == 0 || work.ms == 0 || calm.ms == 0 {
        return Err(BenchFailure::Wrong("relays had nothing to do"));
    }
    Ok(vec![
        Row::alone(
            "day/being-there",
            "% of a core",
            &[calm.ms as f64 / 10.0 / started.elapsed().as_secs_f64() / RELAYS as f64],
        ),
        Row::alone("day/frames", "1/day", &[work.frames as f64 / days]),
        Row::alone("day/links", "1/day", &[work.links as f64 / 2.0 / days]),
        Row::alone("day/cpu", "s/day", &[work.ms as f64 / 1e3 / days]),
        Row::alone(
            "day/cpu/frame",
            "us of CPU, both",
            &[work.ms as f64 * 1e3 / work.frames as f64],
        ),
        Row::alone(
            "day/cpu/personas",
            "s/day",
            &[reading.ms.saturating_sub(busy.ms) as f64 / 1e3 / days],
        ),
    ])
}

/// What all relays of a network have used since they started.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    ms: u64,
    frames: u64,
    links: u64,
}

impl Used {
    fn since(&self, before: &Self) -> Self {
        Self {
            ms: self.ms.saturating_sub(before.ms),
            frames: self.frames.saturating_sub(before.frames),
            links: self.links.saturating_sub(before.links),
        }
    }

    fn with(&self, one: &Status) -> Self {
        Self {
            ms: self.ms + one.processor_ms,
            frames: self.frames + one.traffic.frames_in_all.sent,
            links: self.links + one.traffic.full.count + one.traffic.resumed.count,
        }
    }
}

async fn used(net: &Devnet) -> Result<Used, BenchFailure> {
    let mut used = Used::default();
    for row in net.rows() {
        let socket = Home::at(&row.home).socket_path();
        let status = status::ask(&socket).await;
        let status = status.map_err(|_| BenchFailure::Wrong("a relay does not answer"))?;
        used = used.with(&status);
    }
    Ok(used)
}

async fn start(dir: &Path, minute_ms: u32, readings: u16) -> Result<Devnet, BenchFailure> {
    let plan = DevnetPlan {
        nodes: RELAYS,
        dir: dir.to_owned(),
        one_address: false,
        minute_ms,
        readings,
    };
    let launcher = DevnetLauncher {
        exe: std::env::current_exe()?,
        relay_args_prefix: vec![RELAY.into()],
    };
    Ok(Devnet::start(&plan, launcher).await?)
}

/// Enough that each has 15 others to watch, as in a network of any size.
const RELAYS: usize = 16;
const MINUTE_MS: u32 = 60_000;
/// Watchers ask every three seconds then, the least that they may.
const FASTER: u32 = 100;
/// As many as a public network wants of a relay in a day.
const READINGS: u16 = 60;
const DAY_S: f64 = 86_400.0;
/// Relays know each other by then, and personas begin 36 s after their relay.
const SETTLE: Duration = Duration::from_secs(60);
