//! Which relays could not be reached, and for how long: one relay's own experience.
//!
//! A relay is away once two tries at least fifteen minutes apart have failed with none between them that
//! worked ([REP-1]). What others say about it is not considered here.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::id::NodeId;
use crate::limits;
use crate::time::{Instant, TimeScale};

/// The relays that could not be reached.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    missing: BTreeMap<NodeId, Missing>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Instant,
    again: Instant,
    away: bool,
}

impl Presence {
    /// A try failed. True if the relay counts as away from here on.
    pub(crate) fn failed(&mut self, now: Instant, id: NodeId, scale: TimeScale) -> bool {
        let after = scale.minutes(limits::ABSENT_AFTER_MINUTES);
        if self.missing.len() >= limits::MEMBERS_MAX && !self.missing.contains_key(&id) {
            return false;
        }
        let missing = self.missing.entry(id).or_insert(Missing {
            since: now,
            again: now.plus(after),
            away: false,
        });
        missing.again = missing.again.max(now.plus(after));
        let departs = !missing.away && now.since(missing.since) >= after;
        missing.away |= departs;
        departs
    }

    /// It was reached. True if a try had failed before.
    pub(crate) fn reached(&mut self, id: &NodeId) -> bool {
        self.missing.remove(id).is_some()
    }

    /// Whether it counts as away.
    pub(crate) fn is_away(&self, id: &NodeId) -> bool {
        self.missing.get(id).is_some_and(|missing| missing.away)
    }

    /// Relays that are to be tried again, a few at a time; each is named once an interval.
    pub(crate) fn due(&mut self, now: Instant, scale: TimeScale) -> Vec<NodeId> {
        let next = now.plus(scale.minutes(limits::ABSENT_AFTER_MINUTES));
        let mut due = Vec::new();
        for (id, missing) in &mut self.missing {
            if missing.again <= now && due.len() < PROBES_MAX {
                missing.again = next;
                due.push(*id);
            }
        }
        due
    }

    /// When the next one is to be tried.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.missing.values().map(|missing| missing.again).min()
    }

    /// How many count as away, for the operator.
    pub(crate) fn away(&self) -> usize {
        self.missing.values().filter(|missing| missing.away).count()
    }
}

/// Relays tried again at once: each may cost a handshake.
const PROBES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const SCALE: TimeScale = TimeScale { minute_ms: 60_000 };
    const ID: NodeId = NodeId([1; 32]);

    fn at(minutes: u64) -> Instant {
        Instant::default().plus(Duration::from_secs(60 * minutes))
    }

    /// [REP-1]
    #[test]
    fn a_relay_is_away_after_two_failures_a_quarter_of_an_hour_apart() {
        let mut presence = Presence::default();
        assert!(!presence.failed(at(0), ID, SCALE));
        assert!(!presence.failed(at(14), ID, SCALE));
        assert!(!presence.is_away(&ID));
        assert!(presence.failed(at(15), ID, SCALE));
        assert!(presence.is_away(&ID) && presence.away() == 1);
        assert!(!presence.failed(at(16), ID, SCALE), "it is told once");
    }

    #[test]
    fn one_success_in_between_starts_the_count_anew() {
        let mut presence = Presence::default();
        presence.failed(at(0), ID, SCALE);
        assert!(presence.reached(&ID));
        assert!(!presence.reached(&ID));
        assert!(!presence.failed(at(20), ID, SCALE));
        assert!(!presence.is_away(&ID));
    }

    #[test]
    fn a_missing_relay_is_tried_again_once_an_interval() {
        let mut presence = Presence::default();
        presence.failed(at(0), ID, SCALE);
        assert_eq!(presence.deadline(), Some(at(15)));
        assert!(presence.due(at(14), SCALE).is_empty());
        assert_eq!(presence.due(at(15), SCALE), [ID]);
        assert!(presence.due(at(15), SCALE).is_empty());
        assert_eq!(presence.deadline(), Some(at(30)));
    }
}
