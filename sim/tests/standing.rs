//! Watchers put out relays that lose mail, whatever a minority of slanderers says, and nobody else.
//!
//! `POSTE_SIM_SEEDS` widens the tests to that many seeds; a failure names its seed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails here, and figures are shown"
)]

mod common;

use std::time::Duration;

use common::*;
use poste_sim::adversary::Lie;
use poste_sim::people::PersonNo;
use poste_sim::{RelayNo, Scenario, World};
use swarm_proto::envelope::ExpiryClass;

const RELAYS: u32 = 20;
const READERS: u32 = 24;
const LIAR: RelayNo = RelayNo(3);
const MINUTE: Duration = Duration::from_secs(60);

fn seeds(ordinary: u64) -> u64 {
    let wanted = std::env::var("POSTE_SIM_SEEDS").ok();
    wanted.map_or(ordinary, |text| text.parse().unwrap())
}

/// A world whose watchers speak, with slanderers from the start, and two dozen letters in each of as many cells: a twentieth
/// of what a relay has of them is some whole letters.
fn world(seed: u64, slanderers: u32) -> World {
    let mut scenario = Scenario::calm(seed, RELAYS, READERS + 1);
    scenario.watchers = 15;
    scenario.sweep_hours = 3;
    let mut world = settled(scenario);
    for number in 0..slanderers {
        world.slander(RelayNo(RELAYS - 1 - number));
    }
    for _ in 0..24 {
        for reader in 1..=READERS {
            world.write(PersonNo(0), PersonNo(reader), ExpiryClass::Days14);
        }
        world.run_for(Duration::from_secs(60));
    }
    world
}

fn honest(world: &World, slanderers: u32) -> Vec<RelayNo> {
    let is_honest = |relay: &RelayNo| relay.0 < RELAYS - slanderers && *relay != LIAR;
    world.relays().filter(is_honest).collect()
}

/// [STD-6] [STD-7] [STD-9] [ELI-7]: a fifth of the relays slanders everybody, and nobody suffers from it.
#[test]
fn a_fifth_of_slanderers_suspends_nobody() {
    for seed in 0..seeds(1) {
        let slanderers = RELAYS / 5;
        let mut world = world(seed, slanderers);
        let mut votes = 0;
        for _ in 0..8 {
            world.run_for(hours(12));
            for by in honest(&world, slanderers) {
                for of in honest(&world, slanderers) {
                    let seen = world.judgement(by, of).unwrap();
                    let place = format!("seed {seed}: {of:?} by {by:?}: {seen:?}");
                    assert!(!seen.is_condemned() && seen.suspended_for == 0, "{place}");
                    assert!(seen.holds && seen.absent < seen.majority, "{place}");
                    let certified = seen.certificate.map_or(0, |(_, one)| one.votes);
                    votes = votes.max(seen.suspend.max(certified.into()));
                }
            }
        }
        assert!(votes >= 2, "seed {seed}: nobody heard the slander");
        println!(
            "seed {seed}: {slanderers} slanderers, at most {votes} of 15 votes against anybody"
        );
        no_faults(&mut world, seed, 60_000);
    }
}

/// [STD-9]: among the same slanderers a relay that has lost 5 % is condemned by all the honest ones, and nothing is lost.
#[test]
fn a_relay_that_lost_5_percent_is_condemned_among_slanderers() {
    for seed in 0..seeds(1) {
        let slanderers = RELAYS / 5;
        let mut world = world(seed, slanderers);
        world.run_for(hours(4));
        let lie = Lie::KeepsNames {
            per_million: 50_000,
        };
        world.corrupt(LIAR, lie);
        let start = world.elapsed();
        let done = world.run_while_not(hours(96), |world| {
            honest(world, slanderers).into_iter().all(|by| {
                world
                    .judgement(by, LIAR)
                    .is_some_and(|one| one.is_condemned())
            })
        });
        let took = (world.elapsed() - start).as_secs() / 3_600;
        let seen = world.judgement(RelayNo(0), LIAR).unwrap();
        assert!(done, "seed {seed}: {seen:?}");
        println!("seed {seed}: 5 % lost, condemned by all after {took} h: {seen:?}");
        no_faults(&mut world, seed, 60_000);
    }
}

/// [STD-5] [STD-9] [STD-13] [REP-1]: who was cut off is absent for all within the hour, a minute after the first know it
/// for nearly all, and not a moment longer than it is away.
#[test]
fn who_is_cut_off_is_absent_for_all_and_back_for_all() {
    let seed = 7;
    let mut world = world(seed, 0);
    world.cut_off([poste_sim::links::Node::Relay(LIAR.0)]);
    let others = |world: &World| honest(world, 0);
    let absent = |world: &World, wanted: u64| {
        let count = |by: &RelayNo| world.relay(*by).unwrap().relay().unwrap().standing().absent;
        others(world).iter().all(|by| count(by) == wanted)
    };
    let know = |world: &World| {
        let know = |by: &RelayNo| world.relay(*by).unwrap().relay().unwrap().standing().absent == 1;
        others(world).iter().filter(|by| know(by)).count()
    };
    assert!(world.run_while_not(hours(1), |world| know(world) > 0));
    assert!(
        world.run_while_not(MINUTE, |world| know(world) > 16),
        "{}",
        know(&world)
    );
    assert!(world.run_while_not(hours(1), |world| absent(world, 1)));
    world.heal();
    assert!(world.run_while_not(hours(2), |world| absent(world, 0)));
    no_faults(&mut world, seed, 60_000);
}
