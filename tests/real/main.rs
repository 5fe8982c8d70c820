//! What is promised, kept by real processes over a real network. One promise a module, all in one program: most of
//! their time is waiting, which they do side by side ([`poste_tests::net::turn`] bounds how many nets there are).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests too"
)]

/// The longest ones: tests begin in the order of their names, and nothing else is left to run beside the last.
mod ahead {
    mod parting;
    mod soak;
    mod sweeps;
}
mod crashes;
mod delivery;
mod demo;
mod discovery;
mod hostile;
mod liars;
mod links;
mod personas;
mod pledges;
mod poste;
mod repair;

/// The relay's program.
const RELAY: &str = env!("CARGO_BIN_EXE_test-relay");
