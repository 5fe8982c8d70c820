//! A relay is killed in the middle of repairing and of leaving: what it had is there, and it goes on.
//!
//! Killed in the middle of sweeping: `sweeps.rs`.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use poste_node::status::Status;
use poste_sim::chance::Chance;
use poste_tests::correspondent::{Correspondent, unix_now};
use poste_tests::net::{Net, until};
use swarm_proto::id::EnvelopeId;

use crate::RELAY;

const COPIES: usize = 5;
/// With one dead and one that leaves there are spares.
const RELAYS: usize = 9;
const ROUNDS: usize = 3;
/// Letters of a round.
const LETTERS: usize = 12;

/// A figure that a relay tells.
type Done = fn(&Status) -> u64;

/// A network with letters, and the moments at which relays of it are killed.
struct Crashes {
    net: Net,
    ids: Vec<EnvelopeId>,
    chance: Chance,
    /// How many were killed while they copied.
    caught: usize,
}

impl Crashes {
    /// Lets a random moment of the work that has just begun come, and kills the relay in it. Gives what it had.
    async fn kill_within(&mut self, relay: usize, most_ms: u64) -> Vec<EnvelopeId> {
        let had = self.net.kept(relay, &self.ids).await;
        tokio::time::sleep(Duration::from_millis(self.chance.below(most_ms))).await;
        self.net.kill(relay).await;
        had
    }

    /// Starts a relay again, which must have all that it had.
    async fn restart(&mut self, relay: usize, had: &[EnvelopeId]) {
        self.net.restart(relay).await;
        let has = self.net.kept(relay, &self.ids).await;
        let gone = had.iter().filter(|id| !has.contains(id)).count();
        assert_eq!(gone, 0, "relay {relay} lost what it had");
    }

    /// Waits until running relays but `leaver` have five copies of everything.
    async fn all_copied_without(&self, leaver: Option<usize>) {
        until("five copies of everything", async || {
            self.is_copied_without(leaver).await
        })
        .await;
    }

    async fn is_copied_without(&self, leaver: Option<usize>) -> bool {
        let net = &self.net;
        let mut copies = vec![0; self.ids.len()];
        let others = (0..net.nodes()).filter(|index| Some(*index) != leaver);
        for index in others.filter(|index| net.is_running(*index)) {
            let here = net.holds(index, &self.ids).await.unwrap_or_default();
            for (id, count) in self.ids.iter().zip(&mut copies) {
                *count += usize::from(here.contains(id));
            }
        }
        copies.iter().all(|count| *count >= COPIES)
    }

    /// What each of these relays has done so far.
    async fn done(&self, relays: &[usize], done: Done) -> Vec<u64> {
        let mut all = Vec::new();
        for relay in relays {
            all.push(done(&self.net.told(*relay).await));
        }
        all
    }

    /// A holder dies, and one of those that copy in its place dies while it does. On a machine so busy that relays
    /// were taken for dead before, others may have all of it already.
    async fn in_repair(&mut self, holders: &[usize]) {
        let pushed: Done = |status| status.repair.pushed;
        let (&dead, others) = holders.split_first().unwrap();
        let had = self.net.kept(dead, &self.ids).await;
        let before = self.done(others, pushed).await;
        self.net.kill(dead).await;
        let mut worker = None;
        until("somebody copies", async || {
            for (relay, before) in others.iter().zip(&before) {
                let status = self.net.status(*relay).await;
                if status.is_some_and(|status| pushed(&status) > *before) {
                    worker = worker.or(Some(*relay));
                }
            }
            worker.is_some() || self.is_copied_without(Some(dead)).await
        })
        .await;
        if let Some(worker) = worker {
            let worker_had = self.kill_within(worker, 200).await;
            self.restart(worker, &worker_had).await;
            self.caught += 1;
        }
        self.all_copied_without(Some(dead)).await;
        self.restart(dead, &had).await;
    }

    /// A holder is told to leave and dies again and again while it hands over.
    async fn in_drain(&mut self, leaver: usize) {
        let mut asked = self.drain(leaver);
        for _ in 0..ROUNDS {
            until("it is leaving", async || {
                let status = self.net.told(leaver).await;
                status.repair.drained.is_some()
            })
            .await;
            let had = self.kill_within(leaver, 500).await;
            self.restart(leaver, &had).await;
        }
        let _lost_its_relay = asked.wait();
        until("all is handed over", async || {
            let status = self.net.told(leaver).await;
            status.repair.drained == Some(true)
        })
        .await;
        self.net.stop(leaver).await;
        self.all_copied_without(Some(leaver)).await;
    }

    fn drain(&self, relay: usize) -> Child {
        let mut command = Command::new(RELAY);
        command.arg("--home").arg(self.net.home(relay).dir());
        command.args(["--json", "drain"]).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn().unwrap()
    }
}

/// [REP-4] [REP-5] [REP-7]
#[tokio::test]
async fn a_relay_killed_while_it_repairs_or_leaves_has_all_it_had_and_goes_on() {
    let seed = unix_now().0;
    println!("seed {seed}");
    let net = Net::start(RELAY, RELAYS).await;
    let who = Correspondent::new(net.file(), 33);
    let since = who.epoch();
    let mut crashes = Crashes {
        net,
        ids: Vec::new(),
        chance: Chance::new(seed, "crashes", 0),
        caught: 0,
    };
    let (mut leaver, mut round) = (0, 0);
    // Where relays are taken for dead for their slowness, others have all already and there may be nothing to copy.
    while round < ROUNDS || (crashes.caught == 0 && round < 4 * ROUNDS) {
        // Those who stood in for the dead of an earlier round have its letters already.
        let holders = who.holders(who.epoch()).await;
        let holders: Vec<usize> = holders.iter().map(|id| crashes.net.index_of(id)).collect();
        for _ in 0..LETTERS {
            crashes.ids.push(who.deposit_one().await.unwrap());
        }
        crashes.all_copied_without(None).await;
        crashes.in_repair(&holders).await;
        println!("seed {seed}: round {round} of repair done");
        leaver = holders[0];
        round += 1;
    }
    assert!(crashes.caught > 0, "nobody copied");
    crashes.in_drain(leaver).await;
    for index in (0..crashes.net.nodes()).filter(|index| *index != leaver) {
        let status = crashes.net.told(index).await;
        assert_eq!(
            (status.sweeps.missing, status.sweeps.failed),
            (0, 0),
            "{index}"
        );
    }
    let found = who.fetch_since(since).await;
    let lost = crashes.ids.iter().filter(|id| !found.contains(id)).count();
    assert_eq!(lost, 0, "seed {seed}");
}
