//! The seam between letters and envelopes: [`Desk::seal`] and [`Desk::open`] ([LET-6] to [LET-9]).
//!
//! Everything above knows letters and contacts, everything below envelopes and mailboxes. A conversation
//! with forward secrecy (MLS) takes the place of [`pair`] behind the same two verbs. Nothing here keeps
//! anything: what is sealed and opened is made durable by [`crate::outbox`] and [`crate::inbox`].

pub mod card;
pub mod first_contact;
pub mod letter;
pub mod pair;

use rand_core::CryptoRng;
use swarm_proto::address::{AccountKey, Context, NoMailbox, WriterSide};
use swarm_proto::crypto::{Crypto, Signature};
use swarm_proto::envelope::{BadEnvelope, Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use swarm_proto::mailbox::statements::Statements;
use swarm_proto::store::MailboxKeys;
use swarm_proto::time::{Epoch, TimeScale, UnixTime};
use swarm_proto::wire::codec::Malformed;

use crate::contacts::{Contact, Reach, State};
use crate::identity::{Identity, MailboxKind, OwnMailbox};
use first_contact::{CannotIntroduce, InboxPublicKey, Introduction};
use letter::{BadLetter, Letter};
use pair::Line;

/// Where letters are sealed and opened: an identity, its network's statements and calendar.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// Who writes and reads here.
    pub identity: &'a Identity,
    /// Signs deposits.
    pub statements: Statements<'a>,
    /// The network's calendar.
    pub scale: TimeScale,
}

/// An envelope, ready to be deposited, again and again if need be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The mailbox.
    pub keys: MailboxKeys,
    /// The leave to deposit.
    pub write_signature: Signature,
    /// The envelope.
    pub envelope: Envelope,
}

/// A letter that came, from somebody proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Who wrote it.
    pub from: AccountKey,
    /// How it came.
    pub via: Via,
    /// What it says.
    pub letter: Letter,
}

/// How a letter came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// By the first-contact mailbox.
    FirstContact {
        /// Where its writer wants answers.
        reach: Reach,
        /// Its writer's inbox key.
        inbox: InboxPublicKey,
    },
    /// By a bucket of ours.
    Bucket,
}

impl<'a> Desk<'a> {
    /// The desk of an identity.
    pub fn new(identity: &'a Identity, crypto: &'a dyn Crypto, scale: TimeScale) -> Self {
        Self {
            identity,
            statements: Statements::new(crypto, identity.network),
            scale,
        }
    }

    /// Seals a letter for a contact, into the mailbox that they read today: their bucket if they said
    /// where, otherwise first contact, where it is kept 3 days at most ([LET-6], [LET-7]).
    ///
    /// # Errors
    /// [`CannotSeal`] says what is missing.
    pub fn seal(
        &self,
        contact: &Contact,
        letter: &Letter,
        expiry: ExpiryClass,
        now: UnixTime,
        rng: &mut impl CryptoRng,
    ) -> Result<Sealed, CannotSeal> {
        if expiry == ExpiryClass::Days30 {
            return Err(CannotSeal::LongStay);
        }
        let size = letter.size_class()?;
        let made = self.scale.tick_of(now);
        let side = self.writer_side(contact, made.epoch())?;
        let mut header = EnvelopeHeader {
            size,
            expiry,
            made,
            address: side.address(),
        };
        let body = match &contact.state {
            State::Invited { .. } => return Err(CannotSeal::NoCard),
            State::Waiting { inbox, .. } => {
                header.size = SizeClass::Large;
                header.expiry = expiry.min(ExpiryClass::Days3);
                let introduction = Introduction {
                    from: *self.identity.account().key(),
                    reach: contact.ours,
                    inbox: self.identity.inbox().public().clone(),
                    letter: letter.clone(),
                };
                let account = self.identity.account();
                introduction.seal(account, &contact.account, inbox, &header, rng)?
            }
            State::Connected { theirs, .. } => {
                let mut nonce = [0; 24];
                rng.fill_bytes(&mut nonce);
                let line = Line {
                    writer: self.identity.account().key(),
                    reader: &contact.account,
                    p: &theirs.p,
                    keys: &side.keys,
                };
                line.seal(&header, letter, &nonce)?
            }
        };
        let envelope = Envelope::assemble(header, &body)?;
        Ok(Sealed {
            keys: side.keys,
            write_signature: self.statements.deposit(&side.write, &envelope.id()),
            envelope,
        })
    }

    /// The mailbox that letters to a contact go to in an epoch: for asking after their card and after
    /// receipts, too.
    ///
    /// # Errors
    /// [`NoMailbox`].
    pub fn writer_side(&self, contact: &Contact, epoch: Epoch) -> Result<WriterSide, NoMailbox> {
        let (context, s) = match &contact.state {
            State::Invited { salt } | State::Waiting { salt, .. } => (Context::Pub, salt),
            State::Connected { theirs, .. } => (Context::Pair, &theirs.s),
        };
        contact.account.mailbox(context, s, epoch)
    }

    /// Opens an envelope found in a mailbox of ours. In a bucket each of its contacts is tried, since nothing
    /// outside tells who wrote.
    ///
    /// # Errors
    /// [`CannotOpen`]; whatever it is, the envelope is of no use and others are not touched.
    pub fn open(
        &self,
        contacts: &[Contact],
        mailbox: &OwnMailbox,
        envelope: &Envelope,
    ) -> Result<Opened, CannotOpen> {
        if envelope.header().address != mailbox.side.address() {
            return Err(CannotOpen::WrongMailbox);
        }
        match mailbox.kind {
            MailboxKind::FirstContact => self.open_first_contact(envelope),
            MailboxKind::Bucket { s } => {
                let writers = contacts.iter().filter(|contact| contact.ours.s == s);
                self.open_from(writers, &mailbox.side.keys, envelope)
            }
        }
    }

    fn open_first_contact(&self, envelope: &Envelope) -> Result<Opened, CannotOpen> {
        let account = self.identity.account();
        let introduction = Introduction::open(account, self.identity.inbox(), envelope)?;
        if introduction.from == *account.key() {
            return Err(CannotOpen::FromOurselves);
        }
        Ok(Opened {
            from: introduction.from,
            via: Via::FirstContact {
                reach: introduction.reach,
                inbox: introduction.inbox,
            },
            letter: introduction.letter,
        })
    }

    fn open_from<'c>(
        &self,
        writers: impl Iterator<Item = &'c Contact>,
        keys: &MailboxKeys,
        envelope: &Envelope,
    ) -> Result<Opened, CannotOpen> {
        for contact in writers {
            let line = Line {
                writer: &contact.account,
                reader: self.identity.account().key(),
                p: &contact.ours.p,
                keys,
            };
            match line.open(envelope) {
                Ok(letter) => {
                    return Ok(Opened {
                        from: contact.account,
                        via: Via::Bucket,
                        letter,
                    });
                }
                Err(CannotOpen::NotForThisKey) => {}
                Err(error) => return Err(error),
            }
        }
        Err(CannotOpen::NotForThisKey)
    }
}

/// Why a letter cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSeal {
    /// Their card was not found yet.
    #[error("their card was not found yet; nothing can be sealed for them")]
    NoCard,
    /// Only a mailbox's owner may let letters stay 30 days.
    #[error("a letter to somebody else stays 14 days at most")]
    LongStay,
    /// The letter.
    #[error(transparent)]
    Letter(#[from] BadLetter),
    /// First contact.
    #[error(transparent)]
    Introduction(#[from] CannotIntroduce),
    /// They have no mailbox today.
    #[error(transparent)]
    NoMailbox(#[from] NoMailbox),
    /// A bug of this program.
    #[error(transparent)]
    Envelope(#[from] BadEnvelope),
}

/// Why an envelope cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotOpen {
    /// It is addressed to another mailbox.
    #[error("the envelope is addressed to another mailbox")]
    WrongMailbox,
    /// Changed on the way, or sealed for or by somebody else.
    #[error("the envelope was not sealed for us by anybody known, or was changed")]
    NotForThisKey,
    /// It says who wrote it, and that is not so.
    #[error("the writer of this first contact is not who it says")]
    NotProven,
    /// A first contact from our own account.
    #[error("a first contact from our own account")]
    FromOurselves,
    /// The writer's program is wrong.
    #[error("the letter is malformed: {0}")]
    Malformed(#[from] Malformed),
}

#[cfg(test)]
pub(crate) mod tests;
