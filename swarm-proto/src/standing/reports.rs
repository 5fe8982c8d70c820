//! What relays report to a watcher about those that it watches, and what it makes of that.
//!
//! The median of the reporters counts, so that a minority of slanderers moves nothing. Source:
//! `docs/spec/standing.md`, [STD-6].

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::context::Context;
use crate::id::NodeId;
use crate::limits;
use crate::wire::standing::Tally;

/// The newest report of each relay about each relay under watch, in this epoch.
#[derive(Debug, Default)]
pub(super) struct Reports {
    by: BTreeMap<(NodeId, NodeId), Tally>,
}

impl Reports {
    /// Takes a report in; an older one of the same reporter goes.
    pub(super) fn take(&mut self, reporter: NodeId, tally: Tally) {
        let key = (tally.subject, reporter);
        if self.by.len() < limits::REPORTS_MAX || self.by.contains_key(&key) {
            self.by.insert(key, tally);
        }
    }

    /// Another epoch has begun.
    pub(super) fn clear(&mut self) {
        self.by.clear();
    }

    /// The relay's score for what it keeps, of a hundred, by the median of what reporters of different subnets
    /// found; `None` while there are too few ([STD-6]).
    pub(super) fn kept(&self, context: &Context, subject: &NodeId) -> Option<u8> {
        self.score(context, subject, |tally| (tally.swept, tally.missing))
    }

    /// The same for what it lets be read.
    pub(super) fn read(&self, context: &Context, subject: &NodeId) -> Option<u8> {
        self.score(context, subject, |tally| (tally.asked, tally.failed))
    }

    /// About how many envelopes of a relay were swept in this epoch, as far as those found that report here: the
    /// median of them, times how many they are ([EVD-4]).
    pub(super) fn swept(&self, context: &Context, subject: &NodeId) -> Option<u64> {
        let found = self.found(context, subject, |tally| (tally.swept, tally.missing));
        let mut swept: Vec<u32> = found?.iter().map(|(swept, _)| *swept).collect();
        swept.sort_unstable();
        let median = swept.get((swept.len().checked_sub(1)?) / 2)?;
        Some(u64::from(*median) * swept.len() as u64)
    }

    fn score(
        &self,
        context: &Context,
        subject: &NodeId,
        of: fn(&Tally) -> (u32, u32),
    ) -> Option<u8> {
        let mut found = self.found(context, subject, of)?;
        // By their share, without fractions.
        found.sort_by_key(|(tried, failed)| {
            u64::from(*failed) * 1_000_000 / u64::from(*tried).max(1)
        });
        let (tried, failed) = found.get((found.len() - 1) / 2)?;
        score(*tried, *failed)
    }

    /// What reporters of different subnets found, if they are enough.
    fn found(
        &self,
        context: &Context,
        subject: &NodeId,
        of: fn(&Tally) -> (u32, u32),
    ) -> Option<Vec<(u32, u32)>> {
        let (first, last) = ((*subject, NodeId([0; 32])), (*subject, NodeId([0xff; 32])));
        let members = context.view.snapshot();
        let mut subnets = BTreeSet::new();
        let mut found: Vec<(u32, u32)> = Vec::new();
        for ((_, reporter), tally) in self.by.range(first..=last) {
            let (tried, failed) = of(tally);
            let Some(member) = members.find(reporter).filter(|_| tried > 0) else {
                continue;
            };
            let fresh = member
                .record()
                .subnets_small()
                .all(|one| subnets.insert(one));
            if fresh || context.network.caps.per_set == 0 {
                found.push((tried, failed));
            }
        }
        if found.len() < usize::from(context.network.verdicts.reporters.max(1)) {
            return None;
        }
        Some(found)
    }
}

/// Of a hundred: what a relay that fails `failed` of `tried` settles at, by the weights of [SWP-6].
fn score(tried: u32, failed: u32) -> Option<u8> {
    let (tried, failed) = (u64::from(tried), u64::from(failed));
    let kept = tried.checked_sub(failed)?;
    let score = (kept * 100).checked_div(kept + LOSS_WEIGHT * failed)?;
    u8::try_from(score).ok()
}

/// What a failure weighs against a success.
const LOSS_WEIGHT: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Rig;
    use crate::time::Epoch;

    fn tally(subject: NodeId, swept: u32, missing: u32) -> Tally {
        Tally {
            subject,
            epoch: Epoch(1),
            swept,
            missing,
            asked: 0,
            failed: 0,
        }
    }

    /// [STD-6]
    #[test]
    fn the_median_of_the_reporters_counts_and_few_do_not() {
        let rig = Rig::tuned(12, |network| network.verdicts.reporters = 8);
        let context = rig.view_of(0);
        let (subject, stranger) = (rig.nodes[1].key.node_id(), NodeId([9; 32]));
        let mut reports = Reports::default();
        assert_eq!(reports.kept(&context, &subject), None);
        for at in 2..9 {
            let reporter = rig.nodes[at].key.node_id();
            reports.take(reporter, tally(subject, 300, 15));
            reports.take(stranger, tally(subject, 300, 300));
            assert_eq!(reports.kept(&context, &subject), None, "{at}");
        }
        reports.take(rig.nodes[9].key.node_id(), tally(subject, 300, 15));
        assert_eq!(reports.kept(&context, &subject), Some(65), "5 % are lost");
        assert_eq!(reports.read(&context, &subject), None);
        // Four of ten say the worst; the others, that all is there.
        for at in 2..12 {
            let reporter = rig.nodes[at].key.node_id();
            let missing = if at < 6 { 300 } else { 0 };
            reports.take(reporter, tally(subject, 300, missing));
        }
        assert_eq!(reports.kept(&context, &subject), Some(100));
        assert_eq!(reports.kept(&context, &stranger), None);
    }

    /// [SWP-6]
    #[test]
    fn one_percent_of_loss_is_not_enough_to_be_suspended_and_two_are() {
        assert_eq!(score(1_000, 1), Some(99));
        assert_eq!(score(1_000, 10), Some(90));
        assert_eq!(score(1_000, 20), Some(83));
        assert_eq!(score(0, 0), None);
        assert_eq!(score(5, 5), Some(0));
        assert_eq!(score(5, 6), None);
    }
}
