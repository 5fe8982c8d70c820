//! What a holder keeps durably: the operations that the core asks for, their answers, and the model that
//! every engine must equal.
//!
//! An answer is given only after what it says is durable ([STO-1]). Every operation is answered exactly
//! once. Operations of one store take effect one after the other, in the order in which they were asked
//! ([STO-2]). [`MemStore`] says in full what each one does; engines hold the same on a disk.

use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use crate::crypto::Signature;
use crate::envelope::{Envelope, ExpiryClass, SizeClass};
use crate::id::{EnvelopeId, MailboxAddress};
use crate::limits;
use crate::place::Cell;
use crate::time::{Epoch, Hour, Tick};
use crate::wire::codec::{Malformed, Reader, Writer};

pub use model::MemStore;
pub use swept::{Part, Swept, Tagged, proof_of, tag_of};

mod model;
mod swept;

/// The keys that an address is the hash of, and its flags ([ADR-4]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxKeys {
    /// Bit 0 open lane, bit 1 no delete.
    pub flags: u8,
    /// K: verifies fetches and deletions.
    pub read: [u8; 32],
    /// W: verifies deposits.
    pub write: [u8; 32],
}

impl MailboxKeys {
    /// The flag of a first-contact mailbox.
    pub const OPEN_LANE: u8 = 1;
    /// The flag of a mailbox in which nothing can be deleted.
    pub const NO_DELETE: u8 = 2;

    /// The mailbox's address ([ADR-4]).
    pub fn address(&self) -> MailboxAddress {
        let parts: [&[u8]; 3] = [&[self.flags], &self.read, &self.write];
        MailboxAddress(crate::hash::derive("poste address", &parts))
    }

    /// Whether strangers may write to it.
    pub fn is_open_lane(&self) -> bool {
        self.flags & Self::OPEN_LANE != 0
    }

    /// Whether its owner gave up deletion.
    pub fn forbids_delete(&self) -> bool {
        self.flags & Self::NO_DELETE != 0
    }

    /// Reads 65 bytes.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let flags = reader.u8("mailbox flags")?;
        if flags & !(Self::OPEN_LANE | Self::NO_DELETE) != 0 {
            return Err(reader.wrong("mailbox flags"));
        }
        Ok(Self {
            flags,
            read: reader.array("K")?,
            write: reader.array("W")?,
        })
    }

    /// Writes 65 bytes.
    pub fn encode(&self, writer: &mut Writer) {
        writer.u8(self.flags).put(&self.read).put(&self.write);
    }
}

/// One stored envelope: what a holder keeps and siblings copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// W's signature over the deposit statement, so that no relay can invent a row.
    pub write_signature: Signature,
    /// The tick in which the first holder took it; the same on every copy.
    pub arrival: Tick,
    /// The envelope.
    pub envelope: Envelope,
    /// The owner's leave to stay 30 days, so that no relay can invent that either; there exactly when the
    /// expiry class is the one of 30 days.
    pub long_stay: Option<Signature>,
}

impl Row {
    /// The epoch whose holders keep it ([PLC-5]): that of its making.
    pub fn epoch(&self) -> Epoch {
        self.envelope.header().epoch()
    }

    /// Reads a row, which fills what is left ([ROW-1]): its length follows from the envelope's two classes.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let write_signature = Signature(reader.array("write signature")?);
        let arrival = Tick(reader.u32("arrival")?);
        let [_, size, expiry] = reader.clone().array("envelope")?;
        let wrong = reader.wrong("envelope");
        let length = SizeClass::from_code(size).ok_or(wrong)?.envelope_bytes();
        let envelope = Envelope::decode(reader.take("envelope", length)?).map_err(|_| wrong)?;
        let stays = ExpiryClass::from_code(expiry).is_some_and(ExpiryClass::needs_leave);
        let long_stay = if stays {
            Some(Signature(reader.array("long-stay signature")?))
        } else {
            None
        };
        Ok(Self {
            write_signature,
            arrival,
            envelope,
            long_stay,
        })
    }

    /// Writes [`Self::encoded_bytes`]. The signature is last, so that it costs other rows nothing.
    pub fn encode(&self, writer: &mut Writer) {
        writer.put(&self.write_signature.0).u32(self.arrival.0);
        writer.put(self.envelope.bytes());
        if self.envelope.header().expiry.needs_leave() {
            writer.put(&self.long_stay.map_or([0; 64], |signature| signature.0));
        }
    }

    /// How many bytes [`Self::encode`] writes.
    pub fn encoded_bytes(&self) -> usize {
        let stay = if self.envelope.header().expiry.needs_leave() {
            limits::LONG_STAY_BYTES
        } else {
            0
        };
        limits::ROW_HEADER_BYTES + self.envelope.bytes().len() + stay
    }

    /// Where it stands in its mailbox.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            arrival: self.arrival,
            id: self.envelope.id(),
        }
    }
}

/// A place in a mailbox, the same at every holder: rows are ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The arrival tick.
    pub arrival: Tick,
    /// The envelope's id.
    pub id: EnvelopeId,
}

impl Cursor {
    /// Before the first row.
    pub const START: Self = Self {
        arrival: Tick(0),
        id: EnvelopeId([0; 32]),
    };
}

/// The owner's signed word that an envelope is to be gone ([DEL-1]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The mailbox.
    pub keys: MailboxKeys,
    /// The envelope.
    pub id: EnvelopeId,
    /// Until when the tombstone itself is kept: the envelope's own end.
    pub expires: Hour,
    /// By the read key.
    pub signature: Signature,
}

impl Tombstone {
    /// What stands in a comparison for a tombstone of this envelope that is kept until `expires` ([REP-2]).
    pub fn item_of(address: &MailboxAddress, id: &EnvelopeId, expires: Hour) -> [u8; 32] {
        let parts: [&[u8]; 3] = [&address.0, &id.0, &expires.0.to_be_bytes()];
        crate::hash::derive("poste held tombstone", &parts)
    }
}

/// A mailbox owner's sealed card ([`limits::CARD_BYTES`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The highest sequence holds; of two equal ones the lower BLAKE3 of the sealed bytes.
    pub sequence: u64,
    /// When it is gone.
    pub expires: Hour,
    /// By the read key.
    pub signature: Signature,
    /// Sealed for those who know the account.
    pub sealed: Bytes,
}

impl Card {
    /// BLAKE3 of the sealed bytes.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.sealed).as_bytes()
    }

    /// Whether this card takes the place of `other`: the higher sequence, of two equal ones the lower
    /// BLAKE3 of the sealed bytes ([STO-7]).
    pub fn supersedes(&self, other: &Self) -> bool {
        match self.sequence.cmp(&other.sequence) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => self.hash() < other.hash(),
        }
    }
}

/// How much one mailbox may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Live envelopes.
    pub envelopes: u32,
    /// Live bytes of envelopes.
    pub bytes: u64,
}

impl Quota {
    /// What a first holder allows a mailbox.
    pub fn of(keys: &MailboxKeys) -> Self {
        let envelopes = if keys.is_open_lane() {
            limits::OPEN_LANE_ENVELOPES_MAX
        } else {
            limits::MAILBOX_ENVELOPES_MAX
        };
        Self {
            envelopes,
            bytes: limits::MAILBOX_BYTES_MAX,
        }
    }

    /// What a replica allows: more, so that holders that filled in a different order still agree.
    pub fn of_replica(keys: &MailboxKeys) -> Self {
        let quota = Self::of(keys);
        let factor = limits::REPLICA_QUOTA_FACTOR;
        Self {
            envelopes: quota.envelopes.saturating_mul(factor),
            bytes: quota.bytes.saturating_mul(u64::from(factor)),
        }
    }
}

/// What the core asks of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Keep a row until `expires`, unless it is there ([STO-3]), forbidden by a
    /// tombstone ([STO-4]), over the quota, or its hour has come.
    Put {
        /// The mailbox's keys; its address is the envelope's.
        keys: MailboxKeys,
        /// The row.
        row: Row,
        /// When it is gone.
        expires: Hour,
        /// What the mailbox may hold afterwards.
        quota: Quota,
    },
    /// Rows of a mailbox after a cursor, as many as fit.
    Page {
        /// The mailbox.
        address: MailboxAddress,
        /// Exclusive.
        after: Cursor,
        /// The sum of `8 + envelope length` over the rows stays within this.
        bytes_max: usize,
        /// Keys the fingerprint ([`page_fingerprint`]).
        salt: [u8; 32],
    },
    /// Remove the envelope, if it is there in the mailbox of the tombstone's keys, and remember the
    /// tombstone until its hour, whether or not the envelope was there. Of two tombstones of one
    /// envelope the one with the later hour stays. One whose hour has come changes nothing.
    Delete {
        /// The owner's word, verified.
        tombstone: Tombstone,
        /// The epoch of its mailbox.
        epoch: Epoch,
    },
    /// Which of these envelopes are here.
    Have {
        /// At most [`limits::IDS_PER_MESSAGE_MAX`].
        ids: Vec<EnvelopeId>,
    },
    /// One row, with its mailbox's keys and end.
    Read {
        /// The envelope.
        id: EnvelopeId,
    },
    /// Keep a card if it supersedes the one that is here.
    PutCard {
        /// The mailbox's keys.
        keys: MailboxKeys,
        /// The card, verified.
        card: Card,
        /// The epoch of its mailbox.
        epoch: Epoch,
    },
    /// The card of a mailbox.
    Card {
        /// The mailbox.
        address: MailboxAddress,
    },
    /// Drop everything whose hour has come. An hour that is not later than the last one drops nothing.
    Expire {
        /// Whatever expires at the start of this hour or before goes.
        hour: Hour,
    },
    /// Count what is here.
    Usage,
    /// In which cells of which epochs there is something.
    Cells {
        /// The first bits of an address that name its cell, 0 to 16.
        cell_bits: u8,
    },
    /// What is in some cells of an epoch, for a comparison with a sibling.
    Inventory {
        /// The epoch.
        epoch: Epoch,
        /// The cells, each once, ascending.
        cells: Vec<Cell>,
        /// The first bits of an address that name its cell, 0 to 16.
        cell_bits: u8,
        /// If there is more, the answer is [`StoreDone::Failed`].
        items_max: usize,
    },
    /// Keep the entry of an epoch in a chronicle, over the one that is here, and forget those of epochs before
    /// `oldest` ([STO-9]).
    PutEntry {
        /// Which.
        chronicle: Chronicle,
        /// The epoch.
        epoch: Epoch,
        /// What is kept.
        entry: Bytes,
        /// Older ones are gone.
        oldest: Epoch,
    },
    /// All entries of a chronicle.
    Entries {
        /// Which.
        chronicle: Chronicle,
    },
    /// The bytes of some envelopes of a cell, as keyed hashes, for a sweep ([SWP-2]).
    Tags {
        /// Which of them, and which tombstones.
        swept: Swept,
        /// The first bits of an address that name its cell, 0 to 16.
        cell_bits: u8,
        /// The key of the hashes.
        key: [u8; 32],
        /// If there are more, the answer is [`StoreDone::Many`], and no byte of them was read.
        items_max: usize,
    },
}

/// What a relay keeps for itself, one entry an epoch ([STO-9]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chronicle {
    /// Eligible lists that have settled, as [`crate::members::Eligible::encode`] writes them ([ELI-9]).
    Rosters,
    /// What watchers have certified ([STD-14]).
    Certificates,
    /// What this relay counts as lost, as it was last written ([EVD-7]).
    Losses,
}

/// What a holder has of a cell, as it is compared with a sibling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A live envelope.
    Envelope {
        /// Which.
        id: EnvelopeId,
        /// Its mailbox.
        address: MailboxAddress,
        /// When its first holder took it.
        arrival: Tick,
        /// When it is gone.
        expires: Hour,
    },
    /// The owner's word that an envelope is to be gone.
    Tombstone(Tombstone),
    /// A card.
    Card {
        /// Its mailbox.
        keys: MailboxKeys,
        /// Its sequence.
        sequence: u64,
        /// When it is gone.
        expires: Hour,
        /// BLAKE3 of the sealed bytes.
        hash: [u8; 32],
    },
}

impl Held {
    /// Its mailbox.
    pub fn address(&self) -> MailboxAddress {
        match self {
            Self::Envelope { address, .. } => *address,
            Self::Tombstone(tombstone) => tombstone.keys.address(),
            Self::Card { keys, .. } => keys.address(),
        }
    }

    /// What stands for it in a comparison ([REP-2]): an envelope's id, or a hash of what else it is, so
    /// that a tombstone and the envelope that it forbids are different things.
    pub fn item(&self) -> [u8; 32] {
        match self {
            Self::Envelope { id, .. } => id.0,
            Self::Tombstone(tombstone) => {
                let address = tombstone.keys.address();
                Tombstone::item_of(&address, &tombstone.id, tombstone.expires)
            }
            Self::Card {
                keys,
                sequence,
                expires,
                hash,
            } => {
                let (sequence, expires) = (sequence.to_be_bytes(), expires.0.to_be_bytes());
                let parts: [&[u8]; 4] = [&keys.address().0, &sequence, &expires, hash];
                crate::hash::derive("poste held card", &parts)
            }
        }
    }
}

/// What a store answers, one kind for each operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreDone {
    /// The row is durable.
    Kept {
        /// False if it was here before.
        fresh: bool,
        /// The arrival that is stored: the earlier copy's, if there was one.
        arrival: Tick,
    },
    /// The row, tombstone or card was not kept, and nothing changed.
    NotKept(NotKept),
    /// Rows of a mailbox.
    Page(Page),
    /// The tombstone is durable.
    Deleted {
        /// Whether an envelope was removed.
        existed: bool,
    },
    /// The ids that are here, in the order asked.
    Have(Vec<EnvelopeId>),
    /// The row, if it is here.
    Row(Option<StoredRow>),
    /// The card is durable, or the one here supersedes it.
    CardKept,
    /// The card, if there is one.
    Card(Option<Card>),
    /// How many envelopes were dropped.
    Expired {
        /// Envelopes.
        envelopes: u64,
    },
    /// What is here.
    Usage(Usage),
    /// The cells with something in them, ascending.
    Cells(Vec<(Epoch, Cell)>),
    /// What is in the cells, ascending by [`Held::item`].
    Inventory(Vec<Held>),
    /// What is swept, ascending by [`Held::item`].
    Tags(Vec<Tagged>),
    /// The entry is durable.
    EntryKept,
    /// The entries of a chronicle, ascending.
    Entries(Vec<(Epoch, Bytes)>),
    /// There is more than was to be read.
    Many,
    /// The disk failed, or the store is closed; the store says why in its own log. A write that was
    /// answered so may still turn up.
    Failed,
}

/// A row as the store returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The mailbox's keys.
    pub keys: MailboxKeys,
    /// The row.
    pub row: Row,
    /// When it is gone.
    pub expires: Hour,
}

/// Why something was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// The owner deleted it.
    Deleted,
    /// Its hour has come: the store was told to expire that hour already.
    Expired,
    /// The mailbox is full.
    MailboxFull,
    /// The disk or its budget is full.
    DiskFull,
    /// More is waiting than the store's queue may hold; said of any operation.
    Busy,
}

/// Rows of one mailbox, in the order of their cursors ([PAGE-1]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Live envelopes in the mailbox.
    pub count: u32,
    /// [`page_fingerprint`] of them.
    pub fingerprint: [u8; 16],
    /// Whether rows follow after the last one here.
    pub more: bool,
    /// The rows.
    pub rows: Vec<(Tick, Envelope)>,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Live envelopes.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Mailboxes with a live envelope, tombstone or card.
    pub mailboxes: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Cards.
    pub cards: u64,
    /// Envelopes that the disk damaged since the store was opened, and that are forgotten ([STO-10]).
    pub damaged: u64,
}

impl Usage {
    /// What counts against a store's budget, in bytes: envelopes, cards and tombstones with what an
    /// engine needs to find them ([STO-6]).
    pub fn weight(&self) -> u64 {
        let rows = self.envelopes.saturating_mul(ROW_WEIGHT_BYTES);
        let cards = self.cards.saturating_mul(CARD_WEIGHT_BYTES);
        let tombstones = self.tombstones.saturating_mul(TOMBSTONE_WEIGHT_BYTES);
        [rows, cards, tombstones]
            .into_iter()
            .fold(self.bytes, u64::saturating_add)
    }
}

/// What an envelope weighs beside its own bytes: row header, indexes and slack. A file of 100,000 small
/// ones took 2,379 bytes each.
pub const ROW_WEIGHT_BYTES: u64 = 512;
/// What a card weighs: its bytes fill pages of a power of two.
pub const CARD_WEIGHT_BYTES: u64 = 16_384;
/// What a tombstone weighs: key, hour, signature and its share of the mailbox's entry.
pub const TOMBSTONE_WEIGHT_BYTES: u64 = 256;

/// What two holders with the same envelopes share about them under one salt, and nobody can compute for
/// another salt: the sum mod 2^128 of 16-byte hashes.
pub fn page_fingerprint(salt: &[u8; 32], ids: impl Iterator<Item = EnvelopeId>) -> [u8; 16] {
    let sum = ids.fold(0_u128, |sum, id| {
        let mut term = [0; 16];
        crate::hash::derive_into("poste page", &[salt, &id.0], &mut term);
        sum.wrapping_add(u128::from_be_bytes(term))
    });
    sum.to_be_bytes()
}
