//! Reading a deposit from the wire, and a row into the model store: what every machine's step rests on.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use poste_benches::store::{END, small_put};
use swarm_proto::store::{MemStore, StoreOp};
use swarm_proto::wire::Message;
use swarm_proto::wire::mailbox::Deposit;

fn codec(c: &mut Criterion) {
    let Ok(StoreOp::Put { keys, row, .. }) = small_put(0, END) else {
        return;
    };
    let message = Message::Deposit(Deposit {
        keys,
        write_signature: row.write_signature,
        long_stay: row.long_stay,
        envelope: row.envelope,
    });
    let (kind, bytes) = (message.kind(), bytes::Bytes::from(message.encode()));
    c.bench_function("codec/deposit/encode", |b| {
        b.iter(|| black_box(&message).encode());
    });
    c.bench_function("codec/deposit/decode", |b| {
        b.iter(|| Message::decode(kind, black_box(bytes.clone())));
    });
}

fn model(c: &mut Criterion) {
    c.bench_function("store/model/put", |b| {
        b.iter_batched(
            || (MemStore::default(), small_put(0, END)),
            |(mut store, op)| op.map(|op| store.apply(op)).is_ok(),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, codec, model);
criterion_main!(benches);
