//! What an onion costs, with the statistics of criterion and small enough for a profiler. What is
//! measured is described in the library's `onion` and `sphinx`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use poste_benches::onion::{Floor, LARGE_BYTES, Onions, SMALL_BYTES, empty_replay};
use poste_benches::sphinx::Sphinx;

fn floors(c: &mut Criterion) {
    let onions = Onions::default();
    let (Some(sent), Some(floor)) = (onions.ciphertext(), Floor::new()) else {
        return;
    };
    c.bench_function("onion/floor", |b| {
        b.iter(|| floor.decapsulate(black_box(&sent)));
    });
    c.bench_function("onion/floor-with-combiner", |b| {
        b.iter(|| onions.decapsulate(black_box(&sent)));
    });
}

fn onions(c: &mut Criterion) {
    let onions = Onions::default();
    for (name, bytes) in [
        ("1k", 1_024),
        ("small", SMALL_BYTES),
        ("large", LARGE_BYTES),
    ] {
        let Some(first) = onions.build(bytes, [7; 32]) else {
            return;
        };
        c.bench_function(&format!("onion/peel/{name}"), |b| {
            b.iter_batched(
                || (first.clone(), empty_replay()),
                |(onion, mut replay)| onions.peel(onion, &mut replay),
                BatchSize::SmallInput,
            );
        });
        c.bench_function(&format!("onion/create/{name}"), |b| {
            b.iter(|| onions.build(bytes, black_box([7; 32])));
        });
    }
}

fn sphinx(c: &mut Criterion) {
    let sphinx = Sphinx::default();
    let Some(bytes) = sphinx.build() else { return };
    c.bench_function("sphinx-packet/peel/1k", |b| {
        b.iter(|| sphinx.peel(black_box(&bytes)));
    });
    c.bench_function("sphinx-packet/create/1k", |b| b.iter(|| sphinx.build()));
}

criterion_group!(benches, floors, onions, sphinx);
criterion_main!(benches);
