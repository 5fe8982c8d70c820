//! The correspondent's program as people and scripts use it: its words, its exit codes, and what it keeps when it is killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use nix::sys::signal::Signal;
use poste_link::network_file::{Founder, NetworkFile};
use poste_tests::net::{Net, PATIENCE, until};
use serde_json::Value;
use swarm_proto::crypto::SecretKey;
use swarm_proto::id::NodeKey;
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

    /// Visits the network; on a busy machine nobody may answer in time, so whoever needs a visit makes another.
    fn visit(&self, verb: &str) -> Vec<Value> {
        let output = self.run(&[verb, "--json"]);
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{verb}: {output:?}"
        );
        objects(&String::from_utf8(output.stdout).unwrap())
    }

    /// Sends, and visits until all that was written is stored, which on a busy machine may not be at once; what the
    /// outbox says of the last letter.
    async fn store(&self, words: &[&str]) -> Value {
        let code = self.code(words);
        assert!(matches!(code, Some(0 | 7)), "{words:?}: {code:?}");
        until("what was written is stored", async || {
            let posted = self.outbox();
            let is_stored = |one: &Value| one["state"] == "stored" || one["state"] == "delivered";
            posted.iter().all(is_stored) || {
                self.visit("sync");
                false
            }
        })
        .await;
        self.outbox().pop().unwrap()
    }

    /// What came since the last call.
    fn read(&self) -> Vec<String> {
        let told = self.visit("inbox").into_iter();
        told.filter_map(|told| Some(told.get("text")?.as_str()?.to_owned()))
            .collect()
    }
}

/// Two people; the first has the second as the contact `bob`.
async fn two_people(net: &Net) -> (Person, Person) {
    let (ada, bob) = (Person::new(net), Person::new(net));
    until("bob has been in the network", async || {
        bob.code(&["sync"]) == Some(0)
    })
    .await;
    ada.done(&["contact", "add", "bob", &bob.invitation()]);
    (ada, bob)
}

fn signal_all(net: &Net, signal: Signal) {
    (0..net.nodes()).for_each(|index| net.signal(index, signal));
}

#[tokio::test]
async fn a_writer_killed_at_any_moment_has_queued_the_letter_or_not_and_sends_it_once() {
    let net = Net::start(RELAY, 6).await;
    let (ada, bob) = two_people(&net).await;
    ada.store(&["send", "bob", "before"]).await;
    let mut queued = 0;
    let moments = [0, 5, 20, 60, 150, 400, 1_000, 3_000, 9_000, 30_000, 90_000];
    for (number, wait_ms) in moments.into_iter().enumerate() {
        if queued > 1 && number > 5 {
            break; // The later ones are for machines on which even starting takes long.
        }
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
    ada.visit("sync");
    let states = ada.outbox();
    assert_eq!(states.len(), queued, "a letter went away");
    let mut came = Vec::new();
    until("all that was queued came", async || {
        ada.visit("sync");
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
    let (ada, bob) = two_people(&net).await;
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
        ada.visit("sync");
        ada.outbox()[0]["state"] == "stored"
    })
    .await;
    let mut came = Vec::new();
    until("the letter has come", async || {
        came.extend(bob.read());
        !came.is_empty()
    })
    .await;
    came.extend(bob.read());
    assert_eq!(came, ["later"]);
    until("it is known to be read", async || {
        bob.visit("sync");
        ada.visit("sync");
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

/// Every line that a command answers with, as a script reads it.
fn objects(text: &str) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

/// A letter that one command fetched and did not show, or could not show because it was killed, is shown by the
/// next one that shows letters, and by no later one.
#[tokio::test]
async fn every_verb_answers_scripts_and_a_letter_is_shown_once_whoever_fetched_it() {
    let net = Net::start(RELAY, 5).await;
    let (ada, bob) = two_people(&net).await;
    let file = ada.dir.path().join("notes.bin");
    let content: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    std::fs::write(&file, &content).unwrap();
    let sent = ada.store(&["send", "bob", "hello", "--json"]).await;
    assert!(sent["copies"].as_u64().unwrap() >= 3 && sent["until"].is_u64());
    let path = file.to_str().unwrap();
    ada.store(&["send", "bob", "--file", path, "--json"]).await;
    assert_eq!(
        ada.code(&["send", "bob", "--file", "/dev/null/none"]),
        Some(1)
    );

    until("both have come", async || {
        bob.visit("sync");
        objects(&bob.done(&["inbox", "--all", "--json"])).len() == 2
    })
    .await;
    let shown = bob.visit("inbox");
    let texts: Vec<&Value> = shown.iter().filter_map(|one| one.get("text")).collect();
    assert_eq!(texts, ["hello"], "{shown:?}");
    assert_eq!(shown[1]["name"], "notes.bin");
    assert_eq!(shown[1]["blake3"], blake3::hash(&content).to_hex().as_str());
    assert_eq!(bob.read(), [""; 0], "each is shown once");

    let id = shown[1]["id"].as_str().unwrap();
    let to = bob.dir.path().join("saved.bin");
    let saved = objects(&bob.done(&["save", id, to.to_str().unwrap(), "--json"]));
    assert_eq!(saved[0]["bytes"], 20_000);
    assert_eq!(saved[0]["blake3"], shown[1]["blake3"]);
    assert_eq!(std::fs::read(&to).unwrap(), content);
    assert_eq!(
        bob.code(&["save", id, to.to_str().unwrap()]),
        Some(1),
        "never over another file"
    );
    let read = objects(&bob.done(&["read", shown[0]["id"].as_str().unwrap(), "--json"]));
    assert_eq!(read[0]["text"], "hello");
    let contacts = objects(&ada.done(&["contact", "list", "--json"]));
    assert_eq!(contacts[0][0]["name"], "bob");
}

/// `words` with the line `secret` behind descriptor 3, no terminal, and `input` at standard input.
fn with_passphrase(home: &Path, secret: &str, words: &[&str], input: &str) -> Output {
    let folder = home.parent().unwrap();
    let (passphrase, stdin) = (folder.join("passphrase"), folder.join("stdin"));
    std::fs::write(&passphrase, format!("{secret}\n")).unwrap();
    std::fs::write(&stdin, input).unwrap();
    let script = "exec \"$0\" --passphrase-fd 3 \"$@\" 3< \"$PASSPHRASE\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, POSTE, "--home"])
        .arg(home)
        .args(words);
    command.env("PASSPHRASE", passphrase);
    command.stdin(std::fs::File::open(stdin).unwrap());
    command.output().unwrap()
}

/// A network whose relays are not there.
fn deserted(folder: &Path) -> PathBuf {
    let founders = [1_u8, 2].map(|n| Founder {
        key: NodeKey(*SecretKey::from_seed(&[n; 32]).public()),
        addr: format!("127.98.0.{n}:9").parse().unwrap(),
    });
    let path = folder.join("deserted.toml");
    let file = NetworkFile::public("deserted", founders.to_vec());
    file.write(&path).unwrap();
    path
}

#[test]
fn a_passphrase_comes_by_descriptor_and_nothing_is_asked_without_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let network = deserted(dir.path());
    let network = network.to_str().unwrap();
    let home = dir.path().join("home");
    let made = ["id", "new", "--network", network, "--json"];
    let made = with_passphrase(&home, "a secret", &made, "");
    assert!(made.status.success(), "{made:?}");
    let made = &objects(&String::from_utf8(made.stdout).unwrap())[0];
    let words = made["words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 24);
    let shown = |secret| with_passphrase(&home, secret, &["id", "show", "--json"], "");
    let told = objects(&String::from_utf8(shown("a secret").stdout).unwrap());
    assert_eq!(told[0]["account"], made["account"]);
    assert_eq!(shown("another").status.code(), Some(1));
    assert_eq!(shown("").status.code(), Some(1));

    let second = dir.path().join("second");
    let restore = ["id", "restore", "--network", network, "--json"];
    let restored = with_passphrase(&second, "b", &restore, &format!("{words}\n"));
    let told = objects(&String::from_utf8(restored.stdout).unwrap());
    assert_eq!(told[0]["account"], made["account"]);
    assert_eq!(told[0]["invitation"], made["invitation"]);
    assert_eq!(told[0].get("words"), None);
    let wrong = words.replacen(' ', " zoo ", 1);
    let third = dir.path().join("third");
    assert_eq!(
        with_passphrase(&third, "b", &restore, &wrong).status.code(),
        Some(1)
    );
    assert!(!third.exists(), "nothing is made of wrong words");

    let mut asked = Command::new(POSTE);
    asked.arg("--home").arg(&home).args(["id", "show"]);
    let asked = asked.stdin(Stdio::null()).output().unwrap();
    assert_eq!(asked.status.code(), Some(2));
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(
        said.contains("--key-file") && said.contains("--passphrase-fd"),
        "{said}"
    );
}

#[test]
fn a_script_knows_an_absent_network_from_a_changed_one() {
    let dir = tempfile::tempdir().unwrap();
    let network = deserted(dir.path());
    let person = Person { dir };
    person.done(&["id", "new", "--network", network.to_str().unwrap()]);
    assert_eq!(person.code(&["sync"]), Some(3));
    let other = NetworkFile::read(&network).unwrap();
    let other = NetworkFile::public("another", other.founders);
    other.write(&person.home().join("network.toml")).unwrap();
    assert_eq!(person.code(&["sync"]), Some(4));
}

/// A command that goes on until the test ends, and the lines that it prints.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = sync_channel(1_000);
        std::thread::spawn(move || {
            let mut lines = out.lines().map_while(Result::ok);
            lines.all(|line| tell.send(line).is_ok())
        });
        Self { child, lines }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn who_follows_the_inbox_sees_a_letter_come_and_can_do_other_things_meanwhile() {
    let net = Net::start(RELAY, 5).await;
    let (ada, bob) = two_people(&net).await;
    let follow = ["inbox", "--follow", "--every", "1", "--json"];
    let following = Following::start(bob.command(&follow));
    ada.store(&["send", "bob", "while you look"]).await;
    until("the letter is shown", async || {
        let mut lines = following.lines.try_iter();
        lines.any(|line| line.contains("while you look"))
    })
    .await;
    until("the home is free between two looks", async || {
        bob.run(&["contact", "list"]).status.success()
    })
    .await;
    let again = following.lines.recv_timeout(PATIENCE).unwrap();
    assert!(!again.contains("while you look"), "shown once: {again}");
}
