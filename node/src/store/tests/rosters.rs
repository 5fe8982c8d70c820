//! What a relay's machine keeps of past epochs lies in the real store, and is there after the power went.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use swarm_proto::crypto::{Crypto, SecretKey};
use swarm_proto::effects::{Command, Effect, Effects, Input, Origin, PeerChange};
use swarm_proto::id::NodeKey;
use swarm_proto::members::Address;
use swarm_proto::network::Network;
use swarm_proto::place::{Cell, Placement};
use swarm_proto::pledge::OwnPledge;
use swarm_proto::relay::{Relay, RelayConfig};
use swarm_proto::time::{Epoch, Instant, Now, UnixTime};
use swarm_proto::wire::verify::{Judge, Via};

use super::disks::LoggedDisk;
use super::{Shared, config};
use crate::kem::AwsCrypto;
use crate::store::Store;

const START: Epoch = Epoch(20_000);
const DAY: Duration = Duration::from_secs(86_400);

struct Machine {
    relay: Relay,
    secret: SecretKey,
    key: NodeKey,
    store: Store,
}

/// Two founders, in virtual time.
struct Pair {
    network: Arc<Network>,
    machines: Vec<Machine>,
    now: Now,
}

fn secret(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

impl Pair {
    fn new(stores: [Store; 2]) -> Self {
        let keys = [1, 2].map(|number| NodeKey(*secret(number).public()));
        let network = Arc::new(Network::public("pair", &keys));
        let now = Now {
            mono: Instant(1),
            unix: network.scale.epoch_start(START),
        };
        let mut pair = Self {
            network,
            machines: Vec::new(),
            now,
        };
        for (number, store) in (1_u8..).zip(stores) {
            let machine = pair.machine(number, store);
            pair.machines.push(machine);
        }
        pair
    }

    fn machine(&self, number: u8, store: Store) -> Machine {
        let secret = secret(number);
        let key = NodeKey(*secret.public());
        let config = RelayConfig {
            network: Arc::clone(&self.network),
            key,
            addresses: [Address::new([192, 0, number, 1].into(), 4_000), None],
            family: [0; 8],
            since: self.network.scale.tick_of(self.now.unix),
            last_record: None,
            convictions: Vec::new(),
            repair_bytes_per_s: 1 << 20,
            pledge: OwnPledge {
                class: self.network.pledge.class_min,
                puzzle: 0,
            },
        };
        Machine {
            relay: Relay::new(config, [number; 32], self.now),
            secret,
            key,
            store,
        }
    }

    /// They make their onion keys and meet.
    fn meet(&mut self) {
        for at in 0..2 {
            let key = AwsCrypto.onion_key(&[9; 32]).public;
            let keys = Command::OnionKeys {
                generation: 2_857,
                current: key.clone(),
                next: key,
            };
            self.tell(at, Input::Command(keys));
        }
        let id = self.machines[1].key.node_id();
        let change = PeerChange::Linked;
        self.tell(0, Input::Peer { id, change });
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now.mono.plus(by);
        loop {
            let due = self.machines.iter().enumerate();
            let due = due.filter_map(|(at, one)| Some((one.relay.deadline()?.0, at)));
            let Some((due, at)) = due.min().filter(|(due, _)| *due <= end) else {
                break;
            };
            self.at(due);
            self.tell(at, Input::Wake);
        }
        self.at(end);
    }

    fn at(&mut self, mono: Instant) {
        let by = mono.since(self.now.mono);
        let unix = UnixTime(self.now.unix.0 + by.as_micros().div_ceil(1_000) as u64);
        let mono = self.now.mono.plus(by);
        self.now = Now { mono, unix };
    }

    fn tell(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([(at, input)]);
        while let Some((at, input)) = inputs.pop_front() {
            let mut out = Effects::default();
            self.machines[at].relay.step(self.now, input, &mut out);
            for effect in out.drain() {
                inputs.extend(self.carry_out(at, effect));
            }
        }
    }

    fn carry_out(&self, at: usize, effect: Effect) -> Option<(usize, Input)> {
        let machine = &self.machines[at];
        match effect {
            Effect::Send { to, message } => {
                let other = 1 - at;
                assert_eq!(self.machines[other].key.node_id(), to);
                let judge = Judge {
                    crypto: &AwsCrypto,
                    network: self.network.id(),
                    me: to,
                };
                let message = judge.admit(message, Via::Relay(machine.key)).unwrap();
                let from = Origin::Relay(machine.key.node_id());
                Some((other, Input::Message { from, message }))
            }
            Effect::Sign { id, bytes } => {
                let signature = AwsCrypto.sign(&machine.secret, &bytes);
                Some((at, Input::Signed { id, signature }))
            }
            Effect::Store { op, request } => {
                let done = machine.store.ask(request);
                Some((at, Input::Stored { op, done }))
            }
            Effect::Plot { .. } | Effect::Answer { .. } | Effect::Report(_) => None,
        }
    }

    fn placements(&self, at: usize) -> Vec<Arc<Placement>> {
        let epochs = (0..3).map(|later| START.plus(later));
        let places = epochs.flat_map(|epoch| (0..8).map(move |cell| (epoch, Cell(cell))));
        let relay = &self.machines[at].relay;
        places
            .map(|(epoch, cell)| relay.placement(epoch, cell))
            .collect()
    }
}

/// [ELI-9] [STO-9]
#[test]
fn reads_of_an_old_epoch_go_to_the_same_holders_after_the_power_went() {
    let (disk, other) = (LoggedDisk::made(), LoggedDisk::made());
    let mut pair = Pair::new([disk.store(config()), other.store(config())]);
    pair.meet();
    // Two days are over, and more than an hour of the third.
    pair.pass(2 * DAY + DAY / 12);
    let before = pair.placements(0);
    let both = |placement: &Arc<Placement>| placement.holders().len() == 2;
    assert!(before.iter().all(both));

    let left = disk.flushed_only();
    let again = LoggedDisk::starting(left);
    pair.machines[0] = pair.machine(1, again.store(config()));
    pair.tell(0, Input::Wake);
    assert_eq!(pair.machines[0].relay.members().len(), 0);
    assert_eq!(pair.placements(0), before);

    // Who has lost its disk knows of nobody.
    let empty = LoggedDisk::made();
    pair.machines[0] = pair.machine(1, empty.store(config()));
    pair.tell(0, Input::Wake);
    assert!(
        pair.placements(0)
            .iter()
            .all(|one| one.holders().is_empty())
    );
}
