//! A holder's promise to keep an envelope, and the receipt that makes it binding.
//!
//! A receipt is signed only after the row is durable ([RCP-1]); whoever counts one verifies it against
//! the promise that it computed from its own envelope ([RCP-2]).

use alloc::vec::Vec;

use crate::crypto::{Crypto, Label, Signature, statement};
use crate::envelope::Envelope;
use crate::id::{EnvelopeId, NetworkId, NodeKey};
use crate::network::Network;
use crate::place::{Cell, cell_of};
use crate::time::{Epoch, Hour, Tick};
use crate::wire::codec::{Malformed, Reader, Writer};

/// What a holder undertakes: to keep this envelope until that hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Promise {
    /// The cell of its address.
    pub cell: Cell,
    /// The epoch whose holders keep it.
    pub epoch: Epoch,
    /// The envelope.
    pub id: EnvelopeId,
    /// The envelope's bytes.
    pub length: u32,
    /// When it may be dropped.
    pub expires: Hour,
}

impl Promise {
    /// What the holders of `envelope` promise.
    pub fn of(envelope: &Envelope, network: &Network) -> Self {
        let header = envelope.header();
        Self {
            cell: cell_of(&header.address, network.cell_bits),
            epoch: header.epoch(),
            id: envelope.id(),
            length: u32::try_from(envelope.bytes().len()).unwrap_or(u32::MAX),
            expires: header.expires(network.scale),
        }
    }

    /// The bytes that a holder signs.
    pub fn statement(&self, network: &NetworkId, time: Tick) -> Vec<u8> {
        let mut promise = Writer::with_capacity(48);
        self.encode(&mut promise);
        statement(
            &Label::RECEIPT,
            network,
            &[&promise.finish(), &time.0.to_be_bytes()],
        )
    }

    /// Writes 48 bytes.
    pub fn encode(&self, writer: &mut Writer) {
        writer
            .u32(u32::from(self.cell.0))
            .u32(self.epoch.0)
            .put(&self.id.0);
        writer.u32(self.length).u32(self.expires.0);
    }

    /// Reads 48 bytes.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let cell = u16::try_from(reader.u32("cell")?).map_err(|_| reader.wrong("cell"))?;
        Ok(Self {
            cell: Cell(cell),
            epoch: Epoch(reader.u32("epoch")?),
            id: EnvelopeId(reader.array("envelope id")?),
            length: reader.u32("length")?,
            expires: Hour(reader.u32("expiry")?),
        })
    }
}

/// A holder's signature under a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The holder.
    pub holder: NodeKey,
    /// When it signed.
    pub time: Tick,
    /// Over [`Promise::statement`].
    pub signature: Signature,
}

impl Receipt {
    /// Whether this receipt binds its holder to `promise`.
    pub fn binds(&self, promise: &Promise, network: &NetworkId, crypto: &dyn Crypto) -> bool {
        crypto.verify(
            &self.holder.0,
            &promise.statement(network, self.time),
            &self.signature,
        )
    }

    /// Writes 100 bytes.
    pub fn encode(&self, writer: &mut Writer) {
        writer
            .put(&self.holder.0)
            .u32(self.time.0)
            .put(&self.signature.0);
    }

    /// Reads 100 bytes.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            holder: NodeKey(reader.array("holder")?),
            time: Tick(reader.u32("receipt time")?),
            signature: Signature(reader.array("receipt signature")?),
        })
    }
}
