//! How a home's data key is kept: wrapped under Argon2id of a passphrase, or under a key file ([HOME-4],
//! [HOME-5]).
//!
//! The row has a plain checksum of its own, so that a damaged disk is not mistaken for a wrong passphrase.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use argon2::{Algorithm, Argon2, Params};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use swarm_proto::hash;
use swarm_proto::seal;
use swarm_proto::wire::codec::{Malformed, Reader, Writer};
use zeroize::Zeroizing;

use super::{HomeError, random};

/// What opens a home.
pub enum Unlock<'a> {
    /// A passphrase, taken byte by byte as UTF-8.
    Passphrase(&'a str),
    /// The 32 bytes of a key file.
    KeyFile(&'a [u8; 32]),
}

/// How hard guessing a passphrase is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Memory of one guess, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Work {
    /// 64 MiB three times: about a tenth of a second on a laptop, and what a phone still has.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
    };
}

/// Wraps a data key; the result is the whole row.
pub(super) fn wrap(
    data_key: &[u8; 32],
    unlock: &Unlock<'_>,
    work: Work,
) -> Result<Vec<u8>, HomeError> {
    let (kind, work) = match unlock {
        Unlock::Passphrase("") => return Err(HomeError::EmptyPassphrase),
        Unlock::Passphrase(_) => (PASSPHRASE, work),
        Unlock::KeyFile(_) => (KEY_FILE, NO_WORK),
    };
    let salt: [u8; 16] = random()?;
    let mut head = Writer::with_capacity(ROW_BYTES);
    head.u8(VERSION).u8(kind);
    head.u32(work.memory_kib).u32(work.passes).put(&salt);
    let mut row = head.finish();
    let wrapping_key = stretch(unlock, work, &salt)?;
    let sealed = seal::seal(&wrapping_key, &random()?, &row, data_key);
    row.extend_from_slice(&sealed.ok_or(HomeError::KeyRowDamaged)?);
    let checksum = checksum(&row);
    row.extend_from_slice(&checksum);
    Ok(row)
}

/// The data key of a row that [`wrap`] made.
pub(super) fn unwrap(row: &[u8], unlock: &Unlock<'_>) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let Some((body, sum)) = row.split_last_chunk::<16>() else {
        return Err(HomeError::KeyRowDamaged);
    };
    if checksum(body) != *sum {
        return Err(HomeError::KeyRowDamaged);
    }
    let head = Head::read(body)?;
    let wrong = match (head.kind, unlock) {
        (PASSPHRASE, Unlock::Passphrase(_)) => HomeError::WrongPassphrase,
        (KEY_FILE, Unlock::KeyFile(_)) => HomeError::WrongKeyFile,
        (PASSPHRASE, Unlock::KeyFile(_)) => return Err(HomeError::NeedsPassphrase),
        (KEY_FILE, Unlock::Passphrase(_)) => return Err(HomeError::NeedsKeyFile),
        _ => return Err(HomeError::KeyRowDamaged),
    };
    let wrapping_key = stretch(unlock, head.work, &head.salt)?;
    let (aad, sealed) = body.split_at_checked(HEAD_BYTES).unwrap_or((body, &[]));
    let opened = seal::open(&wrapping_key, aad, sealed).ok_or(wrong)?;
    let key = <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| HomeError::KeyRowDamaged)?;
    Ok(Zeroizing::new(key))
}

/// Makes a key file, readable by its owner alone, and returns what it holds. Never replaces a file.
///
/// # Errors
/// [`HomeError::File`] if it exists or cannot be written; [`HomeError::NoRandomness`].
pub fn create_key_file(path: &Path) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let failed = |source| HomeError::File {
        path: path.to_path_buf(),
        source,
    };
    let key = Zeroizing::new(random::<32>()?);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    let text = Zeroizing::new(format!("{}\n", HEXLOWER.encode(key.as_slice())));
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(key)
}

/// Reads a key file: 64 hexadecimal digits and white space.
///
/// # Errors
/// [`HomeError::File`], [`HomeError::BadKeyFile`].
pub fn read_key_file(path: &Path) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let failed = |source| HomeError::File {
        path: path.to_path_buf(),
        source,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut text = Zeroizing::new(String::new());
    // A key file is 65 bytes; more is never read.
    let read = file.take(256).read_to_string(&mut text);
    read.map_err(|_| HomeError::BadKeyFile)?;
    let key = HEXLOWER.decode(text.trim().as_bytes()).map(Zeroizing::new);
    let key = key.map_err(|_| HomeError::BadKeyFile)?;
    let key = <[u8; 32]>::try_from(key.as_slice()).map_err(|_| HomeError::BadKeyFile)?;
    Ok(Zeroizing::new(key))
}

struct Head {
    kind: u8,
    work: Work,
    salt: [u8; 16],
}

impl Head {
    fn read(body: &[u8]) -> Result<Self, HomeError> {
        if let Some(version) = body.first().filter(|version| **version != VERSION) {
            return Err(HomeError::Version(*version));
        }
        Self::fields(body).map_err(|_| HomeError::KeyRowDamaged)
    }

    fn fields(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Bytes::copy_from_slice(body));
        reader.u8("version")?;
        let kind = reader.u8("kind")?;
        let work = Work {
            memory_kib: reader.u32("memory")?,
            passes: reader.u32("passes")?,
        };
        // What the file says must not be able to stop the machine.
        if work.memory_kib > MEMORY_KIB_MAX || work.passes > PASSES_MAX {
            return Err(reader.wrong("work"));
        }
        let salt = reader.array("salt")?;
        Ok(Self { kind, work, salt })
    }
}

fn stretch(
    unlock: &Unlock<'_>,
    work: Work,
    salt: &[u8; 16],
) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let mut key = Zeroizing::new([0; 32]);
    match unlock {
        Unlock::Passphrase(passphrase) => {
            let failed = |error: argon2::Error| HomeError::Work(error.to_string());
            let params = Params::new(work.memory_kib, work.passes, 1, Some(32)).map_err(failed)?;
            Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
                .hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
                .map_err(failed)?;
        }
        Unlock::KeyFile(file) => {
            *key = hash::derive("poste home key file", &[file.as_slice(), salt]);
        }
    }
    Ok(key)
}

fn checksum(body: &[u8]) -> [u8; 16] {
    let mut sum = [0; 16];
    hash::derive_into("poste home key checksum", &[body], &mut sum);
    sum
}

const VERSION: u8 = 1;
const PASSPHRASE: u8 = 0;
const KEY_FILE: u8 = 1;
/// A key file needs no stretching.
const NO_WORK: Work = Work {
    memory_kib: 0,
    passes: 0,
};
/// version, kind, memory, passes, salt
const HEAD_BYTES: usize = 1 + 1 + 4 + 4 + 16;
const ROW_BYTES: usize = HEAD_BYTES + seal::OVERHEAD_BYTES + 32 + 16;
/// 1 GiB: sixteen times the default.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;
