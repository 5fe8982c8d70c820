//! Personas find out who hides letters from readers, and charge nobody else.
//!
//! `POSTE_SIM_SEEDS` widens the tests to that many seeds; a failure names its seed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails here, and figures are shown"
)]

mod common;

use std::time::Duration;

use common::*;
use poste_sim::adversary::Lie;
use poste_sim::churn::{Churn, Sessions};
use poste_sim::{RelayNo, Scenario, World};

const RELAYS: u32 = 12;
const LIAR: RelayNo = RelayNo(3);

fn seeds(ordinary: u64) -> u64 {
    let wanted = std::env::var("POSTE_SIM_SEEDS").ok();
    wanted.map_or(ordinary, |text| text.parse().unwrap())
}

fn with_personas(seed: u64) -> Scenario {
    let mut scenario = Scenario::calm(seed, RELAYS, 0);
    scenario.personas = true;
    scenario
}

/// What all holders together were asked for, and did not show.
fn shown(world: &World) -> (u64, u64) {
    let shown = world.relays().map(|relay| world.shown_by(relay));
    shown.fold((0, 0), |(asked, failed), one| {
        (asked + one.asked, failed + one.failed)
    })
}

/// Relays other than the liar that were charged.
fn others_charged(world: &World) -> Vec<RelayNo> {
    let charged = |relay: &RelayNo| *relay != LIAR && world.shown_by(*relay).failed > 0;
    world.relays().filter(charged).collect()
}

fn days(count: u64) -> Duration {
    hours(24 * count)
}

/// [CAN-2], [CAN-7]: sixty a day of each relay in the long run; in the first days few letters are old yet.
#[test]
fn personas_read_about_as_often_as_the_network_wants() {
    let mut world = World::new(with_personas(1));
    world.run_for(days(5));
    let (before, _) = shown(&world);
    world.run_for(days(2));
    let (after, failed) = shown(&world);
    let a_day = (after - before) / (2 * u64::from(RELAYS));
    println!(
        "{a_day} readings a relay and day; {} letters",
        world.totals().personas_wrote
    );
    assert!(
        (25..110).contains(&a_day),
        "seed 1: {a_day} a relay and day"
    );
    assert_eq!(failed, 0, "seed 1");
    let told = |relay: RelayNo| {
        world
            .relay(relay)
            .unwrap()
            .relay()
            .unwrap()
            .readings()
            .asked
    };
    assert_eq!(world.relays().map(told).sum::<u64>(), after, "seed 1");
    no_faults(&mut world, 1, 60_000);
}

/// [CAN-4] to [CAN-6]: relays stop and come back, and some stay away for good; nobody has refused a reader.
#[test]
fn in_an_honest_network_with_churn_nobody_is_charged() {
    for seed in 0..seeds(1) {
        let mut scenario = with_personas(seed);
        let us = |minutes: u64| minutes * 60_000_000;
        let sessions = Sessions {
            up_us: us(8 * 60),
            shape_milli: 600,
            down_us: us(40),
        };
        scenario.churn = Churn {
            kinds: vec![(60, sessions)],
            down_max: 2,
        };
        let mut world = World::new(scenario);
        world.run_for(days(1));
        world.destroy(RelayNo(11));
        world.run_for(days(1));
        world.destroy(RelayNo(10));
        world.run_for(days(2));
        let (asked, failed) = shown(&world);
        println!("seed {seed}: {asked} readings");
        assert!(asked > 200, "seed {seed}: {asked} readings");
        assert_eq!(failed, 0, "seed {seed}: of {asked}");
        no_faults(&mut world, seed, 60_000);
    }
}

/// [CAN-4]: a relay that proves all and hides 5 % from its readers. Sixty readings a day find it with 95 %; some
/// of them are of the same letter, so fewer are found within the day here.
#[test]
fn a_relay_that_hides_5_percent_from_readers_is_charged_within_a_day_and_nobody_else() {
    let (mut found, mut late) = (0, 0);
    let count = seeds(2);
    for seed in 0..count {
        let mut world = World::new(with_personas(seed));
        world.run_for(days(4));
        assert_eq!(shown(&world).1, 0, "seed {seed}");
        let lie = Lie::RefusesReaders {
            per_million: 50_000,
        };
        world.corrupt(LIAR, lie);
        world.run_for(days(1));
        let day = world.shown_by(LIAR).failed;
        found += u64::from(day > 0);
        if day == 0 {
            world.run_for(days(2));
            late += u64::from(world.shown_by(LIAR).failed > 0);
        }
        println!(
            "seed {seed}: {day} failed within a day, {:?}",
            world.shown_by(LIAR)
        );
        assert_eq!(others_charged(&world), [], "seed {seed}");
    }
    assert!(
        found * 3 >= count * 2,
        "{found} of seeds 0 to {count} within a day"
    );
    assert_eq!(
        found + late,
        count,
        "of seeds 0 to {count} within three days"
    );
}
