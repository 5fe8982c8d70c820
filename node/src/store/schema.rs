//! How the store lies in redb: the names of the tables and the bytes of their records.
//!
//! Everything that ends in one hour stands in tables of that hour (rows) or of its day (indexes), so that
//! expiry drops tables and never walks through rows ([STO-5]). Rows of an hour are split into parts, so
//! that dropping one is short. All integers are big-endian, all tables map bytes to bytes:
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `schema`, `expired` | u32 |
//! | `hours` | hour | [`HourRecord`] |
//! | `rosters` | epoch | its eligible list: node id, two subnets of 8 bytes each, for each member |
//! | `certificates` | epoch | what was certified: 41 bytes for each relay ([STD-14]) |
//! | `losses` | epoch | what is counted as lost, all of it in the newest ([EVD-7]) |
//! | `rows HOUR PART` | sequence (8) | row ([ROW-1]) |
//! | `ids DAY` | envelope id | [`Place`] |
//! | `index DAY` | address, arrival, id | [`Place`] |
//! | `boxes DAY` | address | mailbox keys, [`Span`]s |
//! | `tombstones DAY` | address, id | hour, signature, epoch |
//! | `cards DAY` | address | hour, sequence, signature, epoch, sealed card |

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use redb::TableDefinition;
use swarm_proto::crypto::Signature;
use swarm_proto::id::{EnvelopeId, MailboxAddress};
use swarm_proto::store::{Card, Chronicle, Cursor, MailboxKeys, Row, Tombstone, Usage};
use swarm_proto::time::{Epoch, Hour, Tick};
use swarm_proto::wire::codec::{Malformed, Reader, Writer};

/// The definition of a table: bytes to bytes.
pub(super) type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// The layout of this file; a store with another one is not opened.
pub(super) const SCHEMA_VERSION: u32 = 2;

/// Hours whose indexes share tables. A look-up by id asks every day that has mail, at most 31 of them
/// while mail lives 30 days; with a table an hour it would be 720.
const DAY_HOURS: u32 = 24;

/// Bytes of rows after which an hour's next row opens another part: dropping a part reads and frees its
/// pages, measured at a few milliseconds for this size.
pub(super) const PART_BYTES: u64 = 8 * 1024 * 1024;

/// A table's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TableName {
    /// Version and last expired hour.
    Meta,
    /// What each hour holds.
    Hours,
    /// Eligible lists of epochs.
    Rosters,
    /// What was certified in epochs.
    Certificates,
    /// What is counted as lost.
    Losses,
    /// Rows that end at one hour.
    Rows {
        /// Their end.
        hour: u32,
        /// Which part of them.
        part: u32,
    },
    /// Something of all mail that ends on one day.
    Day {
        /// What.
        kind: DayTable,
        /// The day.
        day: u32,
    },
}

/// What a day's tables hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DayTable {
    /// Where an envelope stands.
    Ids,
    /// The order of a mailbox.
    Index,
    /// Keys and counts of mailboxes.
    Boxes,
    /// Tombstones.
    Tombstones,
    /// Cards.
    Cards,
}

impl DayTable {
    const ALL: [Self; 5] = [
        Self::Ids,
        Self::Index,
        Self::Boxes,
        Self::Tombstones,
        Self::Cards,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::Index => "index",
            Self::Boxes => "boxes",
            Self::Tombstones => "tombstones",
            Self::Cards => "cards",
        }
    }

    /// The table of this kind for what ends at `hour`.
    pub(super) const fn at(self, hour: Hour) -> TableName {
        TableName::Day {
            kind: self,
            day: day_of(hour),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str("meta"),
            Self::Hours => f.write_str("hours"),
            Self::Rosters => f.write_str("rosters"),
            Self::Certificates => f.write_str("certificates"),
            Self::Losses => f.write_str("losses"),
            Self::Rows { hour, part } => write!(f, "rows {hour} {part}"),
            Self::Day { kind, day } => write!(f, "{} {day}", kind.word()),
        }
    }
}

impl From<Chronicle> for TableName {
    fn from(chronicle: Chronicle) -> Self {
        match chronicle {
            Chronicle::Rosters => Self::Rosters,
            Chronicle::Certificates => Self::Certificates,
            Chronicle::Losses => Self::Losses,
        }
    }
}

impl TableName {
    /// Reads a name; `None` for one that is not ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (word, first, second) = (words.next()?, words.next(), words.next());
        let first = first.map(str::parse).transpose().ok()?;
        let second = second.map(str::parse).transpose().ok()?;
        match (word, first, second) {
            ("meta", None, None) => Some(Self::Meta),
            ("hours", None, None) => Some(Self::Hours),
            ("rosters", None, None) => Some(Self::Rosters),
            ("certificates", None, None) => Some(Self::Certificates),
            ("losses", None, None) => Some(Self::Losses),
            ("rows", Some(hour), Some(part)) => Some(Self::Rows { hour, part }),
            (word, Some(day), None) => {
                let kind = DayTable::ALL.into_iter().find(|kind| kind.word() == word)?;
                Some(Self::Day { kind, day })
            }
            (_, _, _) => None,
        }
    }

    /// Whether nothing in this table lives on after `expired`.
    pub(super) fn is_dead(self, expired: Hour) -> bool {
        match self {
            Self::Meta | Self::Hours | Self::Rosters | Self::Certificates | Self::Losses => false,
            Self::Rows { hour, .. } => hour <= expired.0,
            Self::Day { day, .. } => {
                let last = day.saturating_mul(DAY_HOURS).saturating_add(DAY_HOURS - 1);
                last <= expired.0
            }
        }
    }
}

/// The day that an hour belongs to.
pub(super) const fn day_of(hour: Hour) -> u32 {
    hour.0 / DAY_HOURS
}

/// What ends at one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HourRecord {
    /// Live envelopes.
    pub(super) envelopes: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Live tombstones.
    pub(super) tombstones: u64,
    /// Live cards.
    pub(super) cards: u64,
    /// Mailboxes of which nothing ends later.
    pub(super) mailboxes: u64,
    /// The part that takes the next row.
    pub(super) part: u32,
    /// Bytes of rows put into that part.
    pub(super) part_bytes: u64,
    /// The next row's sequence.
    pub(super) sequence: u64,
}

impl HourRecord {
    /// Writes 60 bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(60);
        writer.u64(self.envelopes).u64(self.bytes);
        writer.u64(self.tombstones).u64(self.cards);
        writer.u64(self.mailboxes).u32(self.part);
        writer.u64(self.part_bytes).u64(self.sequence);
        writer.finish()
    }

    /// Reads 60 bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let record = Self {
            envelopes: reader.u64("hour envelopes")?,
            bytes: reader.u64("hour bytes")?,
            tombstones: reader.u64("hour tombstones")?,
            cards: reader.u64("hour cards")?,
            mailboxes: reader.u64("hour mailboxes")?,
            part: reader.u32("hour part")?,
            part_bytes: reader.u64("hour part bytes")?,
            sequence: reader.u64("hour sequence")?,
        };
        reader.end().map(|()| record)
    }

    /// Adds this hour to a sum.
    pub(super) fn add_to(&self, usage: &mut Usage) {
        usage.envelopes += self.envelopes;
        usage.bytes += self.bytes;
        usage.tombstones += self.tombstones;
        usage.cards += self.cards;
        usage.mailboxes += self.mailboxes;
    }
}

/// Where a row stands, and how long its envelope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// When it ends.
    pub(super) hour: Hour,
    /// The part of that hour's rows.
    pub(super) part: u32,
    /// Its key there.
    pub(super) sequence: u64,
    /// Bytes of the envelope.
    pub(super) length: u32,
    /// The epoch whose holders keep it.
    pub(super) epoch: Epoch,
}

impl Place {
    /// The table of the row.
    pub(super) fn table(&self) -> TableName {
        TableName::Rows {
            hour: self.hour.0,
            part: self.part,
        }
    }

    /// Writes 24 bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(24);
        writer.u32(self.hour.0).u32(self.part);
        writer.u64(self.sequence).u32(self.length);
        writer.u32(self.epoch.0);
        writer.finish()
    }

    /// Reads 24 bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let place = Self {
            hour: Hour(reader.u32("place hour")?),
            part: reader.u32("place part")?,
            sequence: reader.u64("place sequence")?,
            length: reader.u32("place length")?,
            epoch: Epoch(reader.u32("place epoch")?),
        };
        reader.end().map(|()| place)
    }
}

/// What one mailbox has that ends at one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// Live envelopes.
    pub(super) envelopes: u32,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Tombstones.
    pub(super) tombstones: u32,
    /// Cards: 0 or 1.
    pub(super) cards: u32,
}

impl Span {
    /// Whether nothing is left of it.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Writes a mailbox's record of one day.
pub(super) fn encode_box<'a>(
    keys: &MailboxKeys,
    spans: impl Iterator<Item = (&'a Hour, &'a Span)>,
) -> Vec<u8> {
    let mut writer = Writer::with_capacity(65 + 24);
    keys.encode(&mut writer);
    for (hour, span) in spans {
        writer.u32(hour.0).u32(span.envelopes).u64(span.bytes);
        writer.u32(span.tombstones).u32(span.cards);
    }
    writer.finish()
}

/// Reads a mailbox's record of one day; its spans are added to `spans`.
pub(super) fn decode_box(
    bytes: &[u8],
    spans: &mut BTreeMap<Hour, Span>,
) -> Result<MailboxKeys, Malformed> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    let keys = MailboxKeys::decode(&mut reader)?;
    while reader.left() > 0 {
        let hour = Hour(reader.u32("span hour")?);
        let span = Span {
            envelopes: reader.u32("span envelopes")?,
            bytes: reader.u64("span bytes")?,
            tombstones: reader.u32("span tombstones")?,
            cards: reader.u32("span cards")?,
        };
        spans.insert(hour, span);
    }
    Ok(keys)
}

/// Writes a row ([ROW-1]).
pub(super) fn encode_row(row: &Row) -> Vec<u8> {
    let mut writer = Writer::with_capacity(row.encoded_bytes());
    row.encode(&mut writer);
    writer.finish()
}

/// Reads a row.
pub(super) fn decode_row(bytes: Vec<u8>) -> Result<Row, Malformed> {
    let mut reader = Reader::new(Bytes::from(bytes));
    let row = Row::decode(&mut reader)?;
    reader.end().map(|()| row)
}

/// Writes a tombstone; its mailbox and envelope are the key.
pub(super) fn encode_tombstone(tombstone: &Tombstone, epoch: Epoch) -> Vec<u8> {
    let mut writer = Writer::with_capacity(72);
    writer.u32(tombstone.expires.0).put(&tombstone.signature.0);
    writer.u32(epoch.0);
    writer.finish()
}

/// Reads a tombstone's hour, signature and epoch.
pub(super) fn decode_tombstone(bytes: &[u8]) -> Result<(Hour, Signature, Epoch), Malformed> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    let hour = Hour(reader.u32("tombstone hour")?);
    let signature = Signature(reader.array("tombstone signature")?);
    let epoch = Epoch(reader.u32("tombstone epoch")?);
    reader.end().map(|()| (hour, signature, epoch))
}

/// Writes a card.
pub(super) fn encode_card(card: &Card, epoch: Epoch) -> Vec<u8> {
    let mut writer = Writer::with_capacity(80 + card.sealed.len());
    writer.u32(card.expires.0).u64(card.sequence);
    writer.put(&card.signature.0).u32(epoch.0).put(&card.sealed);
    writer.finish()
}

/// Reads a card and the epoch of its mailbox.
pub(super) fn decode_card(bytes: Vec<u8>) -> Result<(Card, Epoch), Malformed> {
    let mut reader = Reader::new(Bytes::from(bytes));
    let expires = Hour(reader.u32("card hour")?);
    let sequence = reader.u64("card sequence")?;
    let signature = Signature(reader.array("card signature")?);
    let epoch = Epoch(reader.u32("card epoch")?);
    let card = Card {
        expires,
        sequence,
        signature,
        sealed: reader.rest(),
    };
    Ok((card, epoch))
}

/// The key of `index`.
pub(super) fn index_key(address: &MailboxAddress, cursor: &Cursor) -> Vec<u8> {
    let mut writer = Writer::with_capacity(68);
    writer.put(&address.0).u32(cursor.arrival.0);
    writer.put(&cursor.id.0);
    writer.finish()
}

/// The mailbox in a key of `index`, `tombstones` or `cards`.
pub(super) fn decode_key_address(key: &[u8]) -> Result<MailboxAddress, Malformed> {
    let mut reader = Reader::new(Bytes::copy_from_slice(key));
    reader.array("key address").map(MailboxAddress)
}

/// The cursor in a key of `index`.
pub(super) fn decode_index_key(key: &[u8]) -> Result<Cursor, Malformed> {
    let mut reader = Reader::new(Bytes::copy_from_slice(key));
    reader.take("index address", 32)?;
    let arrival = Tick(reader.u32("index arrival")?);
    let id = EnvelopeId(reader.array("index id")?);
    reader.end().map(|()| Cursor { arrival, id })
}

/// The key of `tombstones`.
pub(super) fn tombstone_key(address: &MailboxAddress, id: &EnvelopeId) -> Vec<u8> {
    [address.0, id.0].concat()
}

/// Reads a four-byte number, alone or at the front of a record.
pub(super) fn decode_u32(bytes: &[u8]) -> Result<u32, Malformed> {
    Reader::new(Bytes::copy_from_slice(bytes)).u32("number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_name_is_read_back() {
        let days = DayTable::ALL.map(|kind| TableName::Day { kind, day: 20_000 });
        let rows = TableName::Rows {
            hour: 480_017,
            part: 3,
        };
        let whole = [TableName::Meta, TableName::Hours];
        let chronicles = [
            TableName::Rosters,
            TableName::Certificates,
            TableName::Losses,
        ];
        let all = days.into_iter().chain(whole).chain(chronicles);
        for name in all.chain([rows]) {
            assert_eq!(TableName::parse(&name.to_string()), Some(name));
        }
        for other in ["", "rows", "rows 1", "ids x", "ids 1 2", "other 1"] {
            assert_eq!(TableName::parse(other), None, "{other}");
        }
    }

    /// [STO-5]
    #[test]
    fn a_table_is_dead_when_its_last_hour_is() {
        let ids = DayTable::Ids.at(Hour(49));
        assert!(!ids.is_dead(Hour(70)));
        assert!(ids.is_dead(Hour(71)));
        let rows = TableName::Rows { hour: 49, part: 0 };
        assert!(!rows.is_dead(Hour(48)));
        assert!(rows.is_dead(Hour(49)));
        assert!(!TableName::Hours.is_dead(Hour(u32::MAX)));
    }
}
