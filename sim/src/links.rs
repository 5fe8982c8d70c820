//! Links: how long a message takes, whether it is lost, and who cannot reach whom.
//!
//! One distribution for all pairs; measured matrices are read elsewhere. No bandwidth and no queues.

use std::collections::BTreeSet;

use crate::chance::Chance;

/// How long a message takes one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Always the same, in microseconds.
    Constant(u64),
    /// Between two bounds, in microseconds, the second excluded.
    Uniform(u64, u64),
    /// Log-normal.
    LogNormal {
        /// Half of the messages take less, in microseconds.
        median_us: u64,
        /// Deviation of the logarithm, in thousandths.
        sigma_milli: u32,
    },
}

impl Latency {
    /// Draws one, in microseconds; at least 1 and at most [`LATENCY_MAX_US`].
    pub fn draw(self, chance: &mut Chance) -> u64 {
        let drawn = match self {
            Self::Constant(us) => us,
            Self::Uniform(from, to) => from.saturating_add(chance.below(to.saturating_sub(from))),
            Self::LogNormal {
                median_us,
                sigma_milli,
            } => chance.log_normal_us(median_us, sigma_milli),
        };
        drawn.clamp(1, LATENCY_MAX_US)
    }
}

/// A relay or a correspondent, as links see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A relay.
    Relay(u32),
    /// A correspondent.
    Person(u32),
}

/// All links of a world.
#[derive(Debug)]
pub struct Links {
    latency: Latency,
    loss_per_million: u32,
    apart: BTreeSet<Node>,
    alone: BTreeSet<Node>,
}

impl Links {
    /// Links without a partition.
    pub fn new(latency: Latency, loss_per_million: u32) -> Self {
        Self {
            latency,
            loss_per_million,
            apart: BTreeSet::new(),
            alone: BTreeSet::new(),
        }
    }

    /// How long a message takes that is sent at this moment, in microseconds; `None` if it is lost.
    pub fn carry(&self, chance: &mut Chance) -> Option<u64> {
        // Both are always drawn, so that a loss does not shift what comes after it.
        let delay = self.latency.draw(chance);
        (!chance.happens(self.loss_per_million)).then_some(delay)
    }

    /// How long something takes that is sent until it arrives, in microseconds.
    pub fn delay(&self, chance: &mut Chance) -> u64 {
        self.latency.draw(chance)
    }

    /// Whether the network lets them talk.
    pub fn joins(&self, one: Node, other: Node) -> bool {
        let reached = |node: &Node| one == other || !self.alone.contains(node);
        self.apart.contains(&one) == self.apart.contains(&other) && reached(&one) && reached(&other)
    }

    /// Cuts each of these off from everybody, and nobody else.
    pub fn isolate(&mut self, nodes: impl IntoIterator<Item = Node>) {
        self.alone = nodes.into_iter().collect();
    }

    /// Cuts these off from all others.
    pub fn cut_off(&mut self, nodes: impl IntoIterator<Item = Node>) {
        self.apart = nodes.into_iter().collect();
    }

    /// Ends the partition, and lets everybody be reached.
    pub fn heal(&mut self) {
        self.apart.clear();
        self.alone.clear();
    }

    /// Changes how many messages of a million are lost.
    pub fn set_loss(&mut self, per_million: u32) {
        self.loss_per_million = per_million;
    }
}

/// Nothing takes longer than two seconds one way.
pub const LATENCY_MAX_US: u64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_parts_and_heals() {
        let mut links = Links::new(Latency::Constant(5), 0);
        links.cut_off([Node::Relay(1), Node::Person(1)]);
        assert!(links.joins(Node::Relay(1), Node::Person(1)));
        assert!(!links.joins(Node::Relay(1), Node::Relay(2)));
        assert!(links.joins(Node::Relay(3), Node::Relay(2)));
        links.heal();
        assert!(links.joins(Node::Relay(1), Node::Relay(2)));
        links.isolate([Node::Relay(1), Node::Relay(2)]);
        assert!(!links.joins(Node::Relay(1), Node::Relay(2)));
        assert!(!links.joins(Node::Relay(3), Node::Relay(2)));
        assert!(links.joins(Node::Relay(3), Node::Relay(4)));
    }

    #[test]
    fn about_as_many_messages_are_lost_as_asked_for() {
        let links = Links::new(Latency::Uniform(10, 20), 100_000);
        let mut chance = Chance::new(1, "test", 0);
        let lost = (0..10_000)
            .filter(|_| links.carry(&mut chance).is_none())
            .count();
        assert!((900..1_100).contains(&lost), "{lost}");
        assert!((0..100).all(|_| (10..20).contains(&links.delay(&mut chance))));
    }
}
