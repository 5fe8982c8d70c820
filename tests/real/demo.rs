//! The demo keeps what it promises, and says so in its last line.

use std::process::{Command, Stdio};

use poste_tests::net::turn;
use serde_json::Value;

const DEMO: &str = env!("CARGO_BIN_EXE_poste-demo");

#[tokio::test]
async fn a_letter_survives_two_dead_relays_and_the_last_line_tells() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(DEMO)
        .args(["--json", "--letters", "12", "--dir"])
        .arg(dir.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["ok"], true);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(last["relays"], 12);
    assert_eq!(last["deposited"], 14);
    assert_eq!(last["delivered"], 13);
    assert_eq!((&last["expired"], &last["lost"]), (&1.into(), &0.into()));
    assert_eq!(last["killed"], 2);
    assert!(last["copies_min"].as_u64().unwrap() >= 3);
    assert!(last["copies_after_repair"].as_u64().unwrap() >= 5);
    assert!(!text.contains('\u{1b}'), "no colours outside of a terminal");
    let processes = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("processes "));
    let pids: Vec<&str> = processes.flat_map(|some| some.split(' ')).collect();
    assert_eq!(pids.len(), 12);
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || !stat.contains("poste-demo"), "{stat}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_two() {
    let output = Command::new(DEMO).arg("--fly").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
