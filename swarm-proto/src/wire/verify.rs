//! The door of the machines: a message is judged here once, by the task that received it, and a machine
//! is only ever told a [`Verified`] one.
//!
//! Judged is what needs no state: signatures, and that keys belong to the address that they claim. Ranks,
//! clocks and quotas are the roles' concern.

use crate::crypto::{Crypto, Signature};
use crate::envelope::Envelope;
use crate::id::{NetworkId, NodeId, NodeKey};
use crate::mailbox::statements::{AskTerms, FetchTerms, Statements};
use crate::members::Record;
use crate::store::MailboxKeys;
use crate::wire::Message;
use crate::wire::copies::{Copied, Copy};
use crate::wire::mailbox::{CardAsk, CardPut, Deposit, Erase, Fetch};
use crate::wire::members::RecordWithKeys;
use crate::wire::refusal::Refusal;

/// A message that this relay may act on. Only [`Judge::admit`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub(crate) message: Message,
    /// The hash of the key that the answer will be sealed with; zero where there is none.
    pub(crate) reply_key_hash: [u8; 32],
}

impl Verified {
    /// The member records that it brings; none if it is no such message.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let records = match &self.message {
            Message::Records(records) => records.as_slice(),
            _ => &[],
        };
        records.iter().map(|one| &one.record)
    }

    /// Leaves out the member records that `keep` does not want; for doors that ask for more than signatures.
    pub fn keep_records(&mut self, mut keep: impl FnMut(&Record) -> bool) {
        if let Message::Records(records) = &mut self.message {
            records.retain(|one| keep(&one.record));
        }
    }
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Over a link pinned to a relay's key.
    Relay(NodeKey),
    /// In an onion's innermost layer; the answer will be sealed with a key of this hash.
    Onion {
        /// The hash of the reply key.
        reply_key_hash: [u8; 32],
    },
    /// Over an anonymous link, without an onion: only the member list and eligible lists are given there.
    Client,
}

/// Judges messages for one relay.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The signatures.
    pub crypto: &'a dyn Crypto,
    /// The network.
    pub network: NetworkId,
    /// The relay that is asked.
    pub me: NodeId,
}

impl Judge<'_> {
    /// Lets a message in.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with. Over a relay's link it is also a fault of that relay.
    pub fn admit(&self, message: Message, via: Via) -> Result<Verified, Refusal> {
        let kind = message.kind();
        let reply_key_hash = match via {
            Via::Onion { reply_key_hash } => reply_key_hash,
            Via::Relay(_) | Via::Client => [0; 32],
        };
        let admitted = match (&message, via) {
            (Message::ListAsk(_) | Message::RosterAsk(_), Via::Onion { .. } | Via::Client) => true,
            (
                Message::Reconcile(_)
                | Message::Want(_)
                | Message::Compare(_)
                | Message::Probe
                | Message::ReconcileTestimonies(_)
                | Message::WantTestimonies(_)
                | Message::Heads(_)
                | Message::Tallies(_)
                | Message::Here
                | Message::Challenge(_),
                Via::Relay(_),
            ) => true,
            (Message::Testimonies(testimonies), Via::Relay(_)) => testimonies
                .iter()
                .all(|one| one.holds(self.crypto, &self.network)),
            (Message::Proof(proof), Via::Relay(_)) => proof.holds(self.crypto, &self.network),
            (Message::Records(records), Via::Relay(_)) => {
                records.iter().all(|record| self.record_holds(record))
            }
            (Message::Copy(copy), Via::Relay(_)) => self.copy_holds(copy),
            (Message::Sweep(sweep), Via::Relay(from)) => {
                sweep.holds(self.crypto, &self.network, &from, &self.me)
            }
            (Message::ChallengeAnswer(answer), Via::Relay(from)) => {
                answer.holds(self.crypto, &self.network, &from, &self.me)
            }
            (Message::Copied(copied), Via::Relay(from)) => self.copied_holds(copied, &from),
            (Message::Erase(erase), Via::Relay(_)) => self.erase_holds(erase),
            (Message::CardCopy(put), Via::Relay(_)) => self.card_holds(put),
            (Message::Deposit(deposit), Via::Onion { .. }) => self.deposit_holds(deposit),
            (Message::Fetch(fetch), Via::Onion { .. }) => self.fetch_holds(fetch, reply_key_hash),
            (Message::Delete(erase), Via::Onion { .. }) => self.erase_holds(erase),
            (Message::CardPut(put), Via::Onion { .. }) => self.card_holds(put),
            (Message::CardAsk(ask), Via::Onion { .. }) => self.ask_holds(ask, reply_key_hash),
            _ => return Err(Refusal::UnknownMessage { kind }),
        };
        if admitted {
            Ok(Verified {
                message,
                reply_key_hash,
            })
        } else {
            Err(Refusal::NoCapability)
        }
    }

    fn statements(&self) -> Statements<'_> {
        Statements::new(self.crypto, self.network)
    }

    fn record_holds(&self, with_keys: &RecordWithKeys) -> bool {
        let record: &Record = &with_keys.record;
        record.clone().verify(self.crypto, &self.network).is_ok()
    }

    fn copy_holds(&self, copy: &Copy) -> bool {
        let row = &copy.row;
        self.statements()
            .verify_deposit(&copy.keys, &row.envelope, &row.write_signature)
            && self.stay_holds(&copy.keys, &row.envelope, row.long_stay)
    }

    fn copied_holds(&self, copied: &Copied, from: &NodeKey) -> bool {
        copied.outcome.as_ref().map_or(true, |receipt| {
            receipt.holder == *from && receipt.binds(&copied.promise, &self.network, self.crypto)
        })
    }

    fn erase_holds(&self, erase: &Erase) -> bool {
        self.statements().verify_delete(&erase.tombstone)
    }

    fn card_holds(&self, put: &CardPut) -> bool {
        self.statements().verify_card(&put.keys, &put.card)
    }

    fn deposit_holds(&self, deposit: &Deposit) -> bool {
        self.statements()
            .verify_deposit(&deposit.keys, &deposit.envelope, &deposit.write_signature)
            && self.stay_holds(&deposit.keys, &deposit.envelope, deposit.long_stay)
    }

    /// Whether the owner's leave is there where it is needed, and nowhere else ([DEP-6]).
    fn stay_holds(
        &self,
        keys: &MailboxKeys,
        envelope: &Envelope,
        long_stay: Option<Signature>,
    ) -> bool {
        let needed = envelope.header().expiry.needs_leave();
        match long_stay {
            None => !needed,
            Some(signature) => {
                let statements = self.statements();
                needed && statements.verify_long_stay(keys, &envelope.id(), &signature)
            }
        }
    }

    fn fetch_holds(&self, fetch: &Fetch, reply_key_hash: [u8; 32]) -> bool {
        let ask = AskTerms {
            holder: self.me,
            reply_key_hash,
            time: fetch.time,
        };
        let terms = FetchTerms {
            ask,
            after: fetch.after,
            answer: fetch.answer,
        };
        self.statements()
            .verify_fetch(&fetch.keys, &terms, &fetch.signature)
    }

    fn ask_holds(&self, card_ask: &CardAsk, reply_key_hash: [u8; 32]) -> bool {
        let ask = AskTerms {
            holder: self.me,
            reply_key_hash,
            time: card_ask.time,
        };
        self.statements()
            .verify_card_ask(&card_ask.keys, &ask, &card_ask.signature)
    }
}
