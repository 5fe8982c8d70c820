//! Dropping what has expired: at each full hour of the network's calendar, whole buckets at a time.
//!
//! Never row by row: the store drops what belongs to an hour as one piece ([EXP-1]).

use core::time::Duration;

use crate::context::Context;
use crate::effects::{Effects, Event, Ticket};
use crate::store::{StoreDone, StoreOp};
use crate::time::{Hour, Instant, Now};

/// The hour that was dropped last, and when the next one is due.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    dropped: Option<Hour>,
    wakes: Option<Instant>,
}

impl Expiry {
    /// Asks the store to drop what has expired, if an hour began since it was asked last.
    pub(crate) fn wake(&mut self, context: &Context, now: Now, out: &mut Effects) {
        let scale = context.network.scale;
        let hour = scale.hour_of(now.unix);
        if self.dropped.is_none_or(|dropped| dropped < hour) {
            self.dropped = Some(hour);
            out.store(Ticket::Expire { hour }, StoreOp::Expire { hour });
        }
        let left = scale.hour_start(hour.plus(1)).distance(now.unix);
        self.wakes = Some(now.mono.plus(left));
    }

    /// Whether the next hour is due.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        self.wakes.is_none_or(|wakes| wakes <= now.mono)
    }

    /// When the next hour begins.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.wakes
    }

    /// The store dropped it, or could not: then it is asked again a little later.
    pub(crate) fn expired(&mut self, now: Now, hour: Hour, done: &StoreDone, out: &mut Effects) {
        if let StoreDone::Expired { envelopes } = *done {
            out.report(Event::Expired { hour, envelopes });
            return;
        }
        self.dropped = None;
        let again = now.mono.plus(RETRY_AFTER);
        self.wakes = Some(self.wakes.map_or(again, |wakes| wakes.min(again)));
    }
}

/// How long a store that had too much to do is left alone ([EXP-2]).
const RETRY_AFTER: Duration = Duration::from_secs(1);
