//! A network that lives on: relays come and go all day, some for good, and every letter stays.
//!
//! The kill schedule takes at most two holders of a cell within a repair interval. Ordinarily a small network for
//! two days; `POSTE_SIM_RELAYS`, `POSTE_SIM_DAYS` and `POSTE_SIM_SEED` make it the one of
//! `docs/experiments/repair.md`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails here, and figures are shown"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::*;
use poste_sim::chance::Chance;
use poste_sim::people::{LetterNo, PersonNo};
use poste_sim::schedule::Schedule;
use poste_sim::{RelayNo, Scenario, World};
use swarm_proto::envelope::ExpiryClass;

/// What happens to a network, and what came of it.
struct Months {
    world: World,
    schedule: Schedule<RelayNo>,
    chance: Chance,
    returns: BTreeMap<Duration, RelayNo>,
    /// Each relay is killed once in about this time.
    session: Duration,
    kills: u32,
    deaths: u32,
    spared: u32,
}

impl Months {
    fn new(seed: u64, relays: u32) -> Self {
        let mut scenario = Scenario::calm(seed, relays, PEOPLE);
        scenario.watchers = 15;
        scenario.habits.write_every_minutes = 120;
        scenario.habits.read_every_minutes = 480;
        scenario.habits.expiry = ExpiryClass::Days14;
        scenario.weigh_messages = false;
        Self {
            world: settled(scenario),
            schedule: Schedule::new(INTERVAL, 5),
            chance: Chance::new(seed, "kills", 0),
            returns: BTreeMap::new(),
            session: SESSION,
            kills: 0,
            deaths: 0,
            spared: 0,
        }
    }

    /// Lets so much time pass, with kills and returns in it.
    fn live(&mut self, time: Duration) {
        let end = self.world.elapsed() + time;
        let relays = u32::try_from(up(&self.world).len()).unwrap();
        let mean = self.session / relays;
        let mut next = self.world.elapsed() + self.pause(mean);
        loop {
            let back = self.returns.first_key_value().map(|(at, _)| *at);
            let at = back.map_or(next, |back| back.min(next)).min(end);
            self.world.run_for(at.saturating_sub(self.world.elapsed()));
            if at >= end {
                return;
            }
            if back == Some(at) {
                let (_, relay) = self.returns.pop_first().unwrap();
                self.world.restart(relay);
                self.schedule.came(relay, at);
            } else {
                self.kill_one();
                next = at + self.pause(mean);
            }
        }
    }

    fn kill_one(&mut self) {
        let now = self.world.elapsed();
        let running = up(&self.world);
        let victim = *self.chance.pick(&running).unwrap();
        let lines = lines(&self.world);
        if !self.schedule.allows(&lines, victim, now) {
            self.spared += 1;
            return;
        }
        self.schedule.went(victim, now);
        if self.chance.below(FOR_GOOD) == 0 {
            self.world.destroy(victim);
            self.world.add_relay();
            self.deaths += 1;
            return;
        }
        self.world.kill(victim);
        self.kills += 1;
        let mut at = now + Duration::from_secs(60) + self.pause(DOWN);
        while self.returns.contains_key(&at) {
            at += Duration::from_micros(1);
        }
        self.returns.insert(at, victim);
    }

    fn everybody_returns(&mut self) {
        for relay in std::mem::take(&mut self.returns).into_values() {
            self.world.restart(relay);
        }
    }

    fn pause(&mut self, mean: Duration) -> Duration {
        let mean_us = u64::try_from(mean.as_micros()).unwrap();
        Duration::from_micros(self.chance.exponential_us(mean_us))
    }
}

/// Letters that have not ended, in the order of writing.
fn live(world: &World) -> Vec<LetterNo> {
    let now = world.unix();
    let scale = world.network().scale;
    let lives = |(_, letter): &(u32, &poste_sim::people::Letter)| {
        scale.hour_start(letter.promise.expires) > now
    };
    let letters = (0..).zip(world.letters()).filter(lives);
    letters.map(|(number, _)| LetterNo(number)).collect()
}

/// The relays in line for each cell in which something lives, by the one that knows most members.
fn lines(world: &World) -> Vec<Vec<RelayNo>> {
    let members = |relay: &RelayNo| {
        let machine = world.relay(*relay).unwrap().relay().unwrap();
        machine.members().len()
    };
    let witness = up(world).into_iter().max_by_key(members).unwrap();
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    for letter in live(world) {
        let promise = world.letter(letter).unwrap().promise;
        if seen.insert((promise.epoch, promise.cell)) {
            lines.push(ranked(world, witness, letter));
        }
    }
    lines
}

/// [REP-1] [REP-4] [REP-5] [REP-6]
#[test]
fn no_acknowledged_letter_is_lost_while_two_holders_of_a_cell_may_be_down() {
    let number = |name: &str, ordinary: u32| {
        let wanted = std::env::var(name).ok();
        wanted.map_or(ordinary, |text| text.parse().unwrap())
    };
    let (relays, days) = (number("POSTE_SIM_RELAYS", 30), number("POSTE_SIM_DAYS", 2));
    let seed = u64::from(number("POSTE_SIM_SEED", 72));
    let mut months = Months::new(seed, relays);
    for day in 0..days {
        months.live(hours(24));
        months.world.check_all();
        assert_eq!(months.world.faults(), [], "seed {seed}, day {day}");
    }
    months.everybody_returns();
    let world = &mut months.world;
    world.run_for(INTERVAL * 2);
    let written = live(world);
    // Letters that are still under way get their minute.
    world.run_for(Duration::from_secs(60));
    for person in 0..PEOPLE {
        world.read(PersonNo(person), 14);
    }
    world.run_for(Duration::from_secs(300));
    let running: BTreeSet<u32> = up(world).iter().map(|relay| relay.0).collect();
    let kept: Vec<LetterNo> = written
        .into_iter()
        .filter(|letter| is_stored(world, *letter))
        .collect();
    let mut copies = BTreeMap::new();
    for letter in &kept {
        let holders = world.holders_of(*letter);
        let count = holders.iter().filter(|one| running.contains(one)).count();
        *copies.entry(count).or_insert(0) += 1;
    }
    let unread = kept.iter().filter(|letter| !is_read(world, **letter));
    let unread = unread.count();
    let totals = world.totals();
    println!(
        "seed {seed}: {relays} relays, {days} days: {} deposits, {} deliveries, {} kills, {} deaths for good, {} spared by the schedule; {} letters live, {unread} of them unread, copies at running relays {copies:?}",
        totals.letters_stored,
        totals.letters_read,
        months.kills,
        months.deaths,
        months.spared,
        kept.len()
    );
    assert!(months.kills > 10 && months.deaths > 0 && kept.len() > 100);
    assert_eq!(unread, 0, "seed {seed}");
    no_faults(&mut months.world, seed, 60_000);
}

const PEOPLE: u32 = 24;
/// What repair has to be done in: a relay is away after half an hour, cells are compared hourly.
const INTERVAL: Duration = Duration::from_secs(2 * 3_600);
/// The mean time between two kills of one relay.
const SESSION: Duration = Duration::from_secs(24 * 3_600);
/// The mean time that a killed relay is down.
const DOWN: Duration = Duration::from_secs(3_600);
/// One of so many kills takes the disk along.
const FOR_GOOD: u64 = 25;
