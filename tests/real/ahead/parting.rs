//! Half of the relays cannot reach the other half for an hour of the network's calendar; then they are one network.
//!
//! The kernel parts them: the test runs in a network namespace of its own in which rules of routing forbid what goes
//! from one half to the other. Where that may not be made, the test says so.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use poste_tests::correspondent::Correspondent;
use poste_tests::net::{Net, PATIENCE, launcher, until};
use poste_tests::skip;
use swarm_proto::envelope::{ExpiryClass, SizeClass};
use swarm_proto::id::EnvelopeId;

use crate::RELAY;

/// [REP-1] [REP-4] [GOS-2] [SWP-5]
#[test]
fn two_halves_that_were_parted_are_one_network_again() {
    // A thread of its own, since others must not find themselves in its namespace.
    let parted = std::thread::spawn(|| match own_network() {
        Ok(()) => {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(part_and_heal());
        }
        Err(why) => skip::tell("two_halves_that_were_parted_are_one_network_again", &why),
    });
    parted.join().unwrap();
}

/// A network namespace in which rules can part one half from the other.
fn own_network() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|why| format!("no network namespace: {why}"))?;
    ip("link set lo up")?;
    // The table of this machine's own addresses comes first and cannot be overruled, until it is moved.
    ip("rule add pref 100 lookup local")?;
    ip("rule del pref 0")
}

fn part() {
    for (pref, from, to) in [(10, HALVES[0], HALVES[1]), (11, HALVES[1], HALVES[0])] {
        ip(&format!(
            "rule add pref {pref} from {from} to {to} prohibit"
        ))
        .unwrap();
    }
}

fn heal() {
    for pref in [10, 11] {
        ip(&format!("rule del pref {pref}")).unwrap();
    }
}

fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output();
    let output = output.map_err(|why| format!("no program ip: {why}"))?;
    let said = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| format!("ip {words}: {said}"))
}

#[allow(clippy::print_stdout, reason = "figures are shown")]
async fn part_and_heal() {
    let net = Net::launch_at(launcher(RELAY), RELAYS, MINUTE_MS).await;
    net.meet().await;
    let who = Correspondent::new(net.file(), 240);
    let since = who.epoch();
    let mut ids: Vec<EnvelopeId> = Vec::new();
    for _ in 0..20 {
        ids.push(who.deposit_one().await.unwrap());
    }
    part();
    let parted = Instant::now();
    let (mut refused, mut away) = (0, 0);
    let hour = Duration::from_millis(60 * u64::from(MINUTE_MS));
    while parted.elapsed() < hour || away < RELAYS as u64 / 4 {
        assert!(parted.elapsed() < PATIENCE, "the halves see each other");
        let deposit = who.seal(SizeClass::Small, ExpiryClass::Days7);
        let id = deposit.envelope.id();
        match who.try_deposit(deposit).await {
            Ok(_) => ids.push(id),
            Err(_) => refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        away = most(&net, |status| status.repair.away).await;
    }
    heal();
    let healed = Instant::now();
    until("the lists are equal and nobody is away", async || {
        let mut hashes = Vec::new();
        for index in 0..net.nodes() {
            let status = net.told(index).await;
            hashes.push((
                status.members.known,
                status.members.hash,
                status.repair.away,
            ));
        }
        let is_whole =
            |(known, _, away): &(u64, String, u64)| *known == RELAYS as u64 && *away == 0;
        hashes.iter().all(is_whole) && hashes.windows(2).all(|two| two.first() == two.last())
    })
    .await;
    let equal_s = healed.elapsed().as_secs_f64();
    println!(
        "{RELAYS} relays, parted for {} s: {} deposits, {refused} tries refused meanwhile, {away} relays away for one; lists equal {equal_s:.1} s after healing, where a reconciliation is {:.1} s",
        parted.elapsed().as_secs() - healed.elapsed().as_secs(),
        ids.len(),
        f64::from(MINUTE_MS) / 100.0
    );
    // Two reconciliations, after links that were given up are dialled again.
    let bound_s = 2.0 * f64::from(MINUTE_MS) / 100.0 + REDIAL_S;
    assert!(equal_s < bound_s, "{equal_s} s");
    let found = who.fetch_since(since).await;
    let lost: Vec<_> = ids.iter().filter(|id| !found.contains(id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(most(&net, |status| status.sweeps.missing).await, 0);
    assert_eq!(most(&net, |status| status.sweeps.failed).await, 0);
}

/// The largest of a figure of all relays.
async fn most(net: &Net, figure: impl Fn(&poste_node::status::Status) -> u64) -> u64 {
    let mut most = 0;
    for index in 0..net.nodes() {
        most = most.max(figure(&net.told(index).await));
    }
    most
}

/// Eight in each half.
const RELAYS: usize = 16;
/// The relays' own addresses by halves: relay i has 127.(16 + i).0.1.
const HALVES: [&str; 2] = ["127.16.0.0/13", "127.24.0.0/13"];
/// An hour is 21 s: longer than it takes to give up a link.
const MINUTE_MS: u32 = 350;
/// The longest pause before a lost relay is dialled again, and what two busy cores add.
const REDIAL_S: f64 = 60.0;
