//! After how many sweeps a relay that silently lost a share of its letters is found: whole sweeps between machines.
//!
//! Five relays hold every letter, so each pair sweeps the same few cells, each a range of two hundred letters.
//! The relay is honest for long, then its disk has the names and not the bytes of a share of them. Ordinarily
//! few seeds; `POSTE_SIM_SEEDS` and `POSTE_SIM_RANGES` make it the table of `docs/experiments/sweeps.md`.
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
use poste_sim::people::{LetterNo, PersonNo};
use poste_sim::{RelayNo, Scenario, World};
use swarm_proto::envelope::ExpiryClass;

const LIAR: RelayNo = RelayNo(3);
const RELAYS: u32 = 5;
/// Readers, one cell each.
const CELLS: u32 = 4;
/// More, where thousands of ranges have to be swept before the letters end.
const CELLS_MANY: u32 = 12;
/// Letters in a cell: a range holds 256 at most.
const LETTERS_EACH: u32 = 200;
/// After so many ranges of honesty a score is as good as it gets.
const LONG_HONESTY: u32 = 80;

fn number(name: &str, ordinary: u32) -> u32 {
    let wanted = std::env::var(name).ok();
    wanted.map_or(ordinary, |text| text.parse().unwrap())
}

/// A world that sweeps every hour, with all its letters written.
fn world(seed: u64, readers: u32) -> World {
    let mut scenario = Scenario::calm(seed, RELAYS, readers + 1);
    scenario.sweep_hours = 1;
    scenario.weigh_messages = false;
    let mut world = settled(scenario);
    let mut letters: Vec<LetterNo> = Vec::new();
    for _ in 0..LETTERS_EACH / 5 {
        for reader in 1..=readers {
            for _ in 0..5 {
                letters.extend(world.write(PersonNo(0), PersonNo(reader), ExpiryClass::Days30));
            }
        }
        world.run_for(Duration::from_secs(10));
    }
    let done = world.run_while_not(hours(1), |world| {
        letters.iter().all(|letter| is_stored(world, *letter))
    });
    assert!(done, "seed {seed}: {:?}", world.totals());
    world
}

fn judges(world: &World) -> Vec<RelayNo> {
    world.relays().filter(|relay| *relay != LIAR).collect()
}

fn ranges(world: &World, by: RelayNo) -> u32 {
    world.score(by, LIAR).map_or(0, |score| score.ranges)
}

/// For each judge, after how many ranges since the loss its score was first below `bound`; `None` if it was
/// not within `most`.
fn found_after(seed: u64, per_million: u32, bound: f64, most: u32) -> Vec<Option<u32>> {
    let mut world = world(seed, CELLS);
    let judges = judges(&world);
    let honest = world.run_while_not(hours(80), |world| {
        let mut ranges = judges.iter().map(|by| ranges(world, *by));
        ranges.all(|ranges| ranges >= LONG_HONESTY)
    });
    assert!(honest, "seed {seed}: too few ranges");
    for by in &judges {
        let score = world.score(*by, LIAR).unwrap();
        assert!(score.missing == 0 && score.share() > 0.95, "seed {seed}");
    }
    world.corrupt(LIAR, Lie::KeepsNames { per_million });
    let before: Vec<u32> = judges.iter().map(|by| ranges(&world, *by)).collect();
    let mut found = vec![None; judges.len()];
    let is_over = |world: &World, found: &[Option<u32>]| {
        let mut all = judges.iter().zip(&before).zip(found);
        all.all(|((by, before), found)| found.is_some() || ranges(world, *by) - before >= most)
    };
    while !is_over(&world, &found) {
        // Short enough that no judge sweeps twice in between, nearly always.
        world.run_minutes(2);
        for (place, by) in judges.iter().enumerate() {
            let after = ranges(&world, *by) - before[place];
            let share = world.score(*by, LIAR).unwrap().share();
            if found[place].is_none() && share < bound && after <= most {
                found[place] = Some(after);
            }
        }
    }
    no_faults(&mut world, seed, 60_000);
    found
}

/// The median over judges and seeds, within one range or 30 % of `expected`.
fn is_found_after(name: &str, per_million: u32, bound: f64, expected: u32) {
    let seeds = number("POSTE_SIM_SEEDS", 1);
    let mut all = Vec::new();
    for seed in 0..u64::from(seeds) {
        let found = found_after(seed, per_million, bound, 100);
        assert!(found.iter().all(Option::is_some), "seed {seed}: {found:?}");
        all.extend(found.into_iter().flatten());
    }
    all.sort_unstable();
    let at = |percent: usize| all[(all.len() - 1) * percent / 100];
    println!(
        "{name}: below {bound} after {} ranges (5 % of the judges after {}, 95 % after {}; {} judges, {seeds} seeds; expected {expected})",
        at(50),
        at(5),
        at(95),
        all.len()
    );
    let off = at(50).abs_diff(expected);
    assert!(off <= 1 || 10 * off <= 3 * expected, "{name}: {all:?}");
}

/// [SWP-6]
#[test]
fn a_loss_of_5_percent_is_found_after_nine_ranges() {
    is_found_after("5 % lost", 50_000, 0.85, 9);
}

/// [SWP-6]
#[test]
fn a_loss_of_10_percent_is_found_after_four_ranges() {
    is_found_after("10 % lost", 100_000, 0.85, 4);
}

/// [SWP-6]: such a relay is not suspended, but it does not look honest either.
#[test]
fn a_loss_of_1_percent_shows_after_thirteen_ranges() {
    is_found_after("1 % lost", 10_000, 0.95, 13);
}

/// [SWP-6]
#[test]
fn a_loss_of_one_in_a_thousand_is_never_held_against_a_relay() {
    let seeds = number("POSTE_SIM_SEEDS", 1);
    let wanted = number("POSTE_SIM_RANGES", 150);
    let (mut lowest, mut judged, mut missing): (f64, u64, u64) = (1.0, 0, 0);
    for seed in 1..=u64::from(seeds) {
        let mut world = world(seed, CELLS_MANY);
        world.corrupt(LIAR, Lie::KeepsNames { per_million: 1_000 });
        let judges = judges(&world);
        while judges.iter().any(|by| ranges(&world, *by) < wanted) {
            world.run_minutes(30);
            for by in &judges {
                let Some(score) = world.score(*by, LIAR) else {
                    continue;
                };
                assert!(!score.is_failed(), "seed {seed}: {score:?}");
                if score.ranges >= 20 {
                    lowest = lowest.min(score.share());
                }
            }
        }
        for by in judges {
            judged += u64::from(ranges(&world, by));
            missing += world.score(by, LIAR).unwrap().missing;
        }
        no_faults(&mut world, seed, 60_000);
    }
    assert!(missing > 0, "nothing was lost, and nothing was tested");
    println!(
        "0.1 % lost: never suspended in {judged} ranges, {missing} letters missing, lowest score {lowest:.3} ({seeds} seeds)"
    );
}
