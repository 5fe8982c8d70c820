//! What an identity costs: a puzzle once, and disk that can be asked for at any time.
//!
//! A relay fills sectors with bytes that only its key gives and that take long to make. A watcher names pages
//! of them, the relay says a few bytes of each within seconds, and the watcher makes one of the sectors again.
//! The driver keeps the sectors and does the work; the roles decide who is asked, and what an answer is worth.
//!
//! | file | what it is for |
//! |---|---|
//! | `sector.rs` | the function that makes a sector |
//! | `pages.rs` | classes, and which pages a challenge asks for |
//! | `role.rs` | challenges, answers and verdicts |
//! | `evidence.rs` | a wrong answer, for everybody to check |
//! | `puzzle.rs` | what a key costs |
//!
//! Source: `docs/spec/pledge.md`.

mod evidence;
mod pages;
mod puzzle;
mod role;
mod sector;

use alloc::vec::Vec;

use crate::id::NodeKey;
use crate::network::Pledge;

pub use evidence::Evidence;
pub use pages::{PAGE_TAG_BYTES, PageAt, PageTag, Terms, class_of, page_tag, sectors_of};
pub use puzzle::Puzzle;
pub(crate) use role::Pledges;
pub use role::{PledgeCounts, Verdict};
pub use sector::{
    LABEL_BYTES, LABELS_PER_PAGE, PAGE_BYTES, SectorMaker, make_sector, pages_per_sector,
    sector_bytes,
};

/// What a relay has to show for itself when it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnPledge {
    /// The highest class of which every sector lies complete on the disk; 0 for none.
    pub class: u8,
    /// What solves the puzzle of its key.
    pub puzzle: u64,
}

/// What the machine wants read or made. Each takes a while; none may hold the machine up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlotOp {
    /// What to say of these pages of this relay's own plot, as [`page_tag`].
    Pages {
        /// Which, sectors ascending; at most [`crate::limits::CHALLENGE_PAGES_MAX`].
        pages: Vec<PageAt>,
        /// The key of what is said.
        key: [u8; 32],
    },
    /// What another relay would have to say of one page: its sector is made again.
    Sector {
        /// Whose.
        node: NodeKey,
        /// Which page.
        at: PageAt,
        /// The key of what is said.
        key: [u8; 32],
    },
}

/// What became of a [`PlotOp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlotDone {
    /// What to say of each page, in their order.
    Tags(Vec<PageTag>),
    /// Not all of it could be read or made.
    Failed,
}

impl PlotOp {
    /// Does it at once by making what it asks for, for a relay `own` that keeps the sectors for which `keeps`
    /// says so and makes zeros up for the others. For simulators and tests: a real relay reads its disk.
    pub fn make(&self, pledge: &Pledge, own: &NodeKey, keeps: impl Fn(u32) -> bool) -> PlotDone {
        let tags: Option<Vec<PageTag>> = match self {
            Self::Pages { pages, key } => pages
                .iter()
                .map(|at| {
                    if keeps(at.sector) {
                        make_tag(pledge, own, *at, key)
                    } else {
                        Some(page_tag(key, &[0; PAGE_BYTES]))
                    }
                })
                .collect(),
            Self::Sector { node, at, key } => {
                make_tag(pledge, node, *at, key).map(|tag| [tag].into())
            }
        };
        tags.map_or(PlotDone::Failed, PlotDone::Tags)
    }
}

/// What a relay has to say of one of its pages; `None` if a sector has no such page. Makes the sector.
pub fn make_tag(pledge: &Pledge, node: &NodeKey, at: PageAt, key: &[u8; 32]) -> Option<PageTag> {
    let sector = make_sector(pledge, node, at.sector);
    page_of(&sector, at.page).map(|page| page_tag(key, page))
}

/// A page of a sector's bytes; `None` beyond its end.
pub fn page_of(sector: &[u8], page: u32) -> Option<&[u8]> {
    let (pages, _) = sector.as_chunks::<PAGE_BYTES>();
    pages.get(page as usize).map(<[u8; PAGE_BYTES]>::as_slice)
}

#[cfg(test)]
mod tests;
