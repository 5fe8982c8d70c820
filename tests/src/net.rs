//! A devnet of real relay processes for one test, and what a test does to them.
//!
//! Relays are children of the test's own thread and die with it, however the test ends. Nets take turns:
//! a few of them at a time wait beside each other, more would only slow each other down. Waiting is always
//! for a condition, with a deadline that only a broken run reaches.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what only tests call fails as a test does"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poste_link::network_file::NetworkFile;
use poste_node::devnet::{Devnet, DevnetLauncher, DevnetPlan, DevnetRow};
use poste_node::home::Home;
use poste_node::status::{self, Status};
use swarm_proto::id::{EnvelopeId, NodeId, NodeKey};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A devnet that ends with the test.
pub struct Net {
    devnet: Devnet,
    file: NetworkFile,
    homes: Vec<Home>,
    dir: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Net {
    /// Starts `nodes` relays that run `relay`, each on an address of its own, and waits until all know
    /// all. Call it on a runtime of the current thread.
    pub async fn start(relay: &str, nodes: usize) -> Self {
        let net = Self::launch(launcher(relay), nodes).await;
        net.meet().await;
        net
    }

    /// The same with any launcher, not waiting until they know each other.
    pub async fn launch(launcher: DevnetLauncher, nodes: usize) -> Self {
        Self::launch_at(launcher, nodes, MINUTE_MS).await
    }

    /// The same with a calendar of any speed.
    pub async fn launch_at(launcher: DevnetLauncher, nodes: usize, minute_ms: u32) -> Self {
        Self::launch_as(launcher, nodes, minute_ms, 0).await
    }

    /// [`Net::start`] with a persona in each relay that makes so many readings an epoch, which most tests do without:
    /// at this speed they are busy.
    pub async fn start_reading(relay: &str, nodes: usize, readings: u16) -> Self {
        let net = Self::launch_as(launcher(relay), nodes, MINUTE_MS, readings).await;
        net.meet().await;
        net
    }

    async fn launch_as(
        launcher: DevnetLauncher,
        nodes: usize,
        minute_ms: u32,
        readings: u16,
    ) -> Self {
        let turn = turn().await;
        let dir = tempfile::tempdir().unwrap();
        let plan = DevnetPlan {
            nodes,
            dir: dir.path().join("net"),
            one_address: false,
            minute_ms,
            readings,
        };
        let devnet = Devnet::start(&plan, launcher).await.unwrap();
        let homes = devnet.rows().into_iter().map(|row| Home::at(row.home));
        Self {
            file: NetworkFile::read(devnet.network_path()).unwrap(),
            homes: homes.collect(),
            devnet,
            dir,
            _turn: turn,
        }
    }

    /// Waits until every relay knows every other, itself included.
    pub async fn meet(&self) {
        let nodes = self.homes.len() as u64;
        until("all relays know all", async || {
            let mut known = Vec::new();
            for index in 0..self.homes.len() {
                known.push(self.status(index).await.map(|status| status.members.known));
            }
            known.iter().all(|known| *known == Some(nodes))
        })
        .await;
    }

    /// The network file.
    pub fn file(&self) -> &NetworkFile {
        &self.file
    }

    /// The path of the network file.
    pub fn network_path(&self) -> &Path {
        self.devnet.network_path()
    }

    /// A folder that goes with the net.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// How many relays there are, running or not.
    pub fn nodes(&self) -> usize {
        self.homes.len()
    }

    /// One relay's home.
    pub fn home(&self, index: usize) -> &Home {
        &self.homes[index]
    }

    /// One relay's address, key and process.
    pub fn row(&self, index: usize) -> DevnetRow {
        self.devnet.rows()[index].clone()
    }

    /// One relay's key.
    pub fn key(&self, index: usize) -> NodeKey {
        NodeKey::from_hex(&self.row(index).node_key).unwrap()
    }

    /// Which relay has this id.
    pub fn index_of(&self, id: &NodeId) -> usize {
        (0..self.nodes())
            .find(|index| self.key(*index).node_id() == *id)
            .expect("a relay of this net")
    }

    /// What a relay tells its operator; `None` if it does not answer, or tells too little because its store did not.
    pub async fn status(&self, index: usize) -> Option<Status> {
        let told = status::ask(&self.homes[index].socket_path()).await.ok();
        told.filter(|status| !status.store.late)
    }

    /// The same of a relay that runs, which answers sooner or later.
    pub async fn told(&self, index: usize) -> Status {
        let mut told = None;
        until("a running relay tells its status", async || {
            told = self.status(index).await;
            told.is_some()
        })
        .await;
        told.unwrap()
    }

    /// Which of these envelopes are durable at a relay; `None` if it does not answer.
    pub async fn holds(&self, index: usize, ids: &[EnvelopeId]) -> Option<Vec<EnvelopeId>> {
        let mut here = Vec::new();
        for some in ids.chunks(swarm_proto::limits::IDS_PER_MESSAGE_MAX) {
            let some = some.iter().map(EnvelopeId::to_hex).collect();
            let answer = status::ask_holds(&self.homes[index].socket_path(), some).await;
            here.extend(
                answer
                    .ok()?
                    .iter()
                    .filter_map(|id| EnvelopeId::from_hex(id)),
            );
        }
        Some(here)
    }

    /// The same of a relay that runs, which answers sooner or later.
    pub async fn kept(&self, index: usize, ids: &[EnvelopeId]) -> Vec<EnvelopeId> {
        let mut here = None;
        until("a running relay says what it holds", async || {
            here = self.holds(index, ids).await;
            here.is_some()
        })
        .await;
        here.unwrap()
    }

    /// Kills a relay as a power cut would.
    pub async fn kill(&mut self, index: usize) {
        self.devnet.kill(index).await.unwrap();
    }

    /// Asks a relay to end, which it must do by itself, and answers how long that took.
    pub async fn stop(&mut self, index: usize) -> Duration {
        let start = Instant::now();
        let ended = self.devnet.stop_one(index).await.unwrap();
        assert!(ended, "relay {index} had to be killed: {}", self.log(index));
        start.elapsed()
    }

    /// Starts a relay that does not run and waits until it answers.
    pub async fn restart(&mut self, index: usize) {
        self.devnet.launch(index).unwrap();
        self.devnet.wait_for(index).await.unwrap();
    }

    /// Starts a relay that does not run with another program.
    pub async fn restart_as(&mut self, index: usize, launcher: DevnetLauncher) {
        self.devnet.set_launcher(launcher);
        self.restart(index).await;
    }

    /// Sends a signal to a relay.
    pub fn signal(&self, index: usize, signal: Signal) {
        let pid = i32::try_from(self.pid(index)).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// A running relay's process.
    pub fn pid(&self, index: usize) -> u32 {
        self.row(index).pid.expect("the relay runs")
    }

    /// Whether a relay's process is there.
    pub fn is_running(&self, index: usize) -> bool {
        let Some(pid) = self.row(index).pid else {
            return false;
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    /// All that a relay logged.
    pub fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.homes[index].dir().join("relay.log")).unwrap_or_default()
    }

    /// A running relay's resident memory.
    pub fn rss_kib(&self, index: usize) -> u64 {
        rss_kib(self.pid(index))
    }
}

/// Starts relays by running `relay`.
pub fn launcher(relay: &str) -> DevnetLauncher {
    DevnetLauncher {
        exe: PathBuf::from(relay),
        relay_args_prefix: Vec::new(),
    }
}

/// VmRSS of a running process in KiB.
pub fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap()
}

/// Waits until `holds`, and fails with `what` if it takes longer than any honest run.
pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_looking(what, LOOK_EVERY, holds).await;
}

/// The same with other pauses between two looks, for who must not be late.
pub async fn until_looking(what: &str, every: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "waited too long: {what}");
        tokio::time::sleep(every).await;
    }
}

/// How long an attack goes on: `ordinary`, or the seconds that `POSTE_SOAK_S` names.
pub fn soak(ordinary: Duration) -> Duration {
    let seconds = std::env::var("POSTE_SOAK_S").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    seconds.map_or(ordinary, Duration::from_secs)
}

/// A network's day takes 144 seconds.
pub const MINUTE_MS: u32 = 100;
/// Waits until another net may run beside those that do; whoever starts processes of its own takes one, too.
pub async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.unwrap()
}

/// A whole epoch of 144 s, since what is waited for may begin with the next one, and what the slowest step takes on two
/// busy cores, 24 s, on a machine that is nine times slower.
pub const PATIENCE: Duration = Duration::from_secs(360);
const LOOK_EVERY: Duration = Duration::from_millis(50);

static TURNS: Semaphore = Semaphore::const_new(NETS_AT_A_TIME);
/// Waiting takes most of a test's time, and two cores take three nets.
const NETS_AT_A_TIME: usize = 3;
