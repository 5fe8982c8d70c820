//! Disks for tests: one that logs everything and can be cut off anywhere, one that fails on command.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use crate::store::Disk;

/// What happened on a [`LoggedDisk`], in order.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Write {
        at: u64,
        bytes: Vec<u8>,
    },
    SetLen(u64),
    Sync,
    /// The operation with this number was acknowledged.
    Acknowledged(usize),
}

/// A disk in memory with a log of all that happened.
#[derive(Clone, Debug, Default)]
pub(super) struct LoggedDisk {
    shared: Arc<Mutex<Logged>>,
    /// A disk that lies: it says that it flushed.
    pub(super) skips_sync: bool,
}

#[derive(Debug, Default)]
struct Logged {
    content: Vec<u8>,
    log: Vec<Event>,
}

impl LoggedDisk {
    /// A disk with an empty store, as [`crate::store::FolderDisk`] makes one before it can be seen.
    pub(super) fn made() -> Self {
        let disk = Self::default();
        drop(
            redb::Builder::new()
                .create_with_backend(disk.clone())
                .unwrap(),
        );
        let content = disk.lock().content.clone();
        Self::starting(content)
    }

    /// A disk on which `content` was flushed.
    pub(super) fn starting(content: Vec<u8>) -> Self {
        let disk = Self::default();
        {
            let mut logged = disk.lock();
            let bytes = content.clone();
            logged.log.push(Event::Write { at: 0, bytes });
            logged.log.push(Event::Sync);
            logged.content = content;
        }
        disk
    }

    pub(super) fn note(&self, event: Event) {
        self.lock().log.push(event);
    }

    pub(super) fn log(&self) -> Vec<Event> {
        self.lock().log.clone()
    }

    /// What a power cut leaves when nothing unflushed reached the medium.
    pub(super) fn flushed_only(&self) -> Vec<u8> {
        let log = self.log();
        let flushed = log.iter().rposition(|event| matches!(event, Event::Sync));
        let mut content = Vec::new();
        for event in &log[..flushed.unwrap_or(0)] {
            happen(&mut content, event);
        }
        content
    }

    fn lock(&self) -> MutexGuard<'_, Logged> {
        self.shared.lock().unwrap()
    }
}

/// Lets an event take effect on a medium.
pub(super) fn happen(content: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write { at, bytes } => {
            let at = usize::try_from(*at).unwrap();
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[at..end].copy_from_slice(bytes);
        }
        Event::SetLen(length) => content.resize(usize::try_from(*length).unwrap(), 0),
        Event::Sync | Event::Acknowledged(_) => {}
    }
}

impl Disk for LoggedDisk {
    type Backend = Self;

    fn open(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn fill_ballast(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn drop_ballast(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StorageBackend for LoggedDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let logged = self.lock();
        let from = logged.content.get(at..at + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.happened(Event::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if !self.skips_sync {
            self.happened(Event::Sync);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let bytes = data.to_vec();
        self.happened(Event::Write { at: offset, bytes });
        Ok(())
    }
}

impl LoggedDisk {
    fn happened(&self, event: Event) {
        let mut logged = self.lock();
        happen(&mut logged.content, &event);
        logged.log.push(event);
    }
}

/// A disk in memory with a limited number of blocks, that fails when it is told to.
#[derive(Clone, Debug)]
pub(super) struct FaultyDisk {
    shared: Arc<Mutex<Faulty>>,
}

#[derive(Debug)]
struct Faulty {
    content: Vec<u8>,
    /// Blocks that were ever written: a file with holes takes no space.
    blocks: BTreeSet<u64>,
    blocks_max: u64,
    ballast: u64,
    /// Changes that still work before one fails.
    works_for: Option<u32>,
    flush_fails: bool,
    read_fails: bool,
}

const BLOCK: u64 = 4_096;

impl FaultyDisk {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Faulty {
                content: Vec::new(),
                blocks: BTreeSet::new(),
                blocks_max: bytes_max / BLOCK,
                ballast: 0,
                works_for: None,
                flush_fails: false,
                read_fails: false,
            })),
        }
    }

    /// Lets `changes` changes work and the one after them fail with an IO error.
    pub(super) fn fail_after(&self, changes: u32) {
        self.lock().works_for = Some(changes);
    }

    /// Lets the next flush fail.
    pub(super) fn fail_flush(&self) {
        self.lock().flush_fails = true;
    }

    /// Lets the next reading fail.
    pub(super) fn fail_read(&self) {
        self.lock().read_fails = true;
    }

    pub(super) fn has_read_trouble(&self) -> bool {
        self.lock().read_fails
    }

    pub(super) fn heal(&self) {
        self.lock().works_for = None;
    }

    pub(super) fn set_bytes_max(&self, bytes_max: u64) {
        self.lock().blocks_max = bytes_max / BLOCK;
    }

    fn lock(&self) -> MutexGuard<'_, Faulty> {
        self.shared.lock().unwrap()
    }
}

impl Faulty {
    fn change(&mut self) -> io::Result<()> {
        match self.works_for.as_mut() {
            None => Ok(()),
            Some(0) => {
                self.works_for = None;
                Err(io::Error::other("injected"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Disk for FaultyDisk {
    type Backend = Self;

    fn open(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn fill_ballast(&self, bytes: u64) -> io::Result<()> {
        let mut faulty = self.lock();
        let blocks = bytes / BLOCK;
        if blocks <= faulty.ballast {
            return Ok(());
        }
        if faulty.blocks.len() as u64 + blocks > faulty.blocks_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        faulty.ballast = blocks;
        Ok(())
    }

    fn drop_ballast(&self) -> io::Result<()> {
        self.lock().ballast = 0;
        Ok(())
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let mut faulty = self.lock();
        if std::mem::take(&mut faulty.read_fails) {
            return Err(io::Error::other("injected"));
        }
        let from = faulty.content.get(at..at + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut faulty = self.lock();
        faulty.change()?;
        faulty.content.resize(usize::try_from(len).unwrap(), 0);
        faulty.blocks.retain(|block| block * BLOCK < len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if std::mem::take(&mut self.lock().flush_fails) {
            return Err(io::Error::other("injected"));
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut faulty = self.lock();
        faulty.change()?;
        let last = (offset + data.len() as u64 - 1) / BLOCK;
        let fresh: Vec<u64> = (offset / BLOCK..=last)
            .filter(|block| !faulty.blocks.contains(block))
            .collect();
        let taken = faulty.blocks.len() as u64 + faulty.ballast;
        if taken + fresh.len() as u64 > faulty.blocks_max && !fresh.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        faulty.blocks.extend(fresh);
        let event = Event::Write {
            at: offset,
            bytes: data.to_vec(),
        };
        happen(&mut faulty.content, &event);
        Ok(())
    }
}
