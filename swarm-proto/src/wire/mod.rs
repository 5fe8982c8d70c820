//! Every message, byte by byte (`docs/spec/formats.md`), and the check that lets it in.
//!
//! Bytes become a [`Message`] in [`Message::decode`], and a message becomes [`verify::Verified`] in
//! [`verify::Judge::admit`]; a machine is only ever told verified ones.

pub mod codec;
pub mod copies;
pub mod frames;
pub mod loss;
pub mod mailbox;
pub mod members;
pub mod pledge;
pub mod proof;
pub mod refusal;
pub mod standing;
pub mod sweeps;
pub mod verify;

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::NodeId;
use crate::limits;
use crate::store::{Card, Page};
use codec::{Malformed, Reader, Writer};
use copies::{Compare, Copied, Copy};
use mailbox::{CardAsk, CardPut, Deposit, Deposited, Erase, Fetch};
use members::{ListAsk, ListPart, Reconcile, RecordWithKeys, RosterAsk, RosterPart, Want};
use pledge::{Challenge, ChallengeAnswer};
use proof::Proof;
use refusal::Refusal;
use standing::{Heads, Tally, Testimony};
use sweeps::Sweep;

/// Everything that machines say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A relay declines.
    Refusal(Refusal),
    /// Relays compare member lists.
    Reconcile(Reconcile),
    /// A relay wants the records behind these items.
    Want(Want),
    /// Records with keys; at most [`limits::RECORDS_PER_MESSAGE_MAX`].
    Records(Vec<RecordWithKeys>),
    /// A correspondent wants the member list.
    ListAsk(ListAsk),
    /// A part of it.
    ListPart(ListPart),
    /// A correspondent wants the eligible list of an epoch.
    RosterAsk(RosterAsk),
    /// A part of it.
    RosterPart(RosterPart),
    /// Keep this row too.
    Copy(Copy),
    /// What became of a copy.
    Copied(Copied),
    /// An envelope was deleted by its owner.
    Erase(Erase),
    /// A card was left by its owner.
    CardCopy(CardPut),
    /// Siblings compare what they have.
    Compare(Compare),
    /// Is there anybody? Opening the link is the answer.
    Probe,
    /// One sibling sweeps another.
    Sweep(Sweep),
    /// Relays compare what watchers said.
    ReconcileTestimonies(Reconcile),
    /// A relay wants the testimonies behind these items.
    WantTestimonies(Vec<[u8; 32]>),
    /// A relay has testimonies that are new to it, or wants some.
    Heads(Heads),
    /// What watchers said.
    Testimonies(Vec<Testimony>),
    /// What a relay found about those that the other watches.
    Tallies(Vec<Tally>),
    /// What convicts a relay by itself.
    Proof(Proof),
    /// Here I am: the answer to a probe.
    Here,
    /// A watcher wants to see what a relay has pledged.
    Challenge(Challenge),
    /// What the relay says of it.
    ChallengeAnswer(ChallengeAnswer),
    /// Put an envelope into a mailbox.
    Deposit(Deposit),
    /// Read a page of a mailbox.
    Fetch(Fetch),
    /// Remove an envelope.
    Delete(Erase),
    /// Leave a card.
    CardPut(CardPut),
    /// Ask for a card.
    CardAsk(CardAsk),
    /// The envelope is durable at these holders.
    Deposited(Deposited),
    /// A page.
    Page(Page),
    /// It is done.
    Done {
        /// Whether there was something to do it to.
        existed: bool,
    },
    /// A card.
    Card(Card),
    /// The holders of this cell, best rank first.
    Elsewhere(Vec<NodeId>),
}

impl Message {
    /// The type on the wire.
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Refusal(_) => kind::REFUSAL,
            Self::Reconcile(_) => kind::RECONCILE,
            Self::Want(_) => kind::WANT,
            Self::Records(_) => kind::RECORDS,
            Self::ListAsk(_) => kind::LIST_ASK,
            Self::ListPart(_) => kind::LIST_PART,
            Self::RosterAsk(_) => kind::ROSTER_ASK,
            Self::RosterPart(_) => kind::ROSTER_PART,
            Self::Copy(_) => kind::COPY,
            Self::Copied(_) => kind::COPIED,
            Self::Erase(_) => kind::ERASE,
            Self::CardCopy(_) => kind::CARD_COPY,
            Self::Compare(_) => kind::COMPARE,
            Self::Probe => kind::PROBE,
            Self::Sweep(_) => kind::SWEEP,
            Self::ReconcileTestimonies(_) => kind::RECONCILE_TESTIMONIES,
            Self::WantTestimonies(_) => kind::WANT_TESTIMONIES,
            Self::Heads(_) => kind::HEADS,
            Self::Testimonies(_) => kind::TESTIMONIES,
            Self::Tallies(_) => kind::TALLIES,
            Self::Proof(_) => kind::PROOF,
            Self::Here => kind::HERE,
            Self::Challenge(_) => kind::CHALLENGE,
            Self::ChallengeAnswer(_) => kind::CHALLENGE_ANSWER,
            Self::Deposit(_) => kind::DEPOSIT,
            Self::Fetch(_) => kind::FETCH,
            Self::Delete(_) => kind::DELETE,
            Self::CardPut(_) => kind::CARD_PUT,
            Self::CardAsk(_) => kind::CARD_ASK,
            Self::Deposited(_) => kind::DEPOSITED,
            Self::Page(_) => kind::PAGE,
            Self::Done { .. } => kind::DONE,
            Self::Card(_) => kind::CARD,
            Self::Elsewhere(_) => kind::ELSEWHERE,
        }
    }

    /// Reads the body of a message of type `kind`.
    ///
    /// # Errors
    /// [`Malformed`] names the field; an unknown type is the field *message type*.
    pub fn decode(kind: u16, body: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let message = Self::decode_body(kind, &mut reader)?;
        reader.end()?;
        Ok(message)
    }

    fn decode_body(kind: u16, reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(match kind {
            kind::REFUSAL => Self::Refusal(Refusal::decode(reader)?),
            kind::RECONCILE => Self::Reconcile(Reconcile::decode(reader)?),
            kind::WANT => Self::Want(Want {
                with_keys: reader.flag("with keys")?,
                items: decode_items(reader)?,
            }),
            kind::RECORDS => {
                let most = limits::RECORDS_PER_MESSAGE_MAX;
                Self::Records(members::decode_records(reader, most)?)
            }
            kind::LIST_ASK => Self::ListAsk(ListAsk::decode(reader)?),
            kind::LIST_PART => Self::ListPart(ListPart::decode(reader)?),
            kind::ROSTER_ASK => Self::RosterAsk(RosterAsk::decode(reader)?),
            kind::ROSTER_PART => Self::RosterPart(RosterPart::decode(reader)?),
            kind::COPY => Self::Copy(Copy::decode(reader)?),
            kind::COPIED => Self::Copied(Copied::decode(reader)?),
            kind::ERASE => Self::Erase(Erase::decode(reader)?),
            kind::CARD_COPY => Self::CardCopy(CardPut::decode(reader)?),
            kind::COMPARE => Self::Compare(Compare::decode(reader)?),
            kind::PROBE => Self::Probe,
            kind::SWEEP => Self::Sweep(Sweep::decode(reader)?),
            kind::RECONCILE_TESTIMONIES => Self::ReconcileTestimonies(Reconcile::decode(reader)?),
            kind::WANT_TESTIMONIES => Self::WantTestimonies(decode_items(reader)?),
            kind::HEADS => Self::Heads(Heads::decode(reader)?),
            kind::TESTIMONIES => {
                let count = reader.count("testimonies", limits::TESTIMONIES_PER_MESSAGE_MAX)?;
                let all = (0..count).map(|_| Testimony::decode(reader));
                Self::Testimonies(all.collect::<Result<_, _>>()?)
            }
            kind::TALLIES => {
                let count = reader.count("tallies", limits::TALLIES_PER_MESSAGE_MAX)?;
                let all = (0..count).map(|_| Tally::decode(reader));
                Self::Tallies(all.collect::<Result<_, _>>()?)
            }
            kind::PROOF => Self::Proof(Proof::decode(reader)?),
            kind::HERE => Self::Here,
            kind::CHALLENGE => Self::Challenge(Challenge::decode(reader)?),
            kind::CHALLENGE_ANSWER => Self::ChallengeAnswer(ChallengeAnswer::decode(reader)?),
            kind::DEPOSIT => Self::Deposit(Deposit::decode(reader)?),
            kind::FETCH => Self::Fetch(Fetch::decode(reader)?),
            kind::DELETE => Self::Delete(Erase::decode(reader)?),
            kind::CARD_PUT => Self::CardPut(CardPut::decode(reader)?),
            kind::CARD_ASK => Self::CardAsk(CardAsk::decode(reader)?),
            kind::DEPOSITED => Self::Deposited(Deposited::decode(reader)?),
            kind::PAGE => Self::Page(mailbox::decode_page(reader)?),
            kind::DONE => Self::Done {
                existed: reader.flag("existed")?,
            },
            kind::CARD => Self::Card(mailbox::decode_card(reader)?),
            kind::ELSEWHERE => Self::Elsewhere(mailbox::decode_elsewhere(reader)?),
            _ => return Err(reader.wrong("message type")),
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        match self {
            Self::Refusal(refusal) => refusal.encode(&mut writer),
            Self::Reconcile(reconcile) | Self::ReconcileTestimonies(reconcile) => {
                reconcile.encode(&mut writer);
            }
            Self::Testimonies(testimonies) => {
                writer.count(testimonies.len());
                for testimony in testimonies {
                    testimony.encode(&mut writer);
                }
            }
            Self::Tallies(tallies) => {
                writer.count(tallies.len());
                for tally in tallies {
                    tally.encode(&mut writer);
                }
            }
            Self::Proof(proof) => proof.encode(&mut writer),
            Self::Want(want) => {
                writer.u8(u8::from(want.with_keys));
                encode_items(&want.items, &mut writer);
            }
            Self::WantTestimonies(items) => encode_items(items, &mut writer),
            Self::Heads(heads) => heads.encode(&mut writer),
            Self::Records(records) => members::encode_records(records, &mut writer),
            Self::ListAsk(ask) => ask.encode(&mut writer),
            Self::ListPart(part) => part.encode(&mut writer),
            Self::RosterAsk(ask) => ask.encode(&mut writer),
            Self::RosterPart(part) => part.encode(&mut writer),
            Self::Copy(copy) => copy.encode(&mut writer),
            Self::Copied(copied) => copied.encode(&mut writer),
            Self::Erase(erase) | Self::Delete(erase) => erase.encode(&mut writer),
            Self::CardCopy(put) | Self::CardPut(put) => put.encode(&mut writer),
            Self::Compare(compare) => compare.encode(&mut writer),
            Self::Probe | Self::Here => {}
            Self::Sweep(sweep) => sweep.encode(&mut writer),
            Self::Challenge(challenge) => challenge.encode(&mut writer),
            Self::ChallengeAnswer(answer) => answer.encode(&mut writer),
            Self::Deposit(deposit) => deposit.encode(&mut writer),
            Self::Fetch(fetch) => fetch.encode(&mut writer),
            Self::CardAsk(ask) => ask.encode(&mut writer),
            Self::Deposited(deposited) => deposited.encode(&mut writer),
            Self::Page(page) => mailbox::encode_page(page, &mut writer),
            Self::Done { existed } => {
                writer.u8(u8::from(*existed));
            }
            Self::Card(card) => mailbox::encode_card(card, &mut writer),
            Self::Elsewhere(holders) => mailbox::encode_elsewhere(holders, &mut writer),
        }
        writer.finish()
    }
}

fn encode_items(items: &[[u8; 32]], writer: &mut Writer) {
    writer.count(items.len());
    for item in items {
        writer.put(item);
    }
}

fn decode_items(reader: &mut Reader) -> Result<Vec<[u8; 32]>, Malformed> {
    let count = reader.count("items", limits::IDS_PER_MESSAGE_MAX)?;
    (0..count).map(|_| reader.array("item")).collect()
}

/// The types of frames and messages.
pub mod kind {
    /// Opens a link.
    pub const HELLO: u16 = 0x0101;
    /// A relay declines.
    pub const REFUSAL: u16 = 0x0102;
    /// A step of comparing member lists.
    pub const RECONCILE: u16 = 0x0201;
    /// Wanted records.
    pub const WANT: u16 = 0x0202;
    /// Records with keys.
    pub const RECORDS: u16 = 0x0203;
    /// A step of comparing what watchers said.
    pub const RECONCILE_TESTIMONIES: u16 = 0x0204;
    /// Wanted testimonies.
    pub const WANT_TESTIMONIES: u16 = 0x0205;
    /// What watchers said.
    pub const TESTIMONIES: u16 = 0x0206;
    /// What a relay found, for watchers.
    pub const TALLIES: u16 = 0x0207;
    /// The answer to a probe.
    pub const HERE: u16 = 0x0208;
    /// What convicts a relay by itself.
    pub const PROOF: u16 = 0x0209;
    /// How the items of testimonies begin that are news, or wanted.
    pub const HEADS: u16 = 0x020a;
    /// The member list is wanted.
    pub const LIST_ASK: u16 = 0x0210;
    /// A part of it.
    pub const LIST_PART: u16 = 0x0211;
    /// The eligible list of an epoch is wanted.
    pub const ROSTER_ASK: u16 = 0x0212;
    /// A part of it.
    pub const ROSTER_PART: u16 = 0x0213;
    /// A small onion.
    pub const ONION_SMALL: u16 = 0x0301;
    /// A large onion.
    pub const ONION_LARGE: u16 = 0x0302;
    /// A small answer to an onion.
    pub const ANSWER_SMALL: u16 = 0x0311;
    /// A large answer to an onion.
    pub const ANSWER_LARGE: u16 = 0x0312;
    /// A copy of a row.
    pub const COPY: u16 = 0x0401;
    /// What became of a copy.
    pub const COPIED: u16 = 0x0402;
    /// A deletion passed on.
    pub const ERASE: u16 = 0x0403;
    /// A card passed on.
    pub const CARD_COPY: u16 = 0x0404;
    /// A step of comparing what siblings have.
    pub const COMPARE: u16 = 0x0405;
    /// Whether a relay is there.
    pub const PROBE: u16 = 0x0406;
    /// A step of a sweep.
    pub const SWEEP: u16 = 0x0407;
    /// A challenge to show what was pledged.
    pub const CHALLENGE: u16 = 0x0408;
    /// What is said of it.
    pub const CHALLENGE_ANSWER: u16 = 0x0409;
    /// A deposit.
    pub const DEPOSIT: u16 = 0x0501;
    /// A fetch.
    pub const FETCH: u16 = 0x0502;
    /// A deletion.
    pub const DELETE: u16 = 0x0503;
    /// A card to keep.
    pub const CARD_PUT: u16 = 0x0504;
    /// A card is wanted.
    pub const CARD_ASK: u16 = 0x0505;
    /// Receipts for a deposit.
    pub const DEPOSITED: u16 = 0x0581;
    /// A page of a mailbox.
    pub const PAGE: u16 = 0x0582;
    /// It is done.
    pub const DONE: u16 = 0x0583;
    /// A card.
    pub const CARD: u16 = 0x0584;
    /// Who holds this cell.
    pub const ELSEWHERE: u16 = 0x0587;
}

#[cfg(test)]
mod tests;
