//! The demo: twelve relay processes, Ada and Bob, and everything that may go wrong between them.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | arguments, order of the steps, the end |
//! | `people.rs` | Ada and Bob: processes of the correspondent's program |
//! | `swarm.rs` | the relays: started, asked, killed |
//! | `story.rs` | the steps |
//! | `tell.rs` | what a person reads, and the last line for a script |

mod people;
mod story;
mod swarm;
mod tell;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use poste_node::shutdown;
use tokio_util::sync::CancellationToken;

use story::Story;
use tell::Voice;

/// First argument of a relay's process.
pub const RELAY_ROLE: &str = "__relay";
/// First argument of the process of the relay that lies.
pub const LIAR_ROLE: &str = "__liar";
/// First argument of a correspondent's process.
pub const POSTE_ROLE: &str = "__poste";

/// Shows the main job: mail that waits at relays which may die.
///
/// Starts twelve relay processes on loopback addresses, lets Ada write to Bob while he is away, kills two
/// relays, and checks that Bob gets every byte.
#[derive(Debug, Parser)]
#[command(name = "poste-demo", version, after_help = EXAMPLES)]
struct Arguments {
    /// The file that Ada sends
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// How many texts Ada sends
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=200))]
    letters: u16,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
    /// Leave the relays running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Where everything goes [default: a folder that is removed at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the demo on `args`, of which the first is the program's name. Exit code 0 only if everything held.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody to tell when the terminal is gone.
            let _unprinted = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let voice = Voice::from_environment();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // On this thread, which is the main thread: the relays die with it.
    let outcome = runtime
        .map_err(DemoFailure::System)
        .and_then(|runtime| runtime.block_on(play(&arguments, voice)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(DemoFailure::Interrupted) => {
            voice.complain("stopped; nothing is left running");
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(failure) => {
            voice.complain(failure);
            ExitCode::FAILURE
        }
    }
}

/// Plays the story and cleans up, whatever happens; true if everything held.
async fn play(arguments: &Arguments, voice: Voice) -> Result<bool, DemoFailure> {
    let stop = CancellationToken::new();
    shutdown::on_signals(&stop).map_err(DemoFailure::System)?;
    let mut story = Story::new(arguments, voice)?;
    let played = tokio::select! {
        () = stop.cancelled() => Err(DemoFailure::Interrupted),
        played = story.play() => played,
    };
    let report = match played {
        Ok(report) => report,
        Err(failure) => {
            story.end().await;
            if arguments.json && !matches!(failure, DemoFailure::Interrupted) {
                voice.line(tell::failed_line(&failure.to_string()));
            }
            return Err(failure);
        }
    };
    if arguments.keep {
        story.tell_how_to_talk();
    }
    if arguments.json {
        voice.line(report.line());
    }
    if arguments.keep {
        stop.cancelled().await;
    }
    story.end().await;
    Ok(report.ok)
}

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
enum DemoFailure {
    #[error(transparent)]
    Devnet(#[from] poste_node::devnet::DevnetFailure),
    #[error("{0}")]
    System(#[from] std::io::Error),
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{who} `{command}` ended with {status}: {said}")]
    Person {
        who: &'static str,
        command: String,
        status: String,
        said: String,
    },
    #[error("{who} `{command}`: an answer that is not understood: {said}")]
    Answer {
        who: &'static str,
        command: String,
        said: String,
    },
    #[error("waited too long: {0}")]
    Late(&'static str),
    #[error("interrupted")]
    Interrupted,
}

const EXIT_INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  poste-demo                     60 texts and the README
  poste-demo --file photo.jpg    another file, at most one large envelope
  poste-demo --json | tail -1    for a script
  poste-demo --keep              leave the relays running and try the programs yourself

Exit codes: 0 everything held, 1 something did not, 2 wrong usage, 130 Ctrl-C.";
