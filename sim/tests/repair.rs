//! Letters outlive the relays that took them: relays die for good, others join, owners delete, halves part.
//!
//! `POSTE_SIM_DAYS` and `POSTE_SIM_RELAYS` make the first test as long and as large as wanted (30 and 200 take some
//! minutes in a release build); a failure names its seed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails here, and figures are shown"
)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::*;
use poste_sim::chance::Chance;
use poste_sim::check::Fault;
use poste_sim::links::Node;
use poste_sim::people::{LetterNo, PersonNo};
use poste_sim::{RelayNo, Scenario, World};
use swarm_proto::envelope::ExpiryClass;

fn number(name: &str, ordinary: u32) -> u32 {
    let wanted = std::env::var(name).ok();
    wanted.map_or(ordinary, |text| text.parse().unwrap())
}

/// A day's letters to and fro, a few of which their owners delete at once.
fn write_some(
    world: &mut World,
    people: u32,
    letters: &mut Vec<LetterNo>,
    erased: &mut Vec<LetterNo>,
) {
    for from in 0..people {
        for step in 1..3 {
            let to = PersonNo((from + step) % people);
            letters.extend(world.write(PersonNo(from), to, ExpiryClass::Days14));
        }
    }
    world.run_for(Duration::from_secs(120));
    let gone: Vec<LetterNo> = letters.iter().copied().rev().take(2).collect();
    for letter in gone {
        letters.retain(|one| *one != letter);
        world.erase(letter);
        erased.push(letter);
    }
}

/// Kills a relay and its disk for good every `every`, and starts another in its place, for so many days.
fn wear_out(
    world: &mut World,
    chance: &mut Chance,
    days: u64,
    every: Duration,
    mut each_day: impl FnMut(&mut World),
) -> u32 {
    let mut deaths = 0;
    let end = world.elapsed() + hours(24 * days);
    let mut day_ends = world.elapsed();
    while world.elapsed() < end {
        if world.elapsed() >= day_ends {
            each_day(world);
            day_ends += hours(24);
        }
        let mortal = up(world);
        let victim = chance.below(u64::try_from(mortal.len()).unwrap());
        world.destroy(mortal[usize::try_from(victim).unwrap()]);
        world.add_relay();
        deaths += 1;
        world.run_for(every);
    }
    deaths
}

fn copies(world: &mut World, letters: &[LetterNo]) -> BTreeMap<usize, usize> {
    let alive: Vec<u32> = up(world).iter().map(|relay| relay.0).collect();
    let mut histogram = BTreeMap::new();
    for letter in letters {
        let holders = world.holders_of(*letter);
        let count = holders.iter().filter(|relay| alive.contains(relay)).count();
        *histogram.entry(count).or_insert(0) += 1;
    }
    histogram
}

/// A network in which every relay but a few dies within days; how many letters are lost.
fn worn(seed: u64, relays: u32, days: u32, repair_below: u8) -> (World, usize) {
    let people = 6;
    let mut scenario = Scenario::calm(seed, relays, people);
    scenario.repair_below = repair_below;
    let mut world = settled(scenario);
    let mut chance = Chance::new(seed, "deaths", 0);
    let (mut letters, mut erased) = (Vec::new(), Vec::new());
    // At most one death in a repair interval of two hours; each relay dies once in a week.
    let every = (hours(7 * 24) / relays).max(hours(2) + Duration::from_secs(600));
    let deaths = wear_out(&mut world, &mut chance, u64::from(days), every, |world| {
        if world.elapsed() < hours(13 * 24) {
            write_some(world, people, &mut letters, &mut erased);
        }
    });
    world.run_for(hours(3));
    world.check_all();
    let lost = world
        .faults()
        .iter()
        .filter(|(_, fault)| matches!(fault, Fault::Lost { .. }));
    let lost = lost.count();
    let live: Vec<LetterNo> = letters
        .iter()
        .copied()
        .filter(|letter| is_stored(&world, *letter))
        .collect();
    println!(
        "seed {seed}: {relays} relays, {days} days, {deaths} deaths, {} letters, {} deleted, {lost} lost; copies at living relays: {:?}",
        live.len(),
        erased.len(),
        copies(&mut world, &live)
    );
    for letter in &erased {
        if world.letter(*letter).unwrap().erased_us.is_some() {
            let alive: Vec<u32> = up(&world).iter().map(|relay| relay.0).collect();
            let still = world.holders_of(*letter);
            assert!(
                still.iter().all(|at| !alive.contains(at)),
                "seed {seed}: {letter:?} came back"
            );
        }
    }
    (world, lost)
}

/// [REP-1] [REP-2] [REP-4] [REP-5]
#[test]
fn letters_outlive_the_relays_that_took_them_and_deleted_ones_stay_gone() {
    let (relays, days) = (number("POSTE_SIM_RELAYS", 24), number("POSTE_SIM_DAYS", 4));
    let (mut world, lost) = worn(41, relays, days, 4);
    assert_eq!(lost, 0);
    no_faults(&mut world, 41, 60_000);
}

/// A check that cannot fail is none.
#[test]
fn where_nobody_stands_in_for_the_dead_they_do_not() {
    let (_, lost) = worn(41, 24, 7, 0);
    assert!(lost > 0);
}

/// [REP-1] [REP-4] [GOS-2]: neither half forgets the other, and nobody is blamed.
#[test]
fn two_halves_that_were_parted_for_an_hour_are_one_network_again() {
    let seed = 43;
    let mut scenario = Scenario::calm(seed, 20, 6);
    scenario.sweep_hours = 1;
    let mut world = settled(scenario);
    let (mut letters, mut erased) = (Vec::new(), Vec::new());
    write_some(&mut world, 6, &mut letters, &mut erased);
    world.run_for(hours(3));
    world.cut_off((0..10).map(Node::Relay));
    write_some(&mut world, 6, &mut letters, &mut erased);
    world.run_for(hours(1));
    let away = |world: &World| {
        let repair = |relay: RelayNo| world.relay(relay).unwrap().relay().unwrap().repair();
        world
            .relays()
            .map(|relay| repair(relay).away)
            .max()
            .unwrap()
    };
    assert!(away(&world) >= 5, "the halves do not see each other");
    world.add_relay();
    world.heal();
    // Two rounds of reconciliation, give or take a tenth.
    world.run_minutes(22);
    assert!(everybody_knows(&world, 21));
    world.run_for(hours(5));
    assert_eq!(away(&world), 0);
    let stored: Vec<LetterNo> = letters
        .iter()
        .copied()
        .filter(|letter| is_stored(&world, *letter))
        .collect();
    let histogram = copies(&mut world, &stored);
    assert!(histogram.keys().all(|count| *count >= 5), "{histogram:?}");
    assert!(stored.len() > 12, "{}", stored.len());
    for by in world.relays().collect::<Vec<_>>() {
        let machine = world.relay(by).unwrap().relay().unwrap();
        assert_eq!(
            (machine.failed(), machine.sweeps().missing),
            (0, 0),
            "{by:?}"
        );
    }
    no_faults(&mut world, seed, 60_000);
}
