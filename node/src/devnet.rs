//! A whole network on one machine: N relay processes on loopback, for trying things out and for tests.
//!
//! It makes homes, finds free ports, writes one network file and keeps the processes; each relay runs the
//! same code as anywhere else. Ports and keys stay in the folder, so that a devnet can be started again.
//! Rules: discovery.md, [DEV-1] to [DEV-3].

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poste_link::network_file::{Founder, NetworkFile, NetworkFileFailure};
use serde::Serialize;
use swarm_proto::id::NodeKey;
use swarm_proto::network::{Pledge, Reachability, Verdicts};
use swarm_proto::time::TimeScale;
use tokio::process::{Child, Command};

use crate::config::Config;
use crate::home::{Home, HomeFailure};
use crate::keys::{KeyFailure, Keys};
use crate::{shutdown, status};

/// A running devnet.
#[derive(Debug)]
pub struct Devnet {
    relays: Vec<DevnetRelay>,
    launcher: DevnetLauncher,
    network: PathBuf,
}

/// One relay process of a devnet.
#[derive(Debug)]
pub struct DevnetRelay {
    home: Home,
    addr: SocketAddr,
    key: NodeKey,
    child: Option<Child>,
}

/// What a devnet looks like.
#[derive(Clone, Debug)]
pub struct DevnetPlan {
    /// Relays, 1 to [`NODES_MAX`].
    pub nodes: usize,
    /// Where everything goes; made if missing, taken up again if it holds a devnet.
    pub dir: PathBuf,
    /// All on 127.0.0.1 with the caps lifted, instead of one subnet each.
    pub one_address: bool,
    /// Milliseconds of the network's minute.
    pub minute_ms: u32,
    /// Readings of each relay's persona in an epoch; 0 for no personas.
    pub readings: u16,
}

/// Which program a relay process runs: `exe relay_args_prefix.. run --home DIR --parent PID`.
#[derive(Clone, Debug)]
pub struct DevnetLauncher {
    /// The program.
    pub exe: PathBuf,
    /// What comes before `run`.
    pub relay_args_prefix: Vec<OsString>,
}

/// A relay of a devnet, for a table or a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DevnetRow {
    /// Its home.
    pub home: PathBuf,
    /// Its process, `null` if it does not run.
    pub pid: Option<u32>,
    /// Its address, UDP and TCP.
    pub addr: SocketAddr,
    /// Its node key, 64 hexadecimal digits.
    pub node_key: String,
}

impl DevnetLauncher {
    /// The program that is running, called as `poste-node`.
    pub fn own() -> io::Result<Self> {
        Ok(Self {
            exe: std::env::current_exe()?,
            relay_args_prefix: Vec::new(),
        })
    }

    fn command(&self, home: &Home) -> io::Result<Command> {
        // A relay that was killed and started again goes on in its log.
        let log = File::options()
            .create(true)
            .append(true)
            .open(home.dir().join("relay.log"))?;
        let mut command = Command::new(&self.exe);
        command
            .args(&self.relay_args_prefix)
            .arg("run")
            .arg("--home")
            .arg(home.dir())
            .arg("--parent")
            .arg(shutdown::own_pid().to_string())
            .env_remove("SSLKEYLOGFILE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        Ok(command)
    }
}

impl Devnet {
    /// Makes or takes up the folder and starts every relay; answers when all answer on their sockets.
    ///
    /// Call it from the main thread: the relays die with the thread that started them ([DEV-3]).
    pub async fn start(plan: &DevnetPlan, launcher: DevnetLauncher) -> Result<Self, DevnetFailure> {
        let mut devnet = Self {
            relays: prepare(plan)?,
            launcher,
            network: plan.dir.join("network.toml"),
        };
        for index in 0..devnet.relays.len() {
            devnet.launch(index)?;
        }
        for index in 0..devnet.relays.len() {
            devnet.wait_for(index).await?;
        }
        Ok(devnet)
    }

    /// Starts one relay that does not run.
    pub fn launch(&mut self, index: usize) -> Result<(), DevnetFailure> {
        let launcher = self.launcher.clone();
        let relay = self.relay_mut(index)?;
        let command = launcher.command(&relay.home);
        let child = command.and_then(|mut command| command.spawn());
        relay.child = Some(child.map_err(|source| DevnetFailure::Launch {
            exe: launcher.exe,
            source,
        })?);
        Ok(())
    }

    /// Waits until a relay answers on its socket, at most `START_WAIT`.
    pub async fn wait_for(&mut self, index: usize) -> Result<(), DevnetFailure> {
        let relay = self.relay_mut(index)?;
        let (socket, home) = (relay.home.socket_path(), relay.home.clone());
        let answered = async {
            loop {
                let child = relay.child.as_mut();
                if let Some(Ok(Some(status))) = child.map(Child::try_wait) {
                    return Err(DevnetFailure::Died {
                        status: status.to_string(),
                        log: tail(&home.dir().join("relay.log")),
                    });
                }
                if status::ask(&socket).await.is_ok() {
                    return Ok(());
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        tokio::time::timeout(START_WAIT, answered)
            .await
            .map_err(|_| DevnetFailure::Silent(home.dir().to_owned()))?
    }

    /// Kills one relay without warning, as a power cut would, and reaps it.
    pub async fn kill(&mut self, index: usize) -> Result<(), DevnetFailure> {
        if let Some(mut child) = self.relay_mut(index)?.child.take() {
            child.kill().await.map_err(DevnetFailure::Wait)?;
        }
        Ok(())
    }

    /// Asks one relay to end and reaps it; kills it if it is not gone in time. Answers whether it ended by itself.
    pub async fn stop_one(&mut self, index: usize) -> Result<bool, DevnetFailure> {
        let Some(mut child) = self.relay_mut(index)?.child.take() else {
            return Ok(true);
        };
        ask_to_end(&child);
        let ended = tokio::time::timeout(STOP_WAIT, child.wait()).await.is_ok();
        if !ended {
            child.kill().await.map_err(DevnetFailure::Wait)?;
        }
        Ok(ended)
    }

    /// Has relays that are started from here on run another program.
    pub fn set_launcher(&mut self, launcher: DevnetLauncher) {
        self.launcher = launcher;
    }

    /// Asks every relay to end, kills what is left after `STOP_WAIT`, reaps all.
    pub async fn stop(&mut self) {
        for child in self.relays.iter().filter_map(|relay| relay.child.as_ref()) {
            ask_to_end(child);
        }
        let until = tokio::time::Instant::now() + STOP_WAIT;
        for relay in &mut self.relays {
            let Some(mut child) = relay.child.take() else {
                continue;
            };
            if tokio::time::timeout_at(until, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }

    /// The first relay that ended by itself, if any did.
    pub fn ended(&mut self) -> Option<PathBuf> {
        self.relays.iter_mut().find_map(|relay| {
            let ended = relay.child.as_mut()?.try_wait().ok()?;
            ended.map(|_| relay.home.dir().to_owned())
        })
    }

    /// Every relay.
    pub fn rows(&self) -> Vec<DevnetRow> {
        let row = |relay: &DevnetRelay| DevnetRow {
            home: relay.home.dir().to_owned(),
            pid: relay.child.as_ref().and_then(Child::id),
            addr: relay.addr,
            node_key: relay.key.to_hex(),
        };
        self.relays.iter().map(row).collect()
    }

    /// The network file for correspondents.
    pub fn network_path(&self) -> &Path {
        &self.network
    }

    fn relay_mut(&mut self, index: usize) -> Result<&mut DevnetRelay, DevnetFailure> {
        self.relays.get_mut(index).ok_or(DevnetFailure::Nodes)
    }
}

fn ask_to_end(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        // It may have ended by itself meanwhile.
        let _ended = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// Makes the homes and the network file, or reads those that are there ([DEV-1], [DEV-2]).
fn prepare(plan: &DevnetPlan) -> Result<Vec<DevnetRelay>, DevnetFailure> {
    if !(1..=NODES_MAX).contains(&plan.nodes) {
        return Err(DevnetFailure::Nodes);
    }
    let network_path = plan.dir.join("network.toml");
    if network_path.exists() {
        return take_up(plan, &network_path);
    }
    // All pairs are held until the last is found, so that none is given twice.
    let mut held = Vec::new();
    let mut relays = Vec::new();
    for index in 0..plan.nodes {
        let home = relay_home(plan, index);
        home.create()?;
        let keys = Keys::at(home.keys_dir());
        let seed = match keys.create_node() {
            Err(KeyFailure::Exists(_)) => keys.node()?,
            other => other?,
        };
        let (pair, addr) = free_pair(ip_of(plan, index)?)?;
        held.push(pair);
        relays.push(DevnetRelay {
            home,
            addr,
            key: seed.node_key(),
            child: None,
        });
    }
    let file = network_file(plan, &relays);
    for relay in &relays {
        let config = format!(
            "listen = \"{}\"\nport = {}\nstore_mib = {STORE_MIB}\nballast_mib = 1\ncache_mib = 4\n",
            relay.addr.ip(),
            relay.addr.port()
        );
        write(&relay.home.config_path(), &config)?;
        file.write(&relay.home.network_path())?;
    }
    // Last: a folder with a network file is complete.
    file.write(&network_path)?;
    Ok(relays)
}

fn take_up(plan: &DevnetPlan, network_path: &Path) -> Result<Vec<DevnetRelay>, DevnetFailure> {
    let founders = NetworkFile::read(network_path)?.founders;
    if founders.len() != plan.nodes {
        return Err(DevnetFailure::Differs {
            dir: plan.dir.clone(),
            has: founders.len(),
        });
    }
    let mut relays = Vec::new();
    for index in 0..plan.nodes {
        let home = relay_home(plan, index);
        let key = Keys::at(home.keys_dir()).node()?.node_key();
        let config = Config::load(&home.config_path())
            .map_err(|error| DevnetFailure::Config(error.to_string()))?;
        relays.push(DevnetRelay {
            addr: SocketAddr::new(config.listen, config.port),
            home,
            key,
            child: None,
        });
    }
    Ok(relays)
}

fn network_file(plan: &DevnetPlan, relays: &[DevnetRelay]) -> NetworkFile {
    let founders = relays.iter().map(|relay| Founder {
        key: relay.key,
        addr: relay.addr,
    });
    let mut file = NetworkFile::public("devnet", founders.collect());
    let network = &mut file.network;
    network.scale = TimeScale {
        minute_ms: plan.minute_ms,
    };
    network.hold_age_h = 0;
    network.guard_age_h = 0;
    network.reachability = Reachability::Assume;
    // Fewer relays than R are all holders, and a majority of them makes a deposit stored.
    let nodes = u8::try_from(plan.nodes).unwrap_or(u8::MAX);
    network.holders = network.holders.min(nodes);
    network.receipts = network.receipts.min(network.holders / 2 + 1);
    // A network of a dozen relays feels every one that is away.
    network.repair_below = network.holders;
    network.sweep_hours = 1;
    network.pledge = Pledge {
        puzzle_bits: 0,
        labels: 2_048,
        class_sectors: 1,
        ..network.pledge
    };
    // Verdicts within an epoch, by those who are there.
    network.verdicts = Verdicts {
        reporters: 3,
        certificates: 0,
        suspend_window: 1,
        suspend_epochs: 1,
        readings: plan.readings,
        ..network.verdicts
    };
    if plan.one_address {
        let caps = &mut network.caps;
        (caps.v4_24, caps.v4_16, caps.per_set, caps.per_path) = (0, 0, 0, 0);
    }
    file
}

fn relay_home(plan: &DevnetPlan, index: usize) -> Home {
    Home::at(plan.dir.join(format!("relay-{index:02}")))
}

/// Each relay its own /16, so that the rules about subnets run for real ([DEV-2]).
fn ip_of(plan: &DevnetPlan, index: usize) -> Result<IpAddr, DevnetFailure> {
    if plan.one_address || !cfg!(target_os = "linux") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let second = u8::try_from(16 + index).map_err(|_| DevnetFailure::Nodes)?;
    Ok(Ipv4Addr::new(127, second, 0, 1).into())
}

/// A port that is free in TCP and in UDP, and the sockets that hold it.
fn free_pair(ip: IpAddr) -> Result<((TcpListener, UdpSocket), SocketAddr), DevnetFailure> {
    let bind = || {
        let tcp = TcpListener::bind((ip, 0))?;
        let addr = tcp.local_addr()?;
        Ok(((tcp, UdpSocket::bind(addr)?), addr))
    };
    let mut last = bind();
    for _ in 1..PORT_TRIES {
        if last.is_ok() {
            break;
        }
        last = bind();
    }
    last.map_err(|source| DevnetFailure::Port { ip, source })
}

fn write(path: &Path, text: &str) -> Result<(), DevnetFailure> {
    std::fs::write(path, text).map_err(|source| DevnetFailure::File {
        path: path.to_owned(),
        source,
    })
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Why a devnet cannot be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum DevnetFailure {
    /// Too few or too many relays, or no such one.
    #[error("a devnet has 1 to {NODES_MAX} relays")]
    Nodes,
    /// The folder holds a devnet of another size.
    #[error("{}: holds a devnet of {has} relays; choose another --dir or --nodes {has}", dir.display())]
    Differs {
        /// Which folder.
        dir: PathBuf,
        /// How many it has.
        has: usize,
    },
    /// No port is free in both.
    #[error("no port of {ip} is free in TCP and UDP: {source}")]
    Port {
        /// Where.
        ip: IpAddr,
        /// What the operating system said last.
        source: io::Error,
    },
    /// The program cannot be started.
    #[error("{}: {source}", exe.display())]
    Launch {
        /// Which.
        exe: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A relay ended before it answered.
    #[error("a relay ended ({status}) before it answered:\n{log}")]
    Died {
        /// How.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A relay does not answer.
    #[error("{}: the relay does not answer; see relay.log there", .0.display())]
    Silent(PathBuf),
    /// A relay ended while the devnet was running.
    #[error("{}: the relay ended; see relay.log there", .0.display())]
    Ended(PathBuf),
    /// A process cannot be waited for.
    #[error("a relay cannot be reaped: {0}")]
    Wait(io::Error),
    /// A home's config is wrong.
    #[error("{0}")]
    Config(String),
    /// A home cannot be made.
    #[error(transparent)]
    Home(#[from] HomeFailure),
    /// A key cannot be made or read.
    #[error(transparent)]
    Keys(#[from] KeyFailure),
    /// The network file cannot be written or read.
    #[error(transparent)]
    Network(#[from] NetworkFileFailure),
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// 127.16 to 127.115: enough for one machine, and each has its own /16.
pub const NODES_MAX: usize = 100;
/// Readings of a persona in an epoch: a letter every seven seconds of each relay, and the first readings within a
/// minute.
pub const READINGS: u16 = 60;
/// TCP and UDP rarely disagree about a free port.
const PORT_TRIES: usize = 32;
/// Disk for one relay's envelopes, in MiB.
const STORE_MIB: u64 = 256;
/// A hundred processes on two cores need a while, and two dozen on slow ones; one that ends is told at once.
const START_WAIT: Duration = Duration::from_secs(240);
/// Pause between two looks at a starting relay.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// A relay stops waiting for its own tasks after 1.5 s and promises to be gone in two; that it hears the signal, ends
/// and is reaped takes a machine that is slow and busy several seconds more.
const STOP_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
