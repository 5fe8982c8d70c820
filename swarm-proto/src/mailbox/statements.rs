//! The statements that correspondents sign about mailboxes, built and judged in one place, so that what a
//! client signs and what a relay verifies cannot drift apart (`docs/spec/formats.md`, Signed statements).
//!
//! A mailbox's address always follows from the keys shown ([ADR-4]), never from a field beside them. Whether
//! a statement is timely, and what it then allows, is the holder's to decide.

use alloc::vec::Vec;
use core::time::Duration;

use crate::crypto::{Crypto, Label, SecretKey, Signature, statement};
use crate::envelope::{self, Envelope, SizeClass};
use crate::id::{EnvelopeId, NetworkId, NodeId};
use crate::store::{Card, Cursor, MailboxKeys, Tombstone};
use crate::time::{Hour, TimeScale, UnixTime};

/// Signs and verifies the statements of one network ([SIG-1]).
#[derive(Clone, Copy)]
pub struct Statements<'a> {
    /// The signatures.
    pub crypto: &'a dyn Crypto,
    /// The network they are for; a statement of another one verifies nowhere.
    pub network: NetworkId,
}

/// What binds a request to one holder and one answer, so that nobody can use it elsewhere or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskTerms {
    /// The holder that is asked.
    pub holder: NodeId,
    /// The hash of the key that the answer will be sealed with.
    pub reply_key_hash: [u8; 32],
    /// The asker's clock.
    pub time: UnixTime,
}

/// What a fetch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchTerms {
    /// Holder, answer and moment.
    pub ask: AskTerms,
    /// Rows after this one.
    pub after: Cursor,
    /// The size of the answer.
    pub answer: SizeClass,
}

impl<'a> Statements<'a> {
    /// For one network.
    pub fn new(crypto: &'a dyn Crypto, network: NetworkId) -> Self {
        Self { crypto, network }
    }

    /// W's leave to deposit an envelope.
    pub fn deposit(&self, write: &SecretKey, id: &EnvelopeId) -> Signature {
        self.sign(write, &Label::DEPOSIT, &[&id.0])
    }

    /// Whether the envelope is for the mailbox of `keys` and W gave leave to deposit it.
    pub fn verify_deposit(
        &self,
        keys: &MailboxKeys,
        envelope: &Envelope,
        signature: &Signature,
    ) -> bool {
        envelope.header().address == keys.address()
            && self.verify(&keys.write, &Label::DEPOSIT, &[&envelope.id().0], signature)
    }

    /// The owner's request for rows.
    pub fn fetch(&self, read: &SecretKey, keys: &MailboxKeys, terms: &FetchTerms) -> Signature {
        self.sign(read, &Label::FETCH, &[&fetch_bytes(keys, terms)])
    }

    /// Whether the owner of `keys` asks for this.
    pub fn verify_fetch(
        &self,
        keys: &MailboxKeys,
        terms: &FetchTerms,
        signature: &Signature,
    ) -> bool {
        let bytes = fetch_bytes(keys, terms);
        self.verify(&keys.read, &Label::FETCH, &[&bytes], signature)
    }

    /// The owner's tombstone for an envelope that ends at `expires` ([DEL-1]).
    pub fn delete(
        &self,
        read: &SecretKey,
        keys: &MailboxKeys,
        id: EnvelopeId,
        expires: Hour,
    ) -> Tombstone {
        let parts: [&[u8]; 3] = [&keys.address().0, &id.0, &expires.0.to_be_bytes()];
        Tombstone {
            keys: *keys,
            id,
            expires,
            signature: self.sign(read, &Label::DELETE, &parts),
        }
    }

    /// Whether the mailbox's owner made this tombstone, and deletion is allowed there.
    pub fn verify_delete(&self, tombstone: &Tombstone) -> bool {
        let keys = &tombstone.keys;
        let expires = tombstone.expires.0.to_be_bytes();
        let parts: [&[u8]; 3] = [&keys.address().0, &tombstone.id.0, &expires];
        !keys.forbids_delete()
            && self.verify(&keys.read, &Label::DELETE, &parts, &tombstone.signature)
    }

    /// The owner's signature over a card.
    pub fn card(
        &self,
        read: &SecretKey,
        keys: &MailboxKeys,
        sequence: u64,
        expires: Hour,
        sealed: &[u8],
    ) -> Signature {
        let bytes = card_bytes(keys, sequence, expires, sealed);
        self.sign(read, &Label::CARD, &[&bytes])
    }

    /// Whether the mailbox's owner published this card there.
    pub fn verify_card(&self, keys: &MailboxKeys, card: &Card) -> bool {
        let bytes = card_bytes(keys, card.sequence, card.expires, &card.sealed);
        self.verify(&keys.read, &Label::CARD, &[&bytes], &card.signature)
    }

    /// A writer's request for the mailbox's card ([ADR-7]).
    pub fn card_ask(&self, write: &SecretKey, keys: &MailboxKeys, ask: &AskTerms) -> Signature {
        self.sign(write, &Label::CARD_ASK, &[&card_ask_bytes(keys, ask)])
    }

    /// Whether somebody who may write to the mailbox asks for its card.
    pub fn verify_card_ask(
        &self,
        keys: &MailboxKeys,
        ask: &AskTerms,
        signature: &Signature,
    ) -> bool {
        let bytes = card_ask_bytes(keys, ask);
        self.verify(&keys.write, &Label::CARD_ASK, &[&bytes], signature)
    }

    /// The owner's leave for an envelope to stay 30 days.
    pub fn long_stay(&self, read: &SecretKey, id: &EnvelopeId) -> Signature {
        self.sign(read, &Label::LONG_STAY, &[&id.0])
    }

    /// Whether the mailbox's owner lets the envelope stay 30 days.
    pub fn verify_long_stay(
        &self,
        keys: &MailboxKeys,
        id: &EnvelopeId,
        signature: &Signature,
    ) -> bool {
        self.verify(&keys.read, &Label::LONG_STAY, &[&id.0], signature)
    }

    fn sign(&self, key: &SecretKey, label: &Label, parts: &[&[u8]]) -> Signature {
        let bytes = statement(label, &self.network, parts);
        self.crypto.sign(key, &bytes)
    }

    fn verify(
        &self,
        key: &[u8; 32],
        label: &Label,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> bool {
        let bytes = statement(label, &self.network, parts);
        self.crypto.verify(key, &bytes, signature)
    }
}

/// Whether a request dated `time` may still be answered at `now` ([SIG-2]).
pub fn is_timely(time: UnixTime, now: UnixTime, scale: TimeScale) -> bool {
    let apart: Duration = time.distance(now);
    apart <= envelope::grace(scale)
}

/// BLAKE3 of a sealed card: what its statement covers, and of two cards with one number the lower holds.
pub fn card_digest(sealed: &[u8]) -> [u8; 32] {
    *blake3::hash(sealed).as_bytes()
}

/// address | holder | reply-key hash | time | after | response class
fn fetch_bytes(keys: &MailboxKeys, terms: &FetchTerms) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 * 4 + 8 + 4 + 1);
    bytes.extend_from_slice(&keys.address().0);
    bytes.extend_from_slice(&terms.ask.holder.0);
    bytes.extend_from_slice(&terms.ask.reply_key_hash);
    bytes.extend_from_slice(&terms.ask.time.0.to_be_bytes());
    bytes.extend_from_slice(&terms.after.arrival.0.to_be_bytes());
    bytes.extend_from_slice(&terms.after.id.0);
    bytes.push(terms.answer.code());
    bytes
}

/// A card is asked for with the bytes of a fetch from the start with a large answer ([ADR-7]); the label
/// and the key are others.
fn card_ask_bytes(keys: &MailboxKeys, ask: &AskTerms) -> Vec<u8> {
    let terms = FetchTerms {
        ask: *ask,
        after: Cursor::START,
        answer: SizeClass::Large,
    };
    fetch_bytes(keys, &terms)
}

/// address | sequence | expiry hour | BLAKE3 of the sealed card
fn card_bytes(keys: &MailboxKeys, sequence: u64, expires: Hour, sealed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + 8 + 4 + 32);
    bytes.extend_from_slice(&keys.address().0);
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&expires.0.to_be_bytes());
    bytes.extend_from_slice(&card_digest(sealed));
    bytes
}

#[cfg(test)]
mod tests;
