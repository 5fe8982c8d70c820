//! The relays of the demo: processes of the relay's program, asked over their own control sockets.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use poste_node::devnet::{Devnet, DevnetLauncher, DevnetPlan, DevnetRow, READINGS};
use poste_node::home::Home;
use poste_node::status::{self, Standing, Status};

use super::{DemoFailure, LIAR_ROLE, RELAY_ROLE};

/// Twelve relays, some of which may be dead.
pub(super) struct Swarm {
    devnet: Devnet,
    homes: Vec<Home>,
    running: Vec<bool>,
}

/// How many relays hold each envelope, as the relays say.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    by_envelope: BTreeMap<String, u64>,
    by_relay: Vec<u64>,
}

impl Copies {
    /// The fewest copies that any envelope has.
    pub(super) fn min(&self) -> u64 {
        self.by_envelope.values().copied().min().unwrap_or(0)
    }

    /// The most copies that any envelope has.
    pub(super) fn max(&self) -> u64 {
        self.by_envelope.values().copied().max().unwrap_or(0)
    }

    /// All copies together.
    pub(super) fn sum(&self) -> u64 {
        self.by_relay.iter().sum()
    }

    /// How many of the envelopes each relay holds, in the relays' order.
    pub(super) fn by_relay(&self) -> &[u64] {
        &self.by_relay
    }
}

impl Swarm {
    /// Starts `RELAYS` relays in `dir`.
    pub(super) async fn start(dir: &Path) -> Result<Self, DemoFailure> {
        let plan = DevnetPlan {
            nodes: RELAYS,
            dir: dir.join("net"),
            one_address: false,
            minute_ms: MINUTE_MS,
            readings: READINGS,
        };
        let launcher = DevnetLauncher {
            exe: std::env::current_exe()?,
            relay_args_prefix: vec![RELAY_ROLE.into()],
        };
        let mut devnet = Devnet::start(&plan, launcher.clone()).await?;
        devnet.stop_one(LIAR).await?;
        devnet.set_launcher(DevnetLauncher {
            relay_args_prefix: vec![LIAR_ROLE.into()],
            ..launcher.clone()
        });
        devnet.launch(LIAR)?;
        devnet.wait_for(LIAR).await?;
        devnet.set_launcher(launcher);
        let homes = devnet.rows().into_iter().map(|row| Home::at(row.home));
        Ok(Self {
            homes: homes.collect(),
            running: vec![true; RELAYS],
            devnet,
        })
    }

    /// Waits until every relay knows every other; `tell` hears how many know all.
    pub(super) async fn meet(&self, mut tell: impl FnMut(usize)) -> Result<(), DemoFailure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let statuses = self.statuses().await;
            let all = RELAYS as u64;
            let met = statuses
                .iter()
                .filter(|(_, status)| status.members.known == all)
                .count();
            tell(met);
            if met == RELAYS {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(DemoFailure::Late("the relays do not find each other"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The network file.
    pub(super) fn network_path(&self) -> &Path {
        self.devnet.network_path()
    }

    /// Addresses, keys and processes.
    pub(super) fn rows(&self) -> Vec<DevnetRow> {
        self.devnet.rows()
    }

    /// What each running relay tells its operator.
    pub(super) async fn statuses(&self) -> Vec<(usize, Status)> {
        let mut statuses = Vec::new();
        for (index, home) in self.running() {
            if let Ok(status) = status::ask(&home.socket_path()).await {
                statuses.push((index, status));
            }
        }
        statuses
    }

    /// Asks every running relay which of these envelopes it has on its disk.
    pub(super) async fn copies(&self, ids: &[String]) -> Result<Copies, DemoFailure> {
        let mut copies = Copies {
            by_envelope: ids.iter().map(|id| (id.clone(), 0)).collect(),
            by_relay: vec![0; RELAYS],
        };
        for (index, home) in self.running() {
            let here = held(home, ids).await?;
            if let Some(count) = copies.by_relay.get_mut(index) {
                *count = here.len() as u64;
            }
            for id in here {
                *copies.by_envelope.entry(id).or_default() += 1;
            }
        }
        Ok(copies)
    }

    /// Waits until `holds` of the copies, at most `wait`; the last look either way.
    pub(super) async fn copies_until(
        &self,
        ids: &[String],
        wait: Duration,
        holds: impl Fn(&Copies) -> bool,
    ) -> Result<Copies, DemoFailure> {
        let until = Instant::now() + wait;
        loop {
            let copies = self.copies(ids).await?;
            if holds(&copies) || Instant::now() > until {
                return Ok(copies);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What the honest relays say of the one that lies.
    pub(super) async fn liar_seen(&self) -> Vec<(usize, Standing)> {
        let mut seen = Vec::new();
        let Some(home) = self.homes.get(LIAR) else {
            return seen;
        };
        let Ok(liar) = status::ask(&home.socket_path()).await else {
            return seen;
        };
        for (index, home) in self.running().filter(|(index, _)| *index != LIAR) {
            if let Ok(one) = status::ask_standing(&home.socket_path(), &liar.node_id).await {
                seen.push((index, one));
            }
        }
        seen
    }

    /// Kills a relay as a power cut would.
    pub(super) async fn kill(&mut self, index: usize) -> Result<(), DemoFailure> {
        self.devnet.kill(index).await?;
        self.mark(index, false);
        Ok(())
    }

    /// Starts a dead relay again.
    pub(super) async fn restart(&mut self, index: usize) -> Result<(), DemoFailure> {
        self.devnet.launch(index)?;
        self.devnet.wait_for(index).await?;
        self.mark(index, true);
        Ok(())
    }

    /// Stops all.
    pub(super) async fn stop(&mut self) {
        self.devnet.stop().await;
    }

    fn mark(&mut self, index: usize, runs: bool) {
        if let Some(running) = self.running.get_mut(index) {
            *running = runs;
        }
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Home)> {
        let homes = self.homes.iter().zip(&self.running).enumerate();
        homes.filter_map(|(index, (home, runs))| runs.then_some((index, home)))
    }
}

/// Which of these envelopes a relay has, which it says sooner or later: its disk may be slow.
async fn held(home: &Home, ids: &[String]) -> Result<Vec<String>, DemoFailure> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(here) = status::ask_holds(&home.socket_path(), ids.to_vec()).await {
            return Ok(here);
        }
        if Instant::now() > until {
            return Err(DemoFailure::Late("a relay does not say what it holds"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The relay that lies.
pub(super) const LIAR: usize = RELAYS - 1;
/// Relays of the demo.
pub(super) const RELAYS: usize = 12;
/// An hour of the demo's network takes six seconds, a day 144.
pub(super) const MINUTE_MS: u32 = 100;
/// Only there to end a broken run.
const PATIENCE: Duration = Duration::from_secs(240);
const LOOK_EVERY: Duration = Duration::from_millis(100);
