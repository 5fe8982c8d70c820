//! Two clocks and the calendar of a network.
//!
//! [`Instant`] drives timers and never goes back; [`UnixTime`] dates what is kept. One is never
//! subtracted from the other. Calendar units (tick, hour, epoch) are multiples of the network's minute
//! ([TIME-1]), so a small network for tests lives faster with the same code.

use core::time::Duration;

/// A moment on a machine's monotonic clock, in microseconds since some start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment `after` later; saturates.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A moment in milliseconds since 1970-01-01 UTC, leap seconds ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The moment `after` later; saturates.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// The moment `before` earlier; stops at 1970.
    #[must_use]
    pub fn minus(self, before: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(before.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How far apart two moments are, whichever is later.
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }
}

/// Both clocks, read at the same moment by the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub mono: Instant,
    /// For expiry and signatures.
    pub unix: UnixTime,
}

macro_rules! calendar {
    ($(#[$doc:meta])* $name:ident, $minutes:expr, $of:ident, $start:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The one that is `count` later; saturates.
            #[must_use]
            pub fn plus(self, count: u32) -> Self {
                Self(self.0.saturating_add(count))
            }

            /// The one that is `count` earlier; stops at 0.
            #[must_use]
            pub fn minus(self, count: u32) -> Self {
                Self(self.0.saturating_sub(count))
            }
        }

        impl TimeScale {
            #[doc = concat!("The [`", stringify!($name), "`] that `unix` falls into.")]
            pub fn $of(self, unix: UnixTime) -> $name {
                let unit_ms = u64::from(self.minute_ms.max(1)).saturating_mul($minutes);
                $name(u32::try_from(unix.0 / unit_ms.max(1)).unwrap_or(u32::MAX))
            }

            #[doc = concat!("When a [`", stringify!($name), "`] starts.")]
            pub fn $start(self, at: $name) -> UnixTime {
                let unit_ms = u64::from(self.minute_ms.max(1)).saturating_mul($minutes);
                UnixTime(u64::from(at.0).saturating_mul(unit_ms))
            }
        }
    };
}

/// Minutes in a tick ([TIME-2]).
pub const TICK_MINUTES: u64 = 10;
/// Minutes in an hour.
pub const HOUR_MINUTES: u64 = 60;
/// Minutes in an epoch: one day ([TIME-2]).
pub const EPOCH_MINUTES: u64 = 1_440;

calendar! {
    /// Ten minutes of the network's calendar, counted from 1970 ([TIME-2]).
    Tick, TICK_MINUTES, tick_of, tick_start
}
calendar! {
    /// An hour of the network's calendar, counted from 1970 ([TIME-2]).
    Hour, HOUR_MINUTES, hour_of, hour_start
}
calendar! {
    /// A day of the network's calendar, counted from 1970: addresses and placement change with it.
    Epoch, EPOCH_MINUTES, epoch_of, epoch_start
}

impl Tick {
    /// The epoch that the tick is part of.
    pub fn epoch(self) -> Epoch {
        Epoch(self.0 / TICKS_PER_EPOCH)
    }
}

const TICKS_PER_EPOCH: u32 = 144;

/// The length of a network's minute; scales every calendar duration and no wire duration ([TIME-1]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeScale {
    /// Milliseconds in a minute: 60,000 in a public network, 100 in a devnet.
    pub minute_ms: u32,
}

impl TimeScale {
    /// How long `count` of the network's minutes last.
    pub fn minutes(self, count: u64) -> Duration {
        Duration::from_millis(u64::from(self.minute_ms.max(1)).saturating_mul(count))
    }
}

/// The shortest minute of a network: with a shorter one the ticks since 1970 do not fit 4 bytes, all ticks are the
/// last one, and no relay ever has a record. With this one they fit until 2038.
pub const MINUTE_MS_MIN: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    /// [TIME-1] and [TIME-2].
    #[test]
    fn calendar_units_nest_at_every_scale() {
        for minute_ms in [60_000, 100, 1_000, MINUTE_MS_MIN] {
            let scale = TimeScale { minute_ms };
            let unix = UnixTime(1_790_000_000_123);
            let tick = scale.tick_of(unix);
            assert!(scale.tick_start(tick) <= unix && unix < scale.tick_start(tick.plus(1)));
            assert_eq!(tick.epoch(), scale.epoch_of(unix));
            assert_eq!(tick.0 / 6, scale.hour_of(unix).0);
            assert_eq!(scale.hour_of(unix).0 / 24, scale.epoch_of(unix).0);
        }
    }

    #[test]
    fn far_times_saturate_instead_of_wrapping() {
        let scale = TimeScale { minute_ms: 0 };
        assert_eq!(scale.tick_of(UnixTime(u64::MAX)), Tick(u32::MAX));
        assert_eq!(Instant(u64::MAX).plus(Duration::MAX), Instant(u64::MAX));
        assert_eq!(UnixTime(5).minus(Duration::from_secs(1)), UnixTime(0));
    }
}
