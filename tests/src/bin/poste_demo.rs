//! The main job in one command: letters that wait at a swarm of relays while their reader is away.
//!
//! Relays, Ada and Bob are processes of their own. They run this same executable, which calls the programs'
//! own main functions, so that one `cargo run` builds all there is.

use std::ffi::OsString;
use std::process::ExitCode;

use poste_sim::adversary::Lie;
use poste_tests::{demo, liar};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let role = args.get(1).and_then(|role| role.to_str());
    let own = |name: &str| {
        [OsString::from(name)]
            .into_iter()
            .chain(args.iter().skip(2).cloned())
            .collect()
    };
    match role {
        Some(demo::RELAY_ROLE) => poste_node::main_with(
            own("poste-node"),
            None,
            poste_node::driver::Parts::default(),
        ),
        Some(demo::LIAR_ROLE) => {
            // It has lost every byte, and says that it has them all.
            let lie = Lie::KeepsNames {
                per_million: 1_000_000,
            };
            poste_node::main_with(own("poste-node"), None, liar::parts(lie))
        }
        Some(demo::POSTE_ROLE) => poste::main_with(own("poste")),
        _ => demo::run(args),
    }
}
