//! Relays are killed at any moment of sweeps, two at a time, again and again: what they had is there, they go on
//! sweeping, and nobody is blamed for it.
//!
//! Eight rounds ordinarily; one for each three seconds of `POSTE_SOAK_S`, if it is set.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use poste_node::status::Status;
use poste_sim::chance::Chance;
use poste_tests::correspondent::{Correspondent, unix_now};
use poste_tests::net::{Net, soak, until, until_looking};
use swarm_proto::id::EnvelopeId;

use crate::RELAY;

/// Fewer relays have more cells each.
const RELAYS: usize = 8;
/// Their mailboxes lie in as many cells.
const PEOPLE: u8 = 6;
const FIRST_PERSON: u8 = 100;
const LETTERS: usize = 3;
const COPIES: usize = 5;
/// What a round takes.
const ROUND: Duration = Duration::from_secs(3);
/// A sweep takes tens of milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(4);

fn done(status: &Status) -> u64 {
    let sweeps = &status.sweeps;
    sweeps.equal + sweeps.unequal + sweeps.silent + sweeps.broken
}

struct Sweeping {
    net: Net,
    ids: Vec<EnvelopeId>,
    chance: Chance,
    /// The longest sweep that was seen from its opening to its end.
    longest: Duration,
    killed: BTreeSet<usize>,
}

impl Sweeping {
    async fn status(&self, relay: usize) -> Status {
        self.net.told(relay).await
    }

    /// The letters that a relay has.
    async fn held(&self, relay: usize) -> Vec<EnvelopeId> {
        self.net.kept(relay, &self.ids).await
    }

    /// Waits until this relay has opened another sweep.
    async fn opens(&self, relay: usize) -> Status {
        let before = self.status(relay).await.sweeps.opened;
        let mut now = Status::default();
        until_looking("it opens a sweep", LOOK_EVERY, async || {
            now = self.status(relay).await;
            now.sweeps.opened > before
        })
        .await;
        now
    }

    /// How long a sweep of this relay takes, as somebody sees it who asks all the time.
    async fn time_one(&mut self, relay: usize) {
        let before = done(&self.opens(relay).await);
        let start = Instant::now();
        until_looking("the sweep ends", LOOK_EVERY, async || {
            done(&self.status(relay).await) > before
        })
        .await;
        self.longest = self.longest.max(start.elapsed());
    }

    /// Two relays are killed, one of them while it sweeps and the other a moment before or after. Both have all they
    /// had when they are back.
    async fn round(&mut self) {
        let victims = self.two();
        let mut had = Vec::new();
        for victim in victims {
            had.push(self.held(victim).await);
        }
        self.opens(victims[0]).await;
        let most_us = u64::try_from(self.longest.as_micros()).unwrap();
        for victim in victims {
            let moment = Duration::from_micros(self.chance.below(most_us));
            tokio::time::sleep(moment).await;
            self.net.kill(victim).await;
            self.killed.insert(victim);
        }
        for (victim, had) in victims.into_iter().zip(had) {
            self.net.restart(victim).await;
            let has = self.held(victim).await;
            let gone = had.iter().filter(|id| !has.contains(id)).count();
            assert_eq!(gone, 0, "relay {victim} lost what it had");
        }
    }

    fn two(&mut self) -> [usize; 2] {
        let mut draw = |count: usize| usize::try_from(self.chance.below(count as u64)).unwrap();
        let first = draw(RELAYS);
        let other = draw(RELAYS - 1);
        [first, other + usize::from(other >= first)]
    }

    async fn copies_are_made(&self) {
        until("five copies of everything", async || {
            let mut copies = vec![0; self.ids.len()];
            for relay in 0..RELAYS {
                let here = self.net.holds(relay, &self.ids).await.unwrap_or_default();
                for (id, count) in self.ids.iter().zip(&mut copies) {
                    *count += usize::from(here.contains(id));
                }
            }
            copies.iter().all(|count| *count >= COPIES)
        })
        .await;
    }
}

/// [SWP-3] [SWP-4] [SWP-5] [SWP-6]
#[tokio::test]
async fn relays_killed_at_any_moment_of_a_sweep_have_all_they_had_and_nobody_is_blamed() {
    let seed = unix_now().0;
    let mut sweeping = Sweeping {
        net: Net::start(RELAY, RELAYS).await,
        ids: Vec::new(),
        chance: Chance::new(seed, "sweeps", 0),
        longest: Duration::ZERO,
        killed: BTreeSet::new(),
    };
    let people = FIRST_PERSON..FIRST_PERSON + PEOPLE;
    let people = people.map(|seed| Correspondent::new(sweeping.net.file(), seed));
    let people: Vec<Correspondent> = people.collect();
    let since = people[0].epoch();
    for who in &people {
        for _ in 0..LETTERS {
            sweeping.ids.push(who.deposit_one().await.unwrap());
        }
    }
    sweeping.copies_are_made().await;
    for relay in 0..3 {
        sweeping.time_one(relay).await;
    }
    let rounds = soak(8 * ROUND).as_secs().div_ceil(ROUND.as_secs());
    for _ in 0..rounds {
        sweeping.round().await;
    }
    for relay in &sweeping.killed {
        sweeping.opens(*relay).await;
    }
    sweeping.copies_are_made().await;
    let mut unanswered = 0;
    for relay in 0..RELAYS {
        let status = sweeping.status(relay).await;
        unanswered += status.sweeps.silent;
        let blamed = (status.sweeps.missing, status.sweeps.failed);
        assert_eq!(blamed, (0, 0), "seed {seed}: by relay {relay}");
        assert_eq!(
            status.watching.condemned, 0,
            "seed {seed}: by relay {relay}"
        );
    }
    println!(
        "seed {seed}: {} relays of {RELAYS} killed, {} times; the longest sweep took {:?}, {unanswered} were left without an answer",
        sweeping.killed.len(),
        2 * rounds,
        sweeping.longest
    );
    let mut found = Vec::new();
    for who in &people {
        found.extend(who.fetch_since(since).await);
    }
    let lost = sweeping.ids.iter().filter(|id| !found.contains(id));
    assert_eq!(lost.count(), 0, "seed {seed}");
}
