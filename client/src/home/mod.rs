//! A correspondent's home: one encrypted file with everything that must outlive a crash ([HOME-1] to
//! [HOME-8], `docs/spec/letters.md`).
//!
//! What a caller was told is durable: [`Home::change`] returns after the file was synced, and a change that
//! touches several rows happens whole or not at all. Rows lie under XChaCha20-Poly1305 with table and row as
//! associated data and are found by a keyed hash, so the file shows how many rows a table has and how long
//! they are, and nothing else.
//!
//! It does not hide that it is a home, nor protect against somebody who can write to the disk and puts an
//! older row or file back.

mod rows;
mod small;
mod wrap;

use std::fs;
use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use swarm_proto::wire::codec::{Malformed, Reader, Writer};
use zeroize::Zeroizing;

pub use rows::{Change, Listing, View};
pub use small::{KnownRoster, PathState, Setting};
pub use wrap::{Unlock, Work, create_key_file, read_key_file};

use rows::RowKeys;

/// An open home. One process at a time.
pub struct Home {
    db: Database,
    keys: RowKeys,
}

impl Home {
    /// Makes a home in `folder`, which is created with access for its owner alone. A creation that was cut
    /// off before it was durable is taken up again.
    ///
    /// # Errors
    /// [`HomeError::Exists`] if there is one; [`HomeError::EmptyPassphrase`]; failures of disk and system.
    pub fn create(folder: &Path, unlock: &Unlock<'_>, work: Work) -> Result<Self, HomeError> {
        make_private_folder(folder)?;
        let path = file_of(folder);
        make_private_file(&path)?;
        let db = open_database(|| Database::create(&path))?;
        let data_key = Zeroizing::new(random::<32>()?);
        let row = wrap::wrap(&data_key, unlock, work)?;
        let change = db.begin_write().map_err(disk)?;
        {
            let mut table = change.open_table(KEY_TABLE).map_err(disk)?;
            if table.get(KEY_ROW).map_err(disk)?.is_some() {
                return Err(HomeError::Exists(path));
            }
            table.insert(KEY_ROW, row.as_slice()).map_err(disk)?;
        }
        change.commit().map_err(disk)?;
        Ok(Self {
            db,
            keys: RowKeys::new(&data_key),
        })
    }

    /// Opens the home in `folder`.
    ///
    /// # Errors
    /// [`HomeError::Missing`], [`HomeError::InUse`], [`HomeError::WrongPassphrase`],
    /// [`HomeError::WrongKeyFile`], [`HomeError::NeedsPassphrase`], [`HomeError::NeedsKeyFile`],
    /// [`HomeError::KeyRowDamaged`]; failures of the disk.
    pub fn open(folder: &Path, unlock: &Unlock<'_>) -> Result<Self, HomeError> {
        let path = file_of(folder);
        if !path.exists() {
            return Err(HomeError::Missing(path));
        }
        let db = open_database(|| Database::open(&path))?;
        let row = read_key_row(&db)?.ok_or(HomeError::Missing(path))?;
        let data_key = wrap::unwrap(&row, unlock)?;
        Ok(Self {
            db,
            keys: RowKeys::new(&data_key),
        })
    }

    /// Changes what opens the home; rows stay as they are. The old passphrase may still open old copies of
    /// the file ([HOME-8]).
    ///
    /// # Errors
    /// As [`Home::open`] if `old` does not open it; [`HomeError::EmptyPassphrase`]; failures.
    pub fn rewrap(&self, old: &Unlock<'_>, new: &Unlock<'_>, work: Work) -> Result<(), HomeError> {
        let row = read_key_row(&self.db)?.ok_or(HomeError::KeyRowDamaged)?;
        let data_key = wrap::unwrap(&row, old)?;
        let row = wrap::wrap(&data_key, new, work)?;
        let change = self.db.begin_write().map_err(disk)?;
        {
            let mut table = change.open_table(KEY_TABLE).map_err(disk)?;
            table.insert(KEY_ROW, row.as_slice()).map_err(disk)?;
        }
        change.commit().map_err(disk)
    }

    /// Looks at the home as it is at this moment.
    ///
    /// # Errors
    /// Failures of the disk.
    pub fn view(&self) -> Result<View<'_>, HomeError> {
        let snapshot = self.db.begin_read().map_err(disk)?;
        Ok(View::new(snapshot, &self.keys))
    }

    /// Changes rows together: when this returns `Ok` all of it is durable, otherwise nothing changed
    /// ([HOME-2]).
    ///
    /// # Errors
    /// Those of `alter`; failures of the disk.
    pub fn change<T, E: From<HomeError>>(
        &self,
        alter: impl FnOnce(&mut Change<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut transaction = self.db.begin_write().map_err(disk)?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(disk)?;
        let mut change = Change::new(transaction, &self.keys);
        let done = alter(&mut change)?;
        change.into_transaction().commit().map_err(disk)?;
        Ok(done)
    }
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Home")
    }
}

/// Something that is kept at home: one kind, one table.
pub trait Record: Sized {
    /// The table.
    const TABLE: Table;
    /// What the row is found by; unique within the table.
    fn key(&self) -> Vec<u8>;
    /// Writes everything, the key's fields included.
    fn encode(&self, writer: &mut Writer);
    /// Reads what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    fn decode(reader: &mut Reader) -> Result<Self, Malformed>;
}

/// The tables of a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The account and what belongs to it: one row.
    Identity,
    /// Contacts and the state of the conversation with each.
    Contacts,
    /// Letters to others and how far each has got.
    Outbox,
    /// Letters that came and are not acknowledged yet: a row for each contact.
    Owed,
    /// Letters from others.
    Inbox,
    /// Ids of envelopes and letters that came, until they cannot come again.
    Seen,
    /// Guards and other state of path choice: one row.
    Path,
    /// Who may hold mail of each epoch: a row for each of the last 32.
    Rosters,
    /// How far each mailbox was read.
    Cursors,
    /// What the user chose.
    Settings,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Identity,
        Self::Contacts,
        Self::Outbox,
        Self::Owed,
        Self::Inbox,
        Self::Seen,
        Self::Path,
        Self::Rosters,
        Self::Cursors,
        Self::Settings,
    ];

    /// Its name in the file and in errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Contacts => "contacts",
            Self::Outbox => "outbox",
            Self::Owed => "owed",
            Self::Inbox => "inbox",
            Self::Seen => "seen",
            Self::Path => "path",
            Self::Rosters => "rosters",
            Self::Cursors => "cursors",
            Self::Settings => "settings",
        }
    }

    /// Rows that it may have; a change that would go beyond fails and says so ([HOME-7]).
    pub const fn rows_max(self) -> u64 {
        match self {
            Self::Identity | Self::Path => 1,
            // Each contact is tried on each letter that came to its bucket's mailbox.
            Self::Contacts | Self::Owed => 4_096,
            // About 330 MB of sealed large letters.
            Self::Outbox => 10_000,
            Self::Inbox => 1_000_000,
            // As long as mail lives, and a few that wait to be removed.
            Self::Rosters => 40,
            // 30 days of 30,000 envelopes a day, each with its letter's id.
            Self::Seen => 2_000_000,
            // 31 epochs of a thousand mailboxes.
            Self::Cursors => 32_000,
            Self::Settings => 1_000,
        }
    }

    const fn definition(self) -> TableDefinition<'static, &'static [u8; 32], &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

/// Why a home did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no home there.
    #[error("no home at {}", .0.display())]
    Missing(PathBuf),
    /// There is one already.
    #[error("there is a home already: {}", .0.display())]
    Exists(PathBuf),
    /// Another process has it open.
    #[error("the home is in use by another process")]
    InUse,
    /// Wrong passphrase.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// Wrong key file.
    #[error("this key file does not open this home")]
    WrongKeyFile,
    /// It was made with a passphrase, and a key file was shown.
    #[error("this home is opened with a passphrase, not with a key file")]
    NeedsPassphrase,
    /// It was made with a key file, and a passphrase was given.
    #[error("this home is opened with a key file, not with a passphrase")]
    NeedsKeyFile,
    /// A passphrase without characters.
    #[error("an empty passphrase protects nothing")]
    EmptyPassphrase,
    /// Not a key file of this program.
    #[error("not a key file: 64 hexadecimal digits are expected")]
    BadKeyFile,
    /// The row that holds the wrapped key fails its own checksum; the passphrase may be right.
    #[error("the row with the home's key is damaged; restore a copy of the file")]
    KeyRowDamaged,
    /// The home was made by a later version.
    #[error("the home has version {0}; this program knows version 1")]
    Version(u8),
    /// Argon2 refused its parameters or found no memory.
    #[error("the passphrase could not be stretched: {0}")]
    Work(String),
    /// One row was changed outside of this program, or the disk lost it. Others are not touched.
    #[error("{table}: row {row} is damaged")]
    RowDamaged {
        /// Its table's name.
        table: &'static str,
        /// The first four bytes of the row's name in the file.
        row: String,
    },
    /// A row that opens but does not read: another version wrote it.
    #[error("{table}: {source}")]
    RowMalformed {
        /// Its table's name.
        table: &'static str,
        /// The field.
        source: Malformed,
    },
    /// The table has all the rows it may have.
    #[error("{table} is full: {rows_max} rows")]
    Full {
        /// Its name.
        table: &'static str,
        /// Rows it may have.
        rows_max: u64,
    },
    /// The disk or the file failed.
    #[error("the home's file failed: {0}")]
    Disk(Box<redb::Error>),
    /// A folder or file could not be made or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    NoRandomness,
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], HomeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| HomeError::NoRandomness)?;
    Ok(bytes)
}

fn disk(error: impl Into<redb::Error>) -> HomeError {
    HomeError::Disk(Box::new(error.into()))
}

fn open_database(
    open: impl FnOnce() -> Result<Database, redb::DatabaseError>,
) -> Result<Database, HomeError> {
    open().map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => HomeError::InUse,
        other => disk(other),
    })
}

fn read_key_row(db: &Database) -> Result<Option<Vec<u8>>, HomeError> {
    let snapshot = db.begin_read().map_err(disk)?;
    let table = match snapshot.open_table(KEY_TABLE) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(disk(error)),
    };
    let row = table.get(KEY_ROW).map_err(disk)?;
    Ok(row.map(|row| row.value().to_vec()))
}

/// The file of a home in a folder.
pub(crate) fn file_of(folder: &Path) -> PathBuf {
    folder.join("home.redb")
}

fn make_private_folder(folder: &Path) -> Result<(), HomeError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| HomeError::File {
        path: folder.to_path_buf(),
        source,
    })
}

/// The file exists with its owner's rights alone before the first byte is in it.
fn make_private_file(path: &Path) -> Result<(), HomeError> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(path);
    opened.map(drop).map_err(|source| HomeError::File {
        path: path.to_path_buf(),
        source,
    })
}

/// The wrapped data key lies beside the tables, so that a new passphrase is one durable change.
const KEY_TABLE: TableDefinition<'static, u8, &'static [u8]> = TableDefinition::new("key");
const KEY_ROW: u8 = 0;

#[cfg(test)]
mod tests;
