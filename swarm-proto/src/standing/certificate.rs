//! What a quorum of watchers says together, and what follows for the epochs to come.
//!
//! A certificate is nothing that anybody signs: whoever has the last testimonies of a quorum computes it, and
//! whoever has the same ones computes the same. It carries what must be known of earlier epochs, so that nobody
//! needs to keep older ones. Source: `docs/spec/standing.md`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use crate::id::NodeId;
use crate::network::Verdicts;
use crate::time::Epoch;
use crate::wire::standing::{Past, Words};

/// What a quorum says about one relay in one epoch ([STD-7]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Certificates of earlier epochs.
    pub age: u8,
    /// Of a hundred hours, how many it answered in.
    pub available: Option<u8>,
    /// Its score for what it keeps, of a hundred.
    pub kept: Option<u8>,
    /// The class of its pledge.
    pub class: u8,
    /// What verdicts of earlier epochs mean.
    pub past: Past,
    /// Watchers that want it suspended.
    pub votes: u8,
    /// Whether these are a majority.
    pub suspend: bool,
}

impl Certificate {
    /// Of the last words of at least a quorum of the watchers; `majority` of them suspend ([STD-7]).
    pub fn of(words: &[Words], majority: usize) -> Self {
        let votes = words.iter().filter(|words| words.suspend).count();
        let half = words.len().div_ceil(2);
        let bit = |bit: u8| {
            let set = words.iter().filter(|one| one.past.history & bit != 0);
            if set.count() >= half { bit } else { 0 }
        };
        let numbers = |of: fn(&Words) -> u8| median(words.iter().map(of).collect()).unwrap_or(0);
        let shares = |of: fn(&Words) -> Option<u8>| {
            let known: Vec<u8> = words.iter().filter_map(of).collect();
            // What few know is known to none.
            median(known).filter(|_| words.iter().filter_map(of).count() >= half)
        };
        let term = numbers(|words| words.past.term);
        Self {
            age: numbers(|words| words.age),
            available: shares(|words| words.available),
            kept: shares(|words| words.kept),
            class: numbers(|words| words.class),
            past: Past {
                history: (0..8).map(|place| bit(1 << place)).sum(),
                term,
                clean: if term == 0 {
                    numbers(|words| words.past.clean)
                } else {
                    0
                },
                times: numbers(|words| words.past.times),
            },
            votes: u8::try_from(votes).unwrap_or(u8::MAX),
            suspend: votes >= majority.max(1),
        }
    }

    /// As one watcher would say it who knew nothing else; its votes are left out.
    pub(super) fn words(&self) -> Words {
        Words {
            absent: false,
            last: true,
            suspend: self.suspend,
            age: self.age,
            available: self.available,
            kept: self.kept,
            class: self.class,
            past: self.past,
        }
    }

    /// From [`Certificate::words`] and its votes.
    pub(super) fn restored(words: &Words, votes: u8) -> Self {
        Self {
            age: words.age,
            available: words.available,
            kept: words.kept,
            class: words.class,
            past: words.past,
            votes,
            suspend: words.suspend,
        }
    }

    /// What is known of the past `epochs` later, at least 1, with this epoch's verdict in it ([STD-8]).
    pub fn past_after(&self, epochs: u32, verdicts: &Verdicts) -> Past {
        let mut past = self.past;
        past.history = (past.history << 1) | u8::from(self.suspend);
        run_on(&mut past, 1, verdicts);
        let window = 1_u16 << verdicts.suspend_window.clamp(1, 8);
        let recent = u16::from(past.history) & window.wrapping_sub(1);
        if past.term == 0 && recent.count_ones() >= u32::from(verdicts.suspend_epochs.max(1)) {
            let term = 1_u8.checked_shl(past.times.into());
            past.term = term.unwrap_or(Past::TERM_MAX).min(Past::TERM_MAX);
            past.times = past.times.saturating_add(1);
            (past.history, past.clean) = (0, 0);
        }
        let further = epochs.saturating_sub(1);
        past.history = past.history.checked_shl(further).unwrap_or(0);
        run_on(
            &mut past,
            u8::try_from(further).unwrap_or(u8::MAX),
            verdicts,
        );
        past
    }
}

/// So many epochs pass: a term ends, and what was long ago is forgotten ([STD-8]).
fn run_on(past: &mut Past, epochs: u8, verdicts: &Verdicts) {
    let served = past.term.min(epochs);
    past.term = past.term.saturating_sub(served);
    if past.term > 0 || past.times == 0 {
        past.clean = 0;
        return;
    }
    let clean = past.clean.saturating_add(epochs.saturating_sub(served));
    past.clean = clean.min(Past::CLEAN_MAX);
    if past.clean >= verdicts.forget_epochs.clamp(1, Past::CLEAN_MAX) {
        (past.times, past.clean) = (0, 0);
    }
}

/// The certificates of all relays, for as long as they matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    known: BTreeMap<NodeId, BTreeMap<Epoch, Certificate>>,
    /// In which epochs a relay holds nothing, whatever is certified.
    expelled: BTreeMap<NodeId, Vec<Range<Epoch>>>,
}

impl Certificates {
    /// Takes one in, or a better founded one in its place; true if that changes something.
    pub fn insert(&mut self, subject: NodeId, epoch: Epoch, certificate: Certificate) -> bool {
        let known = self.known.entry(subject).or_default();
        known.insert(epoch, certificate) != Some(certificate)
    }

    /// Leaves a relay out of M(e) of all these epochs ([EVD-3]); of proofs kept for a month there is one at a time.
    pub fn expel(&mut self, subject: NodeId, epochs: Range<Epoch>) {
        self.expelled.entry(subject).or_default().push(epochs);
    }

    fn is_expelled(&self, subject: &NodeId, epoch: Epoch) -> bool {
        let of_this = self.expelled.get(subject);
        of_this.is_some_and(|all| all.iter().any(|epochs| epochs.contains(&epoch)))
    }

    /// The newest one of an epoch before `epoch` that is at most three older, and how many epochs
    /// lie between.
    pub fn before(&self, subject: &NodeId, epoch: Epoch) -> Option<(u32, &Certificate)> {
        let known = self.known.get(subject)?;
        let (of, certificate) = known.range(..epoch).next_back()?;
        let passed = epoch.0.saturating_sub(of.0);
        (passed <= GOOD_FOR).then_some((passed, certificate))
    }

    /// That of one epoch.
    pub fn of(&self, subject: &NodeId, epoch: Epoch) -> Option<&Certificate> {
        self.known.get(subject)?.get(&epoch)
    }

    /// All of one epoch, ascending by the relay.
    pub(super) fn all_of(&self, epoch: Epoch) -> impl Iterator<Item = (&NodeId, &Certificate)> {
        self.known
            .iter()
            .filter_map(move |(subject, known)| Some((subject, known.get(&epoch)?)))
    }

    /// Whether a relay may hold in an epoch, as far as watchers say: by the newest certificate of the second
    /// epoch before or up to two earlier, and whether it needs to have shown what newcomers must
    /// ([ELI-7]). `None` if none says anything.
    pub fn allow(
        &self,
        verdicts: &Verdicts,
        class_min: u8,
        subject: &NodeId,
        epoch: Epoch,
        is_founder: bool,
    ) -> Option<bool> {
        if self.is_expelled(subject, epoch) {
            return Some(false);
        }
        let last = epoch.minus(1);
        let (passed, certificate) = self.before(subject, last)?;
        let past = certificate.past_after(passed, verdicts);
        let has_shown = is_founder
            || (certificate.age.saturating_add(1) >= verdicts.certificates
                && certificate.class >= class_min);
        Some(
            past.term == 0
                && has_shown
                && certificate.available.unwrap_or(100) >= verdicts.available_min
                && certificate.kept.unwrap_or(100) >= KEPT_MIN,
        )
    }

    /// Whether a relay is there so seldom, by its newest certificate of an epoch before `today`, that others take
    /// over what it holds ([STD-11]).
    pub fn is_rare(&self, verdicts: &Verdicts, subject: &NodeId, today: Epoch) -> bool {
        let newest = self.before(subject, today);
        let available = newest.and_then(|(_, certificate)| certificate.available);
        available.is_some_and(|share| share < verdicts.replaced_below)
    }

    /// Forgets those of epochs before `oldest`.
    pub fn forget_before(&mut self, oldest: Epoch) {
        for known in self.known.values_mut() {
            *known = known.split_off(&oldest);
        }
        self.known.retain(|_, known| !known.is_empty());
        for epochs in self.expelled.values_mut() {
            epochs.retain(|epochs| epochs.end > oldest);
        }
        self.expelled.retain(|_, epochs| !epochs.is_empty());
    }
}

/// The lower one of the two in the middle.
fn median(mut values: Vec<u8>) -> Option<u8> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// Epochs for which a certificate speaks where there is no newer one.
pub(super) const GOOD_FOR: u32 = 3;
/// A relay that keeps less of a hundred gets no new cells.
const KEPT_MIN: u8 = 95;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::testing::network;

    fn good() -> Words {
        Words {
            last: true,
            age: 9,
            available: Some(99),
            kept: Some(100),
            class: 1,
            ..Words::default()
        }
    }

    fn verdicts() -> Verdicts {
        network().verdicts
    }

    /// [STD-7]
    #[test]
    fn a_fifth_of_slanderers_moves_no_number_and_suspends_nobody() {
        let slander = Words {
            suspend: true,
            age: 0,
            available: Some(0),
            kept: Some(0),
            class: 0,
            past: Past {
                history: 0xff,
                term: 64,
                clean: 0,
                times: 9,
            },
            ..good()
        };
        for lying in 0..=7 {
            let mut words = alloc::vec![good(); 15 - lying];
            words.extend(alloc::vec![slander; lying]);
            let certificate = Certificate::of(&words, 11);
            assert_eq!(usize::from(certificate.votes), lying);
            let honest = Certificate::of(&[good(); 15], 11);
            let votes = certificate.votes;
            assert_eq!(certificate, Certificate { votes, ..honest }, "{lying}");
        }
        let words = [slander; 11];
        assert!(Certificate::of(&words, 11).suspend);
        assert!(!Certificate::of(&words[..10], 11).suspend);
    }

    #[test]
    fn what_half_of_them_do_not_know_is_not_known() {
        let blind = Words {
            kept: None,
            ..good()
        };
        let known = |blinds: usize| {
            let mut words = alloc::vec![good(); 8 - blinds];
            words.extend(alloc::vec![blind; blinds]);
            Certificate::of(&words, 6).kept
        };
        assert_eq!((known(0), known(4), known(5)), (Some(100), Some(100), None));
    }

    /// [STD-8]: in three of five epochs, then for one epoch, then two, then four.
    #[test]
    fn a_suspension_needs_three_of_five_epochs_and_doubles_each_time() {
        let verdicts = verdicts();
        let mut past = Past::default();
        let mut terms = Vec::new();
        for epoch in 0..30 {
            let words = Words {
                suspend: true,
                past,
                ..good()
            };
            let certificate = Certificate::of(&[words; 15], 11);
            past = certificate.past_after(1, &verdicts);
            terms.push(past.term);
            assert!(past.times <= 9, "{epoch}");
        }
        assert_eq!(terms[..3], [0, 0, 1]);
        assert_eq!(terms[3..8], [0, 0, 2, 1, 0]);
        assert!(terms.contains(&8));

        let mut rare = Past::default();
        for epoch in 0..40 {
            let words = Words {
                suspend: epoch % 3 == 0,
                past: rare,
                ..good()
            };
            rare = Certificate::of(&[words; 15], 11).past_after(1, &verdicts);
            assert_eq!(rare.term, 0, "two of five are not enough: {epoch}");
        }
    }

    /// [STD-8]: ninety epochs after the last one was over it is as if there had been none, and not one epoch before.
    #[test]
    fn suspensions_are_forgotten_after_ninety_epochs_without_another() {
        let verdicts = verdicts();
        let suspended = Past {
            times: 5,
            term: 3,
            ..Past::default()
        };
        let after = |epochs: u32, suspend, mut past: Past| {
            for _ in 0..epochs {
                let words = Words {
                    suspend,
                    past,
                    ..good()
                };
                past = Certificate::of(&[words; 15], 11).past_after(1, &verdicts);
            }
            past
        };
        let times = |epochs| after(epochs, false, suspended).times;
        assert_eq!((times(3), times(92), times(93)), (5, 5, 0));
        assert_eq!(after(93, false, suspended), Past::default());
        let almost = after(92, false, suspended);
        assert_eq!((almost.term, almost.clean), (0, 89));
        let again = after(3, true, after(86, false, suspended));
        assert_eq!((again.term, again.times, again.clean), (32, 6, 0));
        let fresh = after(3, true, after(93, false, suspended));
        assert_eq!((fresh.term, fresh.times), (1, 1));
        // Without certificates time runs on all the same.
        let words = Words {
            past: suspended,
            ..good()
        };
        let silent = |epochs| Certificate::of(&[words; 15], 11).past_after(epochs, &verdicts);
        for epochs in 1..=200 {
            let step_by_step = after(epochs, false, suspended);
            assert_eq!(silent(epochs), step_by_step, "{epochs}");
        }
    }

    /// [STD-7]: whoever has it an epoch wrong moves it by no more than that.
    #[test]
    fn a_fifth_of_liars_makes_nothing_forgotten_and_nothing_remembered() {
        let verdicts = verdicts();
        let past = Past {
            times: 3,
            clean: 40,
            ..Past::default()
        };
        let liars = [
            Past {
                clean: Past::CLEAN_MAX,
                ..Past::default()
            },
            Past {
                term: Past::TERM_MAX,
                times: u8::MAX,
                ..Past::default()
            },
        ];
        for lie in liars {
            let mut words = alloc::vec![Words { past, ..good() }; 12];
            words.extend(
                [Words {
                    past: lie,
                    ..good()
                }; 3],
            );
            let certificate = Certificate::of(&words, 11);
            assert_eq!(certificate.past, past);
            assert_eq!(certificate.past_after(1, &verdicts).clean, 41);
        }
    }

    /// [ELI-7]
    #[test]
    fn a_relay_holds_by_its_newest_certificate_of_two_epochs_ago_or_little_older() {
        let (subject, today) = (NodeId([7; 32]), Epoch(100));
        let allow = |certificates: &Certificates, is_founder| {
            certificates.allow(&verdicts(), 1, &subject, today, is_founder)
        };
        let with = |epoch: u32, words: Words| {
            let mut certificates = Certificates::default();
            certificates.insert(subject, Epoch(epoch), Certificate::of(&[words; 15], 11));
            certificates
        };
        assert_eq!(allow(&Certificates::default(), false), None);
        assert_eq!(allow(&with(99, good()), false), None, "not yet everywhere");
        assert_eq!(allow(&with(98, good()), false), Some(true));
        assert_eq!(allow(&with(96, good()), false), Some(true));
        assert_eq!(allow(&with(95, good()), false), None, "too old");
        let young = Words { age: 3, ..good() };
        let bare = Words { class: 0, ..good() };
        for words in [young, bare] {
            assert_eq!(allow(&with(98, words), false), Some(false));
            assert_eq!(allow(&with(98, words), true), Some(true));
        }
        let rare = Words {
            available: Some(89),
            ..good()
        };
        let lossy = Words {
            kept: Some(94),
            ..good()
        };
        let suspended = Words {
            past: Past {
                term: 2,
                ..Past::default()
            },
            ..good()
        };
        for words in [rare, lossy, suspended] {
            assert_eq!(allow(&with(98, words), true), Some(false));
        }
        assert_eq!(allow(&with(97, suspended), false), Some(true), "it is over");
        let mut both = with(97, lossy);
        both.insert(subject, Epoch(98), Certificate::of(&[good(); 15], 11));
        assert_eq!(allow(&both, false), Some(true));
        both.forget_before(Epoch(99));
        assert_eq!(both, Certificates::default());
    }

    /// [STD-11]
    #[test]
    fn a_relay_is_rare_by_its_newest_certificate_and_not_for_long_after() {
        let (subject, verdicts) = (NodeId([7; 32]), verdicts());
        let certified = |available| {
            let words = Words {
                available,
                ..good()
            };
            let mut certificates = Certificates::default();
            certificates.insert(subject, Epoch(98), Certificate::of(&[words; 15], 11));
            certificates
        };
        let is_rare = |available, today| certified(available).is_rare(&verdicts, &subject, today);
        for (available, rare) in [(Some(74), true), (Some(75), false), (None, false)] {
            assert_eq!(is_rare(available, Epoch(99)), rare, "{available:?}");
        }
        assert!(!is_rare(Some(0), Epoch(98)), "the epoch is not over");
        assert!(is_rare(Some(0), Epoch(101)) && !is_rare(Some(0), Epoch(102)));
        let mut certificates = certified(Some(0));
        certificates.insert(subject, Epoch(99), Certificate::of(&[good(); 15], 11));
        assert!(!certificates.is_rare(&verdicts, &subject, Epoch(100)));
    }
}
