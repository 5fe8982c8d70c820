//! What a watcher and a relay that has pledged disk say to each other (`docs/spec/pledge.md`).
//!
//! The challenge needs no signature: the link is pinned to the watcher's key, and nobody is held to it. The
//! answer is signed over all that it says, so that a wrong one convicts.

use alloc::vec::Vec;

use crate::crypto::{Crypto, Label, Signature, statement};
use crate::id::{NetworkId, NodeId, NodeKey};
use crate::limits;
use crate::pledge::PageTag;
use crate::wire::codec::{Malformed, Reader, Writer};

/// W asks P to show what it has pledged ([PLG-3]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The class of P's record, as W knows it; 1 to 8.
    pub class: u8,
    /// Fresh.
    pub nonce: [u8; 32],
}

/// What P says of the pages ([PLG-4]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeAnswer {
    /// The challenge's.
    pub nonce: [u8; 32],
    /// The class that P answers for: the challenge's, or a lower one if it has less.
    pub class: u8,
    /// Of each page in the order of [`crate::pledge::Terms::pages`].
    pub tags: Vec<PageTag>,
    /// By P.
    pub signature: Signature,
}

impl Challenge {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let class = reader.u8("class")?;
        if class == 0 || class > limits::PLEDGE_CLASS_MAX {
            return Err(reader.wrong("class"));
        }
        Ok(Self {
            class,
            nonce: reader.array("nonce")?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u8(self.class).put(&self.nonce);
    }
}

impl ChallengeAnswer {
    /// What P signs for the watcher W.
    pub fn statement(&self, network: &NetworkId, watcher: &NodeId) -> Vec<u8> {
        let mut writer = Writer::with_capacity(8 * self.tags.len() + 2);
        self.encode_tags(&mut writer);
        let tags = writer.finish();
        let class = [self.class];
        let parts: [&[u8]; 4] = [&watcher.0, &self.nonce, &class, &tags];
        statement(&Label::PLEDGE_ANSWER, network, &parts)
    }

    /// Whether its signature is that of the relay `from`, for the watcher `me`.
    pub fn holds(
        &self,
        crypto: &dyn Crypto,
        network: &NetworkId,
        from: &NodeKey,
        me: &NodeId,
    ) -> bool {
        crypto.verify(&from.0, &self.statement(network, me), &self.signature)
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let (nonce, class) = (reader.array("nonce")?, reader.u8("class")?);
        if class > limits::PLEDGE_CLASS_MAX {
            return Err(reader.wrong("class"));
        }
        let signature = Signature(reader.array("signature")?);
        let count = reader.count("tags", limits::CHALLENGE_PAGES_MAX as usize)?;
        let tags = (0..count).map(|_| reader.array("tag"));
        Ok(Self {
            nonce,
            class,
            tags: tags.collect::<Result<_, _>>()?,
            signature,
        })
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.put(&self.nonce).u8(self.class);
        writer.put(&self.signature.0);
        self.encode_tags(writer);
    }

    fn encode_tags(&self, writer: &mut Writer) {
        writer.count(self.tags.len());
        for tag in &self.tags {
            writer.put(tag);
        }
    }
}
