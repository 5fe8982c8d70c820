//! A relay that loses mail goes through all that follows, epoch by epoch: votes, a suspension, a longer one, and back.
//!
//! Nothing is made up: sweeps find the losses, reports tell watchers, watchers testify, and every relay makes its
//! own certificates of what it heard. A minute lasts a second, so an epoch takes two seconds of a debug build.
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
use swarm_proto::standing::{Certificate, Judgement};
use swarm_proto::time::Epoch;

const RELAYS: u32 = 16;
const READERS: u32 = 24;
const LIAR: RelayNo = RelayNo(3);
const SECOND: Duration = Duration::from_secs(1);

fn world(seed: u64) -> World {
    let mut scenario = Scenario::calm(seed, RELAYS, READERS + 1).at_scale(1_000);
    scenario.watchers = 15;
    scenario.sweep_hours = 6;
    scenario.weigh_messages = false;
    let mut world = settled(scenario);
    for _ in 0..12 {
        write(&mut world);
    }
    // Comparisons that all have all: blame rests on them.
    world.run_minutes(240);
    world
}

/// A letter to everybody.
fn write(world: &mut World) -> Vec<LetterNo> {
    let write = |reader| world.write(PersonNo(0), PersonNo(reader), ExpiryClass::Days14);
    let letters = (1..=READERS).map(write).map(Option::unwrap).collect();
    world.run_for(10 * SECOND);
    letters
}

fn today(world: &World) -> Epoch {
    world.network().scale.epoch_of(world.unix())
}

/// Until the next epoch begins.
fn midnight(world: &mut World) {
    let next = world.network().scale.epoch_start(today(world).plus(1));
    world.run_for(next.distance(world.unix()));
}

/// How the liar stands, the same for everybody else; and nothing is held against anybody else.
fn seen(world: &World) -> (Judgement, Certificate) {
    let others = || world.relays().filter(|relay| *relay != LIAR);
    let of_liar = |by: RelayNo| {
        let seen = world.judgement(by, LIAR).unwrap();
        let (epochs, certificate) = seen.certificate.unwrap();
        assert_eq!(epochs, 1, "{by:?}: {seen:?}");
        (seen, certificate)
    };
    let first = of_liar(RelayNo(0));
    for by in others() {
        let (seen, certificate) = of_liar(by);
        assert_eq!(certificate, first.1, "{by:?}");
        assert_eq!(
            (seen.holds, seen.suspended_for),
            (first.0.holds, first.0.suspended_for),
            "{by:?}"
        );
        for of in others() {
            let seen = world.judgement(by, of).unwrap();
            let place = format!("{of:?} by {by:?}: {seen:?}");
            assert!(seen.holds && seen.suspended_for == 0, "{place}");
            assert_eq!(seen.suspend, 0, "{place}");
        }
    }
    first
}

/// Letters that the liar is to hold, by an honest relay's list, and those of them that it has.
fn given(world: &World, letters: &[LetterNo]) -> (usize, usize) {
    let liars = letters.iter().filter(|letter| {
        let ranked = ranked(world, RelayNo(0), **letter);
        ranked[..5].contains(&LIAR)
    });
    let has = |letter: &&LetterNo| world.letter(**letter).unwrap().kept_by.contains(&LIAR.0);
    let liars: Vec<&LetterNo> = liars.collect();
    let kept = liars.iter().copied().filter(has).count();
    (liars.len(), kept)
}

/// [STD-7] [STD-8] [ELI-7]: three of five epochs suspend it for one, three more for two; once it keeps what it has it
/// is let in again after its term, and not before.
#[test]
fn a_relay_that_loses_5_percent_is_suspended_over_epochs_and_comes_back_after_its_term() {
    let seed = 0;
    let mut world = world(seed);
    let verdicts = world.network().verdicts;
    let lie = Lie::KeepsNames {
        per_million: 50_000,
    };
    world.corrupt(LIAR, lie);
    let mut days: Vec<(bool, u8, Certificate)> = Vec::new();
    let (mut will_be_again, mut reformed) = (false, None);
    while !reformed.is_some_and(|_| days.last().unwrap().0) {
        // By noon the last words of yesterday's watchers have come to everybody.
        midnight(&mut world);
        if will_be_again && reformed.is_none() {
            // The epoch that ended has suspended it for the second time: it begins to keep what it has.
            world.reform(LIAR);
            reformed = Some(days.len());
        }
        world.run_minutes(720);
        let (seen, certificate) = seen(&world);
        let letters = write(&mut world);
        let (to_hold, kept) = given(&world, &letters);
        println!(
            "{:?}: holds {}, {to_hold} new letters, suspended for {}, {certificate:?}",
            today(&world),
            seen.holds,
            seen.suspended_for
        );
        assert_eq!(seen.holds, to_hold > 0, "{seen:?}");
        assert_eq!(to_hold, kept, "it takes what is its");
        days.push((seen.holds, seen.suspended_for, certificate));
        assert!(days.len() <= 16, "{days:?}");
        let next = certificate.past_after(1, &verdicts);
        let votes = next.history.count_ones() + 1;
        will_be_again = next.times == 1 && votes == u32::from(verdicts.suspend_epochs);
    }
    for (term, times) in [(1, 1), (2, 2)] {
        let is_new = |day: &&(bool, u8, Certificate)| {
            day.1 == term && day.2.past_after(1, &verdicts).times == times && day.2.suspend
        };
        let begins = days.iter().position(|day| is_new(&day)).unwrap();
        // Two before this one, of those that no suspension has used up.
        let votes = days[begins].2.past.history.count_ones() + 1;
        assert_eq!(votes, 3, "{days:?}");
        let out = days.iter().skip(begins + 1).take(usize::from(term));
        assert!(out.into_iter().all(|(holds, _, _)| !holds), "{days:?}");
    }
    let after = &days[reformed.unwrap()..];
    let held: Vec<bool> = after.iter().map(|(holds, _, _)| *holds).collect();
    assert_eq!(held, [false, false, false, true], "{days:?}");
    // The last M(e) without it was made with this certificate: nothing but the term is against it.
    let (_, term, last) = &after[1];
    assert_eq!((*term, last.suspend, last.kept), (1, false, Some(100)));
    no_faults(&mut world, seed, 1_000);
}

/// The newest certificate of each by what each knows, and how old it is.
fn certified(world: &World) -> Vec<(String, (u32, Certificate))> {
    let seen = |by: RelayNo, of: RelayNo| {
        let certificate = world.judgement(by, of).unwrap().certificate;
        let place = format!("{of:?} by {by:?}");
        let known = certificate.ok_or_else(|| place.clone());
        (place, known.unwrap())
    };
    let by_all = |of| world.relays().map(move |by| seen(by, of));
    world.relays().flat_map(by_all).collect()
}

/// [STD-14]: before certificates were kept on disk, all relays together had to be stopped only once, and whoever was
/// suspended held again; ages and availabilities began anew.
#[test]
fn a_suspended_relay_stays_out_and_nobody_grows_younger_when_all_stop_at_once() {
    let seed = 1;
    let mut world = world(seed);
    let lie = Lie::KeepsNames {
        per_million: 50_000,
    };
    world.corrupt(LIAR, lie);
    for day in 0.. {
        midnight(&mut world);
        world.run_minutes(720);
        if seen(&world).0.suspended_for > 0 {
            break;
        }
        assert!(day < 8, "it is not suspended");
    }
    let before = certified(&world);
    let everybody: Vec<RelayNo> = world.relays().collect();
    everybody.iter().for_each(|relay| world.kill(*relay));
    world.run_minutes(30);
    everybody.iter().for_each(|relay| world.restart(*relay));
    world.run_minutes(60);
    for (now, then) in certified(&world).into_iter().zip(&before) {
        assert_eq!(now, *then);
    }
    // The epoch that it is suspended for.
    midnight(&mut world);
    world.run_minutes(720);
    let (seen, certificate) = seen(&world);
    assert!(!seen.holds, "{seen:?}");
    assert_eq!((certificate.past.term, certificate.past.times), (1, 1));
    for ((_, (_, then)), (place, (_, now))) in before.into_iter().zip(certified(&world)) {
        assert_eq!(now.age, then.age + 1, "{place}");
    }
    no_faults(&mut world, seed, 1_000);
}
