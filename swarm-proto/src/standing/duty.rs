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
    /// When it was asked and has not answered yet.
    asked: Option<Instant>,
    /// Unanswered questions in a row, and when the first of them was asked.
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
    /// At the last question it was there, and counted as absent.
    pub(super) wronged: bool,
}

/// The hours in which it was asked, and those in which it answered.
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
            asked: None,
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

    /// The next question is due: the last one, if it has no answer, counts as a miss ([STD-3]).
    pub(super) fn ask(&mut self, now: Now, scale: TimeScale) {
        self.hours.at(scale.hour_of(now.unix));
        self.hours.asked_now = true;
        if let Some(asked) = self.asked {
            if self.misses == 0 {
                self.missing_since = asked;
            }
            self.misses = self.misses.saturating_add(1);
            let span = now.mono.since(self.missing_since);
            if self.misses >= MISSES && span >= scale.minutes(ABSENT_AFTER_MINUTES) {
                self.absent = Some(true);
            }
        }
        self.asked = Some(now.mono);
    }

    /// Whether it has left the question before the last one unanswered.
    pub(super) fn is_missing(&self) -> bool {
        self.misses > 0
    }

    /// It said something.
    pub(super) fn answered(&mut self, now: Now, scale: TimeScale) {
        self.hours.at(scale.hour_of(now.unix));
        self.hours.answered_now |= self.hours.asked_now;
        self.asked = None;
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

/// How far apart questions are, at least; an answer has that long ([STD-3]).
pub(super) const ASK_PAUSE_MIN: Duration = Duration::from_secs(3);
/// Minutes between two questions ([STD-3]).
pub(super) const ASK_MINUTES: u64 = 5;
/// Unanswered questions in a row after which a relay is absent ([STD-3]).
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
            duty.ask(now(minutes), scale);
            assert_eq!(duty.absent, absent, "{minutes}");
        }
        duty.answered(now(21), scale);
        assert_eq!(duty.absent, Some(false));
        for minutes in [25, 30, 35] {
            duty.ask(now(minutes), scale);
        }
        duty.answered(now(36), scale);
        duty.ask(now(40), scale);
        assert_eq!(duty.absent, Some(false), "the count began anew");
    }

    /// [STD-4]
    #[test]
    fn availability_is_the_share_of_hours_with_an_answer_and_moves_slowly() {
        let scale = network().scale;
        let mut duty = Duty::new();
        for step in 0..(24 * 12) {
            duty.ask(now(5 * step), scale);
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
