//! Random kills, restarts and losses: what was acknowledged is read, whatever the order of events.
//!
//! Never more than two relays are down at once, so never more than two holders of a live cell. A failure
//! names its seed; `SEEDS` may be widened to hunt.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails here"
)]

mod common;

use std::time::Duration;

use common::*;
use poste_sim::churn::{Churn, Sessions};
use poste_sim::people::PersonNo;
use poste_sim::{Scenario, World};

#[test]
fn nothing_acknowledged_is_lost_under_random_kills() {
    for seed in 0..SEEDS {
        for minute_ms in SCALES {
            run(seed, minute_ms, 0);
        }
    }
}

/// Seed 103, minute_ms 60,000: paths failed at their middles, so three spares were read in the place of
/// holders, had nothing, and the reading called itself complete.
#[test]
fn nothing_acknowledged_is_lost_when_links_lose_messages_too() {
    for seed in 101..101 + SEEDS {
        for minute_ms in SCALES {
            run(seed, minute_ms, 20_000);
        }
    }
}

fn run(seed: u64, minute_ms: u32, loss_per_million: u32) {
    let mut world = World::new(restless(seed, minute_ms, loss_per_million));
    let minutes = |count| world.network().scale.minutes(count);
    let (lifetime, rest) = (minutes(8 * 60), minutes(30));
    world.run_for(lifetime.max(Duration::from_secs(90)));
    for person in 0..4 {
        world.read(PersonNo(person), 1);
    }
    world.run_for(rest.max(Duration::from_secs(45)));
    let totals = world.totals();
    assert!(totals.letters_stored > 10, "seed {seed}: {totals:?}");
    assert!(totals.reads > 0, "seed {seed}: {totals:?}");
    no_faults(&mut world, seed, minute_ms);
}

fn restless(seed: u64, minute_ms: u32, loss_per_million: u32) -> Scenario {
    let mut scenario = Scenario::calm(seed, 25, 4).at_scale(minute_ms);
    let us = |minutes| u64::try_from(scenario.minutes(minutes).as_micros()).unwrap();
    let restless = Sessions {
        up_us: us(120),
        shape_milli: 600,
        down_us: us(15),
    };
    scenario.churn = Churn {
        kinds: vec![(100, restless)],
        down_max: 2,
    };
    scenario.loss_per_million = loss_per_million;
    scenario.habits.write_every_minutes = 15;
    scenario.habits.read_every_minutes = 20;
    scenario
}

/// Worlds of each kind; a few seconds each in an unoptimised build.
const SEEDS: u64 = 4;
