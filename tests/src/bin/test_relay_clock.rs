//! The relay's program with a clock that is wrong by `TEST_CLOCK_OFFSET_MS` milliseconds.

use std::process::ExitCode;
use std::time::Duration;

use poste_node::driver::{Clock, Parts};
use swarm_proto::time::Now;

fn main() -> ExitCode {
    let offset = std::env::var("TEST_CLOCK_OFFSET_MS").ok();
    let offset: i64 = offset.and_then(|ms| ms.parse().ok()).unwrap_or(0);
    let (system, shift) = (
        Clock::system(),
        Duration::from_millis(offset.unsigned_abs()),
    );
    let clock = Clock::new(move || {
        let now = system.read();
        let unix = if offset < 0 {
            now.unix.minus(shift)
        } else {
            now.unix.plus(shift)
        };
        Now { unix, ..now }
    });
    let parts = Parts {
        clock,
        ..Parts::default()
    };
    poste_node::main_with(std::env::args_os().collect(), None, parts)
}
