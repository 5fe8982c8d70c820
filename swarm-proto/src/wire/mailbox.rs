//! Requests of correspondents, carried in an onion's innermost layer, and their answers.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::Signature;
use crate::envelope::{Envelope, SizeClass};
use crate::id::{EnvelopeId, NodeId};
use crate::limits;
use crate::mailbox::receipt::Receipt;
use crate::store::{Card, Cursor, MailboxKeys, Page, Tombstone};
use crate::time::{Epoch, Hour, Tick, UnixTime};
use crate::wire::codec::{Malformed, Reader, Writer};

/// Put an envelope into a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// The mailbox.
    pub keys: MailboxKeys,
    /// By the write key.
    pub write_signature: Signature,
    /// By the read key: there exactly when the expiry class is the longest.
    pub long_stay: Option<Signature>,
    /// The envelope.
    pub envelope: Envelope,
}

impl Deposit {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let keys = MailboxKeys::decode(reader)?;
        let write_signature = Signature(reader.array("write signature")?);
        let long_stay = reader.array::<64>("long-stay signature")?;
        let long_stay = (long_stay != [0; 64]).then_some(Signature(long_stay));
        Ok(Self {
            keys,
            write_signature,
            long_stay,
            envelope: envelope(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        self.keys.encode(writer);
        writer.put(&self.write_signature.0);
        writer.put(&self.long_stay.map_or([0; 64], |signature| signature.0));
        writer.put(self.envelope.bytes());
    }
}

/// Read a page of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The mailbox.
    pub keys: MailboxKeys,
    /// Rows after this one.
    pub after: Cursor,
    /// When it was signed.
    pub time: UnixTime,
    /// How large the answer may be.
    pub answer: SizeClass,
    /// By the read key.
    pub signature: Signature,
}

impl Fetch {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            keys: MailboxKeys::decode(reader)?,
            after: cursor(reader)?,
            time: UnixTime(reader.u64("fetch time")?),
            answer: size_class(reader)?,
            signature: Signature(reader.array("fetch signature")?),
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        self.keys.encode(writer);
        writer.u32(self.after.arrival.0).put(&self.after.id.0);
        writer
            .u64(self.time.0)
            .u8(self.answer.code())
            .put(&self.signature.0);
    }
}

/// Remove an envelope; between siblings: it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erase {
    /// Whose holders are meant.
    pub epoch: Epoch,
    /// The owner's word.
    pub tombstone: Tombstone,
}

impl Erase {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let epoch = Epoch(reader.u32("epoch")?);
        let tombstone = Tombstone {
            keys: MailboxKeys::decode(reader)?,
            id: EnvelopeId(reader.array("envelope id")?),
            expires: Hour(reader.u32("expiry")?),
            signature: Signature(reader.array("delete signature")?),
        };
        Ok(Self { epoch, tombstone })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.epoch.0);
        self.tombstone.keys.encode(writer);
        writer
            .put(&self.tombstone.id.0)
            .u32(self.tombstone.expires.0);
        writer.put(&self.tombstone.signature.0);
    }
}

/// Leave a card at a mailbox; between siblings: it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardPut {
    /// Whose holders are meant.
    pub epoch: Epoch,
    /// The mailbox.
    pub keys: MailboxKeys,
    /// The card.
    pub card: Card,
}

impl CardPut {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let epoch = Epoch(reader.u32("epoch")?);
        Ok(Self {
            epoch,
            keys: MailboxKeys::decode(reader)?,
            card: decode_card(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.epoch.0);
        self.keys.encode(writer);
        encode_card(&self.card, writer);
    }
}

/// Ask for a mailbox's card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardAsk {
    /// The mailbox.
    pub keys: MailboxKeys,
    /// When it was signed.
    pub time: UnixTime,
    /// By the write key.
    pub signature: Signature,
}

impl CardAsk {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            keys: MailboxKeys::decode(reader)?,
            time: UnixTime(reader.u64("card-ask time")?),
            signature: Signature(reader.array("card-ask signature")?),
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        self.keys.encode(writer);
        writer.u64(self.time.0).put(&self.signature.0);
    }
}

/// The envelope is durable at these holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposited {
    /// The arrival that its row has.
    pub arrival: Tick,
    /// One of each holder; at most [`RECEIPTS_MAX`].
    pub receipts: Vec<Receipt>,
}

impl Deposited {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let arrival = Tick(reader.u32("arrival")?);
        let count = reader.count("receipts", RECEIPTS_MAX)?;
        let receipts = (0..count)
            .map(|_| Receipt::decode(reader))
            .collect::<Result<_, _>>()?;
        Ok(Self { arrival, receipts })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.arrival.0).count(self.receipts.len());
        for receipt in &self.receipts {
            receipt.encode(writer);
        }
    }
}

pub(super) fn decode_page(reader: &mut Reader) -> Result<Page, Malformed> {
    let count = reader.u32("page count")?;
    let fingerprint = reader.array("page fingerprint")?;
    let more = reader.flag("page more")?;
    let number = reader.count("page rows", ROWS_MAX)?;
    let rows = (0..number)
        .map(|_| decode_page_row(reader))
        .collect::<Result<_, _>>()?;
    Ok(Page {
        count,
        fingerprint,
        more,
        rows,
    })
}

fn decode_page_row(reader: &mut Reader) -> Result<(Tick, Envelope), Malformed> {
    let arrival = Tick(reader.u32("arrival")?);
    let length = usize::try_from(reader.u32("envelope length")?).unwrap_or(usize::MAX);
    let bytes = reader.take("envelope", length)?;
    let envelope = Envelope::decode(bytes).map_err(|_| reader.wrong("envelope"))?;
    Ok((arrival, envelope))
}

pub(super) fn encode_page(page: &Page, writer: &mut Writer) {
    writer
        .u32(page.count)
        .put(&page.fingerprint)
        .u8(u8::from(page.more));
    writer.count(page.rows.len());
    for (arrival, envelope) in &page.rows {
        writer.u32(arrival.0);
        writer.u32(u32::try_from(envelope.bytes().len()).unwrap_or(u32::MAX));
        writer.put(envelope.bytes());
    }
}

pub(super) fn decode_card(reader: &mut Reader) -> Result<Card, Malformed> {
    Ok(Card {
        sequence: reader.u64("card sequence")?,
        expires: Hour(reader.u32("expiry")?),
        signature: Signature(reader.array("card signature")?),
        sealed: reader.take("sealed card", limits::CARD_BYTES)?,
    })
}

pub(super) fn encode_card(card: &Card, writer: &mut Writer) {
    writer
        .u64(card.sequence)
        .u32(card.expires.0)
        .put(&card.signature.0)
        .put(&card.sealed);
}

pub(super) fn decode_elsewhere(reader: &mut Reader) -> Result<Vec<NodeId>, Malformed> {
    let count = reader.count("holders", RECEIPTS_MAX)?;
    (0..count)
        .map(|_| reader.array("node id").map(NodeId))
        .collect()
}

pub(super) fn encode_elsewhere(holders: &[NodeId], writer: &mut Writer) {
    writer.count(holders.len());
    for holder in holders {
        writer.put(&holder.0);
    }
}

/// The envelope that fills what is left of the message.
fn envelope(reader: &mut Reader) -> Result<Envelope, Malformed> {
    let bytes: Bytes = reader.rest();
    Envelope::decode(bytes).map_err(|_| reader.wrong("envelope"))
}

fn cursor(reader: &mut Reader) -> Result<Cursor, Malformed> {
    let arrival = Tick(reader.u32("cursor arrival")?);
    Ok(Cursor {
        arrival,
        id: EnvelopeId(reader.array("cursor id")?),
    })
}

fn size_class(reader: &mut Reader) -> Result<SizeClass, Malformed> {
    let code = reader.u8("answer class")?;
    SizeClass::from_code(code).ok_or_else(|| reader.wrong("answer class"))
}

/// Receipts or holders in one answer: R and spares of any sane network.
pub const RECEIPTS_MAX: usize = 32;
/// Rows in one page: more small envelopes than fit into a large answer.
const ROWS_MAX: usize = 64;
