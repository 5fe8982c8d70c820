//! What world is wanted: every knob with its default.

use std::sync::Arc;
use std::time::Duration;

use swarm_proto::crypto::Crypto;
use swarm_proto::crypto::null::NullCrypto;
use swarm_proto::id::NodeKey;
use swarm_proto::kem::PureCrypto;
use swarm_proto::network::{Network, Pledge, Reachability};
use swarm_proto::time::TimeScale;

use crate::churn::Churn;
use crate::disk::DiskSpeed;
use crate::habits::Habits;
use crate::links::Latency;

/// A world to be run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// All chance follows from it.
    pub seed: u64,
    /// The length of a minute of the network's calendar, in milliseconds.
    pub minute_ms: u32,
    /// Relays at the start.
    pub relays: u32,
    /// How many of them are founders, and so may hold from the first epoch.
    pub founders: u32,
    /// Correspondents.
    pub people: u32,
    /// How long messages take.
    pub latency: Latency,
    /// How many of a million messages are lost.
    pub loss_per_million: u32,
    /// How fast disks are.
    pub disk: DiskSpeed,
    /// When relays die by themselves.
    pub churn: Churn,
    /// What people do by themselves.
    pub habits: Habits,
    /// What repair may send to siblings, in bytes a second.
    pub repair_bytes_per_s: u32,
    /// Fewer present holders than this, and the next in rank take what they lack; 0 for never.
    pub repair_below: u8,
    /// Hours in which each copy is swept once.
    pub sweep_hours: u16,
    /// Bits of a mailbox address that name its cell.
    pub cell_bits: u8,
    /// Watchers of each relay; 0 if each goes by its own tries.
    pub watchers: u8,
    /// Whether each relay has a persona that reads letters of its own.
    pub personas: bool,
    /// Whose arithmetic.
    pub cryptography: Cryptography,
    /// Whether every message is encoded and read back; costs about a tenth of the time.
    pub weigh_messages: bool,
}

/// Whose arithmetic machines and doors use. The history is the same with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cryptography {
    /// Hashes in place of curves: fast, and forgeable by anybody.
    Null,
    /// What a correspondent's program uses.
    Real,
}

impl Scenario {
    /// A calm world in which everybody is a founder, nothing dies and nobody writes.
    pub fn calm(seed: u64, relays: u32, people: u32) -> Self {
        Self {
            seed,
            minute_ms: 60_000,
            relays,
            founders: relays,
            people,
            latency: Latency::LogNormal {
                median_us: 40_000,
                sigma_milli: 500,
            },
            loss_per_million: 0,
            disk: DiskSpeed {
                write_us: 4_000,
                write_spread_us: 8_000,
                read_us: 200,
            },
            churn: Churn::default(),
            habits: Habits::default(),
            // A quarter of an uplink of 10 Mbit a second.
            repair_bytes_per_s: 312_500,
            repair_below: 4,
            sweep_hours: 24,
            cell_bits: 14,
            watchers: 0,
            personas: false,
            cryptography: Cryptography::Null,
            weigh_messages: true,
        }
    }

    /// The same world with another length of a minute, in milliseconds.
    #[must_use]
    pub fn at_scale(mut self, minute_ms: u32) -> Self {
        self.minute_ms = minute_ms;
        self
    }

    /// How long this many of the network's minutes last.
    pub fn minutes(&self, count: u64) -> Duration {
        self.scale().minutes(count)
    }

    pub(crate) fn scale(&self) -> TimeScale {
        TimeScale {
            minute_ms: self.minute_ms,
        }
    }

    /// The network's parameters: those of a public one, except that nobody need grow old first.
    pub(crate) fn network(&self, founders: &[NodeKey]) -> Arc<Network> {
        let mut network = Network::public("simulated", founders);
        network.scale = self.scale();
        network.guard_age_h = 0;
        network.hold_age_h = 0;
        network.repair_below = self.repair_below;
        network.sweep_hours = self.sweep_hours;
        network.cell_bits = self.cell_bits;
        network.pledge = Pledge {
            puzzle_bits: 0,
            labels: 128,
            layers: 1,
            class_sectors: 1,
            ..network.pledge
        };
        network.verdicts.certificates = 0;
        network.verdicts.watchers = self.watchers;
        network.reachability = Reachability::Assume;
        Arc::new(network)
    }

    pub(crate) fn crypto(&self) -> Arc<dyn Crypto> {
        match self.cryptography {
            Cryptography::Null => Arc::new(NullCrypto::new()),
            Cryptography::Real => Arc::new(PureCrypto),
        }
    }
}
