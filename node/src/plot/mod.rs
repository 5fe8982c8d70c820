//! The relay's plot: one file for each sector that it has pledged, in `plot/` of its home.
//!
//! A sector lies there whole or not at all: it is made beside its place, flushed and renamed. Behind its bytes
//! stands a mark of each page, so that a disk that decays makes this relay silent and never a liar. Who keeps
//! the plot as large as the operator wants is in `keep.rs`, who reads it for challenges in `work.rs`.
//! Source: `docs/spec/pledge.md`.

pub(crate) mod keep;
pub(crate) mod work;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use swarm_proto::hash;
use swarm_proto::id::NodeKey;
use swarm_proto::network::Pledge;
use swarm_proto::pledge::{
    PAGE_BYTES, PAGE_TAG_BYTES, PageAt, PageTag, SectorMaker, class_of, page_tag, pages_per_sector,
    sector_bytes, sectors_of,
};

pub use keep::{Wish, wanted_class};

/// The plot of one relay.
#[derive(Clone, Debug)]
pub struct Plot {
    dir: PathBuf,
    key: NodeKey,
    pledge: Pledge,
    /// Whether a sector went since this was last asked; shared by clones.
    lost: Arc<AtomicBool>,
}

impl Plot {
    /// The plot of the relay `key` in the folder `dir`, which may be missing.
    pub fn at(dir: impl Into<PathBuf>, key: NodeKey, pledge: Pledge) -> Self {
        Self {
            dir: dir.into(),
            key,
            pledge,
            lost: Arc::default(),
        }
    }

    /// How many sectors from the first on are complete, without a gap.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn complete(&self) -> io::Result<u32> {
        let mut there: Vec<u32> = Vec::new();
        let entries = match fs::read_dir(&self.dir) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let sector = sector_of(&entry.path());
            if let Some(sector) = sector
                && entry.metadata()?.len() == self.file_bytes()
            {
                there.push(sector);
            }
        }
        there.sort_unstable();
        let gapless = (0..).zip(&there).take_while(|(at, sector)| at == *sector);
        Ok(u32::try_from(gapless.count()).unwrap_or(u32::MAX))
    }

    /// Whether a sector is there and whole.
    pub fn has(&self, sector: u32) -> bool {
        fs::metadata(self.path(sector)).is_ok_and(|kept| kept.len() == self.file_bytes())
    }

    /// Changes whenever a sector comes or goes; `None` while there is no folder.
    pub(crate) fn stamp(&self) -> Option<SystemTime> {
        fs::metadata(&self.dir).and_then(|dir| dir.modified()).ok()
    }

    /// Whether a sector went since the last question.
    pub(crate) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }

    /// The highest class that so many complete sectors are enough for.
    pub fn class_of(&self, complete: u32) -> u8 {
        class_of(&self.pledge, complete)
    }

    /// Sectors of a class.
    pub fn sectors_of(&self, class: u8) -> u32 {
        sectors_of(&self.pledge, class)
    }

    /// Bytes that a sector takes on disk.
    pub fn file_bytes(&self) -> u64 {
        let marks = pages_per_sector(&self.pledge) as usize * PAGE_TAG_BYTES;
        (sector_bytes(&self.pledge) + marks) as u64
    }

    /// Makes a sector, however long that takes, and puts it into its place. `go_on` is told again and again how
    /// many labels are left; when it says no, nothing is kept and the answer is `false`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn make(&self, sector: u32, mut go_on: impl FnMut(u64) -> bool) -> io::Result<bool> {
        let mut maker = SectorMaker::new(&self.pledge, &self.key, sector);
        while !maker.advance(LABELS_PER_SLICE) {
            if !go_on(maker.left()) {
                return Ok(false);
            }
        }
        let bytes = maker.finish().unwrap_or_default();
        fs::create_dir_all(&self.dir)?;
        let path = self.path(sector);
        let beside = path.with_extension("new");
        let written = self.write(&beside, sector, &bytes);
        if written.is_err() {
            // It may be the disk that is full: nothing of it is left lying.
            let _gone = fs::remove_file(&beside);
        }
        written?;
        fs::rename(&beside, &path)?;
        File::open(&self.dir)?.sync_all()?;
        Ok(true)
    }

    /// What to say of pages.
    ///
    /// # Errors
    /// The first sector of which a page is not there or not as it was written.
    pub fn read(&self, pages: &[PageAt], key: &[u8; 32]) -> Result<Vec<PageTag>, u32> {
        let tag = |at: &PageAt| {
            let page = self.page(*at).map_err(|_| at.sector)?;
            Ok(page_tag(key, &page))
        };
        pages.iter().map(tag).collect()
    }

    /// Makes a sector again and says whether the one on disk is the same.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_right(&self, sector: u32) -> io::Result<bool> {
        let kept = fs::read(self.path(sector))?;
        let mut maker = SectorMaker::new(&self.pledge, &self.key, sector);
        maker.advance(usize::MAX);
        let bytes = maker.finish().unwrap_or_default();
        let marks = self.marks(sector, &bytes);
        Ok(kept.strip_prefix(bytes.as_slice()) == Some(marks.as_slice()))
    }

    /// Removes a sector, so that it is made again.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn forget(&self, sector: u32) -> io::Result<()> {
        let removed = match fs::remove_file(self.path(sector)) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        self.lost.store(true, Ordering::Relaxed);
        removed
    }

    /// Removes every sector from `first` on, and what an interrupted run left; says how many sectors.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn release(&self, first: u32) -> io::Result<u32> {
        let mut released = 0;
        let entries = match fs::read_dir(&self.dir) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let is_left_over = path.extension().is_some_and(|end| end == "new");
            if sector_of(&path).is_some_and(|sector| sector >= first) {
                fs::remove_file(&path)?;
                released += 1;
            } else if is_left_over {
                fs::remove_file(&path)?;
            }
        }
        Ok(released)
    }

    fn page(&self, at: PageAt) -> io::Result<Vec<u8>> {
        let file = File::open(self.path(at.sector))?;
        let mut page = vec![0; PAGE_BYTES];
        file.read_exact_at(&mut page, u64::from(at.page) * PAGE_BYTES as u64)?;
        let mut mark = [0; PAGE_TAG_BYTES];
        let before = sector_bytes(&self.pledge) as u64;
        file.read_exact_at(
            &mut mark,
            before + u64::from(at.page) * PAGE_TAG_BYTES as u64,
        )?;
        if page_tag(&self.mark_key(at.sector), &page) == mark {
            Ok(page)
        } else {
            Err(io::Error::other("not as it was written"))
        }
    }

    fn write(&self, path: &Path, sector: u32, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.write_all(&self.marks(sector, bytes))?;
        file.sync_all()
    }

    /// The marks of all pages. They are of this relay and this sector, so that files put in the wrong place
    /// are as good as damaged.
    fn marks(&self, sector: u32, bytes: &[u8]) -> Vec<u8> {
        let key = self.mark_key(sector);
        let (pages, _) = bytes.as_chunks::<PAGE_BYTES>();
        pages.iter().flat_map(|page| page_tag(&key, page)).collect()
    }

    fn mark_key(&self, sector: u32) -> [u8; 32] {
        hash::derive("poste plot mark", &[&self.key.0, &sector.to_be_bytes()])
    }

    fn path(&self, sector: u32) -> PathBuf {
        self.dir.join(format!("{sector:08}.{SECTOR_END}"))
    }
}

/// The number of the sector that a file holds; `None` for other files.
fn sector_of(path: &Path) -> Option<u32> {
    if path.extension()? != SECTOR_END {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

/// How the files of sectors end.
const SECTOR_END: &str = "sector";
/// Labels between two looks at whether to go on: about 3 ms.
const LABELS_PER_SLICE: usize = 8_192;

#[cfg(test)]
mod tests;
