//! Where a relay takes onions in: its keys, and which of them opens what.
//!
//! Link tasks share one door and open onions on all cores. What comes out goes through a
//! [`Replay`](super::replay::Replay) and then acts, in that order:
//!
//! ```text
//! let opened = door.open(now, bytes)?;                       // no lock; most of the work
//! let admitted = shards[opened.shard(n)].lock().admit(now, opened)?;
//! let peeled = admitted.act()?;                              // no lock
//! ```
//!
//! It makes no keys: the driver draws an independent seed for every generation, and a retired key is
//! gone. Source: [ONI-8].

use alloc::vec::Vec;

use super::peel::{self, OnionFault, Opened};
use super::{Generation, life_ticks, read_head};
use crate::crypto::{OnionKey, OnionPublicKey};
use crate::id::NodeId;
use crate::limits::{ONION_GENERATION_DAYS, ONION_SKEW_MINUTES};
use crate::time::{EPOCH_MINUTES, TICK_MINUTES, TimeScale, UnixTime};

/// One relay's onion keys.
pub struct Door {
    id: NodeId,
    scale: TimeScale,
    keys: Vec<(Generation, OnionKey)>,
}

impl Door {
    /// A door without keys, of the relay `id`.
    pub fn new(id: NodeId, scale: TimeScale) -> Self {
        Self {
            id,
            scale,
            keys: Vec::new(),
        }
    }

    /// Sets the key of a generation; at most the previous, the current and the next are held.
    pub fn set_key(&mut self, generation: Generation, key: OnionKey) {
        self.keys.retain(|(held, _)| *held != generation);
        self.keys.push((generation, key));
        self.keys.sort_unstable_by_key(|(held, _)| *held);
        let excess = self.keys.len().saturating_sub(GENERATIONS_MAX);
        self.keys.drain(..excess);
    }

    /// Erases the keys whose onions have all expired ([ONI-8]). Called at least once a tick.
    pub fn retire(&mut self, now: UnixTime) {
        let oldest = self.oldest(now);
        self.keys.retain(|(held, _)| *held >= oldest);
    }

    /// The public key of a generation, if held.
    pub fn public(&self, generation: Generation) -> Option<&OnionPublicKey> {
        self.key(generation).map(|key| &key.public)
    }

    /// Opens the outer layer of `onion`.
    ///
    /// # Errors
    /// [`OnionFault`]: the stream is reset, nothing is answered.
    pub fn open(&self, now: UnixTime, onion: Vec<u8>) -> Result<Opened, OnionFault> {
        let head = onion.first_chunk().ok_or(OnionFault::Length)?;
        let (class, parity) = read_head(*head).ok_or(OnionFault::Head)?;
        if onion.len() != class.onion_bytes() {
            return Err(OnionFault::Length);
        }
        let key = self
            .acceptable(now)
            .into_iter()
            .find(|generation| generation.parity() == parity)
            .and_then(|generation| self.key(generation))
            .ok_or(OnionFault::Generation)?;
        peel::open(&*key.secret, &self.id, onion)
    }

    fn key(&self, generation: Generation) -> Option<&OnionKey> {
        let mut held = self.keys.iter();
        held.find(|(held, _)| *held == generation)
            .map(|(_, key)| key)
    }

    /// The generations that an unexpired onion can be of: one, or two near a change. One bit tells
    /// them apart because a generation outlasts an onion.
    fn acceptable(&self, now: UnixTime) -> [Generation; 3] {
        let ahead = now.plus(self.scale.minutes(ONION_SKEW_MINUTES));
        [
            Generation::at(self.scale, now),
            self.oldest(now),
            Generation::at(self.scale, ahead),
        ]
    }

    fn oldest(&self, now: UnixTime) -> Generation {
        let ticks = u64::from(life_ticks(self.scale)) + 1;
        let ago = now.minus(self.scale.minutes(ticks * TICK_MINUTES));
        Generation::at(self.scale, ago)
    }
}

/// The previous, the current and the next generation.
const GENERATIONS_MAX: usize = 3;

const _: () = {
    // At the fastest allowed calendar (a minute of 10 ms) an onion lives 300 ticks: a third of a
    // generation.
    assert!(3 * (300 + 2) * TICK_MINUTES < ONION_GENERATION_DAYS * EPOCH_MINUTES);
};
