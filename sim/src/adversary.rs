//! Relays that lie about what they keep: what their disks say instead of the truth.
//!
//! A lie sits between the machine, which is the honest one, and its store. So the same lies serve in the
//! simulator's world and around a real relay's machine, and the product itself has no evil switch.

use swarm_proto::id::EnvelopeId;
use swarm_proto::store::{Held, StoreDone, StoreOp};

/// How a relay lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It acknowledges, and keeps nothing of so many envelopes of a million.
    Drops {
        /// How many of a million.
        per_million: u32,
    },
    /// It keeps the names of all, and has lost the bytes of so many of a million.
    KeepsNames {
        /// How many of a million.
        per_million: u32,
    },
    /// It keeps and proves all, and shows its readers none of so many envelopes of a million.
    RefusesReaders {
        /// How many of a million.
        per_million: u32,
    },
}

impl Lie {
    /// What the machine is told at once, without the store being asked.
    pub fn instead(&self, request: &StoreOp) -> Option<StoreDone> {
        match (self, request) {
            (Self::Drops { per_million }, StoreOp::Put { row, .. })
                if is_one_of(row.envelope.id(), *per_million) =>
            {
                Some(StoreDone::Kept {
                    fresh: true,
                    arrival: row.arrival,
                })
            }
            _ => None,
        }
    }

    /// Makes of the store's answer what such a relay could say: it has no bytes that it could hash.
    pub fn bend(&self, done: &mut StoreDone) {
        match (self, done) {
            (Self::KeepsNames { per_million }, StoreDone::Tags(tags)) => {
                for tagged in tags {
                    if let Held::Envelope { id, .. } = tagged.held
                        && is_one_of(id, *per_million)
                    {
                        tagged.tag = [0; 32];
                    }
                }
            }
            (Self::RefusesReaders { per_million }, StoreDone::Page(page)) => {
                page.rows
                    .retain(|(_, envelope)| !is_one_of(envelope.id(), *per_million));
                // A page without rows that promises more would be no answer.
                page.more &= !page.rows.is_empty();
            }
            (_, _) => {}
        }
    }
}

/// Whether an envelope is among so many of a million, the same ones at each relay that lies.
fn is_one_of(id: EnvelopeId, per_million: u32) -> bool {
    let [.., a, b, c, d] = id.0;
    u32::from_be_bytes([a, b, c, d]) % 1_000_000 < per_million
}
