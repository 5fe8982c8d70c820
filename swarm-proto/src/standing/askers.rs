//! Watchers that asked this relay whether it is there, and are told so for a while without asking again.
//!
//! Source: `docs/spec/standing.md`, [STD-3].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::NodeId;
use crate::standing::duty::ASKED_EVERY;
use crate::time::Instant;

/// Who is told that this relay is there, and until when.
#[derive(Debug, Default)]
pub(super) struct Askers {
    until: BTreeMap<NodeId, Instant>,
    tell_at: Option<Instant>,
}

impl Askers {
    /// A watcher asked; it is told again after each `pause` until it has to ask again.
    pub(super) fn asked(&mut self, now: Instant, pause: Duration, watcher: NodeId) {
        let until = now.plus(pause.saturating_mul(ASKED_EVERY));
        self.until.insert(watcher, until);
        self.tell_at.get_or_insert(now.plus(pause));
    }

    /// Those that are to be told now.
    pub(super) fn due(&mut self, now: Instant, pause: Duration) -> Vec<NodeId> {
        if self.tell_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.until.retain(|_, until| *until >= now);
        self.tell_at = (!self.until.is_empty()).then(|| now.plus(pause));
        self.until.keys().copied().collect()
    }

    /// When the next ones are.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.tell_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(300);

    fn at(minutes: u64) -> Instant {
        Instant::default().plus(Duration::from_secs(60 * minutes))
    }

    /// [STD-3]
    #[test]
    fn who_asked_is_told_every_five_minutes_for_an_hour_and_then_no_more() {
        let mut askers = Askers::default();
        assert_eq!(askers.deadline(), None);
        askers.asked(at(0), PAUSE, NodeId([1; 32]));
        let mut told = [0; 2];
        for minute in 0..200 {
            if minute == 32 {
                askers.asked(at(32), PAUSE, NodeId([2; 32]));
            }
            assert!(askers.deadline().is_none_or(|due| due >= at(minute)));
            for watcher in askers.due(at(minute), PAUSE) {
                told[usize::from(watcher.0[0]) - 1] += 1;
            }
        }
        assert_eq!(told, [12, 12]);
        assert_eq!(askers.deadline(), None, "nobody is left");
    }
}
