//! The scoreboard: everything that is promised in numbers, measured in one run of about six minutes.
//!
//! `scoreboard [--json] [onion] [address] [pledge] [store] [link] [road] [day] [relay]`: a table for people, or one
//! array of `{name, unit, ours, theirs, ratio, runs}` for programs; names are fixed. Progress is told on standard
//! error. Named sections run alone.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use poste_benches::failure::BenchFailure;
use poste_benches::row::{Row, table};
use poste_benches::{address, day, idle, link, onion, pledge, road, rows};

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == road::RELAY) {
        args.remove(1);
        return poste_node::main_with(args, None, poste_node::driver::Parts::default());
    }
    let mut json = false;
    let mut wanted = Vec::new();
    for arg in args.iter().skip(1) {
        match SECTIONS.iter().find(|section| arg == **section) {
            Some(section) => wanted.push(*section),
            None if arg == "--json" => json = true,
            None => {
                tell(&format!(
                    "usage: scoreboard [--json] [{}]",
                    SECTIONS.join("] [")
                ));
                return ExitCode::from(2);
            }
        }
    }
    if wanted.is_empty() {
        wanted = SECTIONS.to_vec();
    }
    if cfg!(debug_assertions) {
        tell("this is no release build: the figures mean nothing");
    }
    let (rows, complete) = measure(&wanted);
    let text = if json {
        serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
    } else {
        table(&rows)
    };
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    if complete && written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The rows of these sections, and whether every section has some.
fn measure(wanted: &[&str]) -> (Vec<Row>, bool) {
    let start = Instant::now();
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(failure) => {
            tell(&format!("no folder for temporary files: {failure}"));
            return (Vec::new(), false);
        }
    };
    let (mut rows, mut complete) = (Vec::new(), true);
    for section in wanted {
        tell(&format!("{:>4} s  {section}", start.elapsed().as_secs()));
        match run(section, folder.path()) {
            Ok(measured) => rows.extend(measured),
            Err(failure) => {
                tell(&format!("{section}: {failure}"));
                complete = false;
            }
        }
    }
    tell(&format!("{:>4} s  done", start.elapsed().as_secs()));
    (rows, complete)
}

fn run(section: &str, folder: &Path) -> Result<Vec<Row>, BenchFailure> {
    match section {
        "onion" => onion::measure(ONION),
        "address" => address::measure(ADDRESS),
        "pledge" => pledge::measure(PLEDGE),
        "store" => rows::measure_deposits(folder, STORE),
        "link" => link::measure(LINK),
        // On this thread, the main one: relays end with the thread that started them.
        "road" => runtime()?.block_on(road::measure(folder, ROAD)),
        "day" => runtime()?.block_on(day::measure(&folder.join("day"), DAY)),
        _ => runtime()?.block_on(idle::measure(folder)),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

fn tell(line: &str) {
    // Progress is worth no failure.
    let _ = writeln!(std::io::stderr(), "{line}");
}

const SECTIONS: [&str; 8] = [
    "onion", "address", "pledge", "store", "link", "road", "day", "relay",
];

/// Together with starts, fillings and the minutes of rest about six minutes.
const ONION: Duration = Duration::from_secs(45);
const ADDRESS: Duration = Duration::from_secs(4);
const PLEDGE: Duration = Duration::from_secs(8);
const STORE: Duration = Duration::from_secs(45);
const LINK: Duration = Duration::from_secs(6);
const ROAD: Duration = Duration::from_secs(48);
const DAY: Duration = Duration::from_secs(72);
