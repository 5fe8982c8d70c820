//! A network: a name, its founders and its numbers. Everything with a number is a parameter, so that a
//! small network for tests is different data and never different code.
//!
//! The genesis (name, suite, founders' keys) makes the network id; the other parameters may change
//! over a network's life and are no part of it ([NET-1]). Reading `network.toml` is the link crate's
//! work.

use alloc::string::String;
use alloc::vec::Vec;

use crate::hash;
use crate::id::{NetworkId, NodeKey};
use crate::time::TimeScale;

/// The parameters of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// What people call it; 1 to 255 bytes of UTF-8. Part of the genesis.
    pub name: String,
    /// The founders' node keys, ascending, without repeats, at most 65,535. Part of the genesis.
    pub founders: Vec<NodeKey>,
    /// The length of a minute.
    pub scale: TimeScale,
    /// R: relays that hold each envelope.
    pub holders: u8,
    /// W: durable copies that make a deposit *stored*.
    pub receipts: u8,
    /// Relays named after the holders, first in line to replace one.
    pub spares: u8,
    /// Fewer present holders than this, and the next in rank take what they lack ([REP-1]).
    pub repair_below: u8,
    /// Hours in which each copy is swept once by another holder ([SWP-4]); at least 1.
    pub sweep_hours: u16,
    /// Bits of an address that choose its cell, 0 to 16.
    pub cell_bits: u8,
    /// What subnets may at most contribute.
    pub caps: Caps,
    /// Hours a relay is known before it may be a guard.
    pub guard_age_h: u32,
    /// Hours a relay is known before it may hold.
    pub hold_age_h: u32,
    /// What a relay must show for its identity.
    pub pledge: Pledge,
    /// Who judges a relay, and when a verdict counts.
    pub verdicts: Verdicts,
    /// Whether a relay must be proven reachable before others are told of it.
    pub reachability: Reachability,
}

/// What an identity costs: a puzzle once, and disk for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pledge {
    /// Memory of the identity puzzle, in KiB.
    pub puzzle_kib: u32,
    /// Leading zero bits that the puzzle wants; 0 for no puzzle.
    pub puzzle_bits: u8,
    /// Labels of 32 bytes in a sector; a multiple of 128, a page.
    pub labels: u32,
    /// Layers that are computed of which the last is kept; at least 1.
    pub layers: u8,
    /// Labels of the layer below that each label rests on, besides its neighbours.
    pub parents: u8,
    /// Sectors of class 1; each further class has twice as many.
    pub class_sectors: u32,
    /// The lowest class that may hold; 0 if none is needed.
    pub class_min: u8,
}

/// Who judges a relay, and when a verdict counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// Watchers of a relay in an epoch.
    pub watchers: u8,
    /// Relays of different subnets whose reports a watcher needs before it says what a relay keeps.
    pub reporters: u8,
    /// Certificates of different epochs before a relay holds; 0 if none is needed.
    pub certificates: u8,
    /// Of so many epochs in a row ...
    pub suspend_window: u8,
    /// ... in so many a quorum must want a relay suspended.
    pub suspend_epochs: u8,
    /// Epochs after a suspension is over until it is forgotten, 1 to 191 ([STD-8]).
    pub forget_epochs: u8,
    /// Of a hundred hours a relay must be there in so many, or it gets no new cells ([ELI-7]).
    pub available_min: u8,
    /// In fewer than so many, and others take over what it holds already ([STD-11]).
    pub replaced_below: u8,
    /// Readings of its own letters that a relay's persona makes in an epoch; 0 for none.
    pub readings: u16,
}

/// How many relays one subnet may contribute; zero lifts that cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Per IPv4 /24 in the eligible list.
    pub v4_24: u16,
    /// Per IPv4 /16 in the eligible list.
    pub v4_16: u16,
    /// Per IPv6 /48 in the eligible list.
    pub v6_48: u16,
    /// Per IPv6 /32 in the eligible list.
    pub v6_32: u16,
    /// Per /24 (/48) among the holders of one cell.
    pub per_set: u16,
    /// Per /16 (/32) on one path.
    pub per_path: u16,
}

/// What must be known of a relay's address before it is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// Others have reached it.
    Proven,
    /// Taken for granted, as on one machine.
    Assume,
}

impl Network {
    /// The parameters of a public network with this genesis.
    pub fn public(name: &str, founders: &[NodeKey]) -> Self {
        let mut founders = founders.to_vec();
        founders.sort_unstable();
        founders.dedup();
        Self {
            name: String::from(name),
            founders,
            scale: TimeScale { minute_ms: 60_000 },
            holders: 5,
            receipts: 3,
            spares: 2,
            repair_below: 4,
            sweep_hours: 24,
            cell_bits: 14,
            caps: Caps {
                v4_24: 2,
                v4_16: 8,
                v6_48: 2,
                v6_32: 8,
                per_set: 1,
                per_path: 1,
            },
            guard_age_h: 168,
            hold_age_h: 48,
            pledge: Pledge {
                puzzle_kib: 65_536,
                puzzle_bits: 8,
                labels: 131_072,
                layers: 8,
                parents: 6,
                class_sectors: 1_024,
                class_min: 1,
            },
            verdicts: Verdicts {
                watchers: 15,
                reporters: 8,
                certificates: 5,
                suspend_window: 5,
                suspend_epochs: 3,
                forget_epochs: 90,
                available_min: 90,
                replaced_below: 75,
                readings: 60,
            },
            reachability: Reachability::Proven,
        }
    }

    /// The hash of the genesis ([NET-1]). A name is cut at 255 bytes, founders at 65,535.
    pub fn id(&self) -> NetworkId {
        let name = self.name.as_bytes();
        let name = name.get(..usize::from(u8::MAX)).unwrap_or(name);
        let name_bytes = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let mut founders = Vec::with_capacity(self.founders.len() * 32);
        for founder in self.founders.iter().take(usize::from(u16::MAX)) {
            founders.extend_from_slice(&founder.0);
        }
        let count = u16::try_from(self.founders.len()).unwrap_or(u16::MAX);
        NetworkId(hash::derive(
            "poste network",
            &[
                &[name_bytes],
                name,
                &[SUITE],
                &count.to_be_bytes(),
                &founders,
            ],
        ))
    }
}

/// The cryptographic suite of this version ([NET-1]).
pub const SUITE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_id_is_the_genesis_and_nothing_else() {
        let network = Network::public("post", &[NodeKey([2; 32]), NodeKey([1; 32])]);
        let reordered = Network::public("post", &[NodeKey([1; 32]), NodeKey([2; 32])]);
        assert_eq!(network.id(), reordered.id());

        let mut faster = network.clone();
        faster.scale.minute_ms = 100;
        faster.holders = 3;
        assert_eq!(network.id(), faster.id());

        assert_ne!(
            network.id(),
            Network::public("post2", &network.founders).id()
        );
        assert_ne!(
            network.id(),
            Network::public("post", &[NodeKey([1; 32])]).id()
        );
    }
}
