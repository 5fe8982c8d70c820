//! Relays read letters of their own from each other, as anybody would: real processes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use poste_node::devnet::DevnetLauncher;
use poste_tests::net::{Net, until};

use crate::RELAY;

/// With twice the readings of an ordinary network of this size.
const RELAYS: usize = 8;
/// A visit of each every four seconds.
const READINGS: u16 = 120;
const LAZY_RELAY: &str = env!("CARGO_BIN_EXE_test-lazy-relay");

/// What all relays' personas together asked for and were not shown.
async fn readings(net: &Net) -> (u64, u64) {
    let (mut asked, mut failed) = (0, 0);
    for index in 0..net.nodes() {
        if let Some(status) = net.status(index).await {
            asked += status.readings.asked;
            failed += status.readings.failed;
        }
    }
    (asked, failed)
}

/// The names of all files below a folder, but for the plot, which grows meanwhile, and for what is about to take
/// another file's place, as its record is every six hours.
fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("plot") || path.extension().is_some_and(|end| end == "new") {
            continue;
        }
        if path.is_dir() {
            names.extend(files(&path));
        } else {
            names.insert(path);
        }
    }
    names
}

/// [CAN-2] [CAN-7] [CAN-8]: the letters are stored and shown by relays that know nothing of personas, and a relay
/// with one stops by itself, as one without does.
#[tokio::test]
async fn relays_read_their_own_letters_and_then_find_who_shows_none() {
    let mut net = Net::start_reading(RELAY, RELAYS, READINGS).await;
    let before = files(net.home(5).dir());
    let start = Instant::now();
    until("relays have read letters of their own", async || {
        readings(&net).await.0 >= RELAYS as u64
    })
    .await;
    let (asked, failed) = readings(&net).await;
    println!("{asked} readings after {:?}", start.elapsed());
    assert_eq!(failed, 0, "of {asked}");

    assert_eq!(files(net.home(5).dir()), before, "nothing of it is on disk");

    let took = net.stop(3).await;
    println!("stopped after {} ms", took.as_millis());
    let lazy = DevnetLauncher {
        exe: "env".into(),
        relay_args_prefix: vec!["TEST_LIE=hides:1000000".into(), LAZY_RELAY.into()],
    };
    net.restart_as(3, lazy).await;
    let start = Instant::now();
    until(
        "a relay that shows readers nothing has failed",
        async || readings(&net).await.1 > 0,
    )
    .await;
    println!(
        "{:?} readings, failed ones {:?} later",
        readings(&net).await,
        start.elapsed()
    );
}
