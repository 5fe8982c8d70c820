//! Taking off one layer.
//!
//! Three steps in an order that the types keep ([ONI-5]): [`open`] decapsulates, checks the MAC and
//! reads the slot, and shows nothing of it; [`super::replay::Replay::admit`] checks the expiry and
//! remembers the onion; [`Admitted::act`] decrypts the payload and says what to do. So no lock is held
//! while anything is computed, and nothing acts that was not admitted. Source: [ONI-3] to [ONI-6].

use alloc::vec::Vec;

use bytes::Bytes;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use subtle::ConstantTimeEq;

use super::replay::{NotAdmitted, Why};
use super::reply::ReplyKeys;
use super::{Command, Inner, Key, LayerKeys, MAC_BYTES, Parts, SizeClass, Slot, add_stream};
use crate::crypto::Decapsulate;
use crate::id::NodeId;
use crate::limits::{ONION_HEADER_BYTES, ONION_LAST_SLOT_BYTES, ONION_SLOT_BYTES};

/// Why bytes are no onion for this relay. Nothing is answered: the keys for it are not known, or the
/// sender broke the rules. The stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnionFault {
    /// Not the length of its class.
    #[error("not the length of an onion")]
    Length,
    /// Another suite, an unknown class or a reserved bit.
    #[error("unknown head")]
    Head,
    /// Made for a generation whose key is not held.
    #[error("no key for its generation")]
    Generation,
    /// The X25519 part of the ciphertext contributes nothing.
    #[error("refused by the key encapsulation")]
    Kem,
    /// Not made for this relay, or changed on the way.
    #[error("wrong MAC")]
    Mac,
    /// The slot breaks the format.
    #[error("malformed slot")]
    Slot,
}

/// An onion that is authentic and not yet admitted. What it says is out of reach until it is.
#[must_use]
pub struct Opened {
    slot: Slot,
    tag: u64,
    onion: Vec<u8>,
    delta: Key,
    reply: ReplyKeys,
}

impl Opened {
    /// Which of `shards` replay filters decides; the same for every copy of an onion.
    pub fn shard(&self, shards: usize) -> usize {
        let shards = u64::try_from(shards.max(1)).unwrap_or(1);
        usize::try_from((self.tag >> 32) % shards).unwrap_or(0)
    }

    pub(super) fn tag(&self) -> u64 {
        self.tag
    }

    pub(super) fn expire(&self) -> u16 {
        self.slot.expire
    }

    pub(super) fn admitted(self) -> Admitted {
        Admitted(self)
    }

    pub(super) fn refused(self, why: Why) -> NotAdmitted {
        NotAdmitted::Refused {
            why,
            reply: self.reply,
        }
    }
}

/// An onion that may act, once.
#[must_use]
pub struct Admitted(Opened);

/// What a layer asks of this relay. Every one of them answers once, by consuming `reply`.
#[derive(Debug)]
pub enum Peeled {
    /// Send `onion` to `next`, and its answer back through [`ReplyKeys::wrap`].
    Forward {
        /// The next relay.
        next: NodeId,
        /// As many bytes as came in.
        onion: Vec<u8>,
        /// For the answer, or for this relay's own refusal.
        reply: ReplyKeys,
    },
    /// A request for this relay.
    Deliver {
        /// The request.
        inner: Inner,
        /// For the answer.
        reply: ReplyKeys,
    },
    /// Cover: answer [`Inner::NOTHING`].
    Drop {
        /// For the answer.
        reply: ReplyKeys,
    },
    /// Cover that its sender counts: answer [`Inner::NOTHING`].
    Loop {
        /// For the answer.
        reply: ReplyKeys,
    },
}

impl Admitted {
    /// Decrypts the payload and says what to do.
    ///
    /// # Errors
    /// [`NotAdmitted::Refused`] for MIX, which no relay of this version offers, and for a payload
    /// that is no frame.
    pub fn act(self) -> Result<Peeled, NotAdmitted> {
        let Self(mut opened) = self;
        if let Some(parts) = Parts::of(&mut opened.onion) {
            add_stream(&opened.delta, parts.delta);
        }
        match opened.slot.command {
            Command::Forward => Ok(Peeled::Forward {
                next: opened.slot.next,
                onion: opened.onion,
                reply: opened.reply,
            }),
            Command::Mix => {
                let kind = u16::from(Command::Mix.code());
                Err(opened.refused(Why::Unsupported { kind }))
            }
            Command::Deliver => {
                let onion = Bytes::from(core::mem::take(&mut opened.onion));
                let frame = onion.slice(ONION_HEADER_BYTES.min(onion.len())..);
                match Inner::decode(frame) {
                    Ok(inner) => Ok(Peeled::Deliver {
                        inner,
                        reply: opened.reply,
                    }),
                    Err(_) => Err(opened.refused(Why::Unsupported { kind: 0 })),
                }
            }
            Command::Drop => Ok(Peeled::Drop {
                reply: opened.reply,
            }),
            Command::Loop => Ok(Peeled::Loop {
                reply: opened.reply,
            }),
        }
    }
}

/// Opens the outer layer with `key`, in place. Takes a payload of any length; a
/// [`Door`](super::door::Door) checks length, head and generation first.
///
/// # Errors
/// [`OnionFault`].
pub fn open(key: &dyn Decapsulate, id: &NodeId, mut onion: Vec<u8>) -> Result<Opened, OnionFault> {
    let parts = Parts::of(&mut onion).ok_or(OnionFault::Length)?;
    let secret = key.decapsulate(parts.ciphertext).ok_or(OnionFault::Kem)?;
    let keys = LayerKeys::derive(&secret, *parts.head, id);
    let mac = parts.expected_mac(&keys.mac);
    if !bool::from(mac.ct_eq(parts.mac)) {
        return Err(OnionFault::Mac);
    }
    let slot = advance(&keys, parts).ok_or(OnionFault::Slot)?;
    let [a, b, c, d, e, f, g, h, ..] = keys.tag;
    Ok(Opened {
        tag: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        reply: ReplyKeys::new(keys.layer, keys.seal, slot.answer),
        delta: keys.delta,
        slot,
        onion,
    })
}

/// The class that a head names, for callers that know no length yet.
pub fn class_of(onion: &[u8]) -> Option<SizeClass> {
    super::read_head(*onion.first_chunk()?).map(|(class, _)| class)
}

/// Decrypts the slots, moves the next hop's ciphertext and MAC into place, and appends what stands for
/// the slot taken off. All where it lies: what is left of the slots goes on to the next relay anyway, so
/// there is no secret in them to erase.
fn advance(keys: &LayerKeys, parts: Parts<'_>) -> Option<Slot> {
    let mut stream = ChaCha20::new(&(*keys.beta).into(), &[0; 12].into());
    stream.apply_keystream(parts.beta);
    let (fields, rest) = parts.beta.split_first_chunk::<ONION_LAST_SLOT_BYTES>()?;
    let (mac, rest) = rest.split_first_chunk::<MAC_BYTES>()?;
    let slot = Slot::decode(fields);
    *parts.mac = *mac;
    *parts.ciphertext = *rest.first_chunk()?;
    parts.beta.copy_within(ONION_SLOT_BYTES.., 0);
    let appended = parts.beta.last_chunk_mut::<ONION_SLOT_BYTES>()?;
    *appended = [0; ONION_SLOT_BYTES];
    stream.apply_keystream(appended);
    slot
}
