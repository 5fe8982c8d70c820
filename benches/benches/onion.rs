//! What an onion costs: a relay's peel against the bare key exchange that it cannot avoid and against
//! the `sphinx-packet` crate, and a sender's build. One core, no links. Source: docs/spec/onion.md.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use poste_node::kem::AwsCrypto;
use swarm_proto::crypto::{Crypto, OnionKey};
use swarm_proto::id::NodeId;
use swarm_proto::kem::PureCrypto;
use swarm_proto::limits::{ONION_HEADER_BYTES, ONION_LARGE_BYTES, ONION_SMALL_BYTES};
use swarm_proto::onion::build::{BuildFailure, Draft, Hop, Shape};
use swarm_proto::onion::replay::Replay;
use swarm_proto::onion::{Command, Generation, Inner, SizeClass, expire, peel};
use swarm_proto::time::{TimeScale, UnixTime};

fn path<'a>(keys: &'a [OnionKey]) -> Vec<Hop<'a>> {
    let ids = (1..).map(|n| NodeId([n; 32]));
    let hops = ids.zip(keys);
    hops.map(|(id, key)| Hop {
        id,
        key: &key.public,
    })
    .collect()
}

fn onion(keys: &[OnionKey], payload: &[u8]) -> Result<Vec<u8>, BuildFailure> {
    let draft = Draft::new(&PureCrypto, &path(keys), SHAPE, &[7; 32])?;
    Ok(draft
        .seal_payload(Command::Deliver, expire(SCALE, NOW), payload)
        .0)
}

fn bench(c: &mut Criterion) {
    let keys: Vec<_> = (0..4).map(|n| AwsCrypto.onion_key(&[n; 32])).collect();
    let Some(guard) = keys.first() else { return };
    let Some((sent, _)) = PureCrypto.encapsulate(&guard.public, &[9; 64]) else {
        return;
    };
    c.bench_function("onion/floor/aws", |b| {
        b.iter(|| guard.secret.decapsulate(black_box(&sent)));
    });
    let pure = PureCrypto.onion_key(&[0; 32]);
    c.bench_function("onion/floor/pure", |b| {
        b.iter(|| pure.secret.decapsulate(black_box(&sent)));
    });

    for (name, bytes) in [
        ("1k", 1_024),
        ("small", ONION_SMALL_BYTES - ONION_HEADER_BYTES),
        ("large", ONION_LARGE_BYTES - ONION_HEADER_BYTES),
    ] {
        let Ok(first) = onion(&keys, &vec![0; bytes]) else {
            return;
        };
        c.bench_function(&format!("onion/peel/{name}"), |b| {
            b.iter_batched(
                || (first.clone(), Replay::new(SCALE, UnixTime(0), 1)),
                |(onion, mut replay)| {
                    let opened = peel::open(&*guard.secret, &NodeId([1; 32]), onion).ok();
                    let admitted = opened.and_then(|opened| replay.admit(NOW, opened).ok());
                    admitted.map(|admitted| admitted.act().is_ok())
                },
                BatchSize::SmallInput,
            );
        });
    }

    let request = Inner {
        kind: 0x0502,
        body: Bytes::from_static(&[1; 200]),
    };
    c.bench_function("onion/build/small", |b| {
        b.iter(|| {
            let draft = Draft::new(&PureCrypto, &path(&keys), SHAPE, black_box(&[7; 32]));
            draft.and_then(|draft| draft.seal(Command::Deliver, expire(SCALE, NOW), &request))
        });
    });
}

/// The baseline: X25519 alone, no check of the payload before the last hop.
fn sphinx(c: &mut Criterion) {
    use sphinx_packet::SphinxPacketBuilder;
    use sphinx_packet::constants::{
        DESTINATION_ADDRESS_LENGTH, IDENTIFIER_LENGTH, NODE_ADDRESS_LENGTH,
    };
    use sphinx_packet::header::delays::Delay;
    use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
    use x25519_dalek::{PublicKey, StaticSecret};

    let secret = StaticSecret::from([1; 32]);
    let node = |n: u8| {
        let key = PublicKey::from(&StaticSecret::from([n; 32]));
        Node::new(NodeAddressBytes::from_bytes([n; NODE_ADDRESS_LENGTH]), key)
    };
    let route = [node(1), node(2), node(3), node(4)];
    let address = DestinationAddressBytes::from_bytes([9; DESTINATION_ADDRESS_LENGTH]);
    let destination = Destination::new(address, [4; IDENTIFIER_LENGTH]);
    let delays = [const { Delay::new_from_nanos(0) }; 4];
    let built = SphinxPacketBuilder::new()
        .with_payload_size(1_024)
        .build_packet(vec![1; 512], &route, &destination, &delays);
    let Ok(bytes) = built.map(|built| built.to_bytes()) else {
        return;
    };
    c.bench_function("onion/peel/sphinx-packet-1k", |b| {
        b.iter(|| {
            let built = sphinx_packet::SphinxPacket::from_bytes(black_box(&bytes)).ok();
            built.map(|built| built.process(&secret).is_ok())
        });
    });
}

const SCALE: TimeScale = TimeScale { minute_ms: 60_000 };
const NOW: UnixTime = UnixTime(1_790_000_100_000);
const SHAPE: Shape = Shape {
    class: SizeClass::Small,
    answer: SizeClass::Small,
    generation: Generation(0),
};

criterion_group!(benches, bench, sphinx);
criterion_main!(benches);
