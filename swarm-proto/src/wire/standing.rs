//! What relays say about each other: reports to watchers, and what watchers testify (`docs/spec/standing.md`).

use alloc::vec::Vec;

use crate::crypto::{Crypto, Label, Signature, statement};
use crate::hash;
use crate::id::{NetworkId, NodeId, NodeKey};
use crate::limits;
use crate::time::Epoch;
use crate::wire::codec::{Malformed, Reader, Writer};

/// What one watcher says at one moment of an epoch about some of those that it watches; of all that it says about one
/// of them the highest number holds ([STD-4]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// In which epoch.
    pub epoch: Epoch,
    /// Who says it.
    pub watcher: NodeKey,
    /// How much of the epoch has passed: it grows from one testimony to the next.
    pub number: u16,
    /// What it says of whom: 1 to [`Testimony::ABOUT_MAX`], ascending by subject.
    pub about: Vec<About>,
    /// By the watcher.
    pub signature: Signature,
}

/// How the items of testimonies begin, which are told before the testimonies themselves ([STD-13]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Whether they are wanted; otherwise the sender has them, and they were news to it.
    pub wanted: bool,
    /// The first bytes of each item.
    pub heads: Vec<[u8; ITEM_HEAD_BYTES]>,
}

/// What a watcher says about one relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// About whom.
    pub subject: NodeId,
    /// What it says.
    pub words: Words,
}

/// What a watcher says ([STD-4]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// It cannot be reached.
    pub absent: bool,
    /// The epoch is over: this is the last word about it.
    pub last: bool,
    /// It is to be suspended.
    pub suspend: bool,
    /// Certificates of earlier epochs, at most 255.
    pub age: u8,
    /// Of a hundred hours in which it was asked, how many it answered in; over about a week.
    pub available: Option<u8>,
    /// Its score for what it keeps, of a hundred.
    pub kept: Option<u8>,
    /// The class of its pledge, as shown.
    pub class: u8,
    /// What earlier verdicts mean for the epochs to come.
    pub past: Past,
}

/// What earlier verdicts mean for the epochs to come ([STD-8]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Bit i: in the epoch i + 1 before, a majority wanted it suspended.
    pub history: u8,
    /// Epochs that a suspension still lasts, at most [`Past::TERM_MAX`].
    pub term: u8,
    /// Epochs since the last suspension was over, at most [`Past::CLEAN_MAX`]; 0 while one lasts.
    pub clean: u8,
    /// Suspensions that are not forgotten.
    pub times: u8,
}

impl Past {
    /// Epochs that the longest suspension lasts.
    pub const TERM_MAX: u8 = 64;
    /// Epochs after a suspension that can be told: one byte says either this or a term.
    pub const CLEAN_MAX: u8 = u8::MAX - Self::TERM_MAX;

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let (history, said, times) = (
            reader.u8("history")?,
            reader.u8("term")?,
            reader.u8("times")?,
        );
        let clean = said.saturating_sub(Self::TERM_MAX);
        Ok(Self {
            history,
            term: if clean == 0 { said } else { 0 },
            clean,
            times,
        })
    }

    /// Writes its three bytes ([STD-8]).
    pub(crate) fn encode(&self, writer: &mut Writer) {
        let said = match (self.term, self.clean) {
            (0, 0) => 0,
            (0, clean) => Self::TERM_MAX.saturating_add(clean),
            (term, _) => term.min(Self::TERM_MAX),
        };
        writer.u8(self.history).u8(said).u8(self.times);
    }
}

impl Heads {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.wanted)).count(self.heads.len());
        for head in &self.heads {
            writer.put(head);
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let wanted = reader.flag("wanted")?;
        let count = reader.count("heads", limits::IDS_PER_MESSAGE_MAX)?;
        let heads = (0..count).map(|_| reader.array("head"));
        Ok(Self {
            wanted,
            heads: heads.collect::<Result<_, _>>()?,
        })
    }
}

impl Testimony {
    /// Relays in one testimony.
    pub const ABOUT_MAX: usize = 64;
    /// Bytes of the longest.
    pub const BYTES_MAX: usize = HEAD_BYTES + Self::ABOUT_MAX * ABOUT_BYTES + 64;

    /// Its bytes on the wire.
    pub fn wire_bytes(&self) -> usize {
        HEAD_BYTES + self.about.len() * ABOUT_BYTES + 64
    }

    /// What the watcher signs.
    pub fn statement(&self, network: &NetworkId) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.wire_bytes());
        self.encode_unsigned(&mut writer);
        statement(&Label::TESTIMONY, network, &[&writer.finish()])
    }

    /// Whether the signature is the watcher's.
    pub fn holds(&self, crypto: &dyn Crypto, network: &NetworkId) -> bool {
        let bytes = self.statement(network);
        crypto.verify(&self.watcher.0, &bytes, &self.signature)
    }

    /// What stands for it in a comparison: `derive("poste testimony", all its bytes)`.
    pub fn item(&self) -> [u8; 32] {
        let mut writer = Writer::with_capacity(self.wire_bytes());
        self.encode(&mut writer);
        hash::derive("poste testimony", &[&writer.finish()])
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`] for none or too many subjects, subjects that do not ascend, unknown flags and shares above a
    /// hundred.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let epoch = Epoch(reader.u32("epoch")?);
        let watcher = NodeKey(reader.array("watcher")?);
        let number = reader.u16("number")?;
        let count = usize::from(reader.u8("subjects")?);
        if count == 0 || count > Self::ABOUT_MAX {
            return Err(reader.wrong("subjects"));
        }
        let mut about: Vec<About> = Vec::with_capacity(count);
        for _ in 0..count {
            let subject = NodeId(reader.array("subject")?);
            if about.last().is_some_and(|before| before.subject >= subject) {
                return Err(reader.wrong("subject"));
            }
            let words = Words::decode(reader)?;
            about.push(About { subject, words });
        }
        Ok(Self {
            epoch,
            watcher,
            number,
            about,
            signature: Signature(reader.array("signature")?),
        })
    }

    /// Writes what [`Testimony::decode`] reads.
    pub fn encode(&self, writer: &mut Writer) {
        self.encode_unsigned(writer);
        writer.put(&self.signature.0);
    }

    fn encode_unsigned(&self, writer: &mut Writer) {
        writer.u32(self.epoch.0).put(&self.watcher.0);
        writer.u16(self.number);
        writer.u8(u8::try_from(self.about.len()).unwrap_or(u8::MAX));
        for About { subject, words } in &self.about {
            writer.put(&subject.0);
            words.encode(writer);
        }
    }
}

impl Words {
    /// Reads eight bytes.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let flags = reader.u8("flags")?;
        if flags & !(ABSENT | LAST | SUSPEND) != 0 {
            return Err(reader.wrong("flags"));
        }
        Ok(Self {
            absent: flags & ABSENT != 0,
            last: flags & LAST != 0,
            suspend: flags & SUSPEND != 0,
            age: reader.u8("age")?,
            available: percent(reader, "available")?,
            kept: percent(reader, "kept")?,
            class: reader.u8("class")?,
            past: Past::decode(reader)?,
        })
    }

    /// Writes what [`Words::decode`] reads.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = flag(self.absent, ABSENT) | flag(self.last, LAST) | flag(self.suspend, SUSPEND);
        writer.u8(flags).u8(self.age);
        writer.u8(self.available.unwrap_or(UNKNOWN));
        writer.u8(self.kept.unwrap_or(UNKNOWN)).u8(self.class);
        self.past.encode(writer);
    }
}

fn percent(reader: &mut Reader, field: &'static str) -> Result<Option<u8>, Malformed> {
    match reader.u8(field)? {
        UNKNOWN => Ok(None),
        share if share <= 100 => Ok(Some(share)),
        _ => Err(reader.wrong(field)),
    }
}

/// What one relay found about another in an epoch, in sums since the epoch began ([STD-6]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// About whom.
    pub subject: NodeId,
    /// In which epoch.
    pub epoch: Epoch,
    /// Envelopes of which it had to prove possession.
    pub swept: u32,
    /// Of these, those that it had had and lacked.
    pub missing: u32,
    /// Readings of mailboxes that it holds.
    pub asked: u32,
    /// Of these, those in which it left out what it holds.
    pub failed: u32,
}

impl Tally {
    /// Bytes of one.
    pub const BYTES: usize = 32 + 4 + 16;

    /// Reads the next [`Tally::BYTES`].
    ///
    /// # Errors
    /// [`Malformed`] if more is missing than was asked for.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let tally = Self {
            subject: NodeId(reader.array("subject")?),
            epoch: Epoch(reader.u32("epoch")?),
            swept: reader.u32("swept")?,
            missing: reader.u32("missing")?,
            asked: reader.u32("asked")?,
            failed: reader.u32("failed")?,
        };
        if tally.missing > tally.swept || tally.failed > tally.asked {
            return Err(reader.wrong("tally"));
        }
        Ok(tally)
    }

    /// Writes [`Tally::BYTES`].
    pub fn encode(&self, writer: &mut Writer) {
        writer.put(&self.subject.0).u32(self.epoch.0);
        writer.u32(self.swept).u32(self.missing);
        writer.u32(self.asked).u32(self.failed);
    }
}

/// Epoch, watcher, number, and how many subjects.
const HEAD_BYTES: usize = 4 + 32 + 2 + 1;
/// A subject and what is said of it.
const ABOUT_BYTES: usize = 32 + 8;
const ABSENT: u8 = 1;
const LAST: u8 = 2;
const SUSPEND: u8 = 4;
const UNKNOWN: u8 = 255;

/// Bytes of an item that are told before its testimony is asked for.
pub const ITEM_HEAD_BYTES: usize = 8;
