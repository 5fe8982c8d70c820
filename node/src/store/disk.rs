//! What the engine stands on: a place for redb's file and a ballast that a full disk can be freed with.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use redb::StorageBackend;
use redb::backends::FileBackend;

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
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(self.folder.join("store.redb"))?;
        self.sync_folder()?;
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
