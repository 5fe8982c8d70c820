//! Members for tests: any number of them, each in a subnet of its own.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr};

use crate::crypto::{
    self, Crypto, Decapsulate, ENCAPSULATION_SEED_BYTES, KemCiphertext, OnionKey, OnionPublicKey,
    SecretKey, SharedSecret, Signature,
};
use crate::hash;
use crate::id::{NetworkId, NodeKey};
use crate::members::{Address, MemberList, OnionKeys, Record, VerifiedRecord};
use crate::network::Network;
use crate::standing::Certificate;
use crate::time::{Epoch, TICK_MINUTES, Tick, UnixTime};
use crate::wire::standing::{Past, Words};

/// The real signatures, and no KEM.
pub(crate) struct Signing;
/// Takes every signature for good.
pub(crate) struct Trusting;
struct NoKem;

impl Decapsulate for NoKem {
    fn decapsulate(&self, _: &KemCiphertext) -> Option<SharedSecret> {
        None
    }
}

fn no_onion_key() -> OnionKey {
    OnionKey {
        public: OnionPublicKey(Arc::new([0; 1_216])),
        secret: Box::new(NoKem),
    }
}

impl Crypto for Signing {
    fn verify(&self, key: &[u8; 32], statement: &[u8], signature: &Signature) -> bool {
        crypto::verify_strict(key, statement, signature)
    }

    fn sign(&self, key: &SecretKey, statement: &[u8]) -> Signature {
        crypto::sign(key, statement)
    }

    fn encapsulate(
        &self,
        _: &OnionPublicKey,
        _: &[u8; ENCAPSULATION_SEED_BYTES],
    ) -> Option<(Box<KemCiphertext>, SharedSecret)> {
        None
    }

    fn onion_key(&self, _: &[u8; 32]) -> OnionKey {
        no_onion_key()
    }
}

impl Crypto for Trusting {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &Signature) -> bool {
        true
    }

    fn sign(&self, _: &SecretKey, _: &[u8]) -> Signature {
        Signature([0; 64])
    }

    fn encapsulate(
        &self,
        _: &OnionPublicKey,
        _: &[u8; ENCAPSULATION_SEED_BYTES],
    ) -> Option<(Box<KemCiphertext>, SharedSecret)> {
        None
    }

    fn onion_key(&self, _: &[u8; 32]) -> OnionKey {
        no_onion_key()
    }
}

/// The network of the tests: member 0 is its founder.
pub(crate) fn network() -> Network {
    Network::public("members test", &[key(0)])
}

/// The epoch of the tests.
pub(crate) const TODAY: Epoch = Epoch(20_000);

/// The first tick of [`TODAY`] and `hours` more.
pub(crate) fn tick_at(hours: i64) -> Tick {
    let ticks = i64::from(TODAY.0) * 144 + hours * 6;
    Tick(u32::try_from(ticks).unwrap())
}

/// The start of [`TODAY`] and `hours` more.
pub(crate) fn at(hours: i64) -> UnixTime {
    network().scale.tick_start(tick_at(hours))
}

pub(crate) fn key(number: u32) -> NodeKey {
    NodeKey(hash::derive("test key", &[&number.to_be_bytes()]))
}

/// The address of member `number`, below 25,600: its own /24, and up to 256 members share a /8.
pub(crate) fn address(number: u32) -> Option<Address> {
    let [_, _, _, first] = (11 + number % 100).to_be_bytes();
    let [_, _, _, second] = (number / 100 % 256).to_be_bytes();
    Address::new(IpAddr::V4(Ipv4Addr::new(first, second, 3, 4)), 4_000)
}

/// A record of member `number`, issued as [`TODAY`] starts, since ten days.
pub(crate) fn record(number: u32) -> Record {
    Record {
        leaving: false,
        relay_only: false,
        network: network().id(),
        key: key(number),
        sequence: tick_at(0),
        since: tick_at(-240),
        onion_generation: 2_857,
        onion_current: [1; 32],
        onion_next: None,
        family: [0; 8],
        addresses: [address(number), None],
        class: 1,
        puzzle: 7,
        signature: Signature([0; 64]),
    }
}

pub(crate) fn verified(record: Record) -> VerifiedRecord {
    let network: NetworkId = record.network;
    record.verify(&Trusting, &network).unwrap()
}

/// A list of these records, as it is when [`TODAY`] starts.
pub(crate) fn list(records: impl IntoIterator<Item = Record>) -> MemberList {
    let mut list = MemberList::new(network().scale);
    for record in records {
        list.insert(verified(record), &OnionKeys::default(), at(0));
    }
    list
}

/// Compares lines `name = hex` with those of a file of vectors, leaving out comments and empty lines.
pub(crate) fn check_vectors(file: &str, lines: &[(&str, String)]) {
    let in_file: String = file
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| alloc::format!("{line}\n"))
        .collect();
    let computed: String = lines
        .iter()
        .map(|(name, value)| alloc::format!("{name} = {value}\n"))
        .collect();
    assert!(in_file == computed, "vectors differ; computed:\n{computed}");
}

#[test]
fn the_calendar_of_the_tests_is_the_networks() {
    assert_eq!(TICK_MINUTES * 144, 1_440);
    assert_eq!(network().scale.epoch_of(at(0)), TODAY);
    assert_eq!(network().scale.epoch_of(at(-1)), TODAY.minus(1));
}

/// What a quorum says of a relay that is suspended for long.
pub(crate) fn suspended() -> Certificate {
    let words = Words {
        last: true,
        past: Past {
            term: 9,
            ..Past::default()
        },
        ..Words::default()
    };
    Certificate::of(&[words; 15], 11)
}
