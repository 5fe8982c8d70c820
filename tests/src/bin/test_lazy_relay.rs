//! The relay's program around a disk that lies as `TEST_LIE` says: `drops:N`, `names:N` or `hides:N`, N of a million envelopes.

use std::process::ExitCode;

use poste_sim::adversary::Lie;
use poste_tests::liar;

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
    poste_node::main_with(std::env::args_os().collect(), None, liar::parts(lie))
}
