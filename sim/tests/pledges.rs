//! Relays that keep less than they have pledged convict themselves, honest ones never do, and silence is no lie.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod common;

use std::time::Duration;

use common::*;
use poste_sim::adversary::Lie;
use poste_sim::{RelayNo, Scenario, World};
use swarm_proto::pledge::PledgeCounts;

const LIAR: RelayNo = RelayNo(3);
const DEAD: RelayNo = RelayNo(4);

/// [EVD-3] [EVD-5] [EVD-6]: who forgot it hears it again, and when nobody was left to say it, all remember.
#[test]
fn an_expelled_relay_stays_expelled_when_all_restart_one_by_one_and_at_once() {
    let mut scenario = Scenario::calm(6, 12, 1).at_scale(1_000);
    scenario.watchers = 15;
    let mut world = settled(scenario);
    world.corrupt(LIAR, Lie::KeepsSectors { sectors: 0 });
    let others: Vec<RelayNo> = world.relays().filter(|one| *one != LIAR).collect();
    let knows = |world: &World, by: &RelayNo| {
        let seen = world.judgement(*by, LIAR);
        seen.is_some_and(|seen| seen.expelled.is_some())
    };
    let all_know = |world: &World| others.iter().all(|by| knows(world, by));
    assert!(world.run_while_not(world.network().scale.minutes(1_440), all_know));
    for relay in &others {
        // Nothing is left of it but its key.
        world.destroy(*relay);
        world.run_minutes(5);
        world.restart(*relay);
        assert!(!knows(&world, relay));
        let an_hour = world.network().scale.minutes(60);
        let again = world.run_while_not(3 * an_hour, |world| knows(world, relay));
        assert!(again, "{relay:?}");
    }
    let everybody: Vec<RelayNo> = world.relays().collect();
    everybody.iter().for_each(|relay| world.kill(*relay));
    world.run_minutes(5);
    everybody.iter().for_each(|relay| world.restart(*relay));
    assert!(all_know(&world));
    for _ in 0..3 {
        world.run_minutes(1_440);
    }
    for by in &others {
        let holds = |of: &RelayNo| world.judgement(*by, *of).unwrap().holds;
        assert!(!holds(&LIAR), "{by:?}");
        assert!(others.iter().all(holds), "{by:?}");
    }
    no_faults(&mut world, 6, 1_000);
}

/// [PLG-6] [PLG-7]
#[test]
fn everybody_challenges_everybody_and_only_the_liar_is_convicted() {
    let mut world = settled(Scenario::calm(5, 6, 1));
    world.corrupt(LIAR, Lie::KeepsSectors { sectors: 0 });
    world.kill(DEAD);
    let relays: Vec<RelayNo> = world.relays().collect();
    let judges = relays.iter().filter(|by| ![LIAR, DEAD].contains(by));
    for by in judges.clone() {
        for of in &relays {
            world.challenge(*by, *of);
        }
    }
    world.run_for(Duration::from_secs(30));
    for by in judges {
        let counts = world.relay(*by).unwrap().relay().unwrap().state().pledge;
        let right = PledgeCounts {
            asked: 5,
            shown: 3,
            wrong: 1,
            silent: 1,
            answered: 3,
            ..PledgeCounts::default()
        };
        assert_eq!(counts, right, "{by:?}");
    }
}
