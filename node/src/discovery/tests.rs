//! Discovery services on loopback addresses of different subnets, each with its own keys.

use super::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Service {
    key: NodeKey,
    addr: SocketAddr,
    commands: DiscoveryCommands,
    found: mpsc::Receiver<Found>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Service {
    async fn start(ip: Ipv4Addr, network: &Network, hints: Vec<Hint>) -> Self {
        let seed = Seed::random().unwrap();
        let config = DiscoveryConfig {
            network: network.clone(),
            seed: seed.clone(),
            listen: SocketAddrV4::new(ip, 0).into(),
            announce: None,
            hints,
            links_max: 64,
        };
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let (commands, found) = Discovery::start(config, &tracker, stop.clone()).unwrap();
        let mut stats = commands.watch();
        let stats = within(stats.wait_for(|stats| !stats.listening.is_empty())).await;
        let addr = stats.unwrap().listening[0];
        Self {
            key: seed.node_key(),
            addr,
            commands,
            found,
            tracker,
            stop,
        }
    }

    /// An address without a key, as a person would type it.
    fn hint(&self) -> Hint {
        Hint {
            key: None,
            addr: self.addr,
        }
    }

    async fn knows(&self, count: usize) {
        let mut stats = self.commands.watch();
        within(stats.wait_for(|stats| stats.known == count))
            .await
            .unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        within(self.tracker.wait()).await;
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("within a minute")
}

fn network(name: &str, reachability: Reachability) -> Network {
    let mut network = Network::public(name, &[]);
    network.scale.minute_ms = 100;
    network.reachability = reachability;
    network
}

fn own_subnet(i: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 16 + i, 0, 1)
}

/// [DIS-2] [DIS-7] Each knows only its neighbour's address, without a key, and finds all the others, at the
/// addresses where they really listen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_relays_with_one_address_each_find_one_another() {
    let network = network("twelve", Reachability::Assume);
    let mut services: Vec<Service> = Vec::new();
    for i in 0..12 {
        let hints = services.last().map(Service::hint).into_iter().collect();
        services.push(Service::start(own_subnet(i), &network, hints).await);
    }
    let all: BTreeMap<NodeKey, SocketAddr> = services.iter().map(|s| (s.key, s.addr)).collect();
    for service in &mut services {
        let mut others = all.clone();
        others.remove(&service.key);
        while !others.is_empty() {
            match within(service.found.recv()).await.unwrap() {
                Found::Discovered { key, data_addr } => {
                    assert_eq!(all.get(&key), Some(&data_addr));
                    others.remove(&key);
                }
                Found::Gone { key } => panic!("{key} did not go"),
            }
        }
    }
}

/// [DIS-3] Where reachability must be proven, a relay that came to us is known only after we reached it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_came_is_known_after_it_was_reached() {
    let network = network("proven", Reachability::Proven);
    let first = Service::start(own_subnet(0), &network, vec![]).await;
    let second = Service::start(own_subnet(1), &network, vec![first.hint()]).await;
    first.knows(1).await;
    second.knows(1).await;
    let mut stats = second.commands.watch();
    within(stats.wait_for(|stats| stats.reached_by == 1))
        .await
        .unwrap();
}

/// [DIS-3] In a devnet the last relay to start called all the others, nobody called it, and it would have
/// told its operator that others do not reach it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_called_everybody_is_called_back() {
    let network = network("back", Reachability::Assume);
    let first = Service::start(own_subnet(0), &network, vec![]).await;
    let last = Service::start(own_subnet(1), &network, vec![first.hint()]).await;
    for service in [&first, &last] {
        let mut stats = service.commands.watch();
        within(stats.wait_for(|stats| stats.reached_by == 1 && stats.known == 1))
            .await
            .unwrap();
    }
}

/// [DIS-1]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_of_another_network_is_turned_away() {
    let ours = network("ours", Reachability::Assume);
    let theirs = network("theirs", Reachability::Assume);
    let first = Service::start(own_subnet(0), &ours, vec![]).await;
    let stranger = Service::start(own_subnet(1), &theirs, vec![first.hint()]).await;
    let friend = Service::start(own_subnet(2), &ours, vec![first.hint(), stranger.hint()]).await;
    for service in [&first, &stranger] {
        let mut stats = service.commands.watch();
        within(stats.wait_for(|stats| stats.foreign > 0))
            .await
            .unwrap();
    }
    first.knows(1).await;
    friend.knows(1).await;
    assert_eq!(stranger.commands.stats().known, 0);
}

/// [DIS-4]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_subnet_cannot_fill_the_table() {
    let network = network("caps", Reachability::Assume);
    let first = Service::start(own_subnet(0), &network, vec![]).await;
    let mut crowd = Vec::new();
    for i in 1..=4 {
        let ip = Ipv4Addr::new(127, 90, 0, i);
        crowd.push(Service::start(ip, &network, vec![first.hint()]).await);
    }
    let mut stats = first.commands.watch();
    within(stats.wait_for(|stats| stats.subnet_full >= 2))
        .await
        .unwrap();
    let distant = Service::start(own_subnet(1), &network, vec![first.hint()]).await;
    distant.knows(3).await;
    assert_eq!(first.commands.stats().known, 3);
}

/// [DIS-6]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_left_is_told_gone() {
    let network = network("gone", Reachability::Assume);
    let mut first = Service::start(own_subnet(0), &network, vec![]).await;
    let second = Service::start(own_subnet(1), &network, vec![first.hint()]).await;
    let key = second.key;
    first.knows(1).await;
    second.end().await;
    let gone = async {
        loop {
            if let Some(Found::Gone { key }) = first.found.recv().await {
                return key;
            }
        }
    };
    assert_eq!(within(gone).await, key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_leaves_discovery_up() {
    let network = network("garbage", Reachability::Assume);
    let first = Service::start(own_subnet(0), &network, vec![]).await;
    for n in 0..64_u8 {
        let mut stream = tokio::net::TcpStream::connect(first.addr).await.unwrap();
        let bytes: Vec<u8> = (0..4_096_u32)
            .map(|i| (i.wrapping_mul(31) as u8) ^ n)
            .collect();
        // Half of them begin as libp2p does and go wrong later.
        if n % 2 == 0 {
            let _ = stream
                .write_all(b"\x13/multistream/1.0.0\n\x07/noise\n")
                .await;
        }
        let _ = stream.write_all(&bytes).await;
        if n % 4 == 0 {
            let _ = stream.read(&mut [0; 64]).await;
        }
    }
    let second = Service::start(own_subnet(1), &network, vec![first.hint()]).await;
    first.knows(1).await;
    second.knows(1).await;
}

/// A full port is told with its address.
#[tokio::test]
async fn a_taken_port_is_named() {
    let network = network("taken", Reachability::Assume);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = DiscoveryConfig {
        network,
        seed: Seed::random().unwrap(),
        listen: taken.local_addr().unwrap(),
        announce: None,
        hints: vec![],
        links_max: 64,
    };
    let Err(error) = Discovery::start(config, &TaskTracker::new(), CancellationToken::new()) else {
        panic!("the port is taken");
    };
    assert!(
        error
            .to_string()
            .contains(&taken.local_addr().unwrap().to_string())
    );
}
