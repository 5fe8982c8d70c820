//! What it takes of the processor to watch each other: relays whose own status counts it.
//!
//! Three networks of relay processes run at once on loopback, at a calendar a hundred times as fast as outside. In the
//! first nobody watches, in the second all do, in the last relays also read letters of their own. What the second
//! takes beyond the first, divided by the frames that it sends beyond those, is what a frame costs, both ends together
//! and with all that it causes in a relay: decoding, signatures, steps of the machine, timers. Discovery, which walks
//! more often at that calendar, and member lists are in all three. What the third takes beyond the second are the
//! readings, which cost a relay the same in a network of any size. Used in docs/experiments/costs.md.

use std::path::Path;
use std::time::{Duration, Instant};

use poste_link::network_file::NetworkFile;
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
    let mut resting = start(&folder.join("resting"), 0).await?;
    unwatched(&mut resting).await?;
    let mut watching = start(&folder.join("watching"), 0).await?;
    let mut reading = start(&folder.join("reading"), READINGS).await?;
    tokio::time::sleep(SETTLE).await;
    let nets = [&resting, &watching, &reading];
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
    resting.stop().await;
    watching.stop().await;
    reading.stop().await;
    let [resting, watching, reading] = took.as_slice() else {
        return Err(BenchFailure::Wrong("not everything was measured"));
    };
    let work = watching.since(resting);
    if work.frames == 0 || work.ms == 0 {
        return Err(BenchFailure::Wrong("relays had nothing to do"));
    }
    let of = |name, unit, value: f64| Row::alone(name, unit, &[value]);
    let (work_ms, frames) = (work.ms as f64, work.frames as f64);
    let readings_ms = reading.ms.saturating_sub(watching.ms) as f64;
    Ok(vec![
        of("day/watching/frames", "1/day", frames / days),
        of("day/watching/cpu", "s/day", work_ms / 1e3 / days),
        of(
            "day/watching/frame",
            "us of CPU, both",
            work_ms * 1e3 / frames,
        ),
        of("day/readings/cpu", "s/day", readings_ms / 1e3 / days),
    ])
}

/// Starts the relays of a network anew, where nobody watches.
async fn unwatched(net: &mut Devnet) -> Result<(), BenchFailure> {
    net.stop().await;
    let mut file = NetworkFile::read(net.network_path())?;
    file.network.verdicts.watchers = 0;
    for (index, row) in net.rows().iter().enumerate() {
        file.write(&Home::at(&row.home).network_path())?;
        net.launch(index)?;
    }
    for index in 0..RELAYS {
        net.wait_for(index).await?;
    }
    Ok(())
}

/// What all relays of a network have used since they started.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    ms: u64,
    frames: u64,
}

impl Used {
    fn since(&self, before: &Self) -> Self {
        Self {
            ms: self.ms.saturating_sub(before.ms),
            frames: self.frames.saturating_sub(before.frames),
        }
    }

    fn with(&self, one: &Status) -> Self {
        Self {
            ms: self.ms + one.processor_ms,
            frames: self.frames + one.traffic.frames_in_all.sent,
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

async fn start(dir: &Path, readings: u16) -> Result<Devnet, BenchFailure> {
    let plan = DevnetPlan {
        nodes: RELAYS,
        dir: dir.to_owned(),
        one_address: false,
        minute_ms: 60_000 / FASTER,
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
/// Watchers ask every three seconds then, the least that they may.
const FASTER: u32 = 100;
/// As many as a public network wants of a relay in a day.
const READINGS: u16 = 60;
const DAY_S: f64 = 86_400.0;
/// Relays know each other by then, and personas begin 36 s after their relay.
const SETTLE: Duration = Duration::from_secs(60);
