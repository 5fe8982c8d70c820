//! The first holder: takes a deposit, has it copied, and answers when it is durable in enough places.
//!
//! 1. The deposit is checked against clock, rank and bounds, and refused before anything is kept
//!    ([DEP-5], [DEP-6], [DEP-9]).
//! 2. It goes to the own store and, at the same time, to the other holders of its cell ([DEP-2]).
//! 3. Each holder that has it durably signs a receipt; the own one is signed after the own commit.
//! 4. With the own receipt and those of W holders the depositor is answered; after [`limits::RECEIPTS_WAIT`]
//!    it is told how far it got ([DEP-1], [DEP-3]).
//! 5. Holders that have not answered are tried again until all R have it or it expires ([CPY-4]).
//!
//! Does not repair: holders that leave later are another role's concern. Source: `docs/spec/deposit.md`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::context::Context;
use crate::effects::{Effects, Event, SignTicket, StreamId, Ticket};
use crate::envelope::ExpiryClass;
use crate::id::{EnvelopeId, NodeId};
use crate::limits;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::mailbox::{clock, refusal_of, window};
use crate::store::{MailboxKeys, NotKept, Quota, Row, StoreDone, StoreOp, StoredRow};
use crate::time::{Instant, Now};
use crate::wire::Message;
use crate::wire::copies::{Copied, Copy, CopyAge};
use crate::wire::mailbox::{Deposit, Deposited, RECEIPTS_MAX};
use crate::wire::refusal::Refusal;

/// Deposits under way, and those that were answered but are not everywhere yet.
#[derive(Debug, Default)]
pub(crate) struct Deposits {
    under_way: BTreeMap<EnvelopeId, UnderWay>,
    under_way_bytes: usize,
    unfinished: BTreeMap<EnvelopeId, Unfinished>,
    deadlines: BTreeSet<(Instant, EnvelopeId)>,
}

/// A deposit that waits for receipts.
#[derive(Debug)]
struct UnderWay {
    streams: Vec<StreamId>,
    keys: MailboxKeys,
    row: Row,
    promise: Promise,
    receipts: BTreeMap<NodeId, Receipt>,
    declined: BTreeSet<NodeId>,
    spares_asked: bool,
    ends: Instant,
    wakes: Instant,
}

/// A deposit that was answered while some holders had not.
#[derive(Debug)]
struct Unfinished {
    promise: Promise,
    missing: Vec<NodeId>,
    pause: Duration,
    wakes: Instant,
}

impl Deposits {
    /// Steps 1 and 2 of the road.
    pub(crate) fn deposit(
        &mut self,
        context: &Context,
        now: Now,
        stream: StreamId,
        deposit: Deposit,
        out: &mut Effects,
    ) {
        if let Some(under_way) = self.under_way.get_mut(&deposit.envelope.id()) {
            if under_way.streams.len() < STREAMS_PER_DEPOSIT_MAX {
                under_way.streams.push(stream);
            } else {
                out.refuse(stream, busy());
            }
            return;
        }
        let promise = Promise::of(&deposit.envelope, &context.network);
        if let Err(refusal) = admit(context, now, &deposit, &promise) {
            out.refuse(stream, refusal);
            return;
        }
        let placement = context.placement(promise.epoch, promise.cell);
        if !placement.takes_copy(&context.me) {
            out.answer(stream, Message::Elsewhere(placement.holders().to_vec()));
            return;
        }
        let bytes = deposit.envelope.bytes().len();
        if self.under_way.len() >= limits::DEPOSITS_UNDER_WAY_MAX
            || self.under_way_bytes.saturating_add(bytes) > limits::DEPOSITS_UNDER_WAY_BYTES_MAX
        {
            out.refuse(stream, busy());
            return;
        }
        self.begin(context, now, stream, deposit, promise, out);
    }

    fn begin(
        &mut self,
        context: &Context,
        now: Now,
        stream: StreamId,
        deposit: Deposit,
        promise: Promise,
        out: &mut Effects,
    ) {
        let row = Row {
            write_signature: deposit.write_signature,
            arrival: context.network.scale.tick_of(now.unix),
            envelope: deposit.envelope,
            long_stay: deposit.long_stay,
        };
        let keys = deposit.keys;
        out.store(
            Ticket::Deposit(promise),
            StoreOp::Put {
                keys,
                row: row.clone(),
                expires: promise.expires,
                quota: Quota::of(&keys),
            },
        );
        for sibling in context.siblings(promise.epoch, promise.cell) {
            out.send(sibling, copy_of(CopyAge::First, keys, &row));
        }
        let wakes = now.mono.plus(SPARES_AFTER);
        self.deadlines.insert((wakes, promise.id));
        self.under_way_bytes = self
            .under_way_bytes
            .saturating_add(row.envelope.bytes().len());
        let under_way = UnderWay {
            streams: alloc::vec![stream],
            keys,
            row,
            promise,
            receipts: BTreeMap::new(),
            declined: BTreeSet::new(),
            spares_asked: false,
            ends: now.mono.plus(limits::RECEIPTS_WAIT),
            wakes,
        };
        self.under_way.insert(promise.id, under_way);
    }

    /// Step 3: the own copy is durable, or is not to be.
    pub(crate) fn stored(
        &mut self,
        context: &Context,
        now: Now,
        id: EnvelopeId,
        done: StoreDone,
        out: &mut Effects,
    ) {
        match done {
            StoreDone::Kept { arrival, .. } => {
                let Some(under_way) = self.under_way.get_mut(&id) else {
                    return;
                };
                under_way.row.arrival = arrival;
                let time = context.network.scale.tick_of(now.unix);
                let bytes = under_way.promise.statement(&context.network_id, time);
                out.sign(SignTicket::Deposit { id, time }, bytes);
            }
            StoreDone::NotKept(why) => {
                let lane = |under_way: &UnderWay| under_way.keys.is_open_lane();
                let refusal = match why {
                    NotKept::MailboxFull if self.under_way.get(&id).is_some_and(lane) => {
                        Refusal::OpenLaneFull
                    }
                    NotKept::MailboxFull
                    | NotKept::Deleted
                    | NotKept::Expired
                    | NotKept::DiskFull
                    | NotKept::Busy => refusal_of(why, now),
                };
                self.give_up(id, refusal, out);
            }
            StoreDone::Failed
            | StoreDone::Page(_)
            | StoreDone::Deleted { .. }
            | StoreDone::Have(_)
            | StoreDone::Row(_)
            | StoreDone::CardKept
            | StoreDone::Card(_)
            | StoreDone::Expired { .. }
            | StoreDone::Usage(_)
            | StoreDone::Cells(_)
            | StoreDone::Inventory(_)
            | StoreDone::Tags(_)
            | StoreDone::EntryKept
            | StoreDone::Entries(_)
            | StoreDone::Many => self.give_up(id, refusal_of(NotKept::Busy, now), out),
        }
    }

    /// Step 3: a receipt was signed or came from a sibling.
    pub(crate) fn receipt(
        &mut self,
        context: &Context,
        now: Now,
        id: EnvelopeId,
        receipt: Receipt,
        out: &mut Effects,
    ) {
        let Some(under_way) = self.under_way.get_mut(&id) else {
            return;
        };
        under_way.receipts.insert(receipt.holder.node_id(), receipt);
        let own = under_way.receipts.contains_key(&context.me);
        if own && under_way.holders_signed(context) >= context.w() {
            self.finish(context, now, id, out);
        }
    }

    /// Steps 3 and 5: what became of a copy.
    pub(crate) fn copied(
        &mut self,
        context: &Context,
        now: Now,
        from: NodeId,
        copied: &Copied,
        out: &mut Effects,
    ) {
        let id = copied.promise.id;
        if let Some(under_way) = self.under_way.get_mut(&id) {
            let promise = under_way.promise;
            let placement = context.placement(promise.epoch, promise.cell);
            // Whoever is not near the cell could sign for any number of keys of its own.
            if promise != copied.promise || !placement.keeps_receipt(&from) {
                return;
            }
            match copied.outcome {
                Ok(receipt) => self.receipt(context, now, id, receipt, out),
                Err(refusal) if is_final(refusal) => {
                    under_way.declined.insert(from);
                }
                Err(_) => {}
            }
            return;
        }
        let Some(unfinished) = self.unfinished.get_mut(&id) else {
            return;
        };
        let settled = match copied.outcome {
            Ok(_) => unfinished.promise == copied.promise,
            Err(refusal) => is_final(refusal),
        };
        if settled {
            unfinished.missing.retain(|holder| *holder != from);
            if unfinished.missing.is_empty() {
                self.forget_unfinished(id);
                out.report(Event::Completed { id });
            }
        }
    }

    /// Step 5: the row of an unfinished deposit, to be copied again; `None` if it is gone.
    pub(crate) fn read(
        &mut self,
        context: &Context,
        id: EnvelopeId,
        row: Option<StoredRow>,
        out: &mut Effects,
    ) {
        let Some(stored) = row else {
            // Deleted by its owner, or never durable here.
            self.forget_unfinished(id);
            return;
        };
        let Some(unfinished) = self.unfinished.get(&id) else {
            return;
        };
        for holder in unfinished
            .missing
            .iter()
            .filter(|holder| !context.is_gone(holder))
        {
            out.send(*holder, copy_of(CopyAge::Later, stored.keys, &stored.row));
        }
    }

    /// A relay came back: what it misses is due.
    pub(crate) fn seen(&mut self, now: Now, peer: NodeId) {
        let due: Vec<EnvelopeId> = self
            .unfinished
            .iter()
            .filter(|(_, unfinished)| unfinished.missing.contains(&peer))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.schedule(id, now.mono, limits::COPY_RETRY_MIN);
        }
    }

    /// The depositor went away: its answer is not needed, the deposit goes on.
    pub(crate) fn stream_closed(&mut self, stream: StreamId) {
        for under_way in self.under_way.values_mut() {
            under_way.streams.retain(|waiting| *waiting != stream);
        }
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, context: &Context, now: Now, out: &mut Effects) {
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now.mono || out.len() > limits::EFFECTS_PER_STEP / 2 {
                return;
            }
            self.deadlines.pop_first();
            // An envelope that is deposited again while it is unfinished has a deadline of each kind.
            if self.under_way.get(&id).is_some_and(|own| own.wakes == at) {
                self.wake_under_way(context, now, id, out);
            }
            if self.unfinished.get(&id).is_some_and(|own| own.wakes == at) {
                self.wake_unfinished(context, now, id, out);
            }
        }
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Deposits that are answered but not everywhere, for the operator.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    fn wake_under_way(&mut self, context: &Context, now: Now, id: EnvelopeId, out: &mut Effects) {
        let Some(under_way) = self.under_way.get_mut(&id) else {
            return;
        };
        if now.mono >= under_way.ends {
            self.finish(context, now, id, out);
            return;
        }
        if !under_way.spares_asked {
            under_way.spares_asked = true;
            let promise = under_way.promise;
            let placement = context.placement(promise.epoch, promise.cell);
            for relay in placement.holders().iter().chain(placement.spares()) {
                let settled = *relay == context.me
                    || under_way.receipts.contains_key(relay)
                    || under_way.declined.contains(relay);
                if !settled && !context.is_gone(relay) {
                    out.send(
                        *relay,
                        copy_of(CopyAge::First, under_way.keys, &under_way.row),
                    );
                }
            }
        }
        under_way.wakes = under_way.ends;
        self.deadlines.insert((under_way.ends, id));
    }

    fn wake_unfinished(&mut self, context: &Context, now: Now, id: EnvelopeId, out: &mut Effects) {
        let Some(unfinished) = self.unfinished.get(&id) else {
            return;
        };
        if context.network.scale.hour_start(unfinished.promise.expires) <= now.unix {
            self.forget_unfinished(id);
            return;
        }
        let pause = (unfinished.pause * 2).min(limits::COPY_RETRY_MAX);
        if unfinished
            .missing
            .iter()
            .any(|holder| !context.is_gone(holder))
        {
            out.store(Ticket::Recopy(id), StoreOp::Read { id });
        }
        self.schedule(id, now.mono.plus(pause), pause);
    }

    /// Step 4: answers with the receipts that are there, and leaves the rest to later tries.
    fn finish(&mut self, context: &Context, now: Now, id: EnvelopeId, out: &mut Effects) {
        let Some(under_way) = self.take(id) else {
            return;
        };
        if !under_way.receipts.contains_key(&context.me) {
            // The own copy is not durable yet: it may still be, but nothing may be promised for it.
            if under_way.holders_signed(context) < context.w() {
                for stream in under_way.streams {
                    out.refuse(stream, busy());
                }
                return;
            }
        }
        let receipts = under_way.receipts.values().take(RECEIPTS_MAX);
        let receipts: Vec<Receipt> = receipts.copied().collect();
        out.report(Event::Acknowledged {
            promise: under_way.promise,
            holders: under_way.receipts.keys().copied().collect(),
        });
        for stream in &under_way.streams {
            let answer = Deposited {
                arrival: under_way.row.arrival,
                receipts: receipts.clone(),
            };
            out.answer(*stream, Message::Deposited(answer));
        }
        self.leave_unfinished(context, now, &under_way, out);
    }

    fn leave_unfinished(
        &mut self,
        context: &Context,
        now: Now,
        under_way: &UnderWay,
        out: &mut Effects,
    ) {
        let promise = under_way.promise;
        let missing: Vec<NodeId> = context
            .siblings(promise.epoch, promise.cell)
            .into_iter()
            .filter(|holder| {
                !under_way.receipts.contains_key(holder) && !under_way.declined.contains(holder)
            })
            .collect();
        self.forget_unfinished(promise.id);
        if missing.is_empty() {
            out.report(Event::Completed { id: promise.id });
            return;
        }
        if self.unfinished.len() >= limits::COPIES_UNFINISHED_MAX {
            out.report(Event::CopiesAbandoned { id: promise.id });
            return;
        }
        let pause = limits::COPY_RETRY_MIN;
        let wakes = now.mono.plus(pause);
        self.unfinished.insert(
            promise.id,
            Unfinished {
                promise,
                missing,
                pause,
                wakes,
            },
        );
        self.deadlines.insert((wakes, promise.id));
    }

    fn give_up(&mut self, id: EnvelopeId, refusal: Refusal, out: &mut Effects) {
        let Some(under_way) = self.take(id) else {
            return;
        };
        for stream in under_way.streams {
            out.refuse(stream, refusal);
        }
    }

    fn take(&mut self, id: EnvelopeId) -> Option<UnderWay> {
        let under_way = self.under_way.remove(&id)?;
        self.deadlines.remove(&(under_way.wakes, id));
        let bytes = under_way.row.envelope.bytes().len();
        self.under_way_bytes = self.under_way_bytes.saturating_sub(bytes);
        Some(under_way)
    }

    fn schedule(&mut self, id: EnvelopeId, at: Instant, pause: Duration) {
        let Some(unfinished) = self.unfinished.get_mut(&id) else {
            return;
        };
        self.deadlines.remove(&(unfinished.wakes, id));
        unfinished.pause = pause;
        unfinished.wakes = at;
        self.deadlines.insert((at, id));
    }

    fn forget_unfinished(&mut self, id: EnvelopeId) {
        if let Some(unfinished) = self.unfinished.remove(&id) {
            self.deadlines.remove(&(unfinished.wakes, id));
        }
    }
}

impl UnderWay {
    /// How many of the R holders have signed. Receipts of spares are passed on, but whoever reads need not
    /// come to a spare ([DEP-1], [FET-4]).
    fn holders_signed(&self, context: &Context) -> usize {
        let placement = context.placement(self.promise.epoch, self.promise.cell);
        let mut holders = placement.holders().to_vec();
        let kept = holders.iter().filter(|id| !context.is_failed(id)).count();
        // Where there are enough others, those that lose what they sign for do not count ([SWP-7]).
        if kept >= context.w() {
            holders.retain(|id| !context.is_failed(id));
        }
        let signed = |id: &&NodeId| self.receipts.contains_key(*id);
        holders.iter().filter(signed).count()
    }
}

/// Whether a deposit may be kept at all, before ranks and room are looked at.
fn admit(context: &Context, now: Now, deposit: &Deposit, promise: &Promise) -> Result<(), Refusal> {
    clock::trusted(context, now)?;
    window(&context.network, now, deposit.envelope.header(), promise)?;
    let expiry = deposit.envelope.header().expiry;
    if deposit.keys.is_open_lane() && expiry > ExpiryClass::Days3 {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

/// Whether asking the same holder again is pointless.
fn is_final(refusal: Refusal) -> bool {
    match refusal {
        Refusal::WrongHolder
        | Refusal::NoCapability
        | Refusal::Expired { .. }
        | Refusal::TooLarge
        | Refusal::MailboxFull
        | Refusal::OpenLaneFull
        | Refusal::NotFound
        | Refusal::UnknownMessage { .. }
        | Refusal::WrongNetwork
        | Refusal::WrongVersion { .. } => true,
        Refusal::StampNeeded { .. }
        | Refusal::DiskFull
        | Refusal::TooBusy { .. }
        | Refusal::Clock { .. }
        | Refusal::Restarted { .. }
        | Refusal::HopUnreachable => false,
    }
}

fn copy_of(age: CopyAge, keys: MailboxKeys, row: &Row) -> Message {
    Message::Copy(Copy {
        age,
        keys,
        row: row.clone(),
    })
}

fn busy() -> Refusal {
    Refusal::TooBusy {
        retry_after_ms: BUSY_RETRY_MS,
    }
}

/// Streams that may wait for one deposit: retries of one client through other paths ([DEP-4]).
const STREAMS_PER_DEPOSIT_MAX: usize = 4;
/// Holders that have not answered by then are backed by spares ([DEP-8]): late enough for a slow disk, early enough
/// that a spare can answer within the wait for receipts.
const SPARES_AFTER: Duration = Duration::from_millis(1_500);
/// What a relay that is too busy asks for.
const BUSY_RETRY_MS: u64 = 1_000;

#[cfg(test)]
mod tests;
