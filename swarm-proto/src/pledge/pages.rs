//! Which pages a challenge asks for, and what is said of each.
//!
//! Both follow from the watcher's fresh nonce and from who asks whom, so nothing can be computed before a
//! challenge, and no relay's answer serves another. Source: `docs/spec/pledge.md`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::sector::pages_per_sector;
use crate::hash;
use crate::id::NodeId;
use crate::limits;
use crate::network::Pledge;

/// A page of a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageAt {
    /// The sector, counted from 0.
    pub sector: u32,
    /// The page in it, counted from 0.
    pub page: u32,
}

/// What an answer says of a page.
pub type PageTag = [u8; PAGE_TAG_BYTES];

/// One challenge between two relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The watcher's, fresh.
    pub nonce: [u8; 32],
    /// P, who is asked.
    pub prover: NodeId,
    /// W, who asks.
    pub watcher: NodeId,
}

impl Terms {
    /// The pages that are asked for of a relay of this class, sectors ascending and each once ([PLG-3]).
    pub fn pages(&self, pledge: &Pledge, class: u8) -> Vec<PageAt> {
        let (sectors, pages) = (sectors_of(pledge, class), pages_per_sector(pledge));
        let mut stream = hash::derive_stream("poste pledge pages", &self.parts());
        let mut below = |most: u32| {
            let mut word = [0; 4];
            stream.fill(&mut word);
            let scaled = (u64::from(u32::from_be_bytes(word)) * u64::from(most)) >> 32;
            u32::try_from(scaled).unwrap_or(0)
        };
        if sectors <= limits::CHALLENGE_PAGES_MAX {
            let page = |sector| PageAt {
                sector,
                page: below(pages),
            };
            return (0..sectors).map(page).collect();
        }
        let mut drawn = BTreeMap::new();
        while drawn.len() < limits::CHALLENGE_PAGES_MAX as usize {
            let (sector, page) = (below(sectors), below(pages));
            drawn.entry(sector).or_insert(page);
        }
        let page = |(sector, page)| PageAt { sector, page };
        drawn.into_iter().map(page).collect()
    }

    /// The key of what is said of pages ([PLG-4]).
    pub fn key(&self) -> [u8; 32] {
        hash::derive("poste pledge page", &self.parts())
    }

    fn parts(&self) -> [&[u8]; 3] {
        [&self.nonce, &self.prover.0, &self.watcher.0]
    }
}

/// What is said of a page's bytes ([PLG-4]).
pub fn page_tag(key: &[u8; 32], page: &[u8]) -> PageTag {
    let mut tag = [0; PAGE_TAG_BYTES];
    blake3::Hasher::new_keyed(key)
        .update(page)
        .finalize_xof()
        .fill(&mut tag);
    tag
}

/// Sectors of a class: 0 has none, and each from 2 on twice those of the one before ([PLG-2]).
pub fn sectors_of(pledge: &Pledge, class: u8) -> u32 {
    match class.min(limits::PLEDGE_CLASS_MAX) {
        0 => 0,
        class => pledge.class_sectors.saturating_mul(1 << (class - 1)),
    }
}

/// The highest class that so many sectors are enough for ([PLG-2]).
pub fn class_of(pledge: &Pledge, sectors: u32) -> u8 {
    (1..=limits::PLEDGE_CLASS_MAX)
        .take_while(|class| sectors_of(pledge, *class) <= sectors)
        .last()
        .unwrap_or(0)
}

/// Bytes that an answer says of a page: guessing one takes 2^64 tries, and there is one.
pub const PAGE_TAG_BYTES: usize = 8;
