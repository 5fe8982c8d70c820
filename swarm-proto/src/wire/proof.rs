//! What convicts a relay by itself: things that it signed and that cannot both be true (`docs/spec/evidence.md`).
//!
//! Nobody who passes a proof on is believed anything. Signatures are judged here, at the door; what a proof
//! means, and the one that takes work to check, are `standing/proofs.rs`'s.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::Crypto;
use crate::hash;
use crate::id::{NetworkId, NodeKey};
use crate::limits;
use crate::members::Record;
use crate::pledge::Evidence;
use crate::time::Epoch;
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::loss::Loss;

/// Something that a relay signed and that convicts it ([EVD-1]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// E1: a wrong answer to a challenge; it counts once the sector was made again ([PLG-7]).
    Pledge(Box<Evidence>),
    /// E2: a receipt for an envelope, and a listing that lacks it; it counts once the two were compared
    /// ([`Loss::convicts`]).
    Lost(Box<Loss>),
    /// E5: two records with one sequence ([REC-2]).
    Twice(Box<Twice>),
}

/// A proof, and from which epoch on it counts for the relay that keeps it ([EVD-6]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conviction {
    /// Of two records their own epoch, of a wrong answer the one in which it became known.
    pub since: Epoch,
    /// The proof.
    pub proof: Proof,
}

impl Conviction {
    /// Its bytes: epoch (4) and proof.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(600);
        self.proof.encode(writer.u32(self.since.0));
        writer.finish()
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let since = Epoch(reader.u32("since")?);
        let proof = Proof::decode(&mut reader)?;
        reader.end()?;
        Ok(Self { since, proof })
    }

    /// Whether it is so old in `today` that it is forgotten ([EVD-5]).
    pub fn is_over(&self, today: Epoch) -> bool {
        self.since.plus(limits::EPOCHS_REMEMBERED) <= today
    }
}

/// Two different records of one key with one sequence, in the order of their bytes, so that the same two are
/// always the same proof ([EVD-2]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twice {
    lower: Record,
    higher: Record,
}

impl Twice {
    /// Of two records, whichever comes first; `None` if they do not contradict each other.
    pub fn new(one: Record, other: Record) -> Option<Self> {
        let contradict = one.key == other.key
            && one.sequence == other.sequence
            && one.network == other.network
            && one != other;
        let (lower, higher) = if one.encode() < other.encode() {
            (one, other)
        } else {
            (other, one)
        };
        contradict.then_some(Self { lower, higher })
    }

    /// The two records.
    pub fn records(&self) -> [&Record; 2] {
        [&self.lower, &self.higher]
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let (lower, higher) = (Record::read(reader)?, Record::read(reader)?);
        let twice = Self::new(lower.clone(), higher);
        twice
            .filter(|twice| twice.lower == lower)
            .ok_or(reader.wrong("records"))
    }
}

impl Proof {
    /// Whom it is about.
    pub fn subject(&self) -> NodeKey {
        match self {
            Self::Pledge(evidence) => evidence.subject,
            Self::Lost(loss) => loss.receipt.holder,
            Self::Twice(twice) => twice.lower.key,
        }
    }

    /// Whether the subject signed all that it has to have signed ([EVD-1]).
    pub fn holds(&self, crypto: &dyn Crypto, network: &NetworkId) -> bool {
        match self {
            Self::Pledge(evidence) => evidence.is_signed(crypto, network),
            Self::Lost(loss) => loss.holds(crypto, network),
            Self::Twice(twice) => twice
                .records()
                .into_iter()
                .all(|record| record.clone().verify(crypto, network).is_ok()),
        }
    }

    /// What stands for it in a comparison: `derive("poste proof", all its bytes)` ([EVD-5]).
    pub fn item(&self) -> [u8; 32] {
        hash::derive("poste proof", &[&self.bytes()])
    }

    /// All its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(600);
        self.encode(&mut writer);
        writer.finish()
    }

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(match reader.u8("kind of proof")? {
            PLEDGE => Self::Pledge(Box::new(Evidence::read(reader)?)),
            LOST => Self::Lost(Box::new(Loss::decode(reader)?)),
            TWICE => Self::Twice(Box::new(Twice::decode(reader)?)),
            _ => return Err(reader.wrong("kind of proof")),
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Pledge(evidence) => evidence.write(writer.u8(PLEDGE)),
            Self::Lost(loss) => loss.encode(writer.u8(LOST)),
            Self::Twice(twice) => {
                writer.u8(TWICE).put(&twice.lower.encode());
                writer.put(&twice.higher.encode());
            }
        }
    }
}

const PLEDGE: u8 = 1;
const LOST: u8 = 2;
const TWICE: u8 = 5;
