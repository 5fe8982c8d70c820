//! What two siblings say when one sweeps the other: prove that you have what I have (`docs/spec/sweeps.md`).
//!
//! Every step that somebody could later be held to is signed, over the digest of the opening, so that a
//! signature counts for one exchange between these two relays only.

use alloc::vec::Vec;

use crate::crypto::{Crypto, Label, Signature, statement};
use crate::hash;
use crate::id::{NetworkId, NodeId, NodeKey};
use crate::limits;
use crate::place::Cell;
use crate::store::Part;
use crate::time::{Epoch, Tick};
use crate::wire::codec::{Malformed, Reader, Writer};

/// One step of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The opener's number of the exchange.
    pub exchange: u32,
    /// The step.
    pub step: Step,
}

/// The steps, in order. The opener is V, who verifies; the other side is P, who proves ([SWP-3]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// V to P.
    Open(Open),
    /// P to V.
    Reply(Reply),
    /// V to P: what the commitment was about.
    Reveal {
        /// V's own proof.
        proof: [u8; 32],
        /// What the commitment was salted with.
        salt: [u8; 32],
    },
    /// Either way, when the proofs differ.
    Listing(Listing),
}

/// V asks P to prove what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The epoch.
    pub epoch: Epoch,
    /// The cell.
    pub cell: Cell,
    /// The part of it.
    pub part: Part,
    /// V's tick: what is swept follows from it ([SWP-1]).
    pub cutoff: Tick,
    /// Fresh.
    pub nonce: [u8; 32],
    /// [`commitment`] of V's own proof.
    pub commitment: [u8; 32],
    /// By V.
    pub signature: Signature,
}

/// P's proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// [`Open::digest`].
    pub open: [u8; 32],
    /// P's proof.
    pub proof: [u8; 32],
    /// By P.
    pub signature: Signature,
}

/// All that one side has in the part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Whether V lists.
    pub by_opener: bool,
    /// [`Open::digest`].
    pub open: [u8; 32],
    /// Items and tags, ascending; at most [`limits::SWEEP_ITEMS_MAX`].
    pub items: Vec<([u8; 32], [u8; 32])>,
    /// By the side that lists.
    pub signature: Signature,
}

/// `derive("poste sweep commit", proof | salt)` ([SWP-3]).
pub fn commitment(proof: &[u8; 32], salt: &[u8; 32]) -> [u8; 32] {
    hash::derive("poste sweep commit", &[proof, salt])
}

impl Open {
    /// The key of the tags in this exchange between V and P ([SWP-2]).
    pub fn key(&self, opener: &NodeId, prover: &NodeId) -> [u8; 32] {
        hash::derive(
            "poste sweep key",
            &[&self.nonce, &self.terms(opener, prover)],
        )
    }

    /// What every later signature of the exchange covers: `derive("poste sweep open", terms | nonce | commitment)`.
    pub fn digest(&self, opener: &NodeId, prover: &NodeId) -> [u8; 32] {
        let terms = self.terms(opener, prover);
        hash::derive("poste sweep open", &[&terms, &self.nonce, &self.commitment])
    }

    /// What V signs.
    pub fn statement(&self, network: &NetworkId, opener: &NodeId, prover: &NodeId) -> Vec<u8> {
        statement(&Label::SWEEP_OPEN, network, &[&self.digest(opener, prover)])
    }

    /// The same without V's signature, as evidence carries it.
    pub(crate) fn unsigned(mut self) -> Self {
        self.signature = Signature([0; 64]);
        self
    }

    /// V's id (32) | P's id (32) | epoch (4) | cell (2) | digits (1) | prefix (2) | cutoff (4)
    fn terms(&self, opener: &NodeId, prover: &NodeId) -> Vec<u8> {
        let mut writer = Writer::with_capacity(77);
        writer.put(&opener.0).put(&prover.0);
        self.encode_range(&mut writer);
        writer.finish()
    }

    fn encode_range(&self, writer: &mut Writer) {
        writer
            .u32(self.epoch.0)
            .u16(self.cell.0)
            .u8(self.part.digits())
            .u16(self.part.prefix())
            .u32(self.cutoff.0);
    }

    /// Reads all but the signature.
    pub(super) fn decode_unsigned(reader: &mut Reader) -> Result<Self, Malformed> {
        let (epoch, cell) = (Epoch(reader.u32("epoch")?), Cell(reader.u16("cell")?));
        let (digits, prefix) = (reader.u8("digits")?, reader.u16("prefix")?);
        Ok(Self {
            epoch,
            cell,
            part: Part::new(digits, prefix).ok_or(reader.wrong("prefix"))?,
            cutoff: Tick(reader.u32("cutoff")?),
            nonce: reader.array("nonce")?,
            commitment: reader.array("commitment")?,
            signature: Signature([0; 64]),
        })
    }

    /// Writes all but the signature.
    pub(super) fn encode_unsigned(&self, writer: &mut Writer) {
        self.encode_range(writer);
        writer.put(&self.nonce).put(&self.commitment);
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let open = Self::decode_unsigned(reader)?;
        Ok(Self {
            signature: Signature(reader.array("signature")?),
            ..open
        })
    }

    fn encode(&self, writer: &mut Writer) {
        self.encode_unsigned(writer);
        writer.put(&self.signature.0);
    }
}

impl Reply {
    /// What P signs.
    pub fn statement(&self, network: &NetworkId) -> Vec<u8> {
        statement(&Label::SWEEP_REPLY, network, &[&self.open, &self.proof])
    }
}

impl Listing {
    /// What the side that lists signs.
    pub fn statement(&self, network: &NetworkId) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64 * self.items.len());
        self.encode_items(&mut writer);
        let listed = hash::derive("poste sweep listing", &[&writer.finish()]);
        let by = [u8::from(self.by_opener)];
        statement(&Label::SWEEP_LISTING, network, &[&self.open, &by, &listed])
    }

    fn decode(reader: &mut Reader, by_opener: bool) -> Result<Self, Malformed> {
        let open = reader.array("opening")?;
        Self::decode_about(reader, open, by_opener)
    }

    /// Reads signature and items of a listing about a known opening.
    pub(super) fn decode_about(
        reader: &mut Reader,
        open: [u8; 32],
        by_opener: bool,
    ) -> Result<Self, Malformed> {
        let signature = reader.array("signature")?;
        let count = reader.count("items", limits::SWEEP_ITEMS_MAX)?;
        let mut items: Vec<([u8; 32], [u8; 32])> = Vec::with_capacity(count);
        for _ in 0..count {
            let item = reader.array("item")?;
            if items.last().is_some_and(|(last, _)| *last >= item) {
                return Err(reader.wrong("item"));
            }
            items.push((item, reader.array("tag")?));
        }
        Ok(Self {
            by_opener,
            open,
            items,
            signature: Signature(signature),
        })
    }

    /// Writes number and items.
    pub(super) fn encode_items(&self, writer: &mut Writer) {
        writer.count(self.items.len());
        for (item, tag) in &self.items {
            writer.put(item).put(tag);
        }
    }
}

impl Sweep {
    /// Whether V says this, and not P.
    pub fn by_opener(&self) -> bool {
        match &self.step {
            Step::Open(_) | Step::Reveal { .. } => true,
            Step::Reply(_) => false,
            Step::Listing(listing) => listing.by_opener,
        }
    }

    /// Whether its signature is that of the relay `from`, which says it to the relay `me`.
    pub fn holds(
        &self,
        crypto: &dyn Crypto,
        network: &NetworkId,
        from: &NodeKey,
        me: &NodeId,
    ) -> bool {
        let (bytes, signature) = match &self.step {
            Step::Open(open) => {
                let bytes = open.statement(network, &from.node_id(), me);
                (bytes, &open.signature)
            }
            Step::Reply(reply) => (reply.statement(network), &reply.signature),
            Step::Listing(listing) => (listing.statement(network), &listing.signature),
            // What it says is checked against the commitment, which was signed.
            Step::Reveal { .. } => return true,
        };
        crypto.verify(&from.0, &bytes, signature)
    }

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let exchange = reader.u32("exchange")?;
        let step = match reader.u8("step")? {
            1 => Step::Open(Open::decode(reader)?),
            2 => Step::Reply(Reply {
                open: reader.array("opening")?,
                proof: reader.array("proof")?,
                signature: Signature(reader.array("signature")?),
            }),
            3 => Step::Reveal {
                proof: reader.array("proof")?,
                salt: reader.array("salt")?,
            },
            4 => Step::Listing(Listing::decode(reader, false)?),
            5 => Step::Listing(Listing::decode(reader, true)?),
            _ => return Err(reader.wrong("step")),
        };
        Ok(Self { exchange, step })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.exchange);
        match &self.step {
            Step::Open(open) => open.encode(writer.u8(1)),
            Step::Reply(reply) => {
                writer.u8(2).put(&reply.open).put(&reply.proof);
                writer.put(&reply.signature.0);
            }
            Step::Reveal { proof, salt } => {
                writer.u8(3).put(proof).put(salt);
            }
            Step::Listing(listing) => {
                writer.u8(if listing.by_opener { 5 } else { 4 });
                writer.put(&listing.open).put(&listing.signature.0);
                listing.encode_items(writer);
            }
        }
    }
}
