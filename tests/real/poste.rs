//! The correspondent's program as people and scripts use it: its words, its exit codes, and what it keeps when it is killed.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use poste_tests::net::{Net, until};
use serde_json::Value;
use tempfile::TempDir;

use crate::RELAY;

const POSTE: &str = env!("CARGO_BIN_EXE_test-poste");

/// Somebody with a home of their own.
struct Person {
    dir: TempDir,
}

impl Person {
    fn new(net: &Net) -> Self {
        let person = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let network = net.network_path().to_str().unwrap();
        person.done(&["id", "new", "--network", network]);
        person
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(POSTE);
        command.arg("--home").arg(self.home());
        command.arg("--key-file").arg(self.dir.path().join("key"));
        command.args(words).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a command that must succeed; gives what it printed.
    fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn code(&self, words: &[&str]) -> Option<i32> {
        self.run(words).status.code()
    }

    fn invitation(&self) -> String {
        let shown: Value = serde_json::from_str(&self.done(&["id", "show", "--json"])).unwrap();
        shown
            .get("invitation")
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn outbox(&self) -> Vec<Value> {
        serde_json::from_str(&self.done(&["outbox", "--json"])).unwrap()
    }

    /// What came since the last call.
    fn read(&self) -> Vec<String> {
        let lines = self.done(&["inbox", "--json"]);
        let told = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        told.filter_map(|told| Some(told.get("text")?.as_str()?.to_owned()))
            .collect()
    }
}

/// Two people; the first has the second as the contact `bob`.
fn two_people(net: &Net) -> (Person, Person) {
    let (ada, bob) = (Person::new(net), Person::new(net));
    bob.done(&["sync"]);
    ada.done(&["contact", "add", "bob", &bob.invitation()]);
    (ada, bob)
}

fn signal_all(net: &Net, signal: Signal) {
    (0..net.nodes()).for_each(|index| net.signal(index, signal));
}

#[tokio::test]
async fn a_writer_killed_at_any_moment_has_queued_the_letter_or_not_and_sends_it_once() {
    let net = Net::start(RELAY, 6).await;
    let (ada, bob) = two_people(&net);
    ada.done(&["send", "bob", "before"]);
    let mut queued = 0;
    for (number, wait_ms) in [0, 5, 20, 60, 150, 400].into_iter().enumerate() {
        let text = format!("letter {number}");
        let mut sending: Child = ada
            .command(&["send", "bob", &text])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        sending.kill().unwrap();
        sending.wait().unwrap();
        queued = ada.outbox().len();
    }
    assert!(queued > 1, "none of the moments was late enough");
    ada.done(&["sync"]);
    let states = ada.outbox();
    assert_eq!(states.len(), queued, "a letter went away");
    let mut came = Vec::new();
    until("all that was queued came", async || {
        ada.done(&["sync"]);
        came.extend(bob.read());
        came.len() >= queued
    })
    .await;
    came.extend(bob.read());
    came.sort();
    let once = came.len();
    came.dedup();
    assert_eq!((came.len(), once), (queued, queued), "{came:?}");
}

#[tokio::test]
async fn without_a_network_a_letter_waits_and_a_script_knows() {
    let net = Net::start(RELAY, 5).await;
    let (ada, bob) = two_people(&net);
    signal_all(&net, Signal::SIGSTOP);
    let output = ada.run(&["send", "bob", "later", "--json"]);
    signal_all(&net, Signal::SIGCONT);
    assert_eq!(output.status.code(), Some(7));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["state"], "queued");
    assert!(
        told["reason"].is_string() && told["next_try_ms"].is_u64(),
        "{told}"
    );
    until("the letter is stored", async || {
        ada.done(&["sync"]);
        ada.outbox()[0]["state"] == "stored"
    })
    .await;
    assert_eq!(bob.read(), ["later"]);
    assert_eq!(bob.read(), [""; 0]);
    until("it is known to be read", async || {
        ada.done(&["sync"]);
        ada.outbox()[0]["state"] == "delivered"
    })
    .await;

    let nobody = Person::new(&net);
    let large = "x".repeat(40_000);
    for (who, words, code) in [
        (&ada, vec!["send", "carl", "hi"], 6),
        (&ada, vec!["send"], 2),
        (&ada, vec!["send", "bob", &large], 5),
        (
            &nobody,
            vec!["contact", "add", "bob", "poste:invite/1/AAAA"],
            1,
        ),
    ] {
        assert_eq!(who.code(&words), Some(code), "{:.40?}", words);
    }
    assert_eq!(ada.outbox().len(), 1, "what was refused is not queued");
}
