//! Pledges of real processes: killed while they plot, damaged, shrunk, and kept by running relays.

// The lint's leave for tests does not reach the rest of a test file.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use poste_link::network_file::NetworkFile;
use serde_json::Value;

const RELAY: &str = env!("CARGO_BIN_EXE_poste-node");
/// Only there to end a broken run, also on a machine that is many times slower.
const PATIENCE: Duration = Duration::from_secs(360);
const SECTORS: u32 = 96;

/// Killed when a test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A relay's home in a network whose lowest class is so many small sectors, and whose puzzle is small too.
fn home(dir: &Path, sectors: u32) -> PathBuf {
    let mut file = NetworkFile::public("pledges", Vec::new());
    let pledge = &mut file.network.pledge;
    (pledge.labels, pledge.class_sectors) = (2_048, sectors);
    (pledge.puzzle_kib, pledge.puzzle_bits) = (64, 4);
    let network = dir.join("network.toml");
    file.write(&network).unwrap();
    let home = dir.join("relay");
    let made = relay(&home, &["init", "--network", network.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    home
}

fn relay(home: &Path, args: &[&str]) -> Output {
    Command::new(RELAY)
        .arg("--home")
        .arg(home)
        .args(args)
        .output()
        .unwrap()
}

fn json(home: &Path, args: &[&str]) -> Value {
    let out = relay(home, &[&["--json"], args].concat());
    serde_json::from_slice(&out.stdout).unwrap_or(Value::Null)
}

/// Sectors that stand under their names, whatever is in them.
fn sectors(home: &Path) -> u32 {
    let entries = fs::read_dir(home.join("plot"));
    let names = entries.into_iter().flatten().flatten();
    let ends = names.filter(|one| one.path().extension().is_some_and(|end| end == "sector"));
    u32::try_from(ends.count()).unwrap()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// [PLG-8]
#[test]
fn a_plot_that_is_killed_again_and_again_loses_no_sector_and_comes_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path(), SECTORS);
    let mut kills = 0;
    // Whoever looks too late finds all of them: then they are made again from the first.
    for more in [1, 3, 7, 2, 11, 5].into_iter().cycle().take(24) {
        if kills == 6 {
            break;
        }
        if sectors(&home) == SECTORS {
            fs::remove_dir_all(home.join("plot")).unwrap();
        }
        let before = sectors(&home);
        let mut plotting = Command::new(RELAY);
        plotting.arg("--home").arg(&home).args(["pledge", "plot"]);
        let mut plotting = Running(plotting.stdout(Stdio::null()).spawn().unwrap());
        until("more sectors", || {
            sectors(&home) >= (before + more).min(SECTORS)
        });
        plotting.0.kill().unwrap();
        plotting.0.wait().unwrap();
        let after = sectors(&home);
        kills += u32::from(after < SECTORS);
        let verified = json(&home, &["pledge", "verify"]);
        assert_eq!(verified["looked_at"], after, "each one is whole");
        assert_eq!(verified["bad"], Value::Array(Vec::new()));
    }
    assert!(kills > 2, "the plot was ready too soon to be killed");
    let done = json(&home, &["pledge", "plot"]);
    assert_eq!(
        (&done["complete"], &done["class"]),
        (&SECTORS.into(), &1.into())
    );
    let names = fs::read_dir(home.join("plot")).unwrap().count();
    assert_eq!(names, SECTORS as usize, "nothing half made is left");
}

#[test]
fn verify_finds_a_flipped_byte_and_has_the_sector_made_again_and_shrink_gives_disk_back() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path(), 3);
    assert_eq!(json(&home, &["pledge", "plot"])["class"], 1);
    let path = home.join("plot/00000001.sector");
    let mut bytes = fs::read(&path).unwrap();
    bytes[40_000] ^= 4;
    fs::write(&path, bytes).unwrap();
    let found = relay(&home, &["--json", "pledge", "verify"]);
    assert_eq!(found.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(told["bad"], serde_json::json!([1]));
    assert_eq!(
        json(&home, &["pledge", "verify", "--sectors", "2"])["looked_at"],
        2
    );
    relay(&home, &["pledge", "verify", "--remove"]);
    assert_eq!(sectors(&home), 2);
    assert_eq!(json(&home, &["pledge", "plot"])["complete"], 3);
    assert!(relay(&home, &["pledge", "verify"]).status.success());

    let left = json(&home, &["pledge", "shrink", "--class", "0"]);
    assert_eq!((&left["class"], sectors(&home)), (&0.into(), 0));
}

/// A running relay plots by itself; it gives disk back and takes it again while it runs.
#[test]
fn a_running_relay_keeps_its_plot_as_large_as_its_operator_wants() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Command::new(RELAY)
        .args(["--json", "devnet", "--nodes", "3", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut devnet = Running(devnet);
    let mut told = String::new();
    let mut out = BufReader::new(devnet.0.stdout.take().unwrap());
    out.read_line(&mut told).unwrap();
    let relays = fs::read_dir(dir.path()).unwrap().flatten();
    let homes: Vec<PathBuf> = relays
        .map(|one| one.path())
        .filter(|path| path.join("keys").exists())
        .collect();
    assert_eq!(homes.len(), 3);
    let pledge = |home: &Path| json(home, &["status"])["pledge"].clone();
    for home in &homes {
        until("a plot", || pledge(home)["class"] == 1);
        assert_eq!(pledge(home)["complete"], 1);
    }
    let home = &homes[0];
    let left = json(home, &["pledge", "shrink", "--class", "0"]);
    assert_eq!((&left["class"], sectors(home)), (&0.into(), 0));
    assert_eq!(pledge(home)["class"], 0);
    let again = json(home, &["pledge", "plot"]);
    assert_eq!((&again["class"], sectors(home)), (&1.into(), 1));
    until("the class", || pledge(home)["class"] == 1);
}
