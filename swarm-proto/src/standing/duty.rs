//! What one watcher knows of one relay in one epoch.
//!
//! Source: `docs/spec/standing.md`, [STD-3].

use core::time::Duration;

use crate::standing::certificate::Certificate;
use crate::time::{Hour, Instant, Now, TimeScale};
use crate::wire::standing::{Past, Words};

/// A relay under watch.
#[derive(Debug)]
pub(super) struct Duty {
    /// When it was looked at last, and whether it has said since then that it is there.
    looked: Option<Instant>,
    heard: bool,
    /// Looks since it was asked.
    unasked: u32,
    /// Silent pauses in a row, and when the first of them began.
    misses: u32,
    missing_since: Instant,
    /// What is known of its presence: nothing, until it answers or is found absent.
    pub(super) absent: Option<bool>,
    hours: Hours,
    /// When it is to show what it has pledged.
    pub(super) challenge_at: Option<Instant>,
    /// The class that it has shown in this epoch.
    pub(super) class: Option<u8>,
    /// Challenges in a row that it left unanswered.
    pub(super) silent: u8,
    /// Its key is convicted by what it signed.
    pub(super) convicted: bool,
    /// What was said last.
    pub(super) told: Option<Words>,
    /// At the last look it was there, and counted as absent.
    pub(super) wronged: bool,
}

/// The hours in which it was looked at, and those in which it was there.
#[derive(Clone, Copy, Debug, Default)]
struct Hours {
    now: Hour,
    asked_now: bool,
    answered_now: bool,
    asked: u32,
    answered: u32,
}

impl Hours {
    fn at(&mut self, hour: Hour) {
        if hour != self.now {
            self.asked = self.asked.saturating_add(u32::from(self.asked_now));
            self.answered = self.answered.saturating_add(u32::from(self.answered_now));
            (self.now, self.asked_now, self.answered_now) = (hour, false, false);
        }
    }

    fn share(&self) -> Option<u8> {
        let asked = self.asked.saturating_add(u32::from(self.asked_now));
        let answered = self.answered.saturating_add(u32::from(self.answered_now));
        let share = answered.saturating_mul(100).checked_div(asked)?;
        u8::try_from(share).ok()
    }
}

impl Duty {
    pub(super) fn new() -> Self {
        Self {
            looked: None,
            heard: false,
            unasked: 0,
            misses: 0,
            missing_since: Instant::default(),
            absent: None,
            hours: Hours::default(),
            challenge_at: None,
            class: None,
            silent: 0,
            convicted: false,
            told: None,
            wronged: false,
        }
    }

    /// The next look is due: a pause in which nothing was heard counts as a miss. True if it is to be asked
    /// ([STD-3]).
    pub(super) fn look(&mut self, now: Now, scale: TimeScale) -> bool {
        self.hours.at(scale.hour_of(now.unix));
        self.hours.asked_now = true;
        let heard = core::mem::take(&mut self.heard);
        if let Some(looked) = self.looked.replace(now.mono)
            && !heard
        {
            if self.misses == 0 {
                self.missing_since = looked;
            }
            self.misses = self.misses.saturating_add(1);
            let span = now.mono.since(self.missing_since);
            if self.misses >= MISSES && span >= scale.minutes(ABSENT_AFTER_MINUTES) {
                self.absent = Some(true);
            }
        }
        self.unasked += 1;
        let asks = !heard || self.unasked >= ASKED_EVERY;
        if asks {
            self.unasked = 0;
        }
        asks
    }

    /// Whether nothing was heard of it between the last two looks.
    pub(super) fn is_missing(&self) -> bool {
        self.misses > 0
    }

    /// It said that it is there.
    pub(super) fn answered(&mut self, now: Now, scale: TimeScale) {
        self.hours.at(scale.hour_of(now.unix));
        self.hours.answered_now |= self.hours.asked_now;
        self.heard = true;
        self.misses = 0;
        self.absent = Some(false);
    }

    /// What this watcher says by what it knows; `kept` and `read` are what others report ([STD-4]).
    pub(super) fn words(
        &self,
        before: Before,
        kept: Option<u8>,
        read: Option<u8>,
        last: bool,
    ) -> Words {
        let poor = |share: Option<u8>| share.is_some_and(|share| share < SUSPENDED_BELOW);
        let available = match (self.hours.share(), before.available) {
            (Some(now), Some(old)) => {
                let week = u16::from(old) * (WEEK - 1) + u16::from(now);
                u8::try_from((week + WEEK / 2) / WEEK).ok()
            }
            (now, old) => now.or(old),
        };
        let class = if self.silent >= SILENT_MAX || self.convicted {
            0
        } else {
            self.class.unwrap_or(before.class)
        };
        Words {
            absent: self.absent == Some(true),
            last,
            suspend: poor(kept) || poor(read) || self.convicted,
            age: before.age,
            available,
            kept: match (kept, read) {
                (Some(kept), Some(read)) => Some(kept.min(read)),
                (kept, read) => kept.or(read),
            },
            class,
            past: before.past,
        }
    }
}

/// How far apart a watcher's looks are, and the words with which a relay tells its watchers that it is there
/// ([STD-3]).
pub(super) fn pause(scale: TimeScale) -> Duration {
    scale.minutes(PAUSE_MINUTES).max(PAUSE_MIN)
}

/// What is known of a relay from earlier epochs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    pub(super) age: u8,
    pub(super) available: Option<u8>,
    pub(super) class: u8,
    pub(super) past: Past,
}

impl Before {
    /// By the last certificate, which is of `epochs` before; without one, a relay that holds already is as
    /// old as it must be ([STD-8]).
    pub(super) fn of(
        certificate: Option<(u32, &Certificate)>,
        verdicts: &crate::network::Verdicts,
        holds: bool,
    ) -> Self {
        let Some((epochs, certificate)) = certificate else {
            return Self {
                age: if holds { verdicts.certificates } else { 0 },
                ..Self::default()
            };
        };
        Self {
            age: certificate.age.saturating_add(1),
            available: certificate.available,
            class: certificate.class,
            past: certificate.past_after(epochs, verdicts),
        }
    }
}

/// How far apart a watcher's looks are, at least; an answer has that long ([STD-3]).
pub(super) const PAUSE_MIN: Duration = Duration::from_secs(3);
/// Minutes between two looks ([STD-3]).
const PAUSE_MINUTES: u64 = 5;
/// At each so manieth look a relay is asked although it was heard: an hour apart ([STD-3]).
pub(super) const ASKED_EVERY: u32 = 12;
/// Silent pauses in a row after which a relay is absent ([STD-3]).
const MISSES: u32 = 3;
/// Minutes that they must span.
const ABSENT_AFTER_MINUTES: u64 = 15;
/// Days over which availability is averaged.
const WEEK: u16 = 7;
/// A relay that keeps less of a hundred is to be suspended ([STD-4]).
const SUSPENDED_BELOW: u8 = 85;
/// Challenges in a row without an answer after which nothing is pledged.
const SILENT_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    use crate::members::testing::{at, network};

    fn now(minutes: u64) -> Now {
        Now {
            mono: Instant::default().plus(Duration::from_secs(60 * minutes)),
            unix: at(0).plus(Duration::from_secs(60 * minutes)),
        }
    }

    /// [STD-3]
    #[test]
    fn three_misses_over_a_quarter_of_an_hour_are_an_absence_and_one_answer_ends_it() {
        let scale = network().scale;
        let mut duty = Duty::new();
        for (minutes, absent) in [
            (0, None),
            (5, None),
            (10, None),
            (15, Some(true)),
            (20, Some(true)),
        ] {
            assert!(duty.look(now(minutes), scale), "it is asked");
            assert_eq!(duty.absent, absent, "{minutes}");
        }
        duty.answered(now(21), scale);
        assert_eq!(duty.absent, Some(false));
        for minutes in [25, 30, 35] {
            duty.look(now(minutes), scale);
        }
        duty.answered(now(36), scale);
        duty.look(now(40), scale);
        assert_eq!(duty.absent, Some(false), "the count began anew");
    }

    /// [STD-3]
    #[test]
    fn who_says_that_it_is_there_is_asked_once_an_hour_and_who_falls_silent_at_once() {
        let scale = network().scale;
        let mut duty = Duty::new();
        let mut asked = Vec::new();
        for minutes in (0..=130).step_by(5) {
            if duty.look(now(minutes), scale) {
                asked.push(minutes);
            }
            duty.answered(now(minutes + 2), scale);
        }
        assert_eq!(asked, [0, 60, 120]);
        // Its last word was at 132.
        assert!(!duty.look(now(135), scale));
        for (minutes, absent) in [(140, false), (145, false), (150, true)] {
            assert!(duty.look(now(minutes), scale), "{minutes}");
            assert_eq!(duty.absent, Some(absent), "{minutes}");
        }
    }

    /// [STD-4]
    #[test]
    fn availability_is_the_share_of_hours_with_an_answer_and_moves_slowly() {
        let scale = network().scale;
        let mut duty = Duty::new();
        for step in 0..(24 * 12) {
            duty.look(now(5 * step), scale);
            // It sleeps for six hours, and answers once an hour else.
            if step % 12 == 7 && step / 12 >= 6 {
                duty.answered(now(5 * step + 1), scale);
            }
        }
        let fresh = duty.words(Before::default(), None, None, true);
        assert_eq!(fresh.available, Some(75));
        let before = Before {
            available: Some(100),
            ..Before::default()
        };
        assert_eq!(duty.words(before, None, None, true).available, Some(96));
        assert_eq!(
            Duty::new().words(before, None, None, true).available,
            Some(100)
        );
    }

    /// [STD-10]
    #[test]
    fn a_class_that_was_shown_counts_until_three_challenges_are_left_unanswered() {
        let before = Before {
            class: 2,
            ..Before::default()
        };
        let mut duty = Duty::new();
        let class = |duty: &Duty| duty.words(before, None, None, true).class;
        assert_eq!(class(&duty), 2, "as certified before");
        duty.class = Some(1);
        assert_eq!(class(&duty), 1);
        duty.silent = 2;
        assert_eq!(class(&duty), 1);
        duty.silent = 3;
        assert_eq!(class(&duty), 0);
    }

    /// [STD-4]
    #[test]
    fn a_watcher_wants_a_relay_suspended_for_what_it_lost_refused_or_signed() {
        let duty = Duty::new();
        let words = |kept, read| duty.words(Before::default(), kept, read, false);
        assert!(!words(None, None).suspend);
        assert!(!words(Some(85), Some(85)).suspend);
        assert!(words(Some(84), None).suspend);
        assert!(words(Some(100), Some(84)).suspend);
        assert_eq!(words(Some(100), Some(84)).kept, Some(84));
        let mut guilty = Duty::new();
        guilty.class = Some(3);
        assert_eq!(guilty.words(Before::default(), None, None, false).class, 3);
        guilty.convicted = true;
        let words = guilty.words(Before::default(), None, None, false);
        assert!(words.suspend && words.class == 0);
    }
}
