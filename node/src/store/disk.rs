//! What the engine stands on: a place for redb's file and a ballast that a full disk can be freed with.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::posix_fallocate;
use redb::backends::FileBackend;
use redb::{BackendError, Builder, StorageBackend};

/// A disk that the engine can open, give up and open again.
pub trait Disk: Send + 'static {
    /// What redb reads and writes.
    type Backend: StorageBackend;

    /// Opens the store's file; makes it if there is none.
    ///
    /// # Errors
    /// Those of the file system.
    fn open(&self) -> io::Result<Self::Backend>;

    /// Takes `bytes` of space, so that [`Self::drop_ballast`] can give them back. Does nothing if that
    /// much is taken already.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if the space is not there; then nothing is taken.
    fn fill_ballast(&self, bytes: u64) -> io::Result<()>;

    /// Gives the ballast's space back.
    ///
    /// # Errors
    /// Those of the file system.
    fn drop_ballast(&self) -> io::Result<()>;
}

/// A folder of a file system: `store.redb` and `ballast`.
#[derive(Clone, Debug)]
pub struct FolderDisk {
    folder: PathBuf,
}

impl FolderDisk {
    /// Uses `folder`; makes it if there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Makes the file under another name first: power lost on the way leaves no file that would not open.
    fn create(&self, path: &Path) -> io::Result<()> {
        let half = self.folder.join("store.redb.half");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&half)?;
        let mut builder = Builder::new();
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        let made = builder.set_cache_size(0).create_with_backend(backend);
        drop(made.map_err(io::Error::other)?);
        std::fs::rename(&half, path)?;
        self.sync_folder()
    }

    /// Makes a created or removed file's entry durable.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Disk for FolderDisk {
    type Backend = FileBackend;

    fn open(&self) -> io::Result<FileBackend> {
        let path = self.folder.join("store.redb");
        if !path.try_exists()? {
            self.create(&path)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        FileBackend::new(file).map_err(io::Error::other)
    }

    fn fill_ballast(&self, bytes: u64) -> io::Result<()> {
        if std::fs::metadata(self.ballast()).is_ok_and(|file| file.len() >= bytes) {
            return Ok(());
        }
        let file = File::create(self.ballast())?;
        let length = i64::try_from(bytes).map_err(io::Error::other)?;
        let taken = match length {
            0 => Ok(()),
            length => posix_fallocate(&file, 0, length).map_err(io::Error::from),
        };
        if taken.is_err() {
            self.drop_ballast()?;
        }
        taken
    }

    fn drop_ballast(&self) -> io::Result<()> {
        match std::fs::remove_file(self.ballast()) {
            Err(failure) if failure.kind() != io::ErrorKind::NotFound => Err(failure),
            Ok(()) | Err(_) => self.sync_folder(),
        }
    }
}

/// A backend that remembers whether a flush ever failed.
///
/// After a failed flush an operating system may believe that pages are written which are not, so that
/// no later flush proves anything about them ([STO-1]).
#[derive(Debug)]
pub(super) struct Watched<B> {
    inner: B,
    flush_failed: Arc<AtomicBool>,
}

impl<B> Watched<B> {
    /// Sets `flush_failed` when a flush of `inner` fails for any reason.
    pub(super) fn new(inner: B, flush_failed: Arc<AtomicBool>) -> Self {
        Self {
            inner,
            flush_failed,
        }
    }
}

impl<B: StorageBackend> StorageBackend for Watched<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let flushed = self.inner.sync_data();
        if flushed.is_err() {
            self.flush_failed.store(true, Ordering::Release);
        }
        flushed
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write(offset, bytes)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Store, StoreConfig};

    /// [STO-1]
    #[test]
    fn a_store_half_made_when_the_power_went_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("store.redb.half"), [0; 9_000]).unwrap();
        let config = StoreConfig {
            ballast_bytes: 0,
            ..StoreConfig::with_budget(1 << 20)
        };
        for _ in 0..2 {
            let store = Store::open(folder.path(), config.clone()).unwrap();
            store.close().unwrap();
        }
    }
}
