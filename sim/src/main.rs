//! `poste-sim`: runs a world, shows how it went, and fails if anything happened that must not.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use poste_sim::check::Totals;
use poste_sim::churn::{Churn, Sessions};
use poste_sim::habits::Habits;
use poste_sim::{Cryptography, Scenario, World};
use serde::Serialize;
use swarm_proto::id::hex;

/// Relays and correspondents in virtual time.
#[derive(Parser)]
#[command(name = "poste-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a world and show how it went.
    Run {
        #[command(flatten)]
        knobs: Knobs,
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Run a world and print nothing but the digest of its history.
    Digest {
        #[command(flatten)]
        knobs: Knobs,
    },
}

#[derive(Args, Clone, Copy, Serialize)]
struct Knobs {
    /// Relays at the start, all of them founders.
    #[arg(long, default_value_t = 25)]
    relays: u32,
    /// Correspondents.
    #[arg(long, default_value_t = 10)]
    people: u32,
    /// Hours of the network's calendar.
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// All chance follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Milliseconds in a minute of the network's calendar.
    #[arg(long, default_value_t = 60_000)]
    minute_ms: u32,
    /// Mean minutes between two letters of one person; 0 for none.
    #[arg(long, default_value_t = 120)]
    write_every: u64,
    /// Mean minutes between two looks of one person into its mailbox; 0 for none.
    #[arg(long, default_value_t = 60)]
    read_every: u64,
    /// Messages of a million that are lost.
    #[arg(long, default_value_t = 0)]
    loss: u32,
    /// Relays that may be down at once; 0 for no deaths.
    #[arg(long, default_value_t = 0)]
    down: u32,
    /// Use real curves and lattices.
    #[arg(long)]
    real: bool,
    /// Do not encode and read back every message.
    #[arg(long)]
    unweighed: bool,
}

/// What a run gave.
#[derive(Serialize)]
struct Outcome {
    knobs: Knobs,
    version: &'static str,
    digest: String,
    wall_seconds: f64,
    virtual_seconds: f64,
    events_per_second: f64,
    totals: Totals,
    stored_ms: [u64; 3],
    faults: Vec<String>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { knobs, json } => run(knobs, true).and_then(|outcome| {
            if json {
                let text = serde_json::to_string_pretty(&outcome)?;
                writeln!(io::stdout(), "{text}")?;
            } else {
                table(&outcome)?;
            }
            Ok(outcome)
        }),
        Command::Digest { knobs } => run(knobs, false).and_then(|outcome| {
            writeln!(io::stdout(), "{}", outcome.digest)?;
            Ok(outcome)
        }),
    };
    match outcome {
        Ok(outcome) if outcome.faults.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAULTS_FOUND),
        Err(_) => ExitCode::FAILURE,
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long a run takes is no part of it"
)]
fn run(knobs: Knobs, tells: bool) -> io::Result<Outcome> {
    let began = Instant::now();
    let mut world = World::new(scenario(knobs));
    for hour in 0..knobs.hours {
        world.run_minutes(60);
        if tells {
            let totals = world.totals();
            write!(
                io::stderr(),
                "\rhour {} of {}: {} events, {} letters stored, {} read, {} faults ",
                hour + 1,
                knobs.hours,
                totals.events,
                totals.letters_stored,
                totals.letters_read,
                world.faults().len()
            )?;
        }
    }
    if tells {
        writeln!(io::stderr())?;
    }
    world.check_all();
    let wall = began.elapsed();
    let totals = world.totals();
    Ok(Outcome {
        knobs,
        version: env!("CARGO_PKG_VERSION"),
        digest: hex(&world.digest()),
        wall_seconds: wall.as_secs_f64(),
        virtual_seconds: world.elapsed().as_secs_f64(),
        events_per_second: per_second(totals.events, wall),
        totals,
        stored_ms: stored_ms(&world),
        faults: world
            .faults()
            .iter()
            .map(|(at, fault)| format!("{:?}: {fault:?}", Duration::from_micros(*at)))
            .collect(),
    })
}

fn scenario(knobs: Knobs) -> Scenario {
    let mut scenario = Scenario::calm(knobs.seed, knobs.relays, knobs.people);
    scenario.minute_ms = knobs.minute_ms;
    scenario.loss_per_million = knobs.loss;
    scenario.weigh_messages = !knobs.unweighed;
    scenario.habits = Habits {
        write_every_minutes: knobs.write_every,
        read_every_minutes: knobs.read_every,
        ..Habits::default()
    };
    if knobs.real {
        scenario.cryptography = Cryptography::Real;
    }
    if knobs.down > 0 {
        let us = |minutes| u64::try_from(scenario.minutes(minutes).as_micros()).unwrap_or(u64::MAX);
        let home = Sessions {
            up_us: us(12 * 60),
            shape_milli: 600,
            down_us: us(30),
        };
        scenario.churn = Churn {
            kinds: vec![(60, home)],
            down_max: knobs.down,
        };
    }
    scenario
}

/// Median, 90th and 99th percentile of the time from writing to *stored*, in milliseconds.
fn stored_ms(world: &World) -> [u64; 3] {
    let mut all: Vec<u64> = world
        .letters()
        .iter()
        .filter_map(|letter| Some(letter.stored_us?.saturating_sub(letter.written_us) / 1_000))
        .collect();
    all.sort_unstable();
    [50, 90, 99].map(|percent| {
        let at = all.len().saturating_sub(1) * percent / 100;
        all.get(at).copied().unwrap_or(0)
    })
}

#[allow(clippy::cast_precision_loss, reason = "a figure to look at")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(0.001)
}

fn table(outcome: &Outcome) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let totals = &outcome.totals;
    let [half, most, nearly_all] = outcome.stored_ms;
    let rows = [
        ("events", totals.events),
        ("steps of machines", totals.steps),
        ("messages between relays", totals.sends),
        ("lost", totals.lost),
        ("requests through onions", totals.asks),
        ("requests that failed", totals.asks_failed),
        ("requests declined", totals.refusals),
        ("letters stored", totals.letters_stored),
        ("letters given up", totals.letters_failed),
        ("letters read", totals.letters_read),
        ("mailboxes read", totals.reads),
        ("readings that failed", totals.reads_failed),
        ("envelopes expired", totals.expired),
        ("stored after, median, ms", half),
        ("stored after, 90 %, ms", most),
        ("stored after, 99 %, ms", nearly_all),
    ];
    for (name, number) in rows {
        writeln!(out, "{name:<28}{number:>14}")?;
    }
    writeln!(
        out,
        "{:<28}{:>14.1}",
        "virtual seconds", outcome.virtual_seconds
    )?;
    writeln!(out, "{:<28}{:>14.2}", "wall seconds", outcome.wall_seconds)?;
    writeln!(
        out,
        "{:<28}{:>14.0}",
        "events a second", outcome.events_per_second
    )?;
    writeln!(out, "digest {}", outcome.digest)?;
    for fault in outcome.faults.iter().take(FAULTS_SHOWN) {
        writeln!(out, "fault: {fault}")?;
    }
    writeln!(out, "{} faults", outcome.faults.len())
}

/// The exit code of a run in which something happened that must not.
const FAULTS_FOUND: u8 = 3;
/// Faults in the table.
const FAULTS_SHOWN: usize = 20;
