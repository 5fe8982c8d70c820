//! Who watches whom, and how many of them must agree.
//!
//! Source: `docs/spec/standing.md`.

use alloc::vec::Vec;

use crate::hash;
use crate::id::NodeId;
use crate::members::Eligible;
use crate::network::Network;
use crate::place;
use crate::time::Epoch;

/// The watchers of one relay in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watchers {
    ids: Vec<NodeId>,
    /// How many of them a relay tells what it found.
    told: usize,
}

impl Watchers {
    /// Draws them from M(e): members of different subnets, and never the relay itself ([STD-1]).
    pub fn of(network: &Network, eligible: &Eligible, subject: &NodeId) -> Self {
        let most = usize::from(network.verdicts.watchers);
        let mut key = [0; 16];
        let epoch = eligible.epoch().0.to_be_bytes();
        hash::derive_into("poste watch", &[&epoch, &subject.0], &mut key);
        let per_set = network.caps.per_set;
        let mut ids = place::drawn(eligible, key, per_set, most.saturating_add(1));
        ids.retain(|id| id != subject);
        ids.truncate(most);
        let told = TOLD_TO.div_ceil(eligible.len().max(1)).max(TOLD_MIN);
        Self { ids, told }
    }

    /// Their ids, in the order of the draw.
    pub fn ids(&self) -> &[NodeId] {
        &self.ids
    }

    /// Whether they are enough to speak for the network ([STD-2]).
    pub fn are_enough(&self) -> bool {
        self.ids.len() >= WATCHERS_MIN
    }

    /// How many of them make a certificate, or call a relay absent ([STD-2]).
    pub fn quorum(&self) -> usize {
        share(self.ids.len(), 8)
    }

    /// How many of them suspend a relay ([STD-2]).
    pub fn majority(&self) -> usize {
        share(self.ids.len(), 11)
    }

    /// So few may go on calling a relay absent that is back: a fifth of all, who lie, makes no quorum with them
    /// ([STD-9]).
    pub fn stale_max(&self) -> usize {
        let liars = self.ids.len() / 5;
        self.quorum().saturating_sub(1 + liars)
    }

    /// How many say the same before the others need not say it too: lists differ, and not everybody counts each of
    /// them ([STD-12]).
    pub fn ample(&self) -> usize {
        self.quorum().saturating_add(SPARE)
    }

    /// Those to whom a relay reports about the subject: a few where there are many reporters ([STD-6]).
    pub fn told_by(&self, network: &Network, reporter: &NodeId, epoch: Epoch) -> Vec<NodeId> {
        let rank = |watcher: &NodeId| {
            let parts: [&[u8]; 4] = [
                &network.id().0,
                &epoch.0.to_be_bytes(),
                &reporter.0,
                &watcher.0,
            ];
            hash::derive("poste report", &parts)
        };
        let mut ids = self.ids.clone();
        ids.sort_by_cached_key(rank);
        ids.truncate(self.told);
        ids
    }
}

/// This many fifteenths of `of`, rounded up.
fn share(of: usize, fifteenths: usize) -> usize {
    of.saturating_mul(fifteenths).div_ceil(FULL)
}

/// Watchers that say the same beyond a quorum.
const SPARE: usize = 2;
/// Fewer watchers than this do not speak for the network.
pub const WATCHERS_MIN: usize = 8;
/// Watchers of a relay in a large network.
const FULL: usize = 15;
/// Watchers that a relay tells at least.
const TOLD_MIN: usize = 3;
/// Reports about one relay that all its watchers together are to get: two dozen each, of which eight must do.
const TOLD_TO: usize = 360;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::testing::{TODAY, list, network, record};
    use alloc::collections::BTreeSet;

    fn eligible(count: u32, epoch: Epoch) -> Eligible {
        Eligible::of(&network(), &list((0..count).map(record)).snapshot(), epoch)
    }

    /// [STD-1]
    #[test]
    fn watchers_are_others_of_the_epoch_and_change_with_it() {
        let (today, tomorrow) = (eligible(60, TODAY), eligible(60, TODAY.plus(1)));
        let mut watched: BTreeSet<NodeId> = BTreeSet::new();
        for member in today.ids() {
            let watchers = Watchers::of(&network(), &today, &member);
            assert_eq!(watchers.ids().len(), 15);
            assert!(!watchers.ids().contains(&member));
            let later = Watchers::of(&network(), &tomorrow, &member);
            assert_ne!(watchers, later);
            watched.extend(watchers.ids());
        }
        assert_eq!(watched.len(), 60, "everybody watches somebody");
        let stranger = NodeId([9; 32]);
        assert_eq!(Watchers::of(&network(), &today, &stranger).ids().len(), 15);
    }

    /// [STD-2]
    #[test]
    fn eight_of_fifteen_certify_and_eleven_suspend_and_few_do_neither() {
        let of = |count| {
            let eligible = eligible(count, TODAY);
            let first = eligible.ids().next().unwrap();
            let watchers = Watchers::of(&network(), &eligible, &first);
            (
                watchers.ids().len(),
                watchers.are_enough(),
                watchers.quorum(),
                watchers.majority(),
            )
        };
        assert_eq!(of(40), (15, true, 8, 11));
        assert_eq!(of(12), (11, true, 6, 9));
        assert_eq!(of(9), (8, true, 5, 6));
        assert_eq!(of(8), (7, false, 4, 6));
    }

    /// [STD-6]
    #[test]
    fn each_watcher_hears_enough_reporters() {
        let few = eligible(20, TODAY);
        let subject = few.ids().next().unwrap();
        let watchers = Watchers::of(&network(), &few, &subject);
        assert_eq!(watchers.told_by(&network(), &subject, TODAY).len(), 15);
        let eligible = eligible(200, TODAY);
        let subject = eligible.ids().next().unwrap();
        let watchers = Watchers::of(&network(), &eligible, &subject);
        for watcher in watchers.ids() {
            let reporters = eligible.ids().filter(|reporter| {
                let told = watchers.told_by(&network(), reporter, TODAY);
                assert_eq!(told.len(), 3);
                told.contains(watcher)
            });
            let count = reporters.count();
            assert!((20..=60).contains(&count), "{count} of 200");
        }
    }
}
