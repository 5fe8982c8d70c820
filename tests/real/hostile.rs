//! Relays under attack and in trouble: nonsense, false requests, wrong networks, wrong clocks, full disks.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use poste_link::{Endpoint, Greeting, LinkConfig, LinkFailure, Target, bind};
use poste_node::devnet::DevnetLauncher;
use poste_node::keys::Keys;
use poste_tests::attacker::{self, Length, Traitor};
use poste_tests::correspondent::Correspondent;
use poste_tests::net::{Net, PATIENCE, soak, until};
use poste_tests::skip;
use swarm_proto::client::Trouble;
use swarm_proto::envelope::{ExpiryClass, SizeClass};
use swarm_proto::network::Network;
use swarm_proto::wire::refusal::Refusal;

use crate::RELAY;

const RELAY_CLOCK: &str = env!("CARGO_BIN_EXE_test-relay-clock");

/// Deposits until `end`, one at least, all of which must be acknowledged and found again.
async fn live_honestly(who: &Correspondent, end: Instant) -> usize {
    let since = who.epoch();
    let mut ids = Vec::new();
    while Instant::now() < end || ids.is_empty() {
        ids.push(who.deposit_one().await.unwrap());
    }
    let found = who.fetch_since(since).await;
    assert!(ids.iter().all(|id| found.contains(id)), "nothing is lost");
    ids.len()
}

fn target(net: &Net, index: usize) -> Target {
    Target {
        key: net.key(index),
        addr: net.row(index).addr,
    }
}

/// Checks how much a relay has grown, and says so.
fn assert_memory(net: &Net, index: usize, before_kib: u64) -> String {
    let after_kib = net.rss_kib(index);
    let grown_kib = after_kib.saturating_sub(before_kib);
    assert!(grown_kib < FLOOD_KIB_MAX, "grown by {grown_kib} KiB");
    format!("VmRSS before {before_kib} KiB, after {after_kib} KiB: grown by {grown_kib} KiB")
}

/// [FRM-1] [LNK-8]
#[tokio::test]
async fn nonsense_on_both_ports_neither_stops_nor_swells_a_relay() {
    let net = Net::start(RELAY, 6).await;
    let honest = Correspondent::new(net.file(), 21);
    honest.deposit_one().await.unwrap();
    let (to, before) = (target(&net, 0), net.rss_kib(0));
    let end = Instant::now() + soak(Duration::from_secs(5));
    let length = |least| Length { end, least };
    let (many, some) = (length(101), length(6));
    let datagrams = std::thread::spawn(move || attacker::datagrams(to.addr, many));
    let connections = std::thread::spawn(move || attacker::connections(to.addr, some));
    let network = net.file().network.id();
    let (frames, deposits) = tokio::join!(
        attacker::frames(network, to, length(9), attacker::nonsense),
        live_honestly(&honest, end)
    );
    let (datagrams, connections) = (datagrams.join().unwrap(), connections.join().unwrap());
    println!(
        "{datagrams} datagrams, {connections} connections, {frames} frames; {deposits} honest deposits"
    );
    assert!(datagrams > 100 && connections > 5 && frames > 8 && deposits > 0);
    assert!(net.is_running(0), "{}", net.log(0));
    until("faults are counted", async || net.told(0).await.faults > 0).await;
    println!("{}", assert_memory(&net, 0, before));
}

/// [ONI-5] [SIG-1] [CPY-1]
#[tokio::test]
async fn false_requests_change_nothing_while_honest_ones_are_served() {
    let mut net = Net::start(RELAY, 6).await;
    let honest = Correspondent::new(net.file(), 22);
    let liar = Arc::new(Correspondent::new(net.file(), 23));
    let members = honest.members().await;
    honest.deposit_one().await.unwrap();
    let network = net.file().network.clone();
    net.kill(5).await;
    let stolen = Keys::at(net.home(5).keys_dir()).node().unwrap();
    let traitor = Traitor::new(network.id(), stolen.bytes());
    let (to, before) = (target(&net, 0), net.rss_kib(0));
    let end = Instant::now() + soak(Duration::from_secs(5));
    let never_signed = liar.seal(SizeClass::Small, ExpiryClass::Days7);
    let lies = async {
        let mut refused = 0;
        while Instant::now() < end || refused == 0 {
            let deposit = attacker::unsigned(&liar.seal(SizeClass::Small, ExpiryClass::Days7));
            match liar.deposit(deposit).await {
                // Midnight came before enough holders had answered.
                Err(Trouble::TooLate) => continue,
                answer => assert_eq!(answer, Err(Trouble::Refused(Refusal::NoCapability))),
            }
            refused += 1;
        }
        refused
    };
    let bent = || attacker::bent_onion(&network, &members, &to.key);
    let length = Length { end, least: 9 };
    let (onions, copies, refused, deposits) = tokio::join!(
        attacker::frames(network.id(), to, length, bent),
        traitor.false_copies(to, &never_signed, length),
        lies,
        live_honestly(&honest, end)
    );
    println!(
        "{onions} bent onions, {copies} false copies, {refused} false deposits; {deposits} honest"
    );
    assert!(onions > 8 && copies > 8 && refused > 0 && deposits > 0);
    until("what was false is counted", async || {
        let status = net.told(0).await;
        status.onions.rejected > 0 && status.faults > 0
    })
    .await;
    for index in 0..5 {
        assert!(net.is_running(index), "{}", net.log(index));
        let here = net.kept(index, &[never_signed.envelope.id()]).await;
        assert_eq!(here, Vec::new(), "nobody keeps what nobody signed");
    }
    println!("{}", assert_memory(&net, 0, before));
    traitor.close().await;
}

/// [NET-1] [FRM-2]
#[tokio::test]
async fn somebody_of_another_network_is_told_so() {
    let net = Net::start(RELAY, 4).await;
    let founders = &net.file().network.founders;
    let other = Network::public("another", founders);
    let socket = bind("127.0.9.1:0".parse().unwrap()).unwrap();
    let config = LinkConfig {
        dial_wait: PATIENCE,
        ..LinkConfig::home()
    };
    let endpoint = Endpoint::client(socket, Greeting::new(other.id()), config).unwrap();
    let to = target(&net, 0);
    let refused = endpoint.link(to.key, to.addr).await.unwrap_err();
    assert!(matches!(refused, LinkFailure::WrongNetwork { .. }));
    assert!(refused.to_string().contains("another network"), "{refused}");
    endpoint.close().await;

    let mut file = net.file().clone();
    file.network.name = "another".to_owned();
    let home = net.dir().join("stranger");
    let path = net.dir().join("another.toml");
    file.write(&path).unwrap();
    let run = |verb: &[&str]| {
        let mut command = Command::new(RELAY);
        command.arg("--home").arg(&home).args(verb);
        command
    };
    let made = run(&["init", "--network", path.to_str().unwrap()]).output();
    assert!(made.unwrap().status.success());
    std::fs::write(
        home.join("config.toml"),
        "listen = \"127.60.0.1\"\nport = 0\n",
    )
    .unwrap();
    let parent = std::process::id().to_string();
    let mut stranger = run(&["run", "--parent", &parent]).spawn().unwrap();
    let socket = poste_node::home::Home::at(&home).socket_path();
    until("the stranger is turned away", async || {
        let told = poste_node::status::ask(&socket).await;
        told.is_ok_and(|status| status.discovery.foreign > 0 && status.members.known <= 1)
    })
    .await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    for index in 0..net.nodes() {
        assert_eq!(net.told(index).await.members.known, 4);
    }
}

/// [CLK-3] [ENV-4] [CPY-2] A holder whose clock is off takes nothing, says why, and holds nobody up.
#[tokio::test]
async fn a_relay_whose_clock_is_wrong_holds_nothing() {
    let mut net = Net::start(RELAY, 5).await;
    let who = Correspondent::new(net.file(), 24);
    let victim = net.index_of(&who.holders(who.epoch()).await[0]);
    net.kill(victim).await;
    // A minute of this network is 100 ms: 600 of them behind, where 30 are allowed.
    let clock = DevnetLauncher {
        exe: "env".into(),
        relay_args_prefix: vec!["TEST_CLOCK_OFFSET_MS=-60000".into(), RELAY_CLOCK.into()],
    };
    net.restart_as(victim, clock).await;
    until("its clock is compared", async || {
        let status = net.told(victim).await;
        status.clock.offset_ms_median.is_some_and(|ms| ms > 50_000)
    })
    .await;
    let mut ids = Vec::new();
    // With five relays it is a holder in every epoch, so it is asked whenever this begins.
    until("it has refused because of its clock", async || {
        ids.push(who.deposit_one().await.unwrap());
        let status = net.told(victim).await;
        ids.len() >= 4 && status.refusals.contains_key("clock")
    })
    .await;
    assert_eq!(net.kept(victim, &ids).await, Vec::new());
}

/// [STO-6] A full disk refuses deposits, goes on being read, and takes deposits again when it has room.
#[tokio::test]
async fn a_full_disk_refuses_deposits_and_serves_readers() {
    if !may_mount() {
        skip::tell(
            "a_full_disk_refuses_deposits_and_serves_readers",
            "no private mount namespace here",
        );
        return;
    }
    let net = Net::launch(on_small_disks(), 5).await;
    net.meet().await;
    let who = Correspondent::new(net.file(), 25);
    let since = who.epoch();
    let kept = who.deposit_one().await.unwrap();
    let fillers: Vec<PathBuf> = (0..net.nodes()).map(|index| filler(&net, index)).collect();
    fillers.iter().for_each(|path| fill(path));
    let stored = refused_for_full_disks(&net, &who).await;
    let stored = stored.expect("the disks fill, and the reason is counted");
    println!("refused after {stored} more deposits");
    assert!(who.fetch_since(since).await.contains(&kept), "reads go on");

    for path in &fillers {
        std::fs::remove_file(path).unwrap();
    }
    until("deposits are taken again", async || {
        let deposit = who.seal(SizeClass::Small, ExpiryClass::Days7);
        who.try_deposit(deposit).await.is_ok()
    })
    .await;
    assert!(who.fetch_since(since).await.contains(&kept));
}

/// Deposits until one is refused because disks are full, and relays count that as the reason; how many were stored
/// before. `None` if that never happens.
async fn refused_for_full_disks(net: &Net, who: &Correspondent) -> Option<usize> {
    let mut stored = 0;
    // What is free inside the stores' files is used up first.
    for _ in 0..1_000 {
        let deposit = who.seal(SizeClass::Large, ExpiryClass::Days7);
        let tried = who.try_deposit(deposit).await;
        stored += usize::from(tried.is_ok());
        let mut said = 0;
        for index in 0..net.nodes() {
            assert!(net.is_running(index), "{}", net.log(index));
            let status = net.told(index).await;
            said += status.refusals.get("disk full").copied().unwrap_or(0);
        }
        // Whoever is slow to answer, or is asked around midnight, is in trouble for another reason.
        let full = Trouble::Refused(Refusal::DiskFull);
        let is_full = tried.is_err_and(|why| why == full || why == Trouble::TooFewCopies);
        if is_full && said > 0 {
            return Some(stored);
        }
    }
    None
}

fn may_mount() -> bool {
    let script = "mount -t tmpfs -o size=1m none /mnt";
    let tried = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// Each relay's store on a disk of its own that only it sees.
fn on_small_disks() -> DevnetLauncher {
    let script = "mkdir -p \"$3/store\" && mount -t tmpfs -o size=20m none \"$3/store\" && exec \"$0\" \"$@\"";
    let prefix = ["--mount", "sh", "-c", script, RELAY];
    DevnetLauncher {
        exe: "unshare".into(),
        relay_args_prefix: prefix.iter().map(OsString::from).collect(),
    }
}

/// A file on a relay's own disk, by the kernel's road into its mount namespace.
fn filler(net: &Net, index: usize) -> PathBuf {
    let store = net.home(index).store_path();
    let inside = store.strip_prefix("/").unwrap().join("filler");
    Path::new(&format!("/proc/{}/root", net.pid(index))).join(inside)
}

/// Takes all that is free.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[1; 4_096]).is_ok() {}
}

/// What a flood may add to a relay's memory.
const FLOOD_KIB_MAX: u64 = 96 * 1024;
