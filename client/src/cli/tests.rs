//! Promises of the command line that need no network.

use std::path::Path;

use clap::CommandFactory;
use poste_link::network_file::{Founder, NetworkFile};
use swarm_proto::id::NodeKey;

use super::*;

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"poste").chain(args))
}

fn run_in(folder: &Path, args: &[&str]) -> Result<(), Failure> {
    let home = folder.join("home");
    let key = folder.join("key");
    let mut all = vec!["--home", home.to_str().unwrap()];
    all.extend(["--key-file", key.to_str().unwrap()]);
    all.extend(args);
    parse(&all).unwrap().act(Voice::muted())
}

fn network(folder: &Path, name: &str) -> String {
    let founders = [1_u8, 2].map(|n| Founder {
        key: NodeKey([n; 32]),
        addr: format!("127.0.0.{n}:7700").parse().unwrap(),
    });
    let path = folder.join(format!("{name}.toml"));
    let file = NetworkFile::public(name, founders.to_vec());
    file.write(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_parser_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn what_scripts_write_is_understood() {
    for args in [
        vec!["id", "new", "--network", "n.toml", "--key-file", "k"],
        vec!["contact", "add", "bob", "poste:invite/1/x", "--json"],
        vec!["send", "bob", "two", "words"],
        vec!["send", "bob", "-"],
        vec!["send", "bob", "--lines", "--ttl", "1h"],
        vec!["send", "bob", "--file", "a.txt", "--wait", "none"],
        vec!["inbox", "--follow", "--bind", "127.9.0.1", "--log", "info"],
        vec!["inbox", "--all"],
        vec!["--home", "/h", "--passphrase-fd", "3", "sync"],
        vec!["save", "ab12", "out.txt"],
        vec!["outbox", "--all"],
    ] {
        assert!(parse(&args).is_ok(), "{args:?}");
    }
}

#[test]
fn what_contradicts_itself_is_wrong_usage() {
    for args in [
        vec!["send", "bob", "text", "--lines"],
        vec!["send", "bob", "text", "--file", "a.txt"],
        vec!["send", "bob", "text", "--ttl", "2d"],
        vec!["inbox", "--follow", "--all"],
        vec!["inbox", "--every", "5"],
        vec!["sync", "--key-file", "k", "--passphrase-fd", "3"],
        vec!["id", "new"],
        vec!["fly"],
    ] {
        assert!(parse(&args).is_err(), "{args:?}");
    }
}

#[test]
fn a_home_is_made_once_and_opened_by_its_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = network(folder.path(), "post");
    let run = |args: &[&str]| run_in(folder.path(), args);
    let code = |outcome: Result<(), Failure>| outcome.map_err(|failure| failure.code());
    assert_eq!(code(run(&["id", "show"])), Err(1), "there is no key file");
    assert_eq!(code(run(&["id", "new", "--network", &file])), Ok(()));
    assert_eq!(code(run(&["id", "show"])), Ok(()));
    assert_eq!(code(run(&["id", "new", "--network", &file])), Err(1));
    assert_eq!(code(run(&["send", "bob", "hello"])), Err(6));
    assert_eq!(code(run(&["read", "ab"])), Err(6));
    assert_eq!(code(run(&["contact", "add", "bob", "nonsense"])), Err(1));
    std::fs::remove_file(folder.path().join("key")).unwrap();
    crate::home::create_key_file(&folder.path().join("key")).unwrap();
    assert_eq!(code(run(&["id", "show"])), Err(1));
}

/// [LET-10]: what is queued is durable without any network, or nothing of it is.
#[test]
fn letters_are_queued_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let bobs = tempfile::tempdir().unwrap();
    let file = network(folder.path(), "post");
    run_in(folder.path(), &["id", "new", "--network", &file]).unwrap();
    run_in(bobs.path(), &["id", "new", "--network", &file]).unwrap();
    let open = |folder: &Path| {
        let key = crate::home::read_key_file(&folder.join("key")).unwrap();
        App::open(&folder.join("home"), &Secret::KeyFile(key)).unwrap()
    };
    let invitation = open(bobs.path()).invitation();
    run_in(folder.path(), &["contact", "add", "bob", &invitation]).unwrap();
    run_in(folder.path(), &["send", "bob", "hello", "--wait", "none"]).unwrap();
    let long = "x".repeat(40_000);
    let refused = run_in(folder.path(), &["send", "bob", &long, "--wait", "none"]);
    assert_eq!(refused.unwrap_err().code(), 5);
    let app = open(folder.path());
    let texts: Vec<_> = app.outbox().unwrap();
    assert_eq!(texts.len(), 1);
    let bob = app.contact("bob").unwrap();
    assert_eq!(app.contact(&account::id_of(&bob.account)).unwrap(), bob);
}

#[test]
fn another_network_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let file = network(folder.path(), "post");
    run_in(folder.path(), &["id", "new", "--network", &file]).unwrap();
    let other = network(folder.path(), "other");
    std::fs::copy(other, folder.path().join("home/network.toml")).unwrap();
    let shown = run_in(folder.path(), &["id", "show"]);
    assert_eq!(shown.unwrap_err().code(), 4);
}

#[test]
fn words_make_the_same_account_and_invitation_again() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = network(one.path(), "post");
    let file = || read_network(Path::new(&path)).unwrap();
    let secret = || Secret::KeyFile(Zeroizing::new([7; 32]));
    let first = App::create(one.path(), &secret(), file(), None).unwrap();
    let seed = account::seed_of(&first.words().unwrap()).unwrap();
    let second = App::create(two.path(), &secret(), file(), Some(&seed)).unwrap();
    assert_eq!(first.account(), second.account());
    assert_eq!(first.invitation(), second.invitation());
}
