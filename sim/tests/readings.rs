//! Dead holders and spares: a reading that calls itself complete brings all that was stored before it began.
//!
//! Whoever is down while a letter is written is up while it is read, and others are down in their place: the
//! few who have it must meet the few who are read. A failure names its seed; `SEEDS` may be widened to hunt.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails here"
)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::*;
use poste_sim::chance::Chance;
use poste_sim::people::{LetterNo, PersonNo};
use poste_sim::{RelayNo, Scenario, World};
use swarm_proto::envelope::ExpiryClass;

/// [FET-4], [PTH-5]
#[test]
fn a_complete_reading_has_every_letter_that_was_stored_whoever_was_dead() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        run(seed, &mut seen);
    }
    assert!(seen.stored_before > 4, "{seen:?}");
    assert!(seen.read_at_once > 4, "{seen:?}");
    assert!(seen.with_spares > 4, "{seen:?}");
}

/// What the seeds have shown between them: a test that saw none of it proves nothing.
#[derive(Debug, Default)]
struct Seen {
    /// Letters that were stored while holders were dead.
    stored_before: usize,
    /// Of those, how many a complete reading with other holders dead brought.
    read_at_once: usize,
    /// Letters with a receipt of a spare beside those of W holders.
    with_spares: usize,
}

fn run(seed: u64, seen: &mut Seen) {
    let minute_ms = 60_000;
    let mut world = settled(Scenario::calm(seed, 16, 2));
    let mut chance = Chance::new(seed, "outages", 0);
    let probe = stored(&mut world, 0, 1, ExpiryClass::Days7);
    let holders: Vec<RelayNo> = ranked(&world, RelayNo(0), probe)[..5].to_vec();
    let mortal = without_guards(&world, &holders);

    let count = 2 + usize::try_from(seed % 2).unwrap();
    let absent = some(&mut chance, &mortal, count);
    absent.iter().for_each(|relay| world.kill(*relay));
    let letters: Vec<LetterNo> = (0..3)
        .map(|_| world.write(PersonNo(0), PersonNo(1), ExpiryClass::Days7))
        .map(Option::unwrap)
        .collect();
    world.run_for(Duration::from_secs(13));
    let before = letters.iter().filter(|letter| is_stored(&world, **letter));
    let before: Vec<LetterNo> = before.copied().collect();
    seen.stored_before += before.len();

    // Those that may have it go, so that nobody tells those who come back.
    let present: Vec<RelayNo> = mortal
        .iter()
        .filter(|relay| !absent.contains(relay))
        .copied()
        .collect();
    let gone = some(&mut chance, &present, 2);
    gone.iter().for_each(|relay| world.kill(*relay));
    absent.iter().for_each(|relay| world.restart(*relay));
    world.read(PersonNo(1), 0);
    world.run_for(Duration::from_secs(60));
    let read = before.iter().filter(|letter| is_read(&world, **letter));
    seen.read_at_once += read.count();
    no_faults(&mut world, seed, minute_ms);

    gone.iter().for_each(|relay| world.restart(*relay));
    let done = world.run_while_not(Duration::from_secs(180), |world| {
        letters.iter().all(|letter| is_stored(world, *letter))
    });
    assert!(done, "seed {seed}: {:?}", world.totals());
    world.read(PersonNo(1), 0);
    world.run_for(Duration::from_secs(60));
    assert!(letters.iter().all(|letter| is_read(&world, *letter)));
    no_faults(&mut world, seed, minute_ms);

    let of_holders = |letter: &LetterNo| {
        let receipts = &world.letter(*letter).unwrap().receipts;
        let signers = receipts.iter().map(|one| one.holder.node_id());
        let signers: BTreeSet<RelayNo> = signers.map(|id| world.relay_of(&id).unwrap()).collect();
        (
            holders.iter().filter(|one| signers.contains(one)).count(),
            signers.len(),
        )
    };
    for (few, all) in letters.iter().map(of_holders) {
        assert!(
            few >= 3,
            "seed {seed}: {few} of {all} receipts are of holders"
        );
        seen.with_spares += usize::from(all > few);
    }
}

/// Relays that both correspondents can do without: they reach nobody once their guards are dead.
fn without_guards(world: &World, relays: &[RelayNo]) -> Vec<RelayNo> {
    let people = [PersonNo(0), PersonNo(1)].map(|person| world.person(person).unwrap());
    let guards = people.iter().flat_map(|person| &person.pinned().guards);
    let guards: BTreeSet<RelayNo> = guards.map(|pin| world.relay_of(&pin.id).unwrap()).collect();
    let mortal = relays.iter().filter(|relay| !guards.contains(relay));
    mortal.copied().collect()
}

fn some(chance: &mut Chance, of: &[RelayNo], count: usize) -> Vec<RelayNo> {
    let mut left = of.to_vec();
    while left.len() > count {
        let at = chance.below(u64::try_from(left.len()).unwrap());
        left.swap_remove(usize::try_from(at).unwrap());
    }
    left
}

/// Worlds, half of them with two and half with three dead holders; a second each in an unoptimised build.
const SEEDS: u64 = 24;
