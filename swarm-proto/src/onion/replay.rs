//! The memory that lets an onion act once.
//!
//! A tag is kept as long as its onion could be accepted, and what was accepted before a start cannot be
//! accepted after it; so nothing needs to be on disk. The caller puts one [`Replay`], or several as
//! shards, behind locks of its own: [`Replay::admit`] takes well under a microsecond. Source: [ONI-7].

use alloc::collections::{BTreeMap, BTreeSet};

use super::life_ticks;
use super::peel::{Admitted, Opened};
use super::reply::ReplyKeys;
use crate::limits::ONION_SKEW_MINUTES;
use crate::time::{Tick, TimeScale, UnixTime};

/// Tags by the tick in which their onions expire.
#[derive(Debug)]
pub struct Replay {
    scale: TimeScale,
    life: u32,
    /// The last expiry that could have been accepted before the start.
    before_start: Tick,
    /// Everything that expires earlier is forgotten, and refused however the clock moves.
    kept_from: Tick,
    seen: BTreeMap<Tick, BTreeSet<u64>>,
    tags_per_tick_max: usize,
}

impl Replay {
    /// An empty memory of a relay that starts at `start`: no earlier than any moment at which it
    /// admitted an onion before. Keeps `tags_per_tick_max` tags of 8 bytes a tick.
    pub fn new(scale: TimeScale, start: UnixTime, tags_per_tick_max: usize) -> Self {
        let life = life_ticks(scale);
        Self {
            scale,
            life,
            before_start: latest_expiry(scale, life, start),
            kept_from: scale.tick_of(start),
            seen: BTreeMap::new(),
            tags_per_tick_max,
        }
    }

    /// Lets an onion act if it has not expired, was not made for later, and is seen for the first time.
    ///
    /// # Errors
    /// [`NotAdmitted`]: refused with a reason, or a replay.
    pub fn admit(&mut self, now: UnixTime, opened: Opened) -> Result<Admitted, NotAdmitted> {
        let tick = self.scale.tick_of(now);
        self.forget_before(tick);
        let expire = resolve(opened.expire(), tick);
        if expire < self.kept_from.max(tick) {
            return Err(opened.refused(Why::Expired { now }));
        }
        if expire > latest_expiry(self.scale, self.life, now) {
            return Err(opened.refused(Why::Clock { now }));
        }
        if expire <= self.before_start {
            let retry_after_ms = self.restart_over().0.saturating_sub(now.0);
            return Err(opened.refused(Why::Restarted { retry_after_ms }));
        }
        let seen = self.seen.entry(expire).or_default();
        if seen.contains(&opened.tag()) {
            return Err(NotAdmitted::Replayed);
        }
        if seen.len() >= self.tags_per_tick_max {
            let next = self.scale.tick_start(tick.plus(1));
            let retry_after_ms = next.0.saturating_sub(now.0);
            return Err(opened.refused(Why::Busy { retry_after_ms }));
        }
        seen.insert(opened.tag());
        Ok(opened.admitted())
    }

    /// Tags held.
    pub fn tags(&self) -> usize {
        self.seen.values().map(BTreeSet::len).sum()
    }

    fn forget_before(&mut self, tick: Tick) {
        if tick > self.kept_from {
            self.kept_from = tick;
            self.seen = self.seen.split_off(&tick);
        }
    }

    /// When onions that are made at that moment pass [`Self::before_start`].
    fn restart_over(&self) -> UnixTime {
        let made = self.before_start.minus(self.life).plus(1);
        self.scale.tick_start(made)
    }
}

/// Why an authentic onion does not act.
#[derive(Debug)]
pub enum NotAdmitted {
    /// Seen before. Nothing is answered: the stream is reset.
    Replayed,
    /// Answer with [`ReplyKeys::refuse`], code and detail from [`Why::refusal`].
    Refused {
        /// The reason.
        why: Why,
        /// For the refusal.
        reply: ReplyKeys,
    },
}

/// The reasons of a refusal, each with its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Too late.
    Expired {
        /// The relay's clock.
        now: UnixTime,
    },
    /// Expires later than any onion made by now.
    Clock {
        /// The relay's clock.
        now: UnixTime,
    },
    /// Could have been accepted before the relay started.
    Restarted {
        /// Milliseconds until onions made then are accepted.
        retry_after_ms: u64,
    },
    /// The memory of its tick is full.
    Busy {
        /// Milliseconds until the next tick.
        retry_after_ms: u64,
    },
    /// A command or payload that this version does not take.
    Unsupported {
        /// The command, or 0.
        kind: u16,
    },
}

impl Why {
    /// Code and detail of the refusal, as `docs/spec/formats.md` lists them.
    pub fn refusal(self) -> (u16, u64) {
        match self {
            Self::Expired { now } => (3, now.0),
            Self::Busy { retry_after_ms } => (9, retry_after_ms),
            Self::Clock { now } => (10, now.0),
            Self::Unsupported { kind } => (12, u64::from(kind)),
            Self::Restarted { retry_after_ms } => (15, retry_after_ms),
        }
    }
}

/// The expiry of an onion made just now by somebody whose clock is ahead by the whole tolerance.
fn latest_expiry(scale: TimeScale, life: u32, now: UnixTime) -> Tick {
    let ahead = now.plus(scale.minutes(ONION_SKEW_MINUTES));
    scale.tick_of(ahead).plus(life)
}

/// The tick nearest to `now` that ends in these 16 bits.
fn resolve(low: u16, now: Tick) -> Tick {
    let now_low = u16::try_from(now.0 & 0xffff).unwrap_or_default();
    let ahead = low.wrapping_sub(now_low);
    if ahead < 1 << 15 {
        now.plus(u32::from(ahead))
    } else {
        now.minus(u32::from(ahead.wrapping_neg()))
    }
}
