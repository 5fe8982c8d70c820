//! E1: a wrong answer to a challenge, which convicts by itself.
//!
//! Whoever has it makes the one sector again and compares; no word of anybody is needed but that of the relay
//! that signed. It says nothing of relays that are silent. Source: `docs/spec/pledge.md`.

use bytes::Bytes;

use super::{PageTag, PlotOp, Terms, make_tag};
use crate::crypto::Crypto;
use crate::id::{NetworkId, NodeId, NodeKey};
use crate::network::{Network, Pledge};
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::pledge::ChallengeAnswer;

/// An answer and the page of which it says something wrong ([PLG-7]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Who signed it.
    pub subject: NodeKey,
    /// Whom it was signed for.
    pub watcher: NodeId,
    /// The answer.
    pub answer: ChallengeAnswer,
    /// Which of the answer's pages, counted from 0.
    pub page: u16,
}

impl Evidence {
    /// Whether the subject signed this answer. Cheap, and to be asked first.
    pub fn is_signed(&self, crypto: &dyn Crypto, network: &NetworkId) -> bool {
        let bytes = self.answer.statement(network, &self.watcher);
        crypto.verify(&self.subject.0, &bytes, &self.answer.signature)
    }

    /// What has to be made again to judge it; `None` if the answer cannot be one.
    pub fn recompute(&self, pledge: &Pledge) -> Option<PlotOp> {
        let terms = self.terms();
        let pages = terms.pages(pledge, self.answer.class);
        if pages.len() != self.answer.tags.len() {
            return None;
        }
        Some(PlotOp::Sector {
            node: self.subject,
            at: *pages.get(usize::from(self.page))?,
            key: terms.key(),
        })
    }

    /// Whether it convicts, given what [`Evidence::recompute`] says of the page.
    pub fn convicts(&self, right: &PageTag) -> bool {
        let said = self.answer.tags.get(usize::from(self.page));
        said.is_some_and(|said| said != right)
    }

    /// Judges it whole ([PLG-7]); takes as long as making a sector.
    pub fn check(&self, crypto: &dyn Crypto, network: &Network) -> bool {
        if !self.is_signed(crypto, &network.id()) {
            return false;
        }
        let Some(PlotOp::Sector { node, at, key }) = self.recompute(&network.pledge) else {
            return false;
        };
        make_tag(&network.pledge, &node, at, &key).is_some_and(|right| self.convicts(&right))
    }

    /// Reads it whole.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let evidence = Self::read(&mut reader)?;
        reader.end()?;
        Ok(evidence)
    }

    /// Reads it as a part of something else.
    ///
    /// # Errors
    /// As [`Evidence::decode`].
    pub fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            subject: NodeKey(reader.array("subject")?),
            watcher: NodeId(reader.array("watcher")?),
            page: reader.u16("page")?,
            answer: ChallengeAnswer::decode(reader)?,
        })
    }

    /// Its bytes.
    pub fn encode(&self) -> alloc::vec::Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        self.write(&mut writer);
        writer.finish()
    }

    /// Writes what [`Evidence::read`] reads.
    pub fn write(&self, writer: &mut Writer) {
        writer.put(&self.subject.0).put(&self.watcher.0);
        writer.u16(self.page);
        self.answer.encode(writer);
    }

    fn terms(&self) -> Terms {
        Terms {
            nonce: self.answer.nonce,
            prover: self.subject.node_id(),
            watcher: self.watcher,
        }
    }
}
