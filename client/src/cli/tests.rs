//! Promises of the command line that need no network.

use super::*;
use clap::CommandFactory;

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"poste").chain(args))
}

#[test]
fn the_parser_is_sound() {
    Cli::command().debug_assert();
}
