//! A kill schedule: which relay may be taken down without asking more of a network than it promises.
//!
//! Repair promises that nothing acknowledged is lost while at most two holders of a cell are down within one
//! repair interval. A schedule knows who was down when, and by the placement alone who keeps a cell; it never
//! looks at a disk, so it cannot spare what repair has failed to copy. Its source is [REP-1] in
//! `docs/spec/repair.md`.

use std::collections::BTreeMap;
use std::time::Duration;

/// Who was down when; relays go by any name that can be ordered.
#[derive(Debug)]
pub struct Schedule<R> {
    interval: Duration,
    holders: usize,
    /// When each relay that is down went.
    down: BTreeMap<R, Duration>,
    /// When each relay that was down came back.
    back: BTreeMap<R, Duration>,
}

impl<R: Copy + Ord> Schedule<R> {
    /// Nobody was down yet. `interval` is the time in which repair has replaced who went, or given who came
    /// back what it missed; a cell has `holders`.
    pub fn new(interval: Duration, holders: u8) -> Self {
        Self {
            interval,
            holders: usize::from(holders),
            down: BTreeMap::new(),
            back: BTreeMap::new(),
        }
    }

    /// A relay goes down at `now`, time since the start.
    pub fn went(&mut self, relay: R, now: Duration) {
        self.back.remove(&relay);
        self.down.insert(relay, now);
    }

    /// A relay is back.
    pub fn came(&mut self, relay: R, now: Duration) {
        if self.down.remove(&relay).is_some() {
            self.back.insert(relay, now);
        }
    }

    /// Whether `victim` may go down: of no cell's keepers would more than two be down within an interval.
    /// `lines` are the relays in line for each cell in which something lives, best rank first.
    pub fn allows(&self, lines: &[Vec<R>], victim: R, now: Duration) -> bool {
        lines.iter().all(|line| {
            let keepers = line
                .iter()
                .filter(|relay| !self.is_replaced(**relay, now))
                .take(self.holders);
            let mut troubled = 0;
            let mut keeps = false;
            for relay in keepers {
                keeps |= *relay == victim;
                troubled += usize::from(*relay == victim || self.is_troubled(*relay, now));
            }
            !keeps || troubled <= DOWN_MAX
        })
    }

    /// Down for so long that the next in line has taken its place.
    fn is_replaced(&self, relay: R, now: Duration) -> bool {
        let went = self.down.get(&relay);
        went.is_some_and(|went| now.saturating_sub(*went) > self.interval)
    }

    /// Down, or so lately that it may not have all of it back.
    fn is_troubled(&self, relay: R, now: Duration) -> bool {
        let back = self.back.get(&relay);
        self.down.contains_key(&relay)
            || back.is_some_and(|back| now.saturating_sub(*back) <= self.interval)
    }
}

/// Holders of one cell that may be down within an interval: what repair is asked to bear.
const DOWN_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: [u32; 7] = [1, 2, 3, 4, 5, 6, 7];

    fn at(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    /// A schedule by which these went down.
    fn schedule(down: &[(u32, u64)]) -> Schedule<u32> {
        let mut schedule = Schedule::new(at(120), 5);
        for (relay, minute) in down {
            schedule.went(*relay, at(*minute));
        }
        schedule
    }

    #[test]
    fn the_third_holder_of_a_cell_is_spared_and_a_stranger_is_not() {
        let lines = [LINE.to_vec()];
        assert!(schedule(&[(1, 0)]).allows(&lines, 2, at(10)));
        assert!(!schedule(&[(1, 0), (2, 5)]).allows(&lines, 3, at(10)));
        assert!(schedule(&[(1, 0), (2, 5)]).allows(&lines, 9, at(10)));
        assert!(schedule(&[(1, 0), (9, 5)]).allows(&lines, 2, at(10)));
    }

    #[test]
    fn who_stands_in_counts_once_it_does() {
        let lines = [LINE.to_vec()];
        let schedule = schedule(&[(1, 0), (2, 100)]);
        assert!(!schedule.allows(&lines, 3, at(110)));
        assert!(schedule.allows(&lines, 6, at(110)), "it keeps nothing yet");
        assert!(schedule.allows(&lines, 3, at(121)), "1 is replaced by 6");
        assert!(schedule.allows(&lines, 6, at(121)));
    }

    #[test]
    fn who_is_back_needs_an_interval_to_catch_up() {
        let lines = [LINE.to_vec()];
        let mut schedule = schedule(&[(1, 0), (2, 0)]);
        schedule.came(1, at(60));
        assert!(!schedule.allows(&lines, 3, at(100)));
        assert!(schedule.allows(&lines, 3, at(181)));
    }
}
