//! The sector function: bytes that are dear to make, cheap to keep, and the same for everybody who makes them.
//!
//! Layer 0 is a chain; each label of a further layer rests on the label just made, its own place in the layer
//! below and on more places there that the label just made names. Only the last layer is kept. That nothing
//! much cheaper than keeping it gives the same answers is argued, not proven. Source: `docs/spec/pledge.md`.

use alloc::vec::Vec;

use crate::hash;
use crate::id::NodeKey;
use crate::network::Pledge;

/// One sector in the making; it may be made in slices of any size.
#[derive(Clone, Debug)]
pub struct SectorMaker {
    key: [u8; 32],
    labels: usize,
    layers: u8,
    parents: usize,
    /// The layer in the making.
    layer: u8,
    last: Label,
    below: Vec<Label>,
    above: Vec<Label>,
}

impl SectorMaker {
    /// Begins a sector of a relay.
    pub fn new(pledge: &Pledge, node: &NodeKey, sector: u32) -> Self {
        let labels = labels_of(pledge);
        Self {
            key: sector_key(node, sector),
            labels,
            layers: pledge.layers.max(1),
            parents: usize::from(pledge.parents).min(PARENTS_MAX),
            layer: 0,
            last: [0; LABEL_BYTES],
            below: Vec::new(),
            above: Vec::with_capacity(labels),
        }
    }

    /// Makes at most so many more labels; says whether the sector is complete.
    pub fn advance(&mut self, most: usize) -> bool {
        let mut left = most;
        while left > 0 && !self.is_complete() {
            let now = left.min(self.labels - self.above.len());
            if self.layer == 0 {
                self.chain(now);
            } else {
                self.stack(now);
            }
            left -= now;
            if self.above.len() == self.labels && self.layer + 1 < self.layers {
                self.layer += 1;
                core::mem::swap(&mut self.below, &mut self.above);
                self.above.clear();
                self.above.reserve_exact(self.labels);
            }
        }
        self.is_complete()
    }

    /// Labels still to be made.
    pub fn left(&self) -> u64 {
        let layers = u64::from(self.layers - self.layer);
        layers * self.labels as u64 - self.above.len() as u64
    }

    /// The sector's bytes; `None` before it is complete.
    pub fn finish(self) -> Option<Vec<u8>> {
        self.is_complete().then(|| self.above.into_flattened())
    }

    fn is_complete(&self) -> bool {
        self.layer + 1 == self.layers && self.above.len() == self.labels
    }

    /// Labels of layer 0 ([PLG-1]).
    fn chain(&mut self, count: usize) {
        for _ in 0..count {
            self.last = *blake3::keyed_hash(&self.key, &self.last).as_bytes();
            self.above.push(self.last);
        }
    }

    /// Labels of a further layer ([PLG-1]).
    fn stack(&mut self, count: usize) {
        let below = self.below.as_slice();
        let length = self.labels as u64;
        let mut input = [[0; LABEL_BYTES]; 2 + PARENTS_MAX];
        let from = self.above.len();
        for own in below.iter().skip(from).take(count) {
            let (words, _) = self.last.as_chunks::<4>();
            let parents = words.iter().take(self.parents).map(|word| {
                let at = (u64::from(u32::from_be_bytes(*word)) * length) >> 32;
                // Always there: the product is below the length.
                below.get(at as usize).unwrap_or(own)
            });
            let rests_on = [&self.last, own].into_iter().chain(parents);
            for (slot, label) in input.iter_mut().zip(rests_on) {
                *slot = *label;
            }
            let used = input.get(..2 + self.parents).unwrap_or(&input);
            self.last = *blake3::keyed_hash(&self.key, used.as_flattened()).as_bytes();
            self.above.push(self.last);
        }
    }
}

/// Makes a whole sector at once.
pub fn make_sector(pledge: &Pledge, node: &NodeKey, sector: u32) -> Vec<u8> {
    let mut maker = SectorMaker::new(pledge, node, sector);
    maker.advance(usize::MAX);
    maker.finish().unwrap_or_default()
}

/// Bytes of a sector.
pub fn sector_bytes(pledge: &Pledge) -> usize {
    labels_of(pledge) * LABEL_BYTES
}

/// Pages of a sector.
pub fn pages_per_sector(pledge: &Pledge) -> u32 {
    (pledge.labels / LABELS_PER_PAGE).max(1)
}

/// The key of all labels of a sector ([PLG-1]).
fn sector_key(node: &NodeKey, sector: u32) -> [u8; 32] {
    let plot = hash::derive("poste plot", &[&node.0, &[VERSION]]);
    *blake3::keyed_hash(&plot, &sector.to_be_bytes()).as_bytes()
}

/// Whole pages, and one at least.
fn labels_of(pledge: &Pledge) -> usize {
    (pages_per_sector(pledge) * LABELS_PER_PAGE) as usize
}

type Label = [u8; LABEL_BYTES];

/// Bytes of a label: one hash.
pub const LABEL_BYTES: usize = 32;
/// Labels of a page.
pub const LABELS_PER_PAGE: u32 = 128;
/// Bytes of a page: what disks and file systems read at least.
pub const PAGE_BYTES: usize = LABEL_BYTES * LABELS_PER_PAGE as usize;
/// Further places of the layer below that a label may rest on: with its neighbours a hash of 256 bytes.
const PARENTS_MAX: usize = 6;
/// Of the sector function.
const VERSION: u8 = 1;
