//! Whole devnets of real relay processes, driven through the program's own commands.

// The lint's leave for tests does not reach the helpers of a test file.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const RELAY: &str = env!("CARGO_BIN_EXE_poste-node");
/// Only there to end a broken run, also on a machine that is many times slower.
const PATIENCE: Duration = Duration::from_secs(360);

/// A devnet and what it printed; killed when a test ends badly.
struct Running {
    child: Child,
    told: Value,
}

impl Running {
    fn start(dir: &Path, nodes: usize, more: &[&str]) -> Self {
        let mut child = Command::new(RELAY)
            .args(["--json", "devnet", "--nodes", &nodes.to_string(), "--dir"])
            .arg(dir)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or(Value::Null);
        Self { child, told }
    }

    fn relays(&self) -> &Vec<Value> {
        self.told
            .get("relays")
            .and_then(|relays| relays.as_array())
            .expect("a started devnet")
    }

    fn pids(&self) -> Vec<i32> {
        let pid = |row: &Value| i32::try_from(row["pid"].as_i64().unwrap()).unwrap();
        self.relays().iter().map(pid).collect()
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn poste_node(args: &[&str]) -> Output {
    Command::new(RELAY).args(args).output().unwrap()
}

fn status_of(home: &str) -> Value {
    let output = poste_node(&["--json", "--home", home, "status"]);
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A dead process that nobody has reaped yet is as good as gone.
    !stat.is_empty() && !stat.contains(") Z ")
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// [DEV-1] [DEV-2] Every relay finds every other and is reached; Ctrl-C leaves no process behind.
#[test]
fn a_devnet_of_twelve_processes_meets_and_stops_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let mut net = Running::start(dir.path(), 12, &[]);
    let homes: Vec<String> = net
        .relays()
        .iter()
        .map(|row| row["home"].as_str().unwrap().to_owned())
        .collect();
    for home in &homes {
        until("all know eleven others", || {
            let status = status_of(home);
            status["discovery"]["known"] == 11 && status["reach"]["verdict"] == "yes"
        });
    }
    let subnets: BTreeSet<&str> = net
        .relays()
        .iter()
        .map(|row| row["addr"].as_str().unwrap().rsplit_once(".0.1").unwrap().0)
        .collect();
    assert_eq!(subnets.len(), 12);

    let pids = net.pids();
    net.signal(Signal::SIGINT);
    assert!(net.child.wait().unwrap().success());
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}

/// [DEV-3]
#[test]
fn relays_die_with_the_devnet_that_started_them() {
    let dir = tempfile::tempdir().unwrap();
    let net = Running::start(dir.path(), 3, &["--one-address"]);
    let pids = net.pids();
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    net.signal(Signal::SIGKILL);
    until("the relays are gone", || {
        pids.iter().all(|pid| !is_alive(*pid))
    });
}

/// [DIS-7] A relay that joins with a network file of one founder finds the rest through it.
#[test]
fn a_newcomer_with_one_address_finds_the_whole_devnet() {
    let dir = tempfile::tempdir().unwrap();
    let net = Running::start(&dir.path().join("net"), 5, &[]);
    let file = std::fs::read_to_string(net.told["network"].as_str().unwrap()).unwrap();
    let (head, first) = file.split_once("[[founder]]").unwrap();
    let first = first.split("[[founder]]").next().unwrap();
    // The genesis names all founders, so a shorter file would be another network: the other four stay
    // with addresses at which nobody answers.
    let mut text = format!("{head}[[founder]]{first}");
    for row in net.relays() {
        let key = row["node_key"].as_str().unwrap();
        if !first.contains(key) {
            text += &format!("[[founder]]\nkey = \"{key}\"\naddr = \"127.99.0.1:9\"\n");
        }
    }
    let network = dir.path().join("one.toml");
    std::fs::write(&network, text).unwrap();
    let home = dir.path().join("newcomer");
    let home = home.to_str().unwrap();
    let init = [
        "--home",
        home,
        "init",
        "--network",
        network.to_str().unwrap(),
    ];
    assert!(poste_node(&init).status.success());
    assert_eq!(poste_node(&init).status.code(), Some(1), "keys are kept");
    let config = "listen = \"127.60.0.1\"\nport = 0\n";
    std::fs::write(Path::new(home).join("config.toml"), config).unwrap();
    let mut newcomer = Command::new(RELAY)
        .args(["--home", home, "run"])
        .env("SSLKEYLOGFILE", dir.path().join("keylog"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("five are found", || {
        status_of(home)["discovery"]["known"] == 5
    });
    let pid = i32::try_from(newcomer.id()).unwrap();
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environ = String::from_utf8_lossy(&environ);
    assert!(
        !environ.contains("SSLKEYLOGFILE"),
        "it started itself again"
    );

    let unknown = poste_node(&["--home", home, "status", "--standing", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("no member's id begins with nobody"), "{said}");

    let second = poste_node(&["--home", home, "run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another relay is running"));

    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert!(newcomer.wait().unwrap().success());
    assert_eq!(
        poste_node(&["--home", home, "status"]).status.code(),
        Some(3)
    );

    // [STO-11]
    let store = Path::new(home).join("store/store.redb");
    let mut content = std::fs::read(&store).unwrap();
    content[4_096..].fill(0x55);
    std::fs::write(&store, content).unwrap();
    let third = poste_node(&["--home", home, "run"]);
    assert_eq!(third.status.code(), Some(1));
    let said = String::from_utf8_lossy(&third.stderr);
    assert!(
        said.contains(&format!(
            "the store in {home}/store: the file or its disk is damaged"
        )),
        "{said}"
    );
}

#[test]
fn a_wrong_command_line_ends_with_two_and_a_wrong_setting_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_str().unwrap();
    assert_eq!(poste_node(&["fly"]).status.code(), Some(2));
    assert_eq!(poste_node(&["--help"]).status.code(), Some(0));
    std::fs::write(dir.path().join("config.toml"), "colour = 1\n").unwrap();
    let run = poste_node(&["--home", home, "run"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&run.stderr).contains("colour"));
    std::fs::write(dir.path().join("config.toml"), "store_mib = 17\n").unwrap();
    let told = poste_node(&["--json", "--home", home, "config"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["store_bytes"], 17 << 20);
    let printed = poste_node(&["config", "--print-default"]);
    assert!(String::from_utf8_lossy(&printed.stdout).contains("store_mib"));
}
