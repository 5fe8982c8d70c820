//! What correspondents sign in tests: mailboxes, letters, fetches, deletions and cards.

use alloc::vec;

use bytes::Bytes;

use crate::crypto::SecretKey;
use crate::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use crate::limits;
use crate::mailbox::statements::{AskTerms, FetchTerms, Statements};
use crate::rig::{REPLY_KEY_HASH, Rig};
use crate::store::{Card, Cursor, MailboxKeys};
use crate::time::{Hour, Tick};
use crate::wire::mailbox::{CardAsk, CardPut, Deposit, Erase, Fetch};

/// A mailbox and its secrets.
pub(crate) struct Owner {
    pub(crate) read: SecretKey,
    pub(crate) write: SecretKey,
    pub(crate) keys: MailboxKeys,
}

pub(crate) fn owner(seed: u8, flags: u8) -> Owner {
    let (read, write) = (
        SecretKey::from_seed(&[seed; 32]),
        SecretKey::from_seed(&[seed ^ 0x80; 32]),
    );
    let keys = MailboxKeys {
        flags,
        read: *read.public(),
        write: *write.public(),
    };
    Owner { read, write, keys }
}

/// Statements of correspondents.
impl Rig {
    pub(crate) fn statements(&self) -> Statements<'_> {
        Statements::new(&self.crypto, self.network.id())
    }

    /// A small letter made at this moment, for a day.
    pub(crate) fn letter(&self, owner: &Owner, number: u32) -> Deposit {
        let made = self.network.scale.tick_of(self.now.unix);
        self.letter_of(owner, number, made, ExpiryClass::Day)
    }

    pub(crate) fn letter_of(
        &self,
        owner: &Owner,
        number: u32,
        made: Tick,
        expiry: ExpiryClass,
    ) -> Deposit {
        self.sized_letter(owner, number, (made, expiry), SizeClass::Small)
    }

    pub(crate) fn sized_letter(
        &self,
        owner: &Owner,
        number: u32,
        (made, expiry): (Tick, ExpiryClass),
        size: SizeClass,
    ) -> Deposit {
        let header = EnvelopeHeader {
            size,
            expiry,
            made,
            address: owner.keys.address(),
        };
        let mut body = vec![0; size.body_bytes()];
        body[..4].copy_from_slice(&number.to_be_bytes());
        let envelope = Envelope::assemble(header, &body).unwrap();
        Deposit {
            keys: owner.keys,
            write_signature: self.statements().deposit(&owner.write, &envelope.id()),
            long_stay: None,
            envelope,
        }
    }

    /// A small letter made at this moment, for 30 days, with its owner's leave.
    pub(crate) fn long_letter(&self, owner: &Owner, number: u32) -> Deposit {
        let made = self.network.scale.tick_of(self.now.unix);
        let letter = self.letter_of(owner, number, made, ExpiryClass::Days30);
        let long_stay = self
            .statements()
            .long_stay(&owner.read, &letter.envelope.id());
        Deposit {
            long_stay: Some(long_stay),
            ..letter
        }
    }

    pub(crate) fn fetch(&self, owner: &Owner, holder: usize, after: Cursor) -> Fetch {
        self.fetch_sized(owner, holder, after, SizeClass::Large)
    }

    pub(super) fn fetch_sized(
        &self,
        owner: &Owner,
        holder: usize,
        after: Cursor,
        answer: SizeClass,
    ) -> Fetch {
        let terms = FetchTerms {
            ask: self.terms(holder),
            after,
            answer,
        };
        Fetch {
            keys: owner.keys,
            after,
            time: self.now.unix,
            answer,
            signature: self.statements().fetch(&owner.read, &owner.keys, &terms),
        }
    }

    pub(crate) fn card_ask(&self, owner: &Owner, holder: usize) -> CardAsk {
        let terms = self.terms(holder);
        CardAsk {
            keys: owner.keys,
            time: self.now.unix,
            signature: self
                .statements()
                .card_ask(&owner.write, &owner.keys, &terms),
        }
    }

    pub(super) fn terms(&self, holder: usize) -> AskTerms {
        AskTerms {
            holder: self.nodes[holder].key.node_id(),
            reply_key_hash: REPLY_KEY_HASH,
            time: self.now.unix,
        }
    }

    pub(crate) fn erase(&self, owner: &Owner, deposit: &Deposit) -> Erase {
        let promise = self.promise(deposit);
        Erase {
            epoch: promise.epoch,
            tombstone: self.statements().delete(
                &owner.read,
                &owner.keys,
                promise.id,
                promise.expires,
            ),
        }
    }

    pub(crate) fn card(&self, owner: &Owner, sequence: u64) -> CardPut {
        let expires: Hour = self.network.scale.hour_of(self.now.unix).plus(24);
        let sealed = Bytes::from(vec![7; limits::CARD_BYTES]);
        let signature =
            self.statements()
                .card(&owner.read, &owner.keys, sequence, expires, &sealed);
        CardPut {
            epoch: self.network.scale.epoch_of(self.now.unix),
            keys: owner.keys,
            card: Card {
                sequence,
                expires,
                signature,
                sealed,
            },
        }
    }
}
