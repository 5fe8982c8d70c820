//! Correspondents go by what watchers certify, as relays do: over the real road, from hash to names to placement.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails here, and figures are shown"
)]

mod common;

use std::time::Duration;

use common::*;
use poste_sim::links::Node;
use poste_sim::people::{LetterNo, PersonNo};
use poste_sim::{RelayNo, Scenario, World};
use swarm_proto::envelope::ExpiryClass;
use swarm_proto::id::NodeId;
use swarm_proto::place::Cell;
use swarm_proto::time::Epoch;

const RELAYS: u32 = 20;
const READERS: u32 = 12;
const AWAY: RelayNo = RelayNo(3);

fn today(world: &World) -> Epoch {
    world.network().scale.epoch_of(world.unix())
}

/// In how many of these cells a relay is a holder, by a correspondent's machine.
fn holds(world: &World, person: PersonNo, epoch: Epoch, id: NodeId) -> usize {
    let client = world.person(person).unwrap().client();
    let placements = (0..400).map(|cell| client.placement(epoch, Cell(cell * 40)));
    placements.filter(|one| one.is_holder(&id)).count()
}

/// A letter to somebody that this relay is one of the five holders of.
fn letter_at(world: &World, relay: RelayNo) -> LetterNo {
    let letters = (0_u32..).map(LetterNo).take(world.letters().len());
    let mut held =
        letters.filter(|letter| ranked(world, RelayNo(0), *letter)[..5].contains(&relay));
    held.next().unwrap()
}

/// [ELI-7] [ELI-8] [ELI-11] [ELI-12]: a relay that was away for most of a day is certified so. From the next day but
/// one on nobody counts it among the holders, correspondents included; a letter that it alone is left with is found.
#[test]
fn who_is_certified_away_gets_no_new_letters_and_serves_the_old_ones() {
    let seed = 5;
    let mut scenario = Scenario::calm(seed, RELAYS, READERS + 1);
    scenario.watchers = 15;
    let mut world = settled(scenario);
    let first = today(&world);
    for reader in 1..=READERS {
        stored(&mut world, 0, reader, ExpiryClass::Days14);
    }
    world.run_for(Duration::from_secs(60));
    let id = world.relay(AWAY).unwrap().id();
    let letter = letter_at(&world, AWAY);
    let mut holders = ranked(&world, RelayNo(0), letter);

    world.cut_off([Node::Relay(AWAY.0)]);
    world.run_for(hours(13));
    world.heal();
    let later = first.plus(2);
    assert!(world.run_while_not(hours(48), |world| today(world) == later));
    world.run_for(hours(3));

    let seen = world.judgement(RelayNo(0), AWAY).unwrap();
    assert!(!seen.holds, "{seen:?}");
    for person in [PersonNo(0), PersonNo(1)] {
        let [before, after] = [first, later].map(|epoch| holds(&world, person, epoch, id));
        println!("{person:?}: holder of {before} of 400 cells, two days later of {after}");
        assert!(before > 50 && after == 0, "{person:?}: {before} {after}");
        let client = world.person(person).unwrap().client();
        let relay = world.relay(RelayNo(0)).unwrap().relay().unwrap();
        for cell in (0..400).map(|cell| Cell(cell * 40)) {
            assert_eq!(client.placement(later, cell), relay.placement(later, cell));
        }
    }
    let new = stored(&mut world, 0, 1, ExpiryClass::Days14);
    let receipts = &world.letter(new).unwrap().receipts;
    assert!(receipts.iter().all(|one| one.holder.node_id() != id));

    // The other four holders die, and what repair would do is not waited for.
    holders.truncate(5);
    for holder in holders.into_iter().filter(|holder| *holder != AWAY) {
        world.kill(holder);
    }
    let reader = world.letter(letter).unwrap().to;
    world.read(reader, 2);
    let found = world.run_while_not(hours(1), |world| is_read(world, letter));
    assert!(found, "{:#?}", world.totals());
    assert_eq!(world.faults(), []);
}
