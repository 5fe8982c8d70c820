//! Answers: sealed by the hop that speaks, wrapped once more by each hop on the way back.
//!
//! An answer has one of two sizes whoever made it, so a refusal made at the second hop looks like a page
//! from the holder. [`ReplyKeys`] are used up by the one answer they allow. There are no reply blocks: a
//! mailbox is the reusable way to answer somebody. Source: [ONI-9], [ONI-10].

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

use super::{Inner, Key, LayerKeys, SizeClass, add_stream};
use crate::hash;

/// What a hop answers with, once.
#[must_use]
pub struct ReplyKeys {
    layer: Key,
    seal: Key,
    answer: SizeClass,
}

impl ReplyKeys {
    pub(super) fn new(layer: Key, seal: Key, answer: SizeClass) -> Self {
        Self {
            layer,
            seal,
            answer,
        }
    }

    /// The size that the answer must have.
    pub fn class(&self) -> SizeClass {
        self.answer
    }

    /// The hash that a request to this hop signs over ([ONI-9]).
    pub fn hash(&self) -> [u8; 32] {
        reply_hash(&self.seal)
    }

    /// Seals this hop's own answer.
    ///
    /// # Errors
    /// Gives the keys back if `inner` does not fit the class.
    pub fn seal(self, inner: &Inner) -> Result<Vec<u8>, Self> {
        let bytes = self.answer.answer_bytes() - NONCE_BYTES - SEAL_BYTES;
        match inner.encode(bytes) {
            Some(frame) => Ok(seal(&self.seal, &frame)),
            None => Err(self),
        }
    }

    /// Seals this hop's refusal: a code and its detail, as `docs/spec/formats.md` lists them.
    pub fn refuse(self, code: u16, detail: u64) -> Vec<u8> {
        let mut body = Vec::with_capacity(10);
        body.extend_from_slice(&code.to_be_bytes());
        body.extend_from_slice(&detail.to_be_bytes());
        let inner = Inner {
            kind: REFUSAL,
            body: Bytes::from(body),
        };
        // Ten bytes fit both classes.
        self.seal(&inner).unwrap_or_default()
    }

    /// Adds this hop's layer to the answer of the next one.
    ///
    /// # Errors
    /// Gives the keys back if the answer has not the size of its class: then this hop refuses.
    pub fn wrap(self, mut answer: Vec<u8>) -> Result<Vec<u8>, Self> {
        if answer.len() != self.answer.answer_bytes() {
            return Err(self);
        }
        add_stream(&self.layer, &mut answer);
        Ok(answer)
    }
}

impl fmt::Debug for ReplyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyKeys")
    }
}

/// What a sender reads the answer with, once.
#[must_use]
pub struct Replies {
    /// Layer key and seal key of each hop, guard first.
    hops: Vec<(Key, Key)>,
    answer: SizeClass,
}

/// An answer, and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The hop that sealed it, counted from 0, the guard.
    pub hop: usize,
    /// Whether that is the last hop of the path.
    pub last: bool,
    /// What it says.
    pub inner: Inner,
}

/// Why an answer cannot be read. It is not known which hop is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// Not the length that was asked for.
    #[error("not the length of an answer")]
    Length,
    /// Sealed by no hop of the path, or changed on the way.
    #[error("sealed by no hop of the path")]
    Seal,
    /// A hop sealed something that is no frame.
    #[error("hop {0} sealed no frame")]
    Frame(usize),
}

impl Replies {
    pub(super) fn new(hops: impl Iterator<Item = LayerKeys>, answer: SizeClass) -> Self {
        Self {
            hops: hops.map(|keys| (keys.layer, keys.seal)).collect(),
            answer,
        }
    }

    /// The size that the answer must have.
    pub fn class(&self) -> SizeClass {
        self.answer
    }

    /// Reads the answer: takes off layer after layer and finds the hop whose seal fits ([ONI-10]).
    ///
    /// # Errors
    /// [`AnswerFault`].
    pub fn open(self, mut answer: Vec<u8>) -> Result<Answer, AnswerFault> {
        if answer.len() != self.answer.answer_bytes() {
            return Err(AnswerFault::Length);
        }
        let last = self.hops.len().saturating_sub(1);
        for (hop, (layer, seal)) in self.hops.iter().enumerate() {
            if let Some(frame) = unseal(seal, &answer) {
                let inner =
                    Inner::decode(Bytes::from(frame)).map_err(|_| AnswerFault::Frame(hop))?;
                return Ok(Answer {
                    hop,
                    last: hop == last,
                    inner,
                });
            }
            add_stream(layer, &mut answer);
        }
        Err(AnswerFault::Seal)
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replies")
    }
}

/// The hash of a reply key ([ONI-9]).
pub(super) fn reply_hash(seal: &[u8; 32]) -> [u8; 32] {
    hash::derive("poste reply", &[seal])
}

/// `nonce | ciphertext | seal`. The nonce is made from key and text: a relay that restarts may refuse
/// an onion that it answered before, and the two texts must not meet one key stream ([ONI-9]).
fn seal(key: &[u8; 32], frame: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    hash::derive_into("poste reply nonce", &[key, frame], &mut nonce);
    let mut answer = Vec::with_capacity(NONCE_BYTES + frame.len() + SEAL_BYTES);
    answer.extend_from_slice(&nonce);
    answer.extend_from_slice(frame);
    let cipher = ChaCha20Poly1305::new(&(*key).into());
    let (_, text) = answer.split_at_mut(NONCE_BYTES);
    match cipher.encrypt_inout_detached(&nonce.into(), b"", text.into()) {
        Ok(tag) => answer.extend_from_slice(&tag),
        // Only beyond 256 GiB; the bytes above are not to be sent then.
        Err(_) => answer.clear(),
    }
    answer
}

fn unseal(key: &[u8; 32], answer: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = answer.split_first_chunk::<NONCE_BYTES>()?;
    let (text, tag) = rest.split_last_chunk::<SEAL_BYTES>()?;
    let mut frame = Vec::from(text);
    ChaCha20Poly1305::new(&(*key).into())
        .decrypt_inout_detached(
            &(*nonce).into(),
            b"",
            frame.as_mut_slice().into(),
            &(*tag).into(),
        )
        .ok()?;
    Some(frame)
}

/// The message type of a refusal.
const REFUSAL: u16 = 0x0102;
/// Bytes of a ChaCha20-Poly1305 nonce.
const NONCE_BYTES: usize = 12;
/// Bytes of a Poly1305 tag.
const SEAL_BYTES: usize = 16;

const _: () = assert!(NONCE_BYTES + SEAL_BYTES + 6 == crate::limits::ANSWER_OVERHEAD_BYTES);
