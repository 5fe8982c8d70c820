//! What was certified, on this relay's disk, so that it counts on when all relays stop at once ([STD-14]); and with it
//! what this one counts as lost ([EVD-7]).
//!
//! The words of watchers are not kept, only what they came to: what is read at the start stands until a quorum is heard
//! again about the same epoch, and is believed by nobody but who wrote it. It judges nothing. Source:
//! `docs/spec/standing.md`.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::certificate::{Certificate, GOOD_FOR};
use super::loss::Losses;
use super::reports::Reports;
use super::{Changes, Standing};
use crate::context::Context;
use crate::effects::{Effects, Ticket};
use crate::id::NodeId;
use crate::store::{Chronicle, StoreDone, StoreOp};
use crate::time::{Epoch, Instant, Now};
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::standing::Words;

/// What is written when.
#[derive(Debug)]
pub(super) struct Keeping {
    certificates: Disk,
    losses: Disk,
    /// Epochs of which something is certified that is not durable.
    owed: BTreeSet<Epoch>,
    keep_at: Instant,
}

/// What is known of the disk.
#[derive(Debug, PartialEq, Eq)]
enum Disk {
    Unread,
    Asked,
    Read,
}

impl Keeping {
    /// Nothing was read yet.
    pub(super) fn new(now: Now) -> Self {
        Self {
            certificates: Disk::Unread,
            losses: Disk::Unread,
            owed: BTreeSet::new(),
            keep_at: now.mono,
        }
    }

    /// Reads what is kept; after that, has it kept every half hour as it is then.
    pub(super) fn wake(
        &mut self,
        context: &mut Context,
        now: Now,
        (losses, reports): (&Losses, &Reports),
        out: &mut Effects,
    ) {
        if self.keep_at > now.mono {
            return;
        }
        let pause = context.network.scale.minutes(KEEP_MINUTES);
        self.keep_at = now.mono.plus(pause);
        let today = context.network.scale.epoch_of(now.unix);
        if self.certificates.is_read(Chronicle::Certificates, out) {
            self.keep_certificates(context, today, out);
        }
        if self.losses.is_read(Chronicle::Losses, out) && !losses.are_none() {
            let chronicle = Chronicle::Losses;
            let request = StoreOp::PutEntry {
                chronicle,
                epoch: today,
                entry: losses.encode(context, reports, today).into(),
                oldest: today,
            };
            // What is not written now is so in half an hour.
            out.store(Ticket::Entry(chronicle, today), request);
        }
    }

    fn keep_certificates(&mut self, context: &mut Context, today: Epoch, out: &mut Effects) {
        let (chronicle, oldest) = (Chronicle::Certificates, oldest(today));
        self.owed.append(&mut context.view.take_certified());
        for epoch in core::mem::take(&mut self.owed) {
            if epoch >= oldest {
                let request = StoreOp::PutEntry {
                    chronicle,
                    epoch,
                    entry: encode(context.view.certificates().all_of(epoch)).into(),
                    oldest,
                };
                out.store(Ticket::Entry(chronicle, epoch), request);
            }
        }
    }
}

impl Disk {
    /// Asks for a chronicle that was not read.
    fn is_read(&mut self, chronicle: Chronicle, out: &mut Effects) -> bool {
        if *self == Self::Unread {
            *self = Self::Asked;
            out.store(Ticket::Entries(chronicle), StoreOp::Entries { chronicle });
        }
        *self == Self::Read
    }

    /// Takes its entries; a disk that could not be read is asked again later.
    fn answered(&mut self, done: StoreDone) -> Vec<(Epoch, Bytes)> {
        let StoreDone::Entries(entries) = done else {
            *self = Self::Unread;
            return Vec::new();
        };
        *self = Self::Read;
        entries
    }
}

impl Standing {
    /// What an earlier run kept stands where nothing was heard since.
    pub(crate) fn restored(&mut self, context: &mut Context, now: Now, done: StoreDone) -> Changes {
        let mut changes = Changes::default();
        let entries = self.keeping.certificates.answered(done);
        let today = context.network.scale.epoch_of(now.unix);
        let timely = oldest(today)..=today;
        let mut subjects = BTreeSet::new();
        for (epoch, bytes) in entries {
            if !timely.contains(&epoch) {
                continue;
            }
            for (subject, certificate) in decode(bytes) {
                context.view.recall(subject, epoch, certificate);
                subjects.insert(subject);
            }
        }
        let verdicts = &context.network.verdicts;
        for subject in subjects {
            let is_rare = context
                .view
                .certificates()
                .is_rare(verdicts, &subject, today);
            if is_rare && context.said.rare.insert(subject) {
                changes.rare.push(subject);
            }
        }
        changes
    }

    /// What an earlier run counted as lost counts on.
    pub(crate) fn restored_losses(&mut self, context: &Context, now: Now, done: StoreDone) {
        let today = context.network.scale.epoch_of(now.unix);
        for (_, bytes) in self.keeping.losses.answered(done) {
            self.losses.restore(bytes, today);
        }
    }

    /// Certificates were written, or were not.
    pub(crate) fn kept(&mut self, epoch: Epoch, done: &StoreDone) {
        if *done != StoreDone::EntryKept {
            self.keeping.owed.insert(epoch);
        }
    }
}

/// The oldest epoch whose certificates are kept: M(e) of yesterday, which may still have to settle, is made with it.
fn oldest(today: Epoch) -> Epoch {
    today.minus(GOOD_FOR + 2)
}

/// 41 bytes for each, ascending by subject: subject, words as in a testimony, votes.
pub(super) fn encode<'a>(all: impl Iterator<Item = (&'a NodeId, &'a Certificate)>) -> Vec<u8> {
    let mut writer = Writer::with_capacity(0);
    for (subject, certificate) in all {
        writer.put(&subject.0);
        certificate.words().encode(&mut writer);
        writer.u8(certificate.votes);
    }
    writer.finish()
}

/// What can be read, up to where something is wrong.
fn decode(bytes: Bytes) -> Vec<(NodeId, Certificate)> {
    let mut reader = Reader::new(bytes);
    let mut read: Vec<(NodeId, Certificate)> = Vec::new();
    while let Ok((subject, certificate)) = decode_one(&mut reader) {
        if read.last().is_some_and(|(before, _)| *before >= subject) {
            break;
        }
        read.push((subject, certificate));
    }
    read
}

fn decode_one(reader: &mut Reader) -> Result<(NodeId, Certificate), Malformed> {
    let subject = NodeId(reader.array("subject")?);
    let words = Words::decode(reader)?;
    let votes = reader.u8("votes")?;
    Ok((subject, Certificate::restored(&words, votes)))
}

/// Minutes of the network until something new is written: an epoch's certificates are written whole.
const KEEP_MINUTES: u64 = 30;

#[cfg(test)]
mod tests;
