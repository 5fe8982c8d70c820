//! Onions: a request wrapped for several relays, so that none knows both ends.
//!
//! [`build`] wraps, [`door`] is where a relay takes one in, [`peel`] takes off one layer, [`replay`]
//! sees to it that none acts twice, [`reply`] carries the answer back. This page holds what they share:
//! the layout, the keys of a layer, the frame inside. How a path is chosen, and who answers what, is
//! decided elsewhere. Source: `docs/spec/onion.md`, after Sphinx and Outfox; argued there, not proven.

pub mod build;
pub mod door;
pub mod peel;
pub mod replay;
pub mod reply;

use alloc::vec::Vec;

use bytes::Bytes;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use crate::crypto::{KEM_CIPHERTEXT_BYTES, KemCiphertext};
pub use crate::envelope::SizeClass;
use crate::hash;
use crate::id::NodeId;
use crate::limits::{
    ANSWER_LARGE_BYTES, ANSWER_SMALL_BYTES, ONION_GENERATION_DAYS, ONION_HEADER_BYTES,
    ONION_LARGE_BYTES, ONION_LAST_SLOT_BYTES, ONION_LAYERS, ONION_LIFE_TICKS, ONION_SLOT_BYTES,
    ONION_SMALL_BYTES, REPLAY_WINDOW_MIN,
};
use crate::time::{EPOCH_MINUTES, TICK_MINUTES, Tick, TimeScale, UnixTime};
use crate::wire::codec::{Malformed, Reader};

/// The two sizes of onions and of answers ([ONI-1]).
impl SizeClass {
    /// Bytes of an onion.
    pub fn onion_bytes(self) -> usize {
        match self {
            Self::Small => ONION_SMALL_BYTES,
            Self::Large => ONION_LARGE_BYTES,
        }
    }

    /// Bytes of an answer.
    pub fn answer_bytes(self) -> usize {
        match self {
            Self::Small => ANSWER_SMALL_BYTES,
            Self::Large => ANSWER_LARGE_BYTES,
        }
    }
}

/// Seven days of the network's calendar, counted from 1970: all relays change their onion keys at the
/// same instant ([ONI-8]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u32);

impl Generation {
    /// The generation that `unix` falls into.
    pub fn at(scale: TimeScale, unix: UnixTime) -> Self {
        let days = scale.minutes(ONION_GENERATION_DAYS * EPOCH_MINUTES);
        let days_ms = u64::try_from(days.as_millis()).unwrap_or(u64::MAX).max(1);
        Self(u32::try_from(unix.0 / days_ms).unwrap_or(u32::MAX))
    }

    /// The bit of it that an onion shows.
    fn parity(self) -> u8 {
        u8::from(self.0 & 1 == 1)
    }
}

/// How many ticks an onion lives ([ONI-7]): 3, and more where they would not last 30 s.
pub fn life_ticks(scale: TimeScale) -> u32 {
    let tick_ms = scale.minutes(TICK_MINUTES).as_millis().max(1);
    let window = REPLAY_WINDOW_MIN.as_millis().div_ceil(tick_ms);
    u32::try_from(window)
        .unwrap_or(u32::MAX)
        .max(ONION_LIFE_TICKS)
}

/// The expiry of every onion made at `now` ([ONI-7]).
pub fn expire(scale: TimeScale, now: UnixTime) -> Tick {
    scale.tick_of(now).plus(life_ticks(scale))
}

/// What travels inside an onion's innermost layer and inside an answer: `type | length | body | zeros`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// The message type.
    pub kind: u16,
    /// The message.
    pub body: Bytes,
}

impl Inner {
    /// Says nothing: cover, and the answer to it.
    pub const NOTHING: Self = Self {
        kind: 0,
        body: Bytes::new(),
    };

    /// The frame in exactly `bytes` bytes. `None` if it does not fit.
    pub fn encode(&self, bytes: usize) -> Option<Vec<u8>> {
        let mut frame = Vec::with_capacity(bytes);
        frame.extend_from_slice(&self.kind.to_be_bytes());
        frame.extend_from_slice(&u32::try_from(self.body.len()).ok()?.to_be_bytes());
        frame.extend_from_slice(&self.body);
        if frame.len() > bytes {
            return None;
        }
        frame.resize(bytes, 0);
        Some(frame)
    }

    /// Reads a frame; the body shares the memory.
    ///
    /// # Errors
    /// [`Malformed`] if the length is wrong or the rest is not zero.
    pub fn decode(frame: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame);
        let kind = reader.u16("inner type")?;
        let length = reader.u32("inner length")?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let body = reader.take("inner body", length)?;
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(reader.wrong("inner zeros"));
        }
        Ok(Self { kind, body })
    }
}

/// What a layer tells its relay to do ([ONI-5]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send it on at once, carry the answer back.
    Forward,
    /// Acknowledge, hold it for its delay, send it on without a way back.
    Mix,
    /// The payload is for this relay.
    Deliver,
    /// Cover that ends here.
    Drop,
    /// Cover that its sender counts.
    Loop,
}

impl Command {
    fn code(self) -> u8 {
        match self {
            Self::Forward => 1,
            Self::Mix => 2,
            Self::Deliver => 3,
            Self::Drop => 4,
            Self::Loop => 5,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [
            Self::Forward,
            Self::Mix,
            Self::Deliver,
            Self::Drop,
            Self::Loop,
        ]
        .into_iter()
        .find(|command| command.code() == code)
    }
}

/// The part of a slot that its relay reads: 38 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    command: Command,
    answer: SizeClass,
    delay: u16,
    expire: u16,
    next: NodeId,
}

impl Slot {
    fn encode(&self) -> [u8; ONION_LAST_SLOT_BYTES] {
        let mut bytes = [0; ONION_LAST_SLOT_BYTES];
        let [delay_high, delay_low] = self.delay.to_be_bytes();
        let [expire_high, expire_low] = self.expire.to_be_bytes();
        let fields = [
            self.command.code(),
            self.answer.code(),
            delay_high,
            delay_low,
            expire_high,
            expire_low,
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().chain(self.next.0)) {
            *to = from;
        }
        bytes
    }

    fn decode(bytes: &[u8; ONION_LAST_SLOT_BYTES]) -> Option<Self> {
        let (fields, next) = bytes.split_first_chunk::<6>()?;
        let [
            command,
            flags,
            delay_high,
            delay_low,
            expire_high,
            expire_low,
        ] = *fields;
        let slot = Self {
            command: Command::from_code(command)?,
            answer: SizeClass::from_code(flags)?,
            delay: u16::from_be_bytes([delay_high, delay_low]),
            expire: u16::from_be_bytes([expire_high, expire_low]),
            next: NodeId(next.try_into().ok()?),
        };
        let goes_on = matches!(slot.command, Command::Forward | Command::Mix);
        let next_fits = goes_on || slot.next == NodeId([0; 32]);
        let delay_fits = slot.command == Command::Mix || slot.delay == 0;
        (next_fits && delay_fits).then_some(slot)
    }
}

/// The first two bytes: `suite | class (3 bits) key parity (1 bit) zero (4 bits)` ([ONI-1]).
fn head(class: SizeClass, generation: Generation) -> [u8; 2] {
    [SUITE, class.code() << 5 | generation.parity() << 4]
}

/// Class and key parity of a head; `None` for another suite, class or a reserved bit.
fn read_head(head: [u8; 2]) -> Option<(SizeClass, u8)> {
    let [suite, bits] = head;
    let class = SizeClass::from_code(bits >> 5)?;
    (suite == SUITE && bits & 0x0f == 0).then_some((class, bits >> 4 & 1))
}

/// An onion's parts where they lie.
struct Parts<'a> {
    head: &'a mut [u8; 2],
    ciphertext: &'a mut KemCiphertext,
    mac: &'a mut [u8; MAC_BYTES],
    beta: &'a mut [u8; BETA_BYTES],
    delta: &'a mut [u8],
}

impl<'a> Parts<'a> {
    fn of(onion: &'a mut [u8]) -> Option<Self> {
        let (head, rest) = onion.split_first_chunk_mut()?;
        let (ciphertext, rest) = rest.split_first_chunk_mut()?;
        let (mac, rest) = rest.split_first_chunk_mut()?;
        let (beta, delta) = rest.split_first_chunk_mut()?;
        Some(Self {
            head,
            ciphertext,
            mac,
            beta,
            delta,
        })
    }

    /// What the MAC of this layer must be ([ONI-3]).
    fn expected_mac(&self, key: &[u8; 32]) -> [u8; MAC_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher
            .update(self.head)
            .update(self.beta)
            .update(self.delta);
        let mut mac = [0; MAC_BYTES];
        hasher.finalize_xof().fill(&mut mac);
        mac
    }
}

/// A key that is erased from memory when dropped.
type Key = Zeroizing<[u8; 32]>;

/// The keys of one layer; each is used once, so all nonces are zero ([ONI-4]).
struct LayerKeys {
    mac: Key,
    beta: Key,
    delta: Key,
    layer: Key,
    seal: Key,
    tag: [u8; TAG_BYTES],
}

impl LayerKeys {
    fn derive(secret: &[u8; 32], head: [u8; 2], id: &NodeId) -> Self {
        let mut stream = hash::derive_stream("poste onion 1", &[secret, &head, &id.0]);
        let mut key = || {
            let mut key = Zeroizing::new([0; 32]);
            stream.fill(&mut *key);
            key
        };
        let (mac, beta, delta, layer, seal) = (key(), key(), key(), key(), key());
        let mut tag = [0; TAG_BYTES];
        stream.fill(&mut tag);
        Self {
            mac,
            beta,
            delta,
            layer,
            seal,
            tag,
        }
    }
}

/// Adds the key's ChaCha20 stream, from its start, to `bytes`.
fn add_stream(key: &[u8; 32], bytes: &mut [u8]) {
    ChaCha20::new(&(*key).into(), &[0; 12].into()).apply_keystream(bytes);
}

/// The suite byte of this format.
const SUITE: u8 = 1;
/// 128 bits: forging one layer takes 2^128 tries at a relay.
const MAC_BYTES: usize = 16;
/// Bytes of a replay tag, before a relay cuts it.
const TAG_BYTES: usize = 16;
/// Bytes of the slots that an onion shows.
const BETA_BYTES: usize = (ONION_LAYERS - 1) * ONION_SLOT_BYTES + ONION_LAST_SLOT_BYTES;

const _: () = {
    assert!(2 + KEM_CIPHERTEXT_BYTES + MAC_BYTES + BETA_BYTES == ONION_HEADER_BYTES);
    assert!(ONION_LAST_SLOT_BYTES + MAC_BYTES + KEM_CIPHERTEXT_BYTES == ONION_SLOT_BYTES);
};

#[cfg(test)]
mod tests;
