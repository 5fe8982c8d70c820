//! The command line of `poste-node`: reads arguments, calls one part, turns the outcome into an exit code.
//!
//! No command asks anything on the terminal. Answers go to standard output, logs and complaints to
//! standard error.

mod pledge;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use poste_link::network_file::NetworkFile;
use serde::Serialize;
use swarm_proto::time::MINUTE_MS_MIN;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Profile};
use crate::devnet::{self, Devnet, DevnetFailure, DevnetLauncher, DevnetPlan};
use crate::driver::Parts;
use crate::failure::{EXIT_USAGE, RunFailure};
use crate::home::Home;
use crate::keys::Keys;
use crate::run::{self, Site};
use crate::say::Voice;
use crate::{check, shutdown, status};

/// Runs the program on `args`, of which the first is its name.
///
/// `launcher` says how a devnet starts its relays; `None` means with the running executable itself. `parts`
/// is what `run` makes a relay of.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    launcher: Option<DevnetLauncher>,
    parts: Parts,
) -> ExitCode {
    let voice = Voice::from_environment();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    match cli.act(voice, launcher, parts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            voice.complain(&failure);
            failure.exit_code()
        }
    }
}

/// A relay of a Poste network: holds sealed mail until its recipient calls for it.
#[derive(Debug, Parser)]
#[command(name = "poste-node", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Args)]
struct Common {
    /// The relay's folder [default: $XDG_DATA_HOME/poste-node or ~/.local/share/poste-node]
    #[arg(long, global = true, value_name = "DIR", env = "POSTE_NODE_HOME")]
    home: Option<PathBuf>,
    /// Answer with one JSON object
    #[arg(long, global = true)]
    json: bool,
    /// What is logged on standard error; as in "info" or "poste_node=debug"
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info,libp2p_swarm=warn"
    )]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a relay's folder: keys, settings, network
    Init {
        /// The network file to join with
        #[arg(long, value_name = "FILE")]
        network: PathBuf,
        /// The kind of machine, which chooses the defaults
        #[arg(long, value_enum, default_value_t = ProfileName::Home)]
        profile: ProfileName,
    },
    /// Run the relay until SIGTERM or Ctrl-C
    Run {
        /// End when this process ends
        #[arg(long, value_name = "PID", hide = true)]
        parent: Option<u32>,
    },
    /// Show what the running relay does, first of all whether others reach it
    Status {
        /// Show it again every two seconds
        #[arg(long)]
        watch: bool,
        /// How that relay, named by the first digits of its node id, was found to keep what it had
        #[arg(long, value_name = "NODE", conflicts_with = "watch")]
        standing: Option<String>,
    },
    /// Hand over all that the running relay holds, so that it can be stopped for good
    Drain,
    /// Keep disk filled as a pledge for this relay's identity
    Pledge {
        #[command(subcommand)]
        verb: pledge::PledgeVerb,
    },
    /// Look for what stands in a relay's way on this machine
    Check,
    /// Show the settings that hold, in bytes
    Config {
        /// Print a commented file with every default
        #[arg(long)]
        print_default: bool,
        /// Of this kind of machine
        #[arg(long, value_enum, default_value_t = ProfileName::Home)]
        profile: ProfileName,
    },
    /// Run a whole network on this machine until Ctrl-C
    Devnet {
        /// Relay processes
        #[arg(long, default_value_t = 12)]
        nodes: usize,
        /// Folder of the network; taken up again if it holds one
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Put all relays on 127.0.0.1 and lift the subnet caps
        #[arg(long)]
        one_address: bool,
        /// Milliseconds of the network's minute
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(i64::from(MINUTE_MS_MIN)..=60_000))]
        minute_ms: u32,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileName {
    Vps,
    Home,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Vps => Self::Vps,
            ProfileName::Home => Self::Home,
        }
    }
}

#[derive(Serialize)]
struct Made {
    home: PathBuf,
    node_id: String,
    node_key: String,
    network: String,
    network_id: String,
}

impl Cli {
    fn act(
        self,
        voice: Voice,
        launcher: Option<DevnetLauncher>,
        parts: Parts,
    ) -> Result<(), RunFailure> {
        let Self { common, command } = self;
        let home = || Home::choose(common.home.clone());
        match command {
            Verb::Init { network, profile } => {
                init(&home()?, &network, profile.into(), common.json, voice)
            }
            Verb::Run { parent } => run_relay(home()?, parent, &common.log, parts),
            Verb::Status {
                standing: Some(node),
                ..
            } => show_standing(&home()?, &node, common.json, voice),
            Verb::Status { watch, .. } => show_status(&home()?, watch, common.json, voice),
            Verb::Drain => drain(&home()?, common.json, voice),
            Verb::Pledge { verb } => pledge::act(home()?, verb, common.json, voice),
            Verb::Check => check_all(&home()?, common.json, voice),
            Verb::Config {
                print_default,
                profile,
            } => {
                let config = || Ok(Config::load(&home()?.config_path())?);
                show_config(config, print_default, profile.into(), common.json, voice)
            }
            Verb::Devnet {
                nodes,
                dir,
                one_address,
                minute_ms,
            } => {
                let plan = DevnetPlan {
                    nodes,
                    dir: std::path::absolute(&dir).unwrap_or(dir),
                    one_address,
                    minute_ms,
                    readings: devnet::READINGS,
                };
                run_devnet(&plan, launcher, common.json, voice)
            }
        }
    }
}

fn init(
    home: &Home,
    network: &std::path::Path,
    profile: Profile,
    json: bool,
    voice: Voice,
) -> Result<(), RunFailure> {
    let file = NetworkFile::read(network)?;
    home.create()?;
    let seed = Keys::at(home.keys_dir()).create_node()?;
    let put = |path: PathBuf, text: String| {
        std::fs::write(&path, text).map_err(|source| RunFailure::File { path, source })
    };
    if !home.config_path().exists() {
        put(home.config_path(), Config::default_text(profile))?;
    }
    file.write(&home.network_path())?;
    let key = seed.node_key();
    pledge::solve(home, &key, &file.network.pledge)?;
    let made = Made {
        home: home.dir().to_owned(),
        node_id: key.node_id().to_hex(),
        node_key: key.to_hex(),
        network: file.network.name.clone(),
        network_id: file.network.id().to_hex(),
    };
    if json {
        return say_json(voice, &made);
    }
    voice.line(format_args!("relay    {}", made.node_id));
    voice.line(format_args!("network  {}", made.network));
    voice.line(format_args!("home     {}", made.home.display()));
    voice.line("Next: open the port of config.toml in UDP and TCP, then `poste-node run`.");
    Ok(())
}

fn run_relay(home: Home, parent: Option<u32>, log: &str, parts: Parts) -> Result<(), RunFailure> {
    start_log(log)?;
    if let Some(parent) = parent {
        let alive = shutdown::die_with(parent).map_err(|source| RunFailure::System {
            what: "watching the parent process",
            source,
        })?;
        if !alive {
            return Ok(());
        }
    }
    let config = Config::load(&home.config_path())?;
    let site = Site::open(home)?;
    let key = site.seed.node_key();
    pledge::solve(&site.home, &key, &site.network.network.pledge)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.threads)
        .enable_all()
        .build()
        .map_err(runtime_failed)?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        shutdown::on_signals(&stop).map_err(signals_failed)?;
        run::run(config, site, parts, stop).await
    });
    // What is still running is past its time; nothing acknowledged depends on it.
    runtime.shutdown_background();
    outcome
}

fn show_status(home: &Home, watch: bool, json: bool, voice: Voice) -> Result<(), RunFailure> {
    small_runtime()?.block_on(async {
        loop {
            let status = status::ask(&home.socket_path()).await?;
            if watch && !json {
                voice.clear();
            }
            if json {
                say_json(voice, &status)?;
            } else {
                voice.raw(&status::table(&status, voice));
            }
            if !watch {
                return Ok(());
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    })
}

fn show_standing(home: &Home, node: &str, json: bool, voice: Voice) -> Result<(), RunFailure> {
    let standing = small_runtime()?.block_on(status::ask_standing(&home.socket_path(), node))?;
    if json {
        return say_json(voice, &standing);
    }
    voice.raw(&status::standing_text(&standing));
    Ok(())
}

/// How often a drain is looked at.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(500);
/// Waits until all is handed over. Interrupting it changes nothing: the relay goes on by itself.
fn drain(home: &Home, json: bool, voice: Voice) -> Result<(), RunFailure> {
    small_runtime()?.block_on(async {
        let socket = home.socket_path();
        status::ask_drain(&socket).await?;
        let mut told = u64::MAX;
        loop {
            let status = status::ask(&socket).await?;
            let left = status
                .repair
                .comparing
                .saturating_add(status.repair.lacking);
            if status.repair.drained == Some(true) {
                if json {
                    return say_json(voice, &status.repair);
                }
                voice.line(format_args!(
                    "handed over: {} copies sent; this relay may be stopped for good",
                    status.repair.pushed
                ));
                return Ok(());
            }
            if left != told && !json {
                voice.line(format_args!(
                    "leaving: {} comparisons and {} copies to go",
                    status.repair.comparing, status.repair.lacking
                ));
            }
            told = left;
            tokio::time::sleep(DRAIN_LOOK_EVERY).await;
        }
    })
}

fn check_all(home: &Home, json: bool, voice: Voice) -> Result<(), RunFailure> {
    let config = Config::load(&home.config_path())?;
    let checks = check::all(home, &config);
    if json {
        say_json(voice, &checks)?;
    } else {
        for one in &checks {
            let mark = if one.ok {
                voice.good("ok  ")
            } else {
                voice.warn("FAIL")
            };
            voice.line(format_args!("{mark} {:<13} {}", one.name, one.found));
        }
    }
    match checks.iter().filter(|one| !one.ok).count() {
        0 => Ok(()),
        failed => Err(RunFailure::Checks(failed)),
    }
}

fn show_config(
    config: impl Fn() -> Result<Config, RunFailure>,
    print_default: bool,
    profile: Profile,
    json: bool,
    voice: Voice,
) -> Result<(), RunFailure> {
    if print_default {
        voice.raw(&Config::default_text(profile));
        return Ok(());
    }
    let config = config()?;
    if json {
        return say_json(voice, &config);
    }
    let text = toml::to_string(&config).map_err(|error| RunFailure::Bug(error.to_string()))?;
    voice.raw(&text);
    Ok(())
}

fn run_devnet(
    plan: &DevnetPlan,
    launcher: Option<DevnetLauncher>,
    json: bool,
    voice: Voice,
) -> Result<(), RunFailure> {
    let launcher = match launcher {
        Some(launcher) => launcher,
        None => DevnetLauncher::own().map_err(|source| RunFailure::System {
            what: "finding the own program",
            source,
        })?,
    };
    // On this thread, which is the main thread: the relays die with it.
    small_runtime()?.block_on(async {
        let stop = CancellationToken::new();
        shutdown::on_signals(&stop).map_err(signals_failed)?;
        let started = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            started = Devnet::start(plan, launcher) => started,
        };
        let mut devnet = started?;
        say_devnet(&devnet, json, voice)?;
        let outcome = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                () = tokio::time::sleep(WATCH_EVERY) => {}
            }
            if let Some(home) = devnet.ended() {
                break Err(DevnetFailure::Ended(home).into());
            }
        };
        devnet.stop().await;
        outcome
    })
}

fn say_devnet(devnet: &Devnet, json: bool, voice: Voice) -> Result<(), RunFailure> {
    let rows = devnet.rows();
    let network = devnet.network_path();
    if json {
        let relays = serde_json::json!({ "network": network, "relays": rows });
        return say_json(voice, &relays);
    }
    for row in &rows {
        let pid = row.pid.unwrap_or(0);
        let addr = row.addr.to_string();
        voice.line(format_args!("{pid:>8}  {addr:<21}  {}", row.home.display()));
    }
    voice.line(format_args!("network file: {}", network.display()));
    voice.line("Ctrl-C stops all of them.");
    Ok(())
}

fn say_json(voice: Voice, value: &impl Serialize) -> Result<(), RunFailure> {
    let text = serde_json::to_string(value).map_err(|error| RunFailure::Bug(error.to_string()))?;
    voice.line(text);
    Ok(())
}

fn start_log(level: &str) -> Result<(), RunFailure> {
    let filter =
        tracing_subscriber::EnvFilter::try_new(level).map_err(|error| RunFailure::System {
            what: "--log",
            source: std::io::Error::other(error),
        })?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    Ok(())
}

fn small_runtime() -> Result<tokio::runtime::Runtime, RunFailure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(runtime_failed)
}

fn runtime_failed(source: std::io::Error) -> RunFailure {
    RunFailure::System {
        what: "starting the runtime",
        source,
    }
}

fn signals_failed(source: std::io::Error) -> RunFailure {
    RunFailure::System {
        what: "listening for signals",
        source,
    }
}

const WATCH_EVERY: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  poste-node init --network network.toml        make a relay of that network
  poste-node run                                run it
  poste-node status                             do others reach me? what do I hold?
  poste-node status --json | jq .held           the same for a script
  poste-node pledge plot                        fill the disk that is pledged
  poste-node devnet --nodes 12 --dir /tmp/net   twelve relays on this machine

Exit codes: 0 ok, 1 user error, 2 usage, 3 network or relay not reached, 70 bug.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn home_and_json_stand_before_or_after_the_verb() {
        for args in [
            ["poste-node", "--home", "/x", "--json", "status"],
            ["poste-node", "status", "--home", "/x", "--json"],
        ] {
            let cli = Cli::try_parse_from(args).unwrap();
            assert_eq!(cli.common.home, Some("/x".into()));
            assert!(cli.common.json);
        }
    }
}
