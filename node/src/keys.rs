//! The secrets of a relay on disk: one seed of the node key, one seed for each generation of onion keys.
//!
//! All are independent random seeds of 32 bytes, so that an erased onion seed cannot be computed again
//! from anything that is left. A file is made whole or not at all, is never overwritten, and is refused
//! when others may read it. What the seeds become (Ed25519, X-Wing) is decided where they are used.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use swarm_proto::crypto::SecretKey;
use swarm_proto::id::NodeKey;
use zeroize::Zeroizing;

/// The key files of one relay.
#[derive(Clone, Debug)]
pub struct Keys {
    dir: PathBuf,
}

/// 32 secret bytes; erased from memory when dropped, never printed.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// A fresh one from the operating system.
    pub fn random() -> Result<Self, KeyFailure> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| KeyFailure::Random)?;
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The node key's public half that this seed makes.
    pub fn node_key(&self) -> NodeKey {
        NodeKey(*SecretKey::from_seed(&self.0).public())
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

impl Keys {
    /// The key files in `dir`, which exists.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Makes the node seed; fails if there is one.
    pub fn create_node(&self) -> Result<Seed, KeyFailure> {
        self.create(&self.node_path())
    }

    /// Reads the node seed.
    pub fn node(&self) -> Result<Seed, KeyFailure> {
        read_seed(&self.node_path())
    }

    /// The seeds of an onion key generation and of the one after it, made if missing.
    pub fn onion(&self, generation: u32) -> Result<[Seed; 2], KeyFailure> {
        Ok([
            self.onion_one(generation)?,
            self.onion_one(generation.saturating_add(1))?,
        ])
    }

    /// Erases the seeds of generations before `oldest`; answers how many.
    ///
    /// The bytes are overwritten before the file goes. A disk that writes elsewhere may keep the old
    /// block for a while; nothing in user space can do more.
    pub fn erase_onion_before(&self, oldest: u32) -> Result<usize, KeyFailure> {
        let mut erased = 0;
        for entry in fs::read_dir(&self.dir).map_err(failing(&self.dir))? {
            let path = entry.map_err(failing(&self.dir))?.path();
            if onion_generation(&path).is_some_and(|generation| generation < oldest) {
                erase(&path).map_err(failing(&path))?;
                erased += 1;
            }
        }
        if erased > 0 {
            sync_dir(&self.dir).map_err(failing(&self.dir))?;
        }
        Ok(erased)
    }

    fn onion_one(&self, generation: u32) -> Result<Seed, KeyFailure> {
        let path = self.dir.join(format!("{ONION_PREFIX}{generation}.seed"));
        match read_seed(&path) {
            Err(KeyFailure::Missing(_)) => self.create(&path),
            other => other,
        }
    }

    fn node_path(&self) -> PathBuf {
        self.dir.join("node.seed")
    }

    /// Writes a fresh seed under another name and links it into place: a reader finds all 32 bytes or no
    /// file, and an existing file makes the link fail.
    fn create(&self, path: &Path) -> Result<Seed, KeyFailure> {
        let seed = Seed::random()?;
        let mut tag = [0; 8];
        getrandom::fill(&mut tag).map_err(|_| KeyFailure::Random)?;
        let draft = self
            .dir
            .join(format!(".draft-{:016x}", u64::from_be_bytes(tag)));
        let written = write_new(&draft, seed.bytes()).and_then(|()| fs::hard_link(&draft, path));
        let _ = fs::remove_file(&draft);
        match written.and_then(|()| sync_dir(&self.dir)) {
            Ok(()) => Ok(seed),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeyFailure::Exists(path.to_owned()))
            }
            Err(error) => Err(failing(path)(error)),
        }
    }
}

fn read_seed(path: &Path) -> Result<Seed, KeyFailure> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyFailure::Missing(path.to_owned()));
        }
        Err(error) => return Err(failing(path)(error)),
    };
    let meta = file.metadata().map_err(failing(path))?;
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFailure::Open {
            path: path.to_owned(),
            mode,
        });
    }
    if meta.len() != 32 {
        return Err(KeyFailure::Length {
            path: path.to_owned(),
            bytes: meta.len(),
        });
    }
    let mut bytes = Zeroizing::new([0; 32]);
    file.read_exact(bytes.as_mut_slice())
        .map_err(failing(path))?;
    Ok(Seed(bytes))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn erase(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(&[0; 32])?;
    file.sync_all()?;
    fs::remove_file(path)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn onion_generation(path: &Path) -> Option<u32> {
    path.file_name()?
        .to_str()?
        .strip_prefix(ONION_PREFIX)?
        .strip_suffix(".seed")?
        .parse()
        .ok()
}

fn failing(path: &Path) -> impl FnOnce(io::Error) -> KeyFailure + '_ {
    move |source| KeyFailure::Io {
        path: path.to_owned(),
        source,
    }
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFailure {
    /// It does not exist.
    #[error("{}: no such key; `poste-node init` makes a relay's keys", .0.display())]
    Missing(PathBuf),
    /// It exists and is not overwritten.
    #[error("{}: there is a key already, and it is never overwritten", .0.display())]
    Exists(PathBuf),
    /// Others may read it.
    #[error("{}: others may read this key (mode {mode:o}); after `chmod 600` consider it known", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold 32 bytes.
    #[error("{}: a key file has 32 bytes, this one {bytes}", path.display())]
    Length {
        /// Which.
        path: PathBuf,
        /// What it has.
        bytes: u64,
    },
    /// The operating system has no randomness.
    #[error("the operating system gives no randomness")]
    Random,
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

const ONION_PREFIX: &str = "onion-";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_node_key_is_made_once_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::at(dir.path());
        assert!(matches!(keys.node(), Err(KeyFailure::Missing(_))));
        let made = keys.create_node().unwrap();
        assert!(matches!(keys.create_node(), Err(KeyFailure::Exists(_))));
        assert_eq!(keys.node().unwrap().bytes(), made.bytes());
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft stays"
        );
        let mode = fs::metadata(dir.path().join("node.seed")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_may_read_or_of_wrong_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::at(dir.path());
        keys.create_node().unwrap();
        let path = dir.path().join("node.seed");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            keys.node(),
            Err(KeyFailure::Open { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, [7; 31]).unwrap();
        assert!(matches!(
            keys.node(),
            Err(KeyFailure::Length { bytes: 31, .. })
        ));
    }

    #[test]
    fn onion_seeds_are_made_a_generation_ahead_and_old_ones_erased() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::at(dir.path());
        keys.create_node().unwrap();
        let [_, ahead] = keys.onion(10).unwrap();
        let [current, next] = keys.onion(11).unwrap();
        assert_eq!(ahead.bytes(), current.bytes());
        assert_ne!(current.bytes(), next.bytes());
        assert_eq!(keys.erase_onion_before(11).unwrap(), 1);
        assert!(!dir.path().join("onion-10.seed").exists());
        assert_eq!(keys.onion(11).unwrap()[0].bytes(), current.bytes());
        keys.node().unwrap();
    }

    #[test]
    fn a_seed_does_not_print_itself() {
        assert_eq!(format!("{:?}", Seed::random().unwrap()), "Seed");
    }
}
