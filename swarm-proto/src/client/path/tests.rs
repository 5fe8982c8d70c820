//! Pins that stay, and paths whose relays have nothing in common.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use rand_core::SeedableRng;

use super::*;
use crate::members::testing::{self, verified};
use crate::members::{MemberList, OnionKeys, Record};

/// [PTH-2]
#[test]
fn pins_are_kept_until_they_end_or_their_relay_leaves() {
    let network = testing::network();
    let mut rng = ChaCha12Rng::from_seed([1; 32]);
    let (snapshot, all) = crowd((0..60).map(|n| (n, 0)));
    let mut pinned = Pinned::default();
    let start = testing::at(0);
    assert!(pinned.renew(&snapshot, &all, &network, start, &mut rng));
    assert_eq!((pinned.guards.len(), pinned.second.len()), (2, 4));
    let first = pinned.clone();
    assert!(!pinned.renew(&snapshot, &all, &network, start, &mut rng));
    let day = |days: u64| UnixTime(start.0 + days * 86_400_000);
    for pin in &first.guards {
        assert!(day(60) <= pin.until && pin.until < day(90));
    }
    for pin in &first.second {
        assert!(day(1) <= pin.until && pin.until < day(12));
    }
    assert!(pinned.renew(&snapshot, &all, &network, day(13), &mut rng));
    assert_eq!(pinned.guards, first.guards);
    assert!(first.second.iter().all(|pin| !pinned.second.contains(pin)));
    let (fewer, left) = crowd(
        (0..60)
            .filter(|n| testing::key(*n).node_id() != first.guards[0].id)
            .map(|n| (n, 0)),
    );
    assert!(pinned.renew(&fewer, &left, &network, day(13), &mut rng));
    assert_eq!(pinned.guards.len(), 2);
    assert_eq!(pinned.guards[0], first.guards[1]);
}

/// Members `number` in /16 number `number / 2` and of a family each.
fn crowd(members: impl Iterator<Item = (u32, u8)>) -> (Arc<Snapshot>, Vec<NodeId>) {
    let mut list = MemberList::new(testing::network().scale);
    for (number, family) in members {
        let [.., second] = (number / 2).to_be_bytes();
        let [.., third] = number.to_be_bytes();
        let address = Address::new(IpAddr::V4(Ipv4Addr::new(20, second, third, 1)), 4_000);
        let record = Record {
            addresses: [address, None],
            family: [family; 8],
            ..testing::record(number)
        };
        list.insert(verified(record), &OnionKeys::default(), testing::at(0));
    }
    let snapshot = list.snapshot();
    let ids = snapshot.iter().map(|member| member.id()).collect();
    (snapshot, ids)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// [PTH-1], [PTH-3]
    #[test]
    fn no_two_relays_of_a_path_share_a_subnet_or_a_family(
        seed: [u8; 32], count in 4_u32..40, families in 1_u8..9, avoided in 0_usize..6,
    ) {
        let network = testing::network();
        let mut rng = ChaCha12Rng::from_seed(seed);
        let (snapshot, all) = crowd((0..count).map(|n| (n, (n % u32::from(families)) as u8)));
        let mut pinned = Pinned::default();
        pinned.renew(&snapshot, &all, &network, testing::at(0), &mut rng);
        let avoid: BTreeSet<NodeId> = all.iter().take(avoided).copied().collect();
        let choice = Choice { network: &network, snapshot: &snapshot, pinned: &pinned, avoid: &avoid };
        for holder in &all {
            let Some(path) = choice.path(*holder, &mut rng) else { continue };
            prop_assert_eq!(path.holder(), *holder);
            prop_assert!(pinned.guards.iter().any(|pin| pin.id == path.guard()));
            prop_assert!(path.hops[..3].iter().all(|hop| !avoid.contains(hop)));
            let hops = path.hops.map(|hop| snapshot.find(&hop).unwrap().record().clone());
            for (at, one) in hops.iter().enumerate() {
                for other in &hops[at + 1..] {
                    prop_assert!(one.family == [0; 8] || one.family != other.family);
                    let large = |record: &Record| record.addresses[0].unwrap().subnet_large();
                    prop_assert_ne!(large(one), large(other));
                }
            }
        }
    }
}
