//! The relay's program around a disk that lies as `TEST_LIE` says: `drops:N`, `names:N` or `hides:N`, N of a million envelopes.

use std::process::ExitCode;

use poste_node::driver::{Core, Parts};
use poste_sim::adversary::Lie;
use swarm_proto::effects::{Effect, Effects, Input};
use swarm_proto::id::NodeId;
use swarm_proto::members::possession::Score;
use swarm_proto::relay::{Relay, RelayState};
use swarm_proto::time::{Instant, Now};

fn main() -> ExitCode {
    let lie = std::env::var("TEST_LIE").unwrap_or_default();
    let (kind, share) = lie.split_once(':').unwrap_or_default();
    let per_million = share.parse().unwrap_or(0);
    let lie = match kind {
        "drops" => Lie::Drops { per_million },
        "names" => Lie::KeepsNames { per_million },
        "hides" => Lie::RefusesReaders { per_million },
        _ => return ExitCode::from(2),
    };
    let parts = Parts {
        wrap: Box::new(move |relay| Box::new(Liar { relay, lie })),
        ..Parts::default()
    };
    poste_node::main_with(std::env::args_os().collect(), None, parts)
}

/// An honest machine that is told lies by its disk.
struct Liar {
    relay: Relay,
    lie: Lie,
}

impl Core for Liar {
    fn step(&mut self, now: Now, mut input: Input, out: &mut Effects) {
        if let Input::Stored { done, .. } = &mut input {
            self.lie.bend(done);
        }
        let mut told = vec![input];
        while let Some(input) = told.pop() {
            let mut own = Effects::default();
            self.relay.step(now, input, &mut own);
            for effect in own.drain() {
                let instead = match &effect {
                    Effect::Store { op, request } => {
                        let done = self.lie.instead(request);
                        done.map(|done| (op.clone(), done))
                    }
                    _ => None,
                };
                match instead {
                    Some((op, done)) => told.push(Input::Stored { op, done }),
                    None => out.push(effect),
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.relay.deadline().map(|(at, _)| at)
    }

    fn state(&self) -> RelayState {
        self.relay.state()
    }

    fn score(&self, id: &NodeId) -> Option<Score> {
        self.relay.score(id)
    }
}
