//! A relay's home: one folder with its config, network file, keys, store and control socket.
//!
//! It names the files and holds the lock that keeps two relays out of one home. It reads none of them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder of one relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// The home at `dir`; nothing is touched.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// `given`, else `$XDG_DATA_HOME/poste-node`, else `$HOME/.local/share/poste-node`.
    pub fn choose(given: Option<PathBuf>) -> Result<Self, HomeFailure> {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        given
            .or_else(|| absolute("XDG_DATA_HOME").map(|base| base.join("poste-node")))
            .or_else(|| absolute("HOME").map(|base| base.join(".local/share/poste-node")))
            .map(Self::at)
            .ok_or(HomeFailure::Unknown)
    }

    /// Makes the folders that are missing, closed to everybody else (0700).
    pub fn create(&self) -> Result<(), HomeFailure> {
        for dir in [self.dir.clone(), self.keys_dir()] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(|source| HomeFailure::Io { path: dir, source })?;
        }
        Ok(())
    }

    /// Keeps every other relay out of this home until the answer is dropped.
    pub fn lock(&self) -> Result<HomeLock, HomeFailure> {
        let path = self.dir.join("lock");
        let io = |source| HomeFailure::Io {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(HomeLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(HomeFailure::Locked(self.dir.clone())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings; may be missing, then every setting has its default.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// The network that this relay belongs to.
    pub fn network_path(&self) -> PathBuf {
        self.dir.join("network.toml")
    }

    /// The folder of the key files.
    pub fn keys_dir(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// The store's folder or file.
    pub fn store_path(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// The folder of the sectors that the relay has pledged.
    pub fn plot_dir(&self) -> PathBuf {
        self.dir.join("plot")
    }

    /// The nonce that solves the puzzle of the relay's key.
    pub fn puzzle_path(&self) -> PathBuf {
        self.dir.join("puzzle")
    }

    /// The file in which `pledge shrink` leaves the highest class that is wanted.
    pub fn pledge_most_path(&self) -> PathBuf {
        self.dir.join("pledge-most")
    }

    /// The control socket.
    pub fn socket_path(&self) -> PathBuf {
        self.dir.join("control.sock")
    }
}

/// Proof that no other process runs on this home.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeFailure {
    /// Neither `--home` nor the environment says where it is.
    #[error("no home: give --home DIR, or set XDG_DATA_HOME or HOME to an absolute path")]
    Unknown,
    /// Another relay is running on it.
    #[error("{}: another relay is running on this home", .0.display())]
    Locked(PathBuf),
    /// A folder or file cannot be made.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn two_relays_never_share_a_home() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("relay"));
        home.create().unwrap();
        let held = home.lock().unwrap();
        assert!(matches!(home.lock(), Err(HomeFailure::Locked(_))));
        drop(held);
        home.lock().unwrap();
    }

    #[test]
    fn a_home_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("a/b"));
        home.create().unwrap();
        for path in [home.dir().to_owned(), home.keys_dir()] {
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }
}
