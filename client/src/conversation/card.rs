//! Cards: how strangers who hold an invitation learn what to seal a first letter to ([CARD-1] to
//! [CARD-5]).
//!
//! A card lies at its owner's first-contact mailbox, signed by the read key and sealed for those who know the
//! account and the salt: the holders cannot collect inbox keys. Its bytes are bound to the address, the number and the end,
//! so that it cannot be shown anywhere else.

use bytes::Bytes;
use swarm_proto::address::{Account, AccountKey, Context, NoMailbox};
use swarm_proto::hash;
use swarm_proto::limits;
use swarm_proto::mailbox::statements::{Statements, card_digest};
use swarm_proto::seal;
use swarm_proto::store::{Card, MailboxKeys};
use swarm_proto::time::{Epoch, Hour, TimeScale, UnixTime};
use swarm_proto::wire::codec::{Malformed, Reader, Writer};
use zeroize::Zeroizing;

use super::first_contact::InboxPublicKey;

/// What a card says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardText {
    /// What first contacts are sealed to.
    pub inbox: InboxPublicKey,
    /// Whether letters of strangers are welcome.
    pub policy: Policy,
}

/// Whether letters of strangers are welcome. A hint for honest programs; the mailbox's lane has its own
/// bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// From whoever has the invitation.
    Welcome,
    /// From nobody for the time being.
    Closed,
}

/// Where and when a card counts.
#[derive(Clone, Copy)]
pub struct CardTerms<'a> {
    /// The salt of the owner's invitation.
    pub salt: &'a [u8; 32],
    /// The epoch of the mailbox.
    pub epoch: Epoch,
    /// Its number: the highest holds ([CARD-3]).
    pub sequence: u64,
    /// When it is gone: [`expiry`].
    pub expires: Hour,
}

impl CardText {
    /// Seals and signs a card for the owner's first-contact mailbox of one epoch ([CARD-1], [CARD-2]).
    ///
    /// # Errors
    /// [`NoMailbox`].
    pub fn seal(
        &self,
        owner: &Account,
        terms: &CardTerms<'_>,
        statements: &Statements<'_>,
        nonce: &[u8; 24],
    ) -> Result<(MailboxKeys, Card), NoMailbox> {
        let side = owner.mailbox(Context::Pub, terms.salt, terms.epoch)?;
        let mut writer = Writer::with_capacity(PLAIN_BYTES);
        writer.u8(VERSION).u8(match self.policy {
            Policy::Welcome => WELCOME,
            Policy::Closed => CLOSED,
        });
        writer.put(self.inbox.as_bytes());
        let mut plain = writer.finish();
        plain.resize(PLAIN_BYTES, 0);
        let key = card_key(owner.key(), terms.salt, terms.epoch);
        let aad = aad(&side.keys, terms.sequence, terms.expires);
        let sealed = seal::seal(&key, nonce, &aad, &plain).ok_or(NoMailbox)?;
        let signature = statements.card(
            &side.read,
            &side.keys,
            terms.sequence,
            terms.expires,
            &sealed,
        );
        let card = Card {
            sequence: terms.sequence,
            expires: terms.expires,
            signature,
            sealed: Bytes::from(sealed),
        };
        Ok((side.keys, card))
    }

    /// Checks and opens a card found at the first-contact mailbox of `owner` ([CARD-2]).
    ///
    /// # Errors
    /// [`BadCard`] says what is wrong; nothing of it may be used then.
    pub fn open(
        owner: &AccountKey,
        salt: &[u8; 32],
        epoch: Epoch,
        card: &Card,
        statements: &Statements<'_>,
    ) -> Result<Self, BadCard> {
        let keys = owner.mailbox(Context::Pub, salt, epoch)?.keys;
        if card.sealed.len() != limits::CARD_BYTES {
            return Err(BadCard::Size);
        }
        if !statements.verify_card(&keys, card) {
            return Err(BadCard::Signature);
        }
        let aad = aad(&keys, card.sequence, card.expires);
        let key = card_key(owner, salt, epoch);
        let mut plain = seal::open(&key, &aad, &card.sealed).ok_or(BadCard::Sealed)?;
        Ok(Self::read(std::mem::take(&mut *plain).into())?)
    }

    fn read(plain: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(plain);
        if reader.u8("card version")? != VERSION {
            return Err(reader.wrong("card version"));
        }
        let policy = match reader.u8("policy")? {
            WELCOME => Policy::Welcome,
            CLOSED => Policy::Closed,
            _ => return Err(reader.wrong("policy")),
        };
        let inbox = InboxPublicKey::decode(&mut reader)?;
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(reader.wrong("padding"));
        }
        Ok(Self { inbox, policy })
    }
}

/// Of several holders' cards the one that holds: highest number, then lowest hash ([CARD-3]). Check and open it
/// afterwards; if that fails, drop it and ask again without it.
pub fn newest(cards: impl IntoIterator<Item = Card>) -> Option<Card> {
    let rank = |card: &Card| (card.sequence, std::cmp::Reverse(card_digest(&card.sealed)));
    cards.into_iter().max_by_key(rank)
}

/// When a card published now is gone: 30 days later ([CARD-4]).
pub fn expiry(now: UnixTime, scale: TimeScale) -> Hour {
    scale.hour_of(now).plus(24 * u32::from(CARD_DAYS))
}

/// The epochs in which a card may lie, today's first ([CARD-4]).
pub fn epochs_to_ask(today: Epoch) -> impl Iterator<Item = Epoch> {
    (0..u32::from(CARD_DAYS)).map(move |back| today.minus(back))
}

fn card_key(owner: &AccountKey, salt: &[u8; 32], epoch: Epoch) -> Zeroizing<[u8; 32]> {
    let epoch = epoch.0.to_be_bytes();
    Zeroizing::new(hash::derive(
        "poste card",
        &[owner.as_bytes(), salt, &epoch],
    ))
}

/// address | sequence | expiry hour
fn aad(keys: &MailboxKeys, sequence: u64, expires: Hour) -> Vec<u8> {
    let mut aad = keys.address().0.to_vec();
    aad.extend_from_slice(&sequence.to_be_bytes());
    aad.extend_from_slice(&expires.0.to_be_bytes());
    aad
}

/// Why a card is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCard {
    /// Not 8,192 bytes.
    #[error("card: wrong size")]
    Size,
    /// The mailbox's owner did not sign it.
    #[error("card: not signed by the mailbox's owner")]
    Signature,
    /// Signed, but sealed for another place or number.
    #[error("card: sealed for another place")]
    Sealed,
    /// The owner's program is wrong.
    #[error("card: {0}")]
    Malformed(#[from] Malformed),
    /// The owner has no mailbox in that epoch.
    #[error(transparent)]
    NoMailbox(#[from] NoMailbox),
}

const VERSION: u8 = 1;
const WELCOME: u8 = 0;
const CLOSED: u8 = 1;
const PLAIN_BYTES: usize = limits::CARD_BYTES - seal::OVERHEAD_BYTES;
/// Days that a card lies: somebody who reads once a month can be written to.
pub const CARD_DAYS: u8 = 30;

#[cfg(test)]
mod tests;
