//! E2: a relay's own receipt for an envelope beside its own listing of a sweep that lacks it
//! (`docs/spec/evidence.md`).
//!
//! The signatures are judged at the door. Whether the two contradict each other needs the network's numbers and is
//! [`Loss::convicts`]: everybody can tell, for the envelope is in it, and with it all that says where it belongs.

use crate::crypto::Crypto;
use crate::envelope::Envelope;
use crate::id::{NetworkId, NodeId};
use crate::mailbox::receipt::{Promise, Receipt};
use crate::network::Network;
use crate::store::{Tombstone, tag_of};
use crate::time::{EPOCH_MINUTES, HOUR_MINUTES, Hour};
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::sweeps::{Listing, Open};

/// An envelope that its signer had and does not list any more ([EVD-4]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What the subject promised, and its signature.
    pub promise: Promise,
    /// By the subject.
    pub receipt: Receipt,
    /// What is listed.
    pub listed: Listed,
    /// The envelope.
    pub envelope: Envelope,
}

/// One side's listing of a sweep, with all that its signature covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The other side.
    pub with: NodeId,
    /// The opening; its signature does not matter and is zero.
    pub open: Open,
    /// What the subject listed, as the opener or as the other side.
    pub listing: Listing,
}

impl Loss {
    /// Whether the subject signed both ([EVD-1]).
    pub(super) fn holds(&self, crypto: &dyn Crypto, network: &NetworkId) -> bool {
        let (subject, listing) = (&self.receipt.holder, &self.listed.listing);
        let (opener, prover) = self.sides();
        // The opening as it was signed by the other side is not needed: the subject signed what it says.
        listing.open == self.listed.open.digest(&opener, &prover)
            && self.receipt.binds(&self.promise, network, crypto)
            && crypto.verify(&subject.0, &listing.statement(network), &listing.signature)
    }

    /// Whether the receipt and the listing contradict each other ([EVD-4]): no relay that keeps what it signed
    /// for comes to sign both, whatever others do.
    pub fn convicts(&self, network: &Network) -> bool {
        let open = &self.listed.open;
        let Promise {
            cell, epoch, id, ..
        } = self.promise;
        let is_swept = self.promise == Promise::of(&self.envelope, network)
            && (epoch, cell) == (open.epoch, open.cell)
            && open.part.contains(&id.0)
            && self.receipt.time.plus(LISTED_AFTER_TICKS) <= open.cutoff
            && self.promise.expires >= self.ends_from(network);
        let (opener, prover) = self.sides();
        let tag = tag_of(&open.key(&opener, &prover), self.envelope.bytes());
        is_swept && !self.lists((id.0, tag)) && !self.lists_tombstone(network)
    }

    /// From which hour on things that end are swept ([SWP-1]).
    fn ends_from(&self, network: &Network) -> Hour {
        let cutoff = network.scale.tick_start(self.listed.open.cutoff);
        network.scale.hour_of(cutoff).plus(2)
    }

    fn lists(&self, item_and_tag: ([u8; 32], [u8; 32])) -> bool {
        let items = &self.listed.listing.items;
        items.binary_search(&item_and_tag).is_ok()
    }

    /// Whether the owner's word that the envelope is to be gone is listed, until whatever hour it is kept.
    fn lists_tombstone(&self, network: &Network) -> bool {
        let address = self.envelope.header().address;
        let hours = u32::try_from(TOMBSTONE_DAYS_MAX * EPOCH_MINUTES / HOUR_MINUTES).unwrap_or(0);
        let first = self.promise.expires;
        let last = self.ends_from(network).plus(hours).max(first);
        let items = &self.listed.listing.items;
        (first.0..=last.0).any(|hour| {
            let item = Tombstone::item_of(&address, &self.promise.id, Hour(hour));
            items.binary_search_by_key(&item, |(item, _)| *item).is_ok()
        })
    }

    fn sides(&self) -> (NodeId, NodeId) {
        let (subject, with) = (self.receipt.holder.node_id(), self.listed.with);
        sides(subject, with, self.listed.listing.by_opener)
    }

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let (promise, receipt) = (Promise::decode(reader)?, Receipt::decode(reader)?);
        let with = NodeId(reader.array("other side")?);
        let open = Open::decode_unsigned(reader)?;
        let by_opener = reader.flag("by opener")?;
        let (opener, prover) = sides(receipt.holder.node_id(), with, by_opener);
        let digest = open.digest(&opener, &prover);
        let listing = Listing::decode_about(reader, digest, by_opener)?;
        let envelope = Envelope::decode(reader.rest());
        Ok(Self {
            promise,
            receipt,
            listed: Listed {
                with,
                open,
                listing,
            },
            envelope: envelope.map_err(|_| reader.wrong("envelope"))?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        self.promise.encode(writer);
        self.receipt.encode(writer);
        writer.put(&self.listed.with.0);
        let Listed { open, listing, .. } = &self.listed;
        open.encode_unsigned(writer);
        writer.u8(u8::from(listing.by_opener));
        writer.put(&listing.signature.0);
        listing.encode_items(writer);
        writer.put(self.envelope.bytes());
    }
}

/// Opener and prover.
fn sides(subject: NodeId, with: NodeId, by_opener: bool) -> (NodeId, NodeId) {
    if by_opener {
        (subject, with)
    } else {
        (with, subject)
    }
}

/// How many ticks after a receipt a listing surely covers its envelope: an arrival may be three ahead of the clock of
/// a relay that signs ([CPY-2]), is swept six later ([SWP-1]), and one for good measure.
pub(crate) const LISTED_AFTER_TICKS: u32 = 3 + 6 + 1;
/// Days that a tombstone may be kept ([DEL-3]).
const TOMBSTONE_DAYS_MAX: u64 = 31;
