//! Letters are deposited while relays are killed, stopped and restarted at random, and all of them are read back.
//!
//! The kill schedule never takes a third holder of a live cell. Ordinarily 30 s; `POSTE_SOAK_S` makes it longer, up
//! to a quarter of an hour, after which letters end. `POSTE_SOAK_SEED` repeats the chances of a run, though not the
//! moments at which processes do things.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use poste_sim::chance::Chance;
use poste_sim::schedule::Schedule;
use poste_tests::correspondent::{Correspondent, unix_now};
use poste_tests::net::{Net, PATIENCE, soak, until};
use swarm_proto::envelope::Envelope;
use swarm_proto::id::EnvelopeId;
use swarm_proto::time::Epoch;
use tokio::task::JoinSet;

use crate::RELAY;

/// What somebody deposited and read meanwhile.
#[derive(Default)]
struct Diary {
    acknowledged: Vec<EnvelopeId>,
    refused: u32,
    readings: u32,
    /// Acknowledged before a complete reading of their mailbox began, and not in it.
    missed: Vec<EnvelopeId>,
}

/// Deposits one letter after the other until told to stop, and reads the mailbox of the epoch now and then.
async fn write_and_read(
    who: Arc<Correspondent>,
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
) -> Diary {
    let mut diary = Diary::default();
    let mut pace = tokio::time::interval(PACE);
    let mut today: (Epoch, Vec<EnvelopeId>) = (who.epoch(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let before = who.epoch();
        match who.deposit_one().await {
            Ok(id) => {
                diary.acknowledged.push(id);
                stored.fetch_add(1, Ordering::Relaxed);
                if before != today.0 {
                    today = (before, Vec::new());
                }
                // One that was sealed around midnight may be in either epoch.
                if who.epoch() == before {
                    today.1.push(id);
                }
            }
            Err(_) => diary.refused += 1,
        }
        if diary.acknowledged.len().is_multiple_of(READ_EVERY) {
            let Ok(fetched) = who.fetch(today.0).await else {
                continue;
            };
            diary.readings += u32::from(fetched.complete);
            let found: BTreeSet<EnvelopeId> = fetched.envelopes.iter().map(Envelope::id).collect();
            let missed = today.1.iter().filter(|id| !found.contains(id));
            diary.missed.extend(missed.filter(|_| fetched.complete));
        }
    }
    diary
}

/// How a relay was taken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Killed,
    Stopped,
    Paused,
}

/// Takes relays down and lets them come back.
struct Fate {
    schedule: Schedule<usize>,
    chance: Chance,
    down: BTreeMap<usize, (Blow, Instant)>,
    counts: BTreeMap<Blow, u32>,
    spared: u32,
    start: Instant,
}

impl Fate {
    fn new(seed: u64) -> Self {
        Self {
            schedule: Schedule::new(INTERVAL, 5),
            chance: Chance::new(seed, "soak", 0),
            down: BTreeMap::new(),
            counts: BTreeMap::new(),
            spared: 0,
            start: Instant::now(),
        }
    }

    /// One blow, if the schedule allows it, and those back whose time has come.
    async fn turn(&mut self, net: &mut Net, lines: &[Vec<usize>]) {
        let now = Instant::now();
        let due = self.down.iter().filter(|(_, (_, until))| *until <= now);
        for relay in due.map(|(relay, _)| *relay).collect::<Vec<_>>() {
            self.bring_back(net, relay).await;
        }
        let victim = usize::try_from(self.chance.below(net.nodes() as u64)).unwrap();
        let blow = [Blow::Killed, Blow::Killed, Blow::Paused, Blow::Stopped];
        let blow = *self.chance.pick(&blow).unwrap();
        let pause = Duration::from_millis(500 + self.chance.below(DOWN_MS_MAX));
        if self.down.contains_key(&victim) {
            return;
        }
        if !self.schedule.allows(lines, victim, self.start.elapsed()) {
            self.spared += 1;
            return;
        }
        self.schedule.went(victim, self.start.elapsed());
        match blow {
            Blow::Killed => net.kill(victim).await,
            Blow::Paused => net.signal(victim, Signal::SIGSTOP),
            Blow::Stopped => {
                net.stop(victim).await;
            }
        }
        *self.counts.entry(blow).or_insert(0) += 1;
        self.down.insert(victim, (blow, Instant::now() + pause));
    }

    async fn bring_back(&mut self, net: &mut Net, relay: usize) {
        match self.down.remove(&relay) {
            Some((Blow::Paused, _)) => net.signal(relay, Signal::SIGCONT),
            Some((Blow::Killed | Blow::Stopped, _)) => net.restart(relay).await,
            None => {}
        }
        self.schedule.came(relay, self.start.elapsed());
    }

    async fn everybody_back(&mut self, net: &mut Net) {
        for relay in self.down.keys().copied().collect::<Vec<_>>() {
            self.bring_back(net, relay).await;
        }
    }
}

/// The relays in line for the mailboxes of these people, of all epochs since the start and of the next.
async fn lines(net: &Net, people: &[Arc<Correspondent>], since: Epoch) -> Vec<Vec<usize>> {
    let mut lines = Vec::new();
    for who in people {
        for epoch in since.0..=who.epoch().0 + 1 {
            let placement = who.placement(Epoch(epoch)).await;
            lines.push(
                placement
                    .ranked()
                    .iter()
                    .map(|id| net.index_of(id))
                    .collect(),
            );
        }
    }
    lines
}

async fn copies(net: &Net, ids: &[EnvelopeId]) -> BTreeMap<usize, usize> {
    let mut counts: BTreeMap<EnvelopeId, usize> = ids.iter().map(|id| (*id, 0)).collect();
    for index in 0..net.nodes() {
        for id in net.kept(index, ids).await {
            *counts.get_mut(&id).unwrap() += 1;
        }
    }
    let mut histogram = BTreeMap::new();
    for count in counts.into_values() {
        *histogram.entry(count).or_insert(0) += 1;
    }
    histogram
}

/// [DEP-3] [RCP-1] [REP-1] [REP-4] [REP-5]
#[tokio::test]
async fn nothing_acknowledged_is_lost_while_relays_are_killed_stopped_and_restarted() {
    let length = soak(Duration::from_secs(30));
    let seed = std::env::var("POSTE_SOAK_SEED").ok();
    let seed = seed.map_or_else(|| unix_now().0, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut net = Net::start(RELAY, RELAYS).await;
    let people: Vec<Arc<Correspondent>> = (0..PEOPLE)
        .map(|number| Arc::new(Correspondent::new(net.file(), FIRST_PERSON + number)))
        .collect();
    let since = people[0].epoch();
    let stop = Arc::new(AtomicBool::new(false));
    let stored = Arc::new(AtomicUsize::new(0));
    let mut writing = JoinSet::new();
    for (number, who) in (0..PEOPLE).zip(&people) {
        let (who, stop, stored) = (Arc::clone(who), Arc::clone(&stop), Arc::clone(&stored));
        writing.spawn(async move { (number, write_and_read(who, stop, stored).await) });
    }
    let mut fate = Fate::new(seed);
    let mut pace = tokio::time::interval(BLOW_EVERY);
    // A machine on which everything takes long is given the time for some letters.
    while fate.start.elapsed() < length || stored.load(Ordering::Relaxed) < LETTERS_MIN {
        assert!(
            fate.start.elapsed() < length + PATIENCE,
            "too few letters are stored"
        );
        pace.tick().await;
        let lines = lines(&net, &people, since).await;
        fate.turn(&mut net, &lines).await;
    }
    let lasted = fate.start.elapsed();
    stop.store(true, Ordering::Relaxed);
    fate.everybody_back(&mut net).await;
    drop(people);
    // The same accounts in programs that have read nothing yet.
    let mut reading = JoinSet::new();
    while let Some(done) = writing.join_next().await {
        let (number, diary) = done.unwrap();
        let reader = Correspondent::new(net.file(), FIRST_PERSON + number);
        reading.spawn(async move { (diary, reader.fetch_since(since).await) });
    }
    let (mut acknowledged, mut lost, mut missed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut refused, mut readings) = (0, 0);
    while let Some(done) = reading.join_next().await {
        let (diary, found) = done.unwrap();
        let found: BTreeSet<EnvelopeId> = found.into_iter().collect();
        let not_found = |id: &&EnvelopeId| !found.contains(*id);
        lost.extend(diary.acknowledged.iter().filter(not_found).copied());
        acknowledged.extend(diary.acknowledged);
        missed.extend(diary.missed);
        refused += diary.refused;
        readings += diary.readings;
    }
    let at_once = copies(&net, &acknowledged).await;
    println!(
        "seed {seed}: {} s, {} deposits, {refused} not acknowledged, {readings} readings meanwhile, {} deliveries at the end, blows {:?}, {} spared by the schedule, copies {at_once:?}",
        lasted.as_secs(),
        acknowledged.len(),
        acknowledged.len() - lost.len(),
        fate.counts,
        fate.spared,
    );
    assert!(acknowledged.len() >= LETTERS_MIN && !fate.counts.is_empty());
    assert!(lost.is_empty(), "seed {seed}: lost {lost:?}");
    assert!(
        missed.is_empty(),
        "seed {seed}: complete, and not there: {missed:?}"
    );
    until("repair has five copies of everything", async || {
        copies(&net, &acknowledged)
            .await
            .keys()
            .all(|count| *count >= 5)
    })
    .await;
    println!(
        "seed {seed}: copies later {:?}",
        copies(&net, &acknowledged).await
    );
}

const RELAYS: usize = 25;
/// One subnet has four links to a relay.
const PEOPLE: u8 = 3;
/// Their accounts and addresses.
const FIRST_PERSON: u8 = 200;
/// Letters of one person: under what a mailbox takes in an epoch.
const PACE: Duration = Duration::from_millis(150);
/// That it is a trial at all.
const LETTERS_MIN: usize = 21;
const READ_EVERY: usize = 25;
const BLOW_EVERY: Duration = Duration::from_secs(1);
const DOWN_MS_MAX: u64 = 15_000;
/// What repair has to be done in: five hours of this calendar, since links take seconds to be given up.
const INTERVAL: Duration = Duration::from_secs(30);
