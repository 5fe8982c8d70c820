//! Relays that keep less than they have pledged convict themselves, honest ones never do, and silence is no lie.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod common;

use std::time::Duration;

use common::*;
use poste_sim::adversary::Lie;
use poste_sim::{RelayNo, Scenario};
use swarm_proto::pledge::PledgeCounts;

const LIAR: RelayNo = RelayNo(3);
const DEAD: RelayNo = RelayNo(4);

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
