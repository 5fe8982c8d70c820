//! Worlds that have settled, and questions that many tests ask of them.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::time::Duration;

use poste_sim::host::Host;
use poste_sim::people::{LetterNo, PersonNo};
use poste_sim::{RelayNo, Scenario, World};
use swarm_proto::envelope::ExpiryClass;

/// A devnet's scale and a public network's, in milliseconds a minute.
pub(crate) const SCALES: [u32; 2] = [100, 60_000];

/// A world in which every relay knows every other and everybody has the list.
pub(crate) fn settled(scenario: Scenario) -> World {
    let relays = usize::try_from(scenario.relays).unwrap();
    let mut world = World::new(scenario);
    let done = world.run_while_not(hours(12), |world| {
        world.everybody_is_ready() && everybody_knows(world, relays)
    });
    assert!(done, "the world did not settle");
    // Correspondents that looked early look again.
    world.run_minutes(61);
    world.run_for(Duration::from_secs(10));
    world
}

/// Whether every relay that is up has this many members in its list.
pub(crate) fn everybody_knows(world: &World, members: usize) -> bool {
    world
        .relays()
        .filter_map(|relay| world.relay(relay)?.relay())
        .all(|relay| relay.members().len() == members)
}

/// Writes a letter and waits until it is stored.
pub(crate) fn stored(world: &mut World, from: u32, to: u32, expiry: ExpiryClass) -> LetterNo {
    let letter = world.write(PersonNo(from), PersonNo(to), expiry).unwrap();
    let done = world.run_while_not(Duration::from_secs(60), |world| is_stored(world, letter));
    assert!(done, "{letter:?} was not stored");
    letter
}

/// Whether its writer knows it stored.
pub(crate) fn is_stored(world: &World, letter: LetterNo) -> bool {
    world.letter(letter).unwrap().stored_us.is_some()
}

/// Whether its recipient has it.
pub(crate) fn is_read(world: &World, letter: LetterNo) -> bool {
    world.letter(letter).unwrap().read_us.is_some()
}

/// The relays around a letter's cell, best rank first, as `witness` computes them.
pub(crate) fn ranked(world: &World, witness: RelayNo, letter: LetterNo) -> Vec<RelayNo> {
    let promise = world.letter(letter).unwrap().promise;
    let machine = world.relay(witness).unwrap().relay().unwrap();
    let placement = machine.placement(promise.epoch, promise.cell);
    placement
        .ranked()
        .iter()
        .map(|id| world.relay_of(id).unwrap())
        .collect()
}

/// The relays that run.
pub(crate) fn up(world: &World) -> Vec<RelayNo> {
    let runs = |relay: &RelayNo| world.relay(*relay).is_some_and(Host::is_up);
    world.relays().filter(runs).collect()
}

/// Nothing happened that must not; the message says how to see it again.
pub(crate) fn no_faults(world: &mut World, seed: u64, minute_ms: u32) {
    world.check_all();
    assert_eq!(
        world.faults(),
        [],
        "seed {seed}, minute_ms {minute_ms}: {:#?}",
        world.totals()
    );
}

pub(crate) fn hours(hours: u64) -> Duration {
    Duration::from_secs(3_600 * hours)
}
