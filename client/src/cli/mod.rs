//! The command line of `poste`: reads arguments, calls one part, turns the outcome into an exit code.
//!
//! Answers go to standard output, complaints, prompts and progress to standard error. It knows letters only
//! as the app shows them.

mod inbox;
mod say;
mod secret;
mod send;
mod shape;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use swarm_proto::envelope::ExpiryClass;
use zeroize::Zeroizing;

use crate::account;
use crate::app::{App, EXIT_USAGE, Failure, Secret, read_network};
use crate::home::HomeError;
use say::Voice;

/// Runs the program on `args`, of which the first is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let voice = Voice::from_environment(cli.common.json);
    match cli.act(voice) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            voice.complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Sealed letters over a network of volunteers: they wait until their recipient calls for them.
#[derive(Debug, Parser)]
#[command(name = "poste", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Args)]
struct Common {
    /// The home's folder [default: $XDG_DATA_HOME/poste or ~/.local/share/poste]
    #[arg(long, global = true, value_name = "DIR", env = "POSTE_HOME")]
    home: Option<PathBuf>,
    /// Answer with JSON, one object or array a line
    #[arg(long, global = true)]
    json: bool,
    /// Open the home with this key file; `id new` and `id restore` make it if it is missing
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "passphrase_fd"
    )]
    key_file: Option<PathBuf>,
    /// Read the passphrase from this file descriptor, up to the first line end
    #[arg(long, global = true, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// Send from this local address
    #[arg(long, global = true, value_name = "IP")]
    bind: Option<IpAddr>,
    /// What is logged on standard error; as in "info" or "poste=debug"
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Your account: make it, show it, restore it
    #[command(subcommand)]
    Id(IdVerb),
    /// People whom you write with
    #[command(subcommand)]
    Contact(ContactVerb),
    /// Write to somebody
    Send(SendArgs),
    /// Fetch letters and show the ones that are new
    Inbox(InboxArgs),
    /// Show one letter
    Read {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Write a letter's file to the disk
    Save {
        /// Its id, or the beginning of it
        id: String,
        /// Where; never over another file
        path: PathBuf,
    },
    /// Show what you wrote and how far each letter has got
    Outbox {
        /// Acknowledgements, too
        #[arg(long)]
        all: bool,
    },
    /// Visit the network: fetch, acknowledge, send what is due
    Sync,
}

#[derive(Debug, Subcommand)]
enum IdVerb {
    /// Make an account in a fresh home; its 24 words are shown once
    New {
        /// The network file
        #[arg(long, value_name = "FILE")]
        network: PathBuf,
    },
    /// Show the account id and the invitation to hand out
    Show,
    /// Make a home for the account of 24 words, which are read from standard input
    Restore {
        /// The network file
        #[arg(long, value_name = "FILE")]
        network: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum ContactVerb {
    /// Add somebody by their invitation, or name somebody who wrote to you
    Add {
        /// What you call them
        name: String,
        /// Their invitation; the account id of somebody who wrote to you will do
        invitation: String,
    },
    /// List all
    List,
}

#[derive(Debug, Args)]
struct SendArgs {
    /// To whom: a contact's name or account id
    name: String,
    /// What to write; "-" reads one letter from standard input
    text: Vec<String>,
    /// Make one letter of each line of standard input
    #[arg(long, conflicts_with_all = ["text", "file"])]
    lines: bool,
    /// Send a file
    #[arg(long, value_name = "PATH", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// How long relays keep it; first letters stay three days at most
    #[arg(long, value_enum, default_value_t = Ttl::Days14)]
    ttl: Ttl,
    /// What to wait for
    #[arg(long, value_enum, default_value_t = Wait::Stored)]
    wait: Wait,
}

#[derive(Debug, Args)]
struct InboxArgs {
    /// Look again and again, until Ctrl-C
    #[arg(long, conflicts_with = "all")]
    follow: bool,
    /// Seconds between two looks of --follow [default: five of the network's minutes, five seconds at
    /// least]
    #[arg(long, value_name = "S", requires = "follow",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    every: Option<u64>,
    /// Show every letter that is here, without the network
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ttl {
    #[value(name = "1h")]
    Hour,
    #[value(name = "1d")]
    Day,
    #[value(name = "3d")]
    Days3,
    #[value(name = "7d")]
    Days7,
    #[value(name = "14d")]
    Days14,
    #[value(name = "30d")]
    Days30,
}

impl From<Ttl> for ExpiryClass {
    fn from(ttl: Ttl) -> Self {
        match ttl {
            Ttl::Hour => Self::Hour,
            Ttl::Day => Self::Day,
            Ttl::Days3 => Self::Days3,
            Ttl::Days7 => Self::Days7,
            Ttl::Days14 => Self::Days14,
            Ttl::Days30 => Self::Days30,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wait {
    /// Until enough relays have it durably, ten seconds at most
    Stored,
    /// For nothing: it goes out with the next visit
    None,
}

impl Cli {
    fn act(self, voice: Voice) -> Result<(), Failure> {
        let Self { common, command } = self;
        start_log(&common.log)?;
        match command {
            Verb::Id(IdVerb::New { network }) => new_account(&common, &network, None, voice),
            Verb::Id(IdVerb::Restore { network }) => {
                let words = secret::words()?;
                let seed = account::seed_of(&words)?;
                new_account(&common, &network, Some(seed), voice)
            }
            Verb::Id(IdVerb::Show) => {
                let app = common.open()?;
                shape::account(&app, None, voice)
            }
            Verb::Contact(ContactVerb::Add { name, invitation }) => {
                let mut app = common.open()?;
                let contact = app.add_contact(&name, &invitation)?;
                shape::contact_added(&contact, voice)
            }
            Verb::Contact(ContactVerb::List) => shape::contacts(&common.open()?.contacts()?, voice),
            Verb::Send(args) => send::send(&common, args, voice),
            Verb::Inbox(args) if args.all => shape::all_letters(&common.open()?, voice),
            Verb::Inbox(args) => inbox::inbox(&common, &args, voice),
            Verb::Sync => inbox::sync(&common, voice),
            Verb::Read { id } => inbox::read(&common.open()?, &id, voice),
            Verb::Save { id, path } => inbox::save(&common.open()?, &id, &path, voice),
            Verb::Outbox { all } => shape::outbox(&common.open()?, all, voice),
        }
    }
}

impl Common {
    /// `--home`, else the place of the XDG rules.
    fn folder(&self) -> Result<PathBuf, Failure> {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        self.home
            .clone()
            .or_else(|| absolute("XDG_DATA_HOME").map(|base| base.join("poste")))
            .or_else(|| absolute("HOME").map(|base| base.join(".local/share/poste")))
            .ok_or(Failure::NoHome)
    }

    fn secret(&self) -> Result<Secret, Failure> {
        secret::of(self, false)
    }

    fn open(&self) -> Result<App, Failure> {
        self.open_with(&self.secret()?)
    }

    /// Waits a little for another command that has the home open.
    fn open_with(&self, secret: &Secret) -> Result<App, Failure> {
        let folder = self.folder()?;
        let until = Instant::now() + IN_USE_WAIT;
        loop {
            match App::open(&folder, secret) {
                Err(failure) if is_in_use(&failure) && Instant::now() < until => {
                    std::thread::sleep(IN_USE_PAUSE);
                }
                opened => return opened,
            }
        }
    }
}

fn new_account(
    common: &Common,
    network: &std::path::Path,
    seed: Option<Zeroizing<[u8; 32]>>,
    voice: Voice,
) -> Result<(), Failure> {
    let folder = common.folder()?;
    // Before a key file is made or a passphrase asked for.
    let file = read_network(network)?;
    let home = crate::home::file_of(&folder);
    let secret = secret::of(common, !home.exists())?;
    let app = App::create(&folder, &secret, file, seed.as_deref())?;
    let words = match seed {
        Some(_) => None,
        None => Some(app.words()?),
    };
    shape::account(&app, words, voice)
}

/// Runs a visit on a runtime of its own.
fn on_runtime<T>(visit: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System {
            what: "starting the runtime",
            source,
        })?;
    let outcome = runtime.block_on(visit);
    // What is still running is past its time; nothing that was told depends on it.
    runtime.shutdown_background();
    outcome
}

fn start_log(level: &str) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(level)
        .map_err(|error| Failure::Usage(format!("--log {level}: {error}")))?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    Ok(())
}

/// Whether a home that another process has open may soon be free.
fn is_in_use(failure: &Failure) -> bool {
    matches!(failure, Failure::Home(HomeError::InUse))
}

fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// How long a command waits for another one to close the home: less than anybody wonders.
const IN_USE_WAIT: Duration = Duration::from_secs(2);
/// Between two tries of that.
const IN_USE_PAUSE: Duration = Duration::from_millis(50);
/// Shortest pause between two looks of `inbox --follow`.
const FOLLOW_MIN: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  poste id new --network network.toml           make an account; write the 24 words down
  poste contact add bob poste:invite/1/...      add Bob by his invitation
  poste send bob 'See you on Friday'            returns when three relays have it
  poste send bob --file notes.txt --ttl 3d      send a file
  poste inbox                                   fetch letters
  poste inbox --follow --json | jq .            for a script
  poste outbox                                  queued, sent, stored, delivered?

Exit codes: 0 done, 1 something to put right, 2 wrong usage, 3 no network, 4 another network or key than
before, 5 a bound or quota, 6 no such contact or letter, 7 queued but not stored in time, 70 a bug.";

#[cfg(test)]
mod tests;
