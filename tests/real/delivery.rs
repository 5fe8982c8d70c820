//! What was acknowledged is there, whatever happens to relays: real processes, killed, stopped and paused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use poste_tests::correspondent::Correspondent;
use poste_tests::net::{Net, until};
use swarm_proto::client::Trouble;
use swarm_proto::envelope::{ExpiryClass, SizeClass};
use swarm_proto::id::EnvelopeId;
use swarm_proto::time::Epoch;
use swarm_proto::wire::refusal::Refusal;
use tokio::task::JoinSet;

use crate::RELAY;

/// Five holders, and enough others for paths around them.
const RELAYS: usize = 8;

/// Deposits `count` envelopes, eight at a time; those that were acknowledged.
async fn deposit_many(who: &Arc<Correspondent>, count: usize) -> Vec<EnvelopeId> {
    let mut tasks = JoinSet::new();
    let mut acknowledged = Vec::new();
    for _ in 0..count {
        if tasks.len() >= 8 {
            acknowledged.extend(tasks.join_next().await.unwrap().unwrap());
        }
        let who = Arc::clone(who);
        tasks.spawn(async move { who.deposit_one().await.ok() });
    }
    while let Some(done) = tasks.join_next().await {
        acknowledged.extend(done.unwrap());
    }
    acknowledged
}

async fn assert_nothing_is_lost(who: &Correspondent, since: Epoch, acknowledged: &[EnvelopeId]) {
    let found: BTreeSet<EnvelopeId> = who.fetch_since(since).await.into_iter().collect();
    let lost: Vec<&EnvelopeId> = acknowledged
        .iter()
        .filter(|id| !found.contains(id))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

/// Waits for a new epoch when the present one is nearly over, so that a test knows its holders.
async fn early_in_an_epoch(who: &Correspondent) -> Epoch {
    until("an epoch with time left", async || {
        who.epoch_left() > Duration::from_secs(40)
    })
    .await;
    who.epoch()
}

/// [DEP-3] [RCP-1]
#[tokio::test]
async fn a_letter_waits_at_twelve_relays_for_somebody_who_is_not_there() {
    let net = Net::start(RELAY, 12).await;
    let since = {
        let bob_at_home = Correspondent::new(net.file(), 2);
        bob_at_home.epoch()
    };
    let writer = Arc::new(Correspondent::new(net.file(), 2));
    let acknowledged = deposit_many(&writer, 20).await;
    assert_eq!(acknowledged.len(), 20);
    let (large, receipts) = writer.deposit_sized(SizeClass::Large).await.unwrap();
    let bytes = large.envelope.bytes().clone();
    assert!(receipts.len() >= 3);
    drop(writer);

    let reader = Correspondent::new(net.file(), 2);
    assert_nothing_is_lost(&reader, since, &acknowledged).await;
    let mut found = false;
    for epoch in since.0..=reader.epoch().0 {
        let fetched = reader.fetch_whole(Epoch(epoch)).await;
        assert!(fetched.holders >= 3, "{fetched:?}");
        found |= fetched.envelopes.iter().any(|one| *one.bytes() == bytes);
    }
    assert!(found, "byte for byte");
}

/// [DEP-3] A holder dies in the middle of deposits, comes back with all it had, and gets what it missed
/// from the relays that took the deposits.
#[tokio::test]
async fn nothing_acknowledged_is_lost_when_a_holder_is_killed_while_deposits_arrive() {
    let mut net = Net::start(RELAY, RELAYS).await;
    let who = Arc::new(Correspondent::new(net.file(), 3));
    let epoch = early_in_an_epoch(&who).await;
    let holders = who.holders(epoch).await;
    let victim = net.index_of(&holders[0]);
    let mut acknowledged = deposit_many(&who, 8).await;
    let had = net.kept(victim, &acknowledged).await;
    let mut depositing = JoinSet::new();
    let depositor = Arc::clone(&who);
    depositing.spawn(async move { deposit_many(&depositor, 40).await });
    let before = had.len() as u64;
    until("the victim takes more", async || {
        // Those deposited after an epoch's end may have other holders.
        net.told(victim).await.held.envelopes > before || who.epoch() != epoch
    })
    .await;
    net.kill(victim).await;
    acknowledged.extend(depositing.join_next().await.unwrap().unwrap());
    assert!(
        acknowledged.len() >= 40,
        "{} acknowledged",
        acknowledged.len()
    );
    assert_nothing_is_lost(&who, epoch, &acknowledged).await;

    net.restart(victim).await;
    let after = net.kept(victim, &acknowledged).await;
    assert!(had.iter().all(|id| after.contains(id)), "durable");
    let same_epoch: Vec<EnvelopeId> = {
        let fetched = who.fetch_whole(epoch).await;
        fetched
            .envelopes
            .iter()
            .map(swarm_proto::envelope::Envelope::id)
            .collect()
    };
    until("the victim gets what it missed", async || {
        let here = net.holds(victim, &same_epoch).await.unwrap_or_default();
        here.len() == same_epoch.len()
    })
    .await;
}

#[tokio::test]
async fn a_holder_that_hangs_holds_nobody_up() {
    let net = Net::start(RELAY, RELAYS).await;
    let who = Arc::new(Correspondent::new(net.file(), 4));
    let epoch = early_in_an_epoch(&who).await;
    let before = deposit_many(&who, 4).await;
    let victim = net.index_of(&who.holders(epoch).await[1]);
    net.signal(victim, Signal::SIGSTOP);
    let acknowledged = deposit_many(&who, 8).await;
    assert_eq!(acknowledged.len(), 8);
    assert_nothing_is_lost(&who, epoch, &[before, acknowledged.clone()].concat()).await;
    net.signal(victim, Signal::SIGCONT);
    until("it gets what it missed", async || {
        let here = net.holds(victim, &acknowledged).await.unwrap_or_default();
        // Those deposited after an epoch's end have other holders.
        here.len() == acknowledged.len() || who.epoch() != epoch
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_is_asked_to_stop_does_so_at_once_and_loses_nothing() {
    let mut net = Net::start(RELAY, RELAYS).await;
    let who = Arc::new(Correspondent::new(net.file(), 5));
    let epoch = early_in_an_epoch(&who).await;
    let acknowledged = deposit_many(&who, 12).await;
    assert_eq!(acknowledged.len(), 12);
    for holder in who.holders(epoch).await.iter().take(2) {
        let index = net.index_of(holder);
        let had = net.kept(index, &acknowledged).await;
        let took = net.stop(index).await;
        println!("relay {index} stopped within {} ms", took.as_millis());
        net.restart(index).await;
        // Copies that were on their way to it may have come meanwhile.
        let has = net.kept(index, &acknowledged).await;
        assert!(had.iter().all(|id| has.contains(id)), "{had:?}, {has:?}");
    }
    assert_nothing_is_lost(&who, epoch, &acknowledged).await;
}

/// [SIG-2]
#[tokio::test]
async fn nobody_reads_with_another_key_and_a_deposit_counts_once() {
    let net = Net::start(RELAY, RELAYS).await;
    let (ada, eve) = (
        Correspondent::new(net.file(), 6),
        Correspondent::new(net.file(), 7),
    );
    let epoch = early_in_an_epoch(&ada).await;
    let deposit = ada.seal(SizeClass::Small, ExpiryClass::Days7);
    let id = deposit.envelope.id();
    ada.deposit(Arc::clone(&deposit)).await.unwrap();
    ada.deposit(deposit).await.unwrap();
    until("eve is told that she may not read", async || {
        let (keys, other_key) = (ada.mailbox(epoch).keys, eve.mailbox(epoch).read);
        let refused = eve.fetch_with(keys, epoch, other_key).await;
        assert!(refused.is_err(), "{refused:?}");
        // The last trouble is told, which may be a holder's silence.
        matches!(refused, Err(Trouble::Refused(Refusal::NoCapability)))
    })
    .await;
    assert_eq!(ada.fetch_whole(epoch).await.envelopes.len(), 1);
    let mut copies = 0;
    for index in 0..net.nodes() {
        copies += net.kept(index, &[id]).await.len();
    }
    assert!(copies <= 7, "{copies} copies of one envelope");
}

#[tokio::test]
async fn an_idle_relay_is_small() {
    let net = Net::start(RELAY, RELAYS).await;
    let rss: Vec<u64> = (0..net.nodes()).map(|index| net.rss_kib(index)).collect();
    println!("VmRSS of idle relays, KiB: {rss:?}");
    let largest = rss.into_iter().max().unwrap();
    assert!(largest < 60 * 1024, "{largest} KiB");
}
