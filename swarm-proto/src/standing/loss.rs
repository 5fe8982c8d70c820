//! E2: what relays lost that they had signed for, told to their watchers and counted there.
//!
//! A sweep shows that a sibling does not list an envelope. Whoever has the sibling's receipt for it reads the envelope
//! and sends all three to those watchers of the sibling that it reports to, so that a watcher counts losses and what
//! was swept of the same reporters. Source: `docs/spec/evidence.md`, [EVD-4].

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Standing;
use super::reports::Reports;
use crate::context::Context;
use crate::effects::{Effects, Ticket};
use crate::id::{EnvelopeId, NodeId};
use crate::limits;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::store::{StoreDone, StoreOp};
use crate::time::{Epoch, Now};
use crate::wire::Message;
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::frames::FrameKind;
use crate::wire::loss::{Listed, Loss};
use crate::wire::proof::Proof;

/// A loss that a sweep showed; the envelope is still to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// What the other side lacks.
    pub(crate) id: EnvelopeId,
    /// Its receipt for it.
    pub(crate) receipt: Receipt,
    /// What it listed.
    pub(crate) listed: Arc<Listed>,
}

/// What relays under watch are proven to have lost within the last days.
#[derive(Debug, Default)]
pub(super) struct Losses {
    of: BTreeMap<NodeId, Lost>,
}

#[derive(Debug, Default)]
struct Lost {
    envelopes: BTreeMap<EnvelopeId, Epoch>,
    /// What was swept in days that are over.
    swept: BTreeMap<Epoch, u64>,
}

impl Losses {
    /// How many envelopes a relay is proven to have lost.
    pub(super) fn of(&self, subject: &NodeId) -> usize {
        self.of.get(subject).map_or(0, |lost| lost.envelopes.len())
    }

    /// Whether that is more than a hundredth of what was swept, as far as this watcher knows.
    pub(super) fn are_too_many(
        &self,
        context: &Context,
        reports: &Reports,
        subject: &NodeId,
    ) -> bool {
        let Some(lost) = self.of.get(subject) else {
            return false;
        };
        let count = lost.envelopes.len() as u64;
        let before: u64 = lost.swept.values().sum();
        let swept = before + reports.swept(context, subject).unwrap_or(0);
        swept >= SWEPT_MIN && count >= LOST_MIN && count * 100 > swept
    }

    /// Another epoch begins: what was swept in the one that ended is noted, what is too old forgotten.
    pub(super) fn turn(&mut self, context: &Context, reports: &Reports, today: Epoch) {
        let oldest = today.minus(DAYS - 1);
        for (subject, lost) in &mut self.of {
            if let Some(swept) = reports.swept(context, subject) {
                add_swept(&mut lost.swept, today.minus(1), swept);
            }
            lost.swept = lost.swept.split_off(&oldest);
            lost.envelopes.retain(|_, epoch| *epoch >= oldest);
        }
        self.of.retain(|_, lost| !lost.envelopes.is_empty());
    }

    /// Whether nothing is lost.
    pub(super) fn are_none(&self) -> bool {
        self.of.is_empty()
    }

    /// All that counts, with what was swept until now ([EVD-7]).
    pub(super) fn encode(&self, context: &Context, reports: &Reports, today: Epoch) -> Vec<u8> {
        let mut writer = Writer::with_capacity(0);
        for (subject, lost) in &self.of {
            let mut swept = lost.swept.clone();
            let fresh = reports.swept(context, subject).unwrap_or(0);
            add_swept(&mut swept, today, fresh);
            writer.put(&subject.0);
            writer.u8(u8::try_from(swept.len()).unwrap_or(u8::MAX));
            for (epoch, swept) in &swept {
                writer.u32(epoch.0).u64(*swept);
            }
            writer.u16(u16::try_from(lost.envelopes.len()).unwrap_or(u16::MAX));
            for (id, epoch) in &lost.envelopes {
                writer.put(&id.0).u32(epoch.0);
            }
        }
        writer.finish()
    }

    /// Adds what was written, up to where something is wrong, and but for what is too old or of a day to come.
    pub(super) fn restore(&mut self, bytes: Bytes, today: Epoch) {
        let timely = today.minus(DAYS - 1)..=today;
        let mut reader = Reader::new(bytes);
        while let Ok((subject, mut kept)) = decode_one(&mut reader) {
            kept.swept.retain(|epoch, _| timely.contains(epoch));
            kept.envelopes.retain(|_, epoch| timely.contains(epoch));
            if kept.envelopes.is_empty() {
                continue;
            }
            for (id, epoch) in kept.envelopes {
                self.add(subject, id, epoch);
            }
            if let Some(lost) = self.of.get_mut(&subject) {
                for (epoch, swept) in kept.swept {
                    add_swept(&mut lost.swept, epoch, swept);
                }
            }
        }
    }

    fn add(&mut self, subject: NodeId, id: EnvelopeId, today: Epoch) {
        let envelopes = &mut self.of.entry(subject).or_default().envelopes;
        if envelopes.len() < limits::LOSSES_COUNTED_MAX {
            envelopes.entry(id).or_insert(today);
        }
    }
}

/// What was swept before a restart and after it counts together: whoever reports both makes a share too low.
fn add_swept(all: &mut BTreeMap<Epoch, u64>, epoch: Epoch, swept: u64) {
    let sum = all.entry(epoch).or_default();
    *sum = sum.saturating_add(swept);
}

fn decode_one(reader: &mut Reader) -> Result<(NodeId, Lost), Malformed> {
    let subject = NodeId(reader.array("subject")?);
    let mut lost = Lost::default();
    for _ in 0..reader.u8("days")? {
        let epoch = Epoch(reader.u32("epoch")?);
        lost.swept.insert(epoch, reader.u64("swept")?);
    }
    for _ in 0..reader.u16("lost")? {
        let id = EnvelopeId(reader.array("envelope")?);
        lost.envelopes.insert(id, Epoch(reader.u32("epoch")?));
    }
    Ok((subject, lost))
}

impl Standing {
    /// Sweeps showed losses: the envelopes are read.
    pub(crate) fn shown(&self, context: &Context, shown: Vec<Shown>, out: &mut Effects) {
        if context.network.verdicts.watchers == 0 {
            return;
        }
        for shown in shown {
            let request = StoreOp::Read { id: shown.id };
            out.store(Ticket::Loss(Box::new(shown)), request);
        }
    }

    /// An envelope was read that a sibling lost: those of its watchers are told that this relay reports to.
    pub(crate) fn read(
        &mut self,
        context: &Context,
        now: Now,
        shown: Shown,
        done: StoreDone,
        out: &mut Effects,
    ) {
        let StoreDone::Row(Some(stored)) = done else {
            return;
        };
        let envelope = stored.row.envelope;
        let loss = Loss {
            promise: Promise::of(&envelope, &context.network),
            receipt: shown.receipt,
            listed: Listed::clone(&shown.listed),
            envelope,
        };
        let proof = Proof::Lost(Box::new(loss.clone()));
        // A long listing and a large envelope do not go into one frame.
        let fits = proof.bytes().len() <= FrameKind::Proof.body_bytes_max();
        if !fits || !loss.convicts(&context.network) {
            return;
        }
        let today = context.network.scale.epoch_of(now.unix);
        let subject = shown.receipt.holder.node_id();
        let watchers = self.heard.watchers(context, today, &subject);
        let told = watchers.told_by(&context.network, &context.me, today);
        for watcher in told.into_iter().filter(|watcher| *watcher != subject) {
            if watcher == context.me {
                self.lost(context, today, &loss);
            } else {
                self.send(watcher, Message::Proof(proof.clone()), out);
            }
        }
    }

    /// A loss came, let in at the door: counted if this relay watches the loser and the two contradict each other.
    pub(super) fn lost(&mut self, context: &Context, today: Epoch, loss: &Loss) {
        let subject = loss.receipt.holder.node_id();
        if self.duties.contains_key(&subject) && loss.convicts(&context.network) {
            self.losses.add(subject, loss.promise.id, today);
        }
    }
}

/// Days of which losses count together.
const DAYS: u32 = 7;
/// Fewer lost envelopes than this suspend nobody: one bad sector is no habit.
const LOST_MIN: u64 = 3;
/// Swept envelopes before a share of them says something.
const SWEPT_MIN: u64 = 300;

#[cfg(test)]
mod tests;
