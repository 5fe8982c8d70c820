//! When an M(e) is final, and that it stays: a relay keeps the eligible lists of past epochs, and of today, on its
//! disk ([ELI-8], [ELI-9]).
//!
//! Whoever reads an old letter looks for the holders that its deposit had. Computed again they would be others:
//! records lapse, certificates are forgotten, a relay that starts knows neither. So what was computed once, when
//! all that decides had arrived, is kept and wins over computing. Correspondents are told it
//! (`wire/members.rs`); what they make of it is `client/rosters.rs`.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::time::Duration;

use crate::context::Context;
use crate::effects::{Effects, Ticket};
use crate::limits;
use crate::members::Eligible;
use crate::store::{Chronicle, StoreDone, StoreOp};
use crate::time::{Epoch, Now, TICK_MINUTES, UnixTime};

/// The upkeep of the lists that stay.
#[derive(Debug)]
pub(crate) struct Settling {
    disk: Disk,
    /// When this relay started, or awoke from sleep.
    began: UnixTime,
    /// When it last looked whether there is something to do.
    looked: UnixTime,
    /// The newest list that was there when it began.
    found: Option<Epoch>,
    /// Lists that are not durable yet.
    owed: BTreeSet<Epoch>,
}

/// What is known of the disk.
#[derive(Debug, PartialEq, Eq)]
enum Disk {
    Unread,
    Asked,
    Read,
}

impl Settling {
    /// Nothing was read from the disk yet.
    pub(crate) fn new(now: Now) -> Self {
        Self {
            disk: Disk::Unread,
            began: now.unix,
            looked: now.unix,
            found: None,
            owed: BTreeSet::new(),
        }
    }

    /// Reads what is kept, settles what is due and has it kept. Called now and then.
    pub(crate) fn wake(&mut self, context: &mut Context, now: Now, out: &mut Effects) {
        match self.disk {
            Disk::Unread => {
                self.disk = Disk::Asked;
                let chronicle = Chronicle::Rosters;
                out.store(Ticket::Entries(chronicle), StoreOp::Entries { chronicle });
            }
            Disk::Asked => {}
            Disk::Read => {
                self.settle(context, now);
                self.keep(context, now, out);
            }
        }
    }

    /// The lists from the disk: they win over those of this run, of which none is final yet.
    pub(crate) fn read(&mut self, context: &mut Context, now: Now, done: StoreDone) {
        let StoreDone::Entries(lists) = done else {
            self.disk = Disk::Unread;
            return;
        };
        self.disk = Disk::Read;
        let today = context.network.scale.epoch_of(now.unix);
        for (epoch, bytes) in lists {
            // One that cannot be read, or of a day to come, is made anew.
            let list = Eligible::decode(epoch, bytes).ok();
            if let Some(list) = list.filter(|_| epoch <= today) {
                self.found = self.found.max(Some(epoch));
                context.view.settle(Arc::new(list), oldest(today));
            }
        }
    }

    /// A list was written, or was not.
    pub(crate) fn kept(&mut self, epoch: Epoch, done: &StoreDone) {
        if *done != StoreDone::EntryKept {
            self.owed.insert(epoch);
        }
    }

    /// Makes final what is due ([ELI-8]).
    fn settle(&mut self, context: &mut Context, now: Now) {
        let scale = context.network.scale;
        let (today, hour) = (scale.epoch_of(now.unix), settling(context));
        let start = scale.epoch_start(today);
        if self.looked.distance(now.unix) > hour {
            // The machine slept, or its clock was set: what it knows is as old as that of one that starts.
            self.began = now.unix;
            self.found = context.view.newest_settled();
        }
        self.looked = now.unix;
        let has_compared = context.view.complete() >= scale.tick_of(self.began);
        if context.clock_off || !has_compared || self.began.plus(hour) > now.unix {
            return;
        }
        let yesterday = today.minus(1);
        let was_there = self.began < scale.epoch_start(yesterday);
        let is_due = start.plus(hour) <= now.unix && (was_there || self.found >= Some(yesterday));
        let ended = self.began.plus(hour) <= start;
        let due = [(yesterday, ended), (today, is_due)];
        for (epoch, _) in due.into_iter().filter(|(_, is_due)| *is_due) {
            if !context.view.is_settled(epoch) {
                let list = context.view.eligible(&context.network, epoch);
                context.view.settle(list, oldest(today));
                self.owed.insert(epoch);
            }
        }
    }

    fn keep(&mut self, context: &Context, now: Now, out: &mut Effects) {
        let oldest = oldest(context.network.scale.epoch_of(now.unix));
        for epoch in core::mem::take(&mut self.owed) {
            if epoch >= oldest {
                let list = context.view.eligible(&context.network, epoch);
                let chronicle = Chronicle::Rosters;
                let request = StoreOp::PutEntry {
                    chronicle,
                    epoch,
                    entry: list.encode().into(),
                    oldest,
                };
                out.store(Ticket::Entry(chronicle, epoch), request);
            }
        }
    }
}

/// The oldest epoch whose list is kept: mail of it may still live.
pub(crate) fn oldest(today: Epoch) -> Epoch {
    today.minus(limits::EPOCHS_REMEMBERED)
}

/// How far into an epoch its list is final: an hour, in which what was issued before it began reaches everybody.
fn settling(context: &Context) -> Duration {
    let ticks = u64::from(limits::NEWS_TICKS);
    context.network.scale.minutes(ticks * TICK_MINUTES)
}

#[cfg(test)]
mod tests;
