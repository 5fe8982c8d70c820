//! How member records travel: reconciled between relays, listed for correspondents.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::ONION_PUBLIC_KEY_BYTES;
use crate::limits;
use crate::members::{NAME_BYTES, OnionKeys, RECORD_BYTES, Record, Roster};
use crate::time::Epoch;
use crate::wire::codec::{Malformed, Reader, Writer};

/// One step of comparing two member lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconcile {
    /// The opener's number of the exchange.
    pub exchange: u32,
    /// Odd steps are the opener's; the first is 1.
    pub step: u8,
    /// The key, in the first step, and ranges: at most [`limits::RECONCILE_BYTES_MAX`].
    pub ranges: Bytes,
}

impl Reconcile {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let exchange = reader.u32("exchange")?;
        let step = reader.u8("step")?;
        if reader.left() > limits::RECONCILE_KEY_BYTES + limits::RECONCILE_BYTES_MAX {
            return Err(reader.wrong("ranges"));
        }
        Ok(Self {
            exchange,
            step,
            ranges: reader.rest(),
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.exchange).u8(self.step).put(&self.ranges);
    }
}

/// Asks for the records behind items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Whether their onion keys are wanted too: they are ten times as long, and mostly known already.
    pub with_keys: bool,
    /// The items, at most [`limits::IDS_PER_MESSAGE_MAX`].
    pub items: Vec<[u8; 32]>,
}

/// A record with the onion keys that its sender has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordWithKeys {
    /// The record.
    pub record: Record,
    /// Those of its onion keys that the sender has.
    pub keys: OnionKeys,
}

impl RecordWithKeys {
    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let record = Record::decode(reader.take("record", RECORD_BYTES)?)?;
        Ok(Self {
            record,
            keys: OnionKeys::read(reader)?,
        })
    }

    fn encode(&self, writer: &mut Writer) {
        writer.put(&self.record.encode());
        self.keys.write(writer);
    }
}

pub(super) fn decode_records(
    reader: &mut Reader,
    most: usize,
) -> Result<Vec<RecordWithKeys>, Malformed> {
    let count = reader.count("records", most)?;
    (0..count).map(|_| RecordWithKeys::decode(reader)).collect()
}

pub(super) fn encode_records(records: &[RecordWithKeys], writer: &mut Writer) {
    writer.count(records.len());
    for record in records {
        record.encode(writer);
    }
}

/// A correspondent asks for the member list, a part at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListAsk {
    /// The list that it has or is loading; all zero for none.
    pub held: [u8; 32],
    /// The first member wanted, counted from 0.
    pub from: u32,
}

impl ListAsk {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            held: reader.array("list hash")?,
            from: reader.u32("from index")?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.put(&self.held).u32(self.from);
    }
}

/// A part of a relay's member list; empty if the asker has that list already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPart {
    /// The list's hash.
    pub hash: [u8; 32],
    /// Members in the list.
    pub total: u32,
    /// The index of the first one here.
    pub from: u32,
    /// The members.
    pub members: Vec<RecordWithKeys>,
}

impl ListPart {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            hash: reader.array("list hash")?,
            total: reader.u32("total")?,
            from: reader.u32("from index")?,
            members: decode_records(reader, RECORDS_IN_LIST_PART_MAX)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.put(&self.hash).u32(self.total).u32(self.from);
        encode_records(&self.members, writer);
    }
}

/// A correspondent asks for the names of an M(e), a part at a time ([ELI-10]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterAsk {
    /// The epoch.
    pub epoch: Epoch,
    /// The hash of the list that it has or is loading; all zero for none.
    pub held: [u8; 32],
    /// The first name wanted, counted from 0; beyond the end if the hash alone is wanted.
    pub from: u32,
}

impl RosterAsk {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            epoch: Epoch(reader.u32("epoch")?),
            held: reader.array("roster hash")?,
            from: reader.u32("from index")?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.epoch.0).put(&self.held).u32(self.from);
    }
}

/// Some of the names of an M(e); none if the asker has the list already, or wants its hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterPart {
    /// The list's hash ([`Roster::hash`]); zero if the relay knows none of that epoch.
    pub hash: [u8; 32],
    /// Names in the list; 0 if the relay knows none of that epoch.
    pub total: u32,
    /// The index of the first one here.
    pub from: u32,
    /// The names.
    pub names: Vec<[u8; NAME_BYTES]>,
}

impl RosterPart {
    /// The part of `roster` that is asked for.
    pub fn of(roster: &Roster, ask: &RosterAsk) -> Self {
        let from = usize::try_from(ask.from).unwrap_or(usize::MAX);
        let is_known = ask.from == 0 && ask.held == *roster.hash();
        let number = if is_known {
            0
        } else {
            NAMES_IN_ROSTER_PART_MAX
        };
        let names = roster.names();
        let end = from.saturating_add(number).min(names.len());
        Self {
            hash: *roster.hash(),
            total: u32::try_from(names.len()).unwrap_or(u32::MAX),
            from: ask.from,
            names: names.get(from..end).unwrap_or(&[]).to_vec(),
        }
    }

    /// Nothing is known of that epoch.
    pub fn none() -> Self {
        Self {
            hash: [0; 32],
            total: 0,
            from: 0,
            names: Vec::new(),
        }
    }

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let (hash, total) = (reader.array("roster hash")?, reader.u32("total")?);
        let from = reader.u32("from index")?;
        let count = reader.count("names", NAMES_IN_ROSTER_PART_MAX)?;
        let names = (0..count).map(|_| reader.array("name"));
        Ok(Self {
            hash,
            total,
            from,
            names: names.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.put(&self.hash).u32(self.total).u32(self.from);
        writer.count(self.names.len());
        for name in &self.names {
            writer.put(name);
        }
    }
}

/// Names in one part of an eligible list: a network of 2,000 relays needs one, and it fits a large answer.
pub const NAMES_IN_ROSTER_PART_MAX: usize = 2_048;

/// Members in one part of a list: with both keys they fit a large answer.
pub const RECORDS_IN_LIST_PART_MAX: usize = 13;

const _: () = {
    let member = RECORD_BYTES + 1 + 2 * ONION_PUBLIC_KEY_BYTES;
    assert!(
        limits::ANSWER_OVERHEAD_BYTES + 42 + RECORDS_IN_LIST_PART_MAX * member
            <= limits::ANSWER_LARGE_BYTES
    );
    assert!(
        limits::ANSWER_OVERHEAD_BYTES + 42 + NAMES_IN_ROSTER_PART_MAX * NAME_BYTES
            <= limits::ANSWER_LARGE_BYTES
    );
    assert!(limits::RECORDS_PER_MESSAGE_MAX <= RECORDS_IN_LIST_PART_MAX);
};
