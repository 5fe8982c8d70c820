//! Relays that lie about what they keep, and about others: what their disks and their messages say instead of the truth.
//!
//! A lie sits between the machine, which is the honest one, and its store. So the same lies serve in the
//! simulator's world and around a real relay's machine, and the product itself has no evil switch.

use std::collections::BTreeSet;

use swarm_proto::crypto::Signature;
use swarm_proto::id::{EnvelopeId, NodeKey};
use swarm_proto::store::{Held, StoreDone, StoreOp};
use swarm_proto::wire::Message;
use swarm_proto::wire::standing::{Past, Testimony, Words};

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
    /// It keeps no more sectors than these of those that it has pledged, and makes the rest up.
    KeepsSectors {
        /// How many, from the first on.
        sectors: u32,
    },
    /// It keeps and proves all, and shows its readers none of so many envelopes of a million.
    RefusesReaders {
        /// How many of a million.
        per_million: u32,
    },
    /// It drops the bytes of so many of a million each time it has proven them, and fetches them from another
    /// sibling when it is swept again ([`Hoard`]).
    Fetches {
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
            (
                Self::Drops { .. }
                | Self::KeepsNames { .. }
                | Self::KeepsSectors { .. }
                | Self::RefusesReaders { .. }
                | Self::Fetches { .. },
                _,
            ) => None,
        }
    }

    /// Whether such a relay has a sector that it has pledged.
    pub fn keeps_sector(&self, sector: u32) -> bool {
        match self {
            Self::KeepsSectors { sectors } => sector < *sectors,
            Self::Drops { .. }
            | Self::KeepsNames { .. }
            | Self::RefusesReaders { .. }
            | Self::Fetches { .. } => true,
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

/// Makes of what a relay says about others a slander: it tells watchers that nothing is kept, and as a watcher it
/// calls everybody absent and wants everybody suspended.
pub fn slander(message: &mut Message, own: &NodeKey, sign: impl Fn(&Testimony) -> Signature) {
    match message {
        Message::Tallies(tallies) => {
            for tally in tallies {
                tally.swept = tally.swept.max(1);
                tally.missing = tally.swept;
            }
        }
        Message::Testimonies(testimonies) => {
            for one in testimonies.iter_mut().filter(|one| one.watcher == *own) {
                let lie = |last| Words {
                    absent: true,
                    last,
                    suspend: true,
                    available: Some(0),
                    kept: Some(0),
                    past: Past {
                        history: u8::MAX,
                        term: Past::TERM_MAX,
                        clean: 0,
                        times: 1,
                    },
                    ..Words::default()
                };
                for about in &mut one.about {
                    about.words = lie(about.words.last);
                }
                one.signature = sign(one);
            }
        }
        _ => {}
    }
}

/// What a relay does that keeps less than it says and fetches the rest when somebody wants to see it.
///
/// As long as nobody does, it says that it has everything. When a sweep is opened with it, it lets the opener
/// wait, admits its loss in a comparison with another sibling, is given the bytes as repair gives them, and
/// proves them. Then it drops them again. It opens no sweeps, for these would show what it lacks.
#[derive(Debug, Default)]
pub struct Hoard {
    dropped: BTreeSet<EnvelopeId>,
    /// Since when it admits what it lacks, in microseconds since the start.
    admits_since: Option<u64>,
}

impl Hoard {
    /// A sweep is opened with it: for how many microseconds its opener has to wait, and whether a sibling is
    /// to be asked at this moment.
    pub fn swept(&mut self, now: u64) -> (u64, bool) {
        if self.dropped.is_empty() {
            return (0, false);
        }
        let fresh = self.admits_since.is_none();
        let since = *self.admits_since.get_or_insert(now);
        let until = since.saturating_add(FETCHING_US);
        (until.saturating_sub(now), fresh)
    }

    /// What the machine is told at once: what it dropped is new to it when it comes again.
    pub fn instead(&mut self, request: &StoreOp) -> Option<StoreDone> {
        let StoreOp::Put { row, .. } = request else {
            return None;
        };
        let came_back = self.dropped.remove(&row.envelope.id());
        came_back.then_some(StoreDone::Kept {
            fresh: true,
            arrival: row.arrival,
        })
    }

    /// Makes of the store's answer what a relay could say that keeps so many of a million when it must only.
    pub fn bend(&mut self, per_million: u32, done: &mut StoreDone) {
        let lacks = |id: &EnvelopeId| self.dropped.contains(id);
        match done {
            StoreDone::Inventory(held) if self.admits_since.is_some() => {
                held.retain(|one| !envelope_of(one).is_some_and(|id| lacks(&id)));
            }
            StoreDone::Row(row) => {
                row.take_if(|stored| lacks(&stored.row.envelope.id()));
            }
            StoreDone::Page(page) => page.rows.retain(|(_, envelope)| !lacks(&envelope.id())),
            StoreDone::Tags(tags) => {
                tags.retain(|one| !envelope_of(&one.held).is_some_and(|id| lacks(&id)));
                let proven = tags.iter().filter_map(|one| envelope_of(&one.held));
                let dropped: Vec<EnvelopeId> =
                    proven.filter(|id| is_one_of(*id, per_million)).collect();
                self.dropped.extend(dropped);
                self.admits_since = None;
            }
            _ => {}
        }
    }
}

fn envelope_of(held: &Held) -> Option<EnvelopeId> {
    match held {
        Held::Envelope { id, .. } => Some(*id),
        Held::Tombstone(_) | Held::Card { .. } => None,
    }
}

/// How long it lets the opener of a sweep wait, who gives up after ten seconds.
const FETCHING_US: u64 = 5_000_000;

/// Whether an envelope is among so many of a million, the same ones at each relay that lies.
fn is_one_of(id: EnvelopeId, per_million: u32) -> bool {
    let [.., a, b, c, d] = id.0;
    u32::from_be_bytes([a, b, c, d]) % 1_000_000 < per_million
}
