//! What a relay costs that does nothing: a process with the settings of a home machine, alone in its
//! network, once with an empty store and once with a full one. It has solved its puzzle and filled its plot before.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poste_link::network_file::{Founder, NetworkFile};
use poste_node::config::{Config, Profile};
use poste_node::home::Home;
use poste_node::keys::Keys;
use poste_node::{shutdown, status};
use swarm_proto::network::Reachability;
use swarm_proto::time::{Hour, TimeScale, UnixTime};

use crate::failure::BenchFailure;
use crate::road::RELAY;
use crate::row::Row;
use crate::rows::{FULL_ENVELOPES, fill, measure_filled};

/// A home whose relay can be started.
struct Relay {
    home: Home,
    child: Option<Child>,
}

/// The rows about a relay at rest, and those about the full store that one of them had. Takes somewhat more than a
/// minute of rest, and as long as filling two stores takes.
///
/// # Errors
/// [`BenchFailure`] if a relay does not start or a store fails.
pub async fn measure(folder: &Path) -> Result<Vec<Row>, BenchFailure> {
    let mut empty = Relay::new(&folder.join("empty"))?;
    let mut full = Relay::new(&folder.join("full"))?;
    let ends = Hour(hour_now().0 + 14 * 24);
    fill(&full.home.store_path(), FULL_ENVELOPES, ends)?;
    empty.start()?;
    full.start()?;
    let started = Instant::now();
    empty.wait().await?;
    let held = full.wait().await?;
    if held != FULL_ENVELOPES {
        return Err(BenchFailure::Wrong(
            "the relay does not hold what was stored",
        ));
    }
    tokio::time::sleep_until((started + SETTLE).into()).await;
    let memory = [empty.memory_mb()?, full.memory_mb()?];
    let (start, before) = (Instant::now(), [empty.cpu_ms()?, full.cpu_ms()?]);
    tokio::time::sleep(REST).await;
    let share =
        |before: f64, after: f64| (after - before) / (start.elapsed().as_secs_f64() * 1e3) * 100.0;
    let [empty_before, full_before] = before;
    let [empty_memory, full_memory] = memory;
    let shares = [
        share(empty_before, empty.cpu_ms()?),
        share(full_before, full.cpu_ms()?),
    ];
    let [empty_share, full_share] = shares;
    empty.stop()?;
    full.stop()?;
    let mut rows = vec![
        Row::alone("relay/idle/memory", "MB of RSS", &[empty_memory]),
        Row::alone("relay/idle/cpu", "% of a core", &[empty_share]),
        Row::alone("relay/full/memory", "MB of RSS", &[full_memory]),
        Row::alone("relay/full/cpu", "% of a core", &[full_share]),
    ];
    let theirs = folder.join("sqlite");
    fs::create_dir(&theirs)?;
    rows.extend(measure_filled(
        &full.home.store_path(),
        &theirs,
        FULL_ENVELOPES,
        ends,
    )?);
    Ok(rows)
}

impl Relay {
    fn new(dir: &Path) -> Result<Self, BenchFailure> {
        let home = Home::at(dir);
        home.create()?;
        let key = Keys::at(home.keys_dir()).create_node()?.node_key();
        let free = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = free.local_addr()?;
        let mut file = NetworkFile::public("alone", vec![Founder { key, addr }]);
        file.network.reachability = Reachability::Assume;
        // Of the size that they have in a public network, but fewer tries and sectors: a relay that still works at
        // these is not at rest.
        file.network.pledge.puzzle_bits = PUZZLE_BITS;
        file.network.pledge.class_sectors = SECTORS;
        file.write(&home.network_path())?;
        let text = Config::default_text(Profile::Home);
        let settings = text
            .lines()
            .filter(|line| !line.starts_with("port") && !line.starts_with("listen"));
        let mut config: String = settings.flat_map(|line| [line, "\n"]).collect();
        config.insert_str(
            0,
            &format!("listen = \"{}\"\nport = {}\n", addr.ip(), addr.port()),
        );
        fs::write(home.config_path(), config)?;
        Ok(Self { home, child: None })
    }

    fn start(&mut self) -> Result<(), BenchFailure> {
        let child = Command::new(std::env::current_exe()?)
            .args([RELAY, "run", "--home"])
            .arg(self.home.dir())
            .args(["--parent", &shutdown::own_pid().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.home.dir().join("relay.log"))?)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the relay answers and has filled its plot, and says how many envelopes it holds.
    async fn wait(&self) -> Result<u64, BenchFailure> {
        let until = Instant::now() + START_MAX;
        while Instant::now() < until {
            if let Ok(status) = status::ask(&self.home.socket_path()).await
                && status.pledge.complete == SECTORS
            {
                return Ok(status.held.envelopes);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(BenchFailure::Wrong(
            "a relay does not answer, or does not come to rest",
        ))
    }

    fn memory_mb(&self) -> Result<f64, BenchFailure> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        let kib = kib.ok_or(BenchFailure::Wrong("no VmRSS of a relay"))?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// Of all its threads since they started.
    fn cpu_ms(&self) -> Result<f64, BenchFailure> {
        let mut nanos = 0_u64;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()?))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let ran = text.split(' ').next().and_then(|ran| ran.parse().ok());
            nanos += ran.unwrap_or(0_u64);
        }
        Ok(nanos as f64 / 1e6)
    }

    fn pid(&self) -> Result<u32, BenchFailure> {
        let child = self.child.as_ref();
        child
            .map(Child::id)
            .ok_or(BenchFailure::Wrong("a relay does not run"))
    }

    fn stop(&mut self) -> Result<(), BenchFailure> {
        if let Some(mut child) = self.child.take() {
            if let Ok(pid) = i32::try_from(child.id()) {
                kill(Pid::from_raw(pid), Signal::SIGTERM)?;
            }
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.stop();
    }
}

fn hour_now() -> Hour {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = unix.map_or(0, |unix| u64::try_from(unix.as_millis()).unwrap_or(0));
    TimeScale { minute_ms: 60_000 }.hour_of(UnixTime(ms))
}

/// So long after its start a relay has done what it does at a start.
const SETTLE: Duration = Duration::from_secs(60);
/// How long it is watched.
const REST: Duration = Duration::from_secs(10);
/// Puzzle and plot take seconds of both cores; somebody unlucky or busy needs longer.
const START_MAX: Duration = Duration::from_secs(50);
/// Sixteen tries on average.
const PUZZLE_BITS: u8 = 4;
/// Of 4 MiB each.
const SECTORS: u32 = 16;
