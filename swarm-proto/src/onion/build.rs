//! Wrapping: a sender makes the layers from the inside out, so that each hop's MAC covers exactly what
//! that hop will see.
//!
//! It takes two steps because a fetch signs over the holder's reply key: a [`Draft`] has all the keys,
//! [`Draft::seal`] takes the request. It does not choose the path. Source: [ONI-1], [ONI-4], [ONI-6].

use alloc::boxed::Box;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::reply::{Replies, reply_hash};
use super::{
    BETA_BYTES, Command, Generation, Inner, LayerKeys, Parts, SizeClass, Slot, add_stream, head,
};
use crate::crypto::{Crypto, ENCAPSULATION_SEED_BYTES, KemCiphertext, OnionPublicKey};
use crate::hash;
use crate::id::NodeId;
use crate::limits::{ONION_HEADER_BYTES, ONION_LAST_SLOT_BYTES, ONION_LAYERS, ONION_SLOT_BYTES};
use crate::time::Tick;

/// One relay on a path.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// Its node id.
    pub id: NodeId,
    /// Its onion key of the generation that the onion is made for.
    pub key: &'a OnionPublicKey,
}

/// What an onion shows on every link, and the size of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The onion's class.
    pub class: SizeClass,
    /// The answer's class.
    pub answer: SizeClass,
    /// The generation of all hops' keys ([ONI-8]).
    pub generation: Generation,
}

/// Why an onion cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildFailure {
    /// A path has 1 to 4 hops.
    #[error("a path has 1 to {ONION_LAYERS} hops")]
    Path,
    /// The onion key of this hop (counted from 0) is no key.
    #[error("the onion key of hop {0} is invalid")]
    Key(usize),
    /// The request does not fit the class.
    #[error("the request does not fit the onion's class")]
    TooLarge,
}

/// An onion with keys and without a request.
pub struct Draft {
    shape: Shape,
    layers: Vec<Layer>,
    padding: Zeroizing<[u8; 32]>,
}

impl Draft {
    /// Makes the keys for a path of 1 to 4 hops, guard first, out of 32 random bytes that are never used
    /// again.
    ///
    /// # Errors
    /// [`BuildFailure::Path`] and [`BuildFailure::Key`].
    pub fn new(
        crypto: &dyn Crypto,
        path: &[Hop<'_>],
        shape: Shape,
        seed: &[u8; 32],
    ) -> Result<Self, BuildFailure> {
        if path.is_empty() || path.len() > ONION_LAYERS {
            return Err(BuildFailure::Path);
        }
        let mut random = hash::derive_stream("poste onion seed", &[seed]);
        let mut padding = Zeroizing::new([0; 32]);
        random.fill(&mut *padding);
        let mut layers = Vec::with_capacity(path.len());
        for (index, hop) in path.iter().enumerate() {
            let mut seed = Zeroizing::new([0; ENCAPSULATION_SEED_BYTES]);
            random.fill(&mut *seed);
            let (ciphertext, secret) = crypto
                .encapsulate(hop.key, &seed)
                .ok_or(BuildFailure::Key(index))?;
            let head = head(shape.class, shape.generation);
            layers.push(Layer {
                id: hop.id,
                ciphertext,
                keys: LayerKeys::derive(&secret, head, &hop.id),
            });
        }
        Ok(Self {
            shape,
            layers,
            padding,
        })
    }

    /// The hash of the last hop's reply key, which a request signs over ([ONI-9]).
    pub fn reply_hash(&self) -> [u8; 32] {
        self.layers
            .last()
            .map_or([0; 32], |layer| reply_hash(&layer.keys.seal))
    }

    /// The onion for the first hop, and the keys to read the answer with. `last` is what the last hop
    /// does with `inner`.
    ///
    /// # Errors
    /// [`BuildFailure::TooLarge`].
    pub fn seal(
        self,
        last: Command,
        expire: Tick,
        inner: &Inner,
    ) -> Result<(Vec<u8>, Replies), BuildFailure> {
        let delta_bytes = self.shape.class.onion_bytes() - ONION_HEADER_BYTES;
        let delta = inner.encode(delta_bytes).ok_or(BuildFailure::TooLarge)?;
        Ok(self.seal_payload(last, expire, &delta))
    }

    /// The same around a payload of any length. Only onions of a class's length pass a door; others
    /// serve measurements.
    pub fn seal_payload(self, last: Command, expire: Tick, payload: &[u8]) -> (Vec<u8>, Replies) {
        let mut onion = Vec::with_capacity(ONION_HEADER_BYTES + payload.len());
        onion.resize(ONION_HEADER_BYTES, 0);
        onion.extend_from_slice(payload);
        if let Some(mut parts) = Parts::of(&mut onion) {
            *parts.head = head(self.shape.class, self.shape.generation);
            self.wrap(last, expire, &mut parts);
        }
        let keys = self.layers.into_iter().map(|layer| layer.keys);
        (onion, Replies::new(keys, self.shape.answer))
    }

    fn wrap(&self, last: Command, expire: Tick, parts: &mut Parts<'_>) {
        let mut slot = Slot {
            command: last,
            answer: self.shape.answer,
            delay: 0,
            // The low 16 bits; relays know the rest.
            expire: u16::try_from(expire.0 & 0xffff).unwrap_or_default(),
            next: NodeId([0; 32]),
        };
        let filler = self.filler();
        let mut innermost = true;
        for layer in self.layers.iter().rev() {
            if innermost {
                self.write_last_slot(&slot, layer, &filler, parts.beta);
                innermost = false;
            } else {
                write_slot(&slot, parts);
                add_stream(&layer.keys.beta, parts.beta);
            }
            add_stream(&layer.keys.delta, parts.delta);
            *parts.mac = parts.expected_mac(&layer.keys.mac);
            parts.ciphertext.copy_from_slice(&*layer.ciphertext);
            slot.command = Command::Forward;
            slot.next = layer.id;
        }
    }

    /// What the hops before the last one will have appended when the onion reaches it.
    fn filler(&self) -> Vec<u8> {
        let mut filler = Vec::new();
        let before_last = self.layers.len().saturating_sub(1);
        for layer in self.layers.iter().take(before_last) {
            filler.resize(filler.len() + ONION_SLOT_BYTES, 0);
            let mut stream = [0; BETA_BYTES + ONION_SLOT_BYTES];
            add_stream(&layer.keys.beta, &mut stream);
            for (to, from) in filler.iter_mut().rev().zip(stream.iter().rev()) {
                *to ^= from;
            }
        }
        filler
    }

    /// The last hop's slot, random bytes that hide where the path ends ([ONI-6]), and the filler.
    fn write_last_slot(
        &self,
        slot: &Slot,
        layer: &Layer,
        filler: &[u8],
        beta: &mut [u8; BETA_BYTES],
    ) {
        let (own, tail) = beta.split_at_mut(BETA_BYTES.saturating_sub(filler.len()));
        own.fill(0);
        add_stream(&self.padding, own);
        for (to, from) in own.iter_mut().zip(slot.encode()) {
            *to = from;
        }
        add_stream(&layer.keys.beta, own);
        tail.copy_from_slice(filler);
    }
}

struct Layer {
    id: NodeId,
    ciphertext: Box<KemCiphertext>,
    keys: LayerKeys,
}

/// Shifts the slots by one and writes an earlier hop's slot before them: what to do, then MAC and
/// ciphertext of the layer below, which stand in `parts`.
fn write_slot(slot: &Slot, parts: &mut Parts<'_>) {
    let kept = BETA_BYTES - ONION_SLOT_BYTES;
    parts.beta.copy_within(..kept, ONION_SLOT_BYTES);
    let fields = slot.encode();
    let below = parts.mac.iter().chain(parts.ciphertext.iter());
    for (to, from) in parts.beta.iter_mut().zip(fields.iter().chain(below)) {
        *to = *from;
    }
}

const _: () = assert!(ONION_LAST_SLOT_BYTES + (ONION_LAYERS - 1) * ONION_SLOT_BYTES == BETA_BYTES);
