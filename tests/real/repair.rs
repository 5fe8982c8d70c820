//! Copies stay at five relays while relays die and leave: real processes.

use std::path::Path;
use std::process::Command;

use poste_tests::correspondent::Correspondent;
use poste_tests::net::{Net, until};
use swarm_proto::envelope::SizeClass;
use swarm_proto::id::EnvelopeId;

use crate::RELAY;

const COPIES: usize = 5;
/// With two dead there are spares, and paths to them.
const RELAYS: usize = 9;

/// The fewest copies that running relays have of any of these.
async fn fewest_copies(net: &Net, ids: &[EnvelopeId]) -> usize {
    let mut copies = vec![0; ids.len()];
    for index in (0..net.nodes()).filter(|index| net.is_running(*index)) {
        let here = net.holds(index, ids).await.unwrap_or_default();
        for (id, count) in ids.iter().zip(&mut copies) {
            *count += usize::from(here.contains(id));
        }
    }
    copies.into_iter().min().unwrap_or(0)
}

async fn deposit_some(who: &Correspondent) -> Vec<EnvelopeId> {
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(who.deposit_one().await.unwrap());
    }
    ids
}

/// [REP-1] [REP-5]
#[tokio::test]
async fn what_dead_holders_had_is_made_again_elsewhere() {
    let mut net = Net::start(RELAY, RELAYS).await;
    let who = Correspondent::new(net.file(), 31);
    let (since, ids) = (who.epoch(), deposit_some(&who).await);
    until("all holders have all", async || {
        fewest_copies(&net, &ids).await >= COPIES
    })
    .await;
    // With both of its guards dead nobody reads anything ([PTH-2]).
    let (guards, mut holders) = (who.guards(), who.holders(since).await);
    if holders.iter().take(2).all(|holder| guards.contains(holder)) {
        holders.swap(1, 2);
    }
    for holder in holders.iter().take(2) {
        net.kill(net.index_of(holder)).await;
    }
    until("living relays have five copies", async || {
        fewest_copies(&net, &ids).await >= COPIES
    })
    .await;
    let found = who.fetch_since(since).await;
    assert!(ids.iter().all(|id| found.contains(id)));
}

/// [STO-10] [REP-2] A holder notices what its disk damaged when it is read or swept, and has it again afterwards.
#[tokio::test]
async fn what_a_disk_damaged_is_copied_to_it_again() {
    let mut net = Net::start(RELAY, COPIES).await;
    let who = Correspondent::new(net.file(), 33);
    let since = who.epoch();
    let whole = deposit_some(&who).await;
    let (deposit, _) = who.deposit_sized(SizeClass::Small).await.unwrap();
    let mut all = whole;
    all.push(deposit.envelope.id());
    until("all relays have all", async || {
        fewest_copies(&net, &all).await >= COPIES
    })
    .await;
    let victim = net.index_of(&who.holders(since).await[0]);
    net.stop(victim).await;
    damage(
        &net.home(victim).dir().join("store/store.redb"),
        deposit.envelope.bytes(),
    );
    net.restart(victim).await;
    until("it has noticed", async || {
        assert!(all.len() >= who.fetch_since(since).await.len());
        net.told(victim).await.store.damaged == 1
    })
    .await;
    until("all relays have all again", async || {
        fewest_copies(&net, &all).await >= COPIES
    })
    .await;
    let found = who.fetch_since(since).await;
    assert!(all.iter().all(|id| found.contains(id)));
}

/// Changes one bit of `envelope` wherever it lies in a relay's file.
fn damage(file: &Path, envelope: &[u8]) {
    let mut content = std::fs::read(file).unwrap();
    let places = content.windows(envelope.len()).enumerate();
    let places = places.filter(|(_, bytes)| *bytes == envelope);
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "it lies there as it was sent");
    for at in places {
        content[at + envelope.len() / 2] ^= 1;
    }
    std::fs::write(file, content).unwrap();
}

/// [REP-7]: also when it is killed in the middle of it.
#[tokio::test]
async fn a_relay_that_is_drained_may_be_stopped_for_good() {
    let mut net = Net::start(RELAY, RELAYS).await;
    let who = Correspondent::new(net.file(), 32);
    let (since, ids) = (who.epoch(), deposit_some(&who).await);
    let leaver = net.index_of(&who.holders(since).await[0]);
    let drain = |net: &Net| {
        let mut command = Command::new(RELAY);
        command.arg("--home").arg(net.home(leaver).dir());
        command.args(["--json", "drain"]);
        command
    };
    let mut begun = drain(&net).spawn().unwrap();
    until("it is leaving", async || {
        let status = net.told(leaver).await;
        status.repair.drained.is_some()
    })
    .await;
    net.kill(leaver).await;
    let _lost_its_relay = begun.wait();
    net.restart(leaver).await;
    until("it goes on leaving", async || {
        let status = net.told(leaver).await;
        status.repair.drained.is_some()
    })
    .await;

    let (done, ended) = std::sync::mpsc::sync_channel(1);
    let mut again = drain(&net);
    std::thread::spawn(move || done.send(again.output()));
    let mut output = None;
    until("all is handed over", async || {
        output = ended.try_recv().ok();
        output.is_some()
    })
    .await;
    let output = output.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("\"drained\":true")
    );
    net.stop(leaver).await;
    until("the others have five copies", async || {
        fewest_copies(&net, &ids).await >= COPIES
    })
    .await;
    let found = who.fetch_since(since).await;
    assert!(ids.iter().all(|id| found.contains(id)));
}
