//! Relays that lose or drop what they signed for are found out by their siblings, and honest ones never are.
//! How soon is measured in `detection.rs`.
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
use poste_sim::churn::{Churn, Sessions};
use poste_sim::people::{LetterNo, PersonNo};
use poste_sim::{RelayNo, Scenario, World};
use swarm_proto::envelope::ExpiryClass;

const LIAR: RelayNo = RelayNo(3);
const RELAYS: u32 = 7;
const READERS: u32 = 12;
const LETTERS_EACH: usize = 60;

fn seeds(ordinary: u64) -> u64 {
    let wanted = std::env::var("POSTE_SIM_SEEDS").ok();
    wanted.map_or(ordinary, |text| text.parse().unwrap())
}

/// A world that sweeps every hour and has letters in a dozen cells.
fn world(seed: u64) -> (World, Vec<LetterNo>) {
    let mut scenario = Scenario::calm(seed, RELAYS, READERS + 1);
    scenario.sweep_hours = 1;
    let mut world = settled(scenario);
    let mut letters = Vec::new();
    for _ in 0..LETTERS_EACH {
        for reader in 1..=READERS {
            letters.extend(world.write(PersonNo(0), PersonNo(reader), ExpiryClass::Days7));
        }
        world.run_for(Duration::from_secs(60));
    }
    let done = world.run_while_not(hours(1), |world| {
        letters.iter().all(|letter| is_stored(world, *letter))
    });
    assert!(done, "seed {seed}: {:?}", world.totals());
    (world, letters)
}

fn judges(world: &World) -> Vec<RelayNo> {
    world.relays().filter(|relay| *relay != LIAR).collect()
}

fn ranges(world: &World, by: RelayNo) -> u32 {
    world.score(by, LIAR).map_or(0, |score| score.ranges)
}

/// After how many further ranges each judge stops counting on the liar, within so many days.
fn found_after(world: &mut World, judges: &[RelayNo], days: u64) -> Vec<Option<u32>> {
    let before: Vec<u32> = judges.iter().map(|by| ranges(world, *by)).collect();
    let mut found = vec![None; judges.len()];
    for _ in 0..days * 48 {
        world.run_minutes(30);
        for (place, by) in judges.iter().enumerate() {
            let score = world.score(*by, LIAR);
            if found[place].is_none() && score.is_some_and(|score| score.is_failed()) {
                found[place] = Some(ranges(world, *by) - before[place]);
            }
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found
}

/// [SWP-5] [SWP-6]: it admits its loss in a comparison just before it is swept, is given the bytes and proves
/// them. Whoever gives them knows that it had had them.
#[test]
fn a_hoarder_that_fetches_on_demand_convicts_itself_while_its_sweeps_are_equal() {
    for seed in 0..seeds(1) {
        let (mut world, _) = world(seed);
        let honest = world.run_while_not(hours(48), |world| {
            judges(world).iter().all(|by| ranges(world, *by) >= 10)
        });
        assert!(honest, "seed {seed}: too few ranges");
        world.corrupt(
            LIAR,
            Lie::Fetches {
                per_million: 500_000,
            },
        );
        let judges = judges(&world);
        let is_found = |world: &World| {
            let by = |by: &RelayNo| world.score(*by, LIAR).unwrap();
            judges.iter().filter(|one| by(one).is_failed()).count()
        };
        let found = world.run_while_not(hours(72), |world| is_found(world) >= 2);
        let machine = |by: RelayNo| world.relay(by).unwrap().relay().unwrap();
        let scores: Vec<_> = judges.iter().map(|by| world.score(*by, LIAR)).collect();
        let blamed: u64 = scores.iter().flatten().map(|score| score.missing).sum();
        let by_sweeps: u64 = judges.iter().map(|by| machine(*by).sweeps().missing).sum();
        let equal: u64 = judges.iter().map(|by| machine(*by).sweeps().equal).sum();
        println!(
            "seed {seed}: {} of {} judges do not count on it; {blamed} letters missing, {by_sweeps} of them in sweeps, {equal} sweeps equal",
            is_found(&world),
            judges.len()
        );
        assert!(found, "seed {seed}: {scores:?}");
        assert!(blamed > 10 * by_sweeps, "seed {seed}: {scores:?}");
        for by in &judges {
            for of in judges.iter().filter(|of| *of != by) {
                let score = world.score(*by, *of).unwrap_or_default();
                assert_eq!(score.missing, 0, "seed {seed}: {of:?} by {by:?}");
            }
        }
        no_faults(&mut world, seed, 60_000);
    }
}

/// [SWP-5] [SWP-7]: it never had what it dropped, so only its receipts speak against it.
#[test]
fn a_relay_that_acknowledges_and_drops_is_found_and_nothing_is_lost() {
    for seed in 0..seeds(1) {
        let mut scenario = Scenario::calm(seed, RELAYS, READERS + 1);
        scenario.sweep_hours = 1;
        let mut world = settled(scenario);
        world.corrupt(
            LIAR,
            Lie::Drops {
                per_million: 300_000,
            },
        );
        for _ in 0..10 {
            for reader in 1..=READERS {
                world.write(PersonNo(0), PersonNo(reader), ExpiryClass::Days7);
            }
            world.run_for(Duration::from_secs(60));
        }
        let judges = judges(&world);
        let found = found_after(&mut world, &judges, 4);
        assert!(found.iter().all(Option::is_some), "seed {seed}: {found:?}");
        no_faults(&mut world, seed, 60_000);
    }
}

/// [SWP-5]: dying, sleeping and coming back is nobody's fault.
#[test]
fn honest_relays_that_come_and_go_lose_no_standing() {
    for seed in 0..seeds(1) {
        let mut scenario = Scenario::calm(seed, 12, READERS + 1);
        scenario.sweep_hours = 1;
        let hour_us = 3_600_000_000;
        scenario.churn = Churn {
            kinds: vec![(
                70,
                Sessions {
                    up_us: 6 * hour_us,
                    shape_milli: 600,
                    down_us: hour_us,
                },
            )],
            down_max: 2,
        };
        let mut world = settled(scenario);
        for _ in 0..20 {
            for reader in 1..=READERS {
                world.write(PersonNo(0), PersonNo(reader), ExpiryClass::Days7);
            }
            world.run_minutes(10);
        }
        world.run_for(hours(72));
        let mut judged = 0;
        for by in world.relays().collect::<Vec<_>>() {
            for of in world.relays().collect::<Vec<_>>() {
                let Some(score) = world.score(by, of) else {
                    continue;
                };
                assert_eq!(score.missing, 0, "seed {seed}: {of:?} by {by:?}: {score:?}");
                assert!(
                    !score.is_failed(),
                    "seed {seed}: {of:?} by {by:?}: {score:?}"
                );
                judged += usize::from(score.ranges >= 20);
            }
        }
        assert!(judged > 10, "seed {seed}: {judged}");
        no_faults(&mut world, seed, 60_000);
    }
}
