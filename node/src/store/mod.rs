//! Where envelopes lie until their hour comes: a durable store behind a bounded queue.
//!
//! The relay's machine asks, one thread carries out, and an answer comes when what it says is durable.
//! What each operation means is fixed by [`swarm_proto::store::MemStore`]; this engine is equal to it.
//! It does not judge signatures, quotas or clocks. Source: docs/spec/store.md.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use swarm_proto::id::EnvelopeId;
use swarm_proto::store::{NotKept, StoreDone, StoreOp};
use swarm_proto::wire::codec::Malformed;
use tokio_util::sync::CancellationToken;

pub use disk::{Disk, FolderDisk};
use redb::Engine;
use schema::Place;

mod catalog;
mod disk;
mod inventory;
mod read;
mod redb;
mod schema;
#[cfg(test)]
mod tests;
mod write;

/// A running store.
pub struct Store {
    queue: SyncSender<Asked>,
    waiting: Arc<Waiting>,
    /// Behind a lock only so that a store can be shared.
    ended: Mutex<Receiver<()>>,
}

/// How a store behaves.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Memory for the pages of the file, in bytes; 16 MiB at home.
    pub cache_bytes: usize,
    /// [`swarm_proto::store::Usage::weight`] stays within it; well below the disk.
    pub budget_bytes: u64,
    /// Space kept free for the day on which the disk is full; at least 64 MiB on a real one.
    pub ballast_bytes: u64,
    /// Operations that may wait; half of them may be writes ([`QUEUE_OPS_MAX`]).
    pub queue_ops: usize,
    /// Bytes of envelopes and cards that may wait to be written ([`QUEUE_BYTES_MAX`]).
    pub queue_bytes: usize,
    /// Writes that share one commit ([`GROUP_OPS_MAX`]).
    pub group_ops: usize,
    /// After a full disk: how long until it is looked at again, when nothing was deleted.
    pub full_retry: Duration,
    /// The store cancels it when nothing can be kept any more ([STO-11]): the file's structure is damaged, a flush failed,
    /// or two commits in a row did for another reason than a full disk.
    pub ruin: CancellationToken,
    /// False loses what was acknowledged; for the test that shows that the crash test can fail.
    #[cfg(test)]
    pub durable: bool,
}

impl StoreConfig {
    /// A store of `budget_bytes` with everything else as at home.
    pub fn with_budget(budget_bytes: u64) -> Self {
        Self {
            cache_bytes: CACHE_HOME_BYTES,
            budget_bytes,
            ballast_bytes: BALLAST_BYTES,
            queue_ops: QUEUE_OPS_MAX,
            queue_bytes: QUEUE_BYTES_MAX,
            group_ops: GROUP_OPS_MAX,
            full_retry: FULL_RETRY,
            ruin: CancellationToken::new(),
            #[cfg(test)]
            durable: true,
        }
    }
}

impl Store {
    /// Opens the store in `folder`, or makes one.
    ///
    /// # Errors
    /// [`StoreFailure`] if the file system or the file refuses.
    pub fn open(folder: &Path, config: StoreConfig) -> Result<Self, StoreFailure> {
        Self::open_on(FolderDisk::new(folder)?, config)
    }

    /// Opens the store on `disk`.
    ///
    /// # Errors
    /// [`StoreFailure`] if the disk or the file refuses.
    pub fn open_on<D: Disk>(disk: D, config: StoreConfig) -> Result<Self, StoreFailure> {
        let (queue, asked) = sync_channel(config.queue_ops.max(2));
        let (end, ended) = sync_channel(1);
        let waiting = Arc::new(Waiting {
            writes: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            writes_max: config.queue_ops.max(2) / 2,
            bytes_max: config.queue_bytes,
            closing: AtomicBool::new(false),
        });
        let ruin = config.ruin.clone();
        // redb panics where the structure of a file is damaged.
        let opened = catch_unwind(AssertUnwindSafe(|| Engine::open(disk, config)));
        let engine = opened.unwrap_or(Err(StoreFailure::Ruined))?;
        let counted = Arc::clone(&waiting);
        let thread = std::thread::Builder::new().name("store".into());
        thread.spawn(move || {
            let inbox = Inbox { asked, counted };
            if catch_unwind(AssertUnwindSafe(|| engine.run(&inbox))).is_err() {
                ruin.cancel();
            }
            drop(end);
        })?;
        Ok(Self {
            queue,
            waiting,
            ended: Mutex::new(ended),
        })
    }

    /// Asks for one operation. `answer` is called exactly once, from the store's thread once the answer
    /// is durable, or at once if the queue is full ([`NotKept::Busy`]) or the store is closed
    /// ([`StoreDone::Failed`]); it must not block.
    pub fn submit(&self, op: StoreOp, answer: impl FnOnce(StoreDone) + Send + 'static) {
        let answer = Answer(Some(Box::new(answer)));
        let load = Load::of(&op);
        if !self.waiting.admit(load) {
            answer.give(StoreDone::NotKept(NotKept::Busy));
            return;
        }
        let asked = Asked::Op { op, answer, load };
        match self.queue.try_send(asked) {
            Ok(()) => {}
            Err(TrySendError::Full(asked)) => self.refuse(asked, StoreDone::NotKept(NotKept::Busy)),
            Err(TrySendError::Disconnected(asked)) => self.refuse(asked, StoreDone::Failed),
        }
    }

    /// Asks for one operation and waits for its answer; for tools and tests.
    pub fn ask(&self, op: StoreOp) -> StoreDone {
        let (tell, told) = sync_channel(1);
        self.submit(op, move |done| {
            let _ = tell.send(done);
        });
        told.recv().unwrap_or(StoreDone::Failed)
    }

    /// Finishes what is being written, answers what still waits, and ends within [`CLOSE_MAX`]. Blocks
    /// for as long.
    ///
    /// # Errors
    /// [`StoreFailure::Late`] if the disk took longer; what was acknowledged is durable all the same.
    pub fn close(self) -> Result<(), StoreFailure> {
        let Self {
            queue,
            waiting,
            ended,
        } = self;
        waiting.closing.store(true, Ordering::Release);
        drop(queue);
        let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        match ended.recv_timeout(CLOSE_MAX) {
            Err(RecvTimeoutError::Timeout) => Err(StoreFailure::Late),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }

    fn refuse(&self, asked: Asked, done: StoreDone) {
        let Asked::Op { answer, load, .. } = asked;
        self.waiting.release(load);
        answer.give(done);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// One operation on its way to the engine.
enum Asked {
    Op {
        op: StoreOp,
        answer: Answer,
        load: Load,
    },
}

/// The engine's end of the queue.
struct Inbox {
    asked: Receiver<Asked>,
    counted: Arc<Waiting>,
}

/// Whom to tell; tells [`StoreDone::Failed`] if it is dropped, so that nobody waits for ever.
struct Answer(Option<Box<dyn FnOnce(StoreDone) + Send>>);

impl Answer {
    fn give(mut self, done: StoreDone) {
        if let Some(tell) = self.0.take() {
            tell(done);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(StoreDone::Failed);
        }
    }
}

/// What waits to be written. Reads have the other half of the queue to themselves, so that writers
/// cannot keep readers out.
struct Waiting {
    writes: AtomicUsize,
    bytes: AtomicUsize,
    writes_max: usize,
    bytes_max: usize,
    closing: AtomicBool,
}

/// What one operation adds to [`Waiting`].
#[derive(Clone, Copy)]
struct Load {
    writes: usize,
    bytes: usize,
}

impl Load {
    fn of(op: &StoreOp) -> Self {
        let (writes, bytes) = match op {
            StoreOp::Put { row, .. } => (1, row.envelope.bytes().len()),
            StoreOp::PutCard { card, .. } => (1, card.sealed.len()),
            StoreOp::PutEntry { entry, .. } => (1, entry.len()),
            StoreOp::Delete { .. } => (1, 0),
            StoreOp::Page { .. }
            | StoreOp::Have { .. }
            | StoreOp::Read { .. }
            | StoreOp::Card { .. }
            | StoreOp::Expire { .. }
            | StoreOp::Usage
            | StoreOp::Cells { .. }
            | StoreOp::Inventory { .. }
            | StoreOp::Entries { .. }
            | StoreOp::Tags { .. } => (0, 0),
        };
        Self { writes, bytes }
    }
}

impl Waiting {
    fn admit(&self, load: Load) -> bool {
        let writes = self.writes.fetch_add(load.writes, Ordering::AcqRel);
        let bytes = self.bytes.fetch_add(load.bytes, Ordering::AcqRel);
        let fits = writes.saturating_add(load.writes) <= self.writes_max
            && bytes.saturating_add(load.bytes) <= self.bytes_max;
        if load.writes == 0 || fits {
            return true;
        }
        self.release(load);
        false
    }

    fn release(&self, load: Load) {
        self.writes.fetch_sub(load.writes, Ordering::AcqRel);
        self.bytes.fetch_sub(load.bytes, Ordering::AcqRel);
    }
}

/// Why the store does not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreFailure {
    /// The file system refused.
    #[error("store: {0}")]
    Disk(#[from] io::Error),
    /// redb refused.
    #[error("store: {0}")]
    Redb(Box<::redb::Error>),
    /// A record is not what this program wrote.
    #[error("store: {0}")]
    Record(&'static str),
    /// The row of an envelope is not the one that was written, or is gone.
    #[error("store: the row of an envelope is damaged")]
    Row(Damaged),
    /// The file has another layout than this program's.
    #[error("store: the file has layout {0}, and this program knows only layout {known}", known = schema::SCHEMA_VERSION)]
    Schema(u32),
    /// The file's structure is damaged, or the disk takes nothing any more.
    #[error(
        "the file or its disk is damaged; move the folder away, or to another disk, and start again: what it lacks the relay takes from other holders"
    )]
    Ruined,
    /// The disk did not finish in time.
    #[error("store: the disk did not finish within two seconds")]
    Late,
}

/// An envelope, and where its row should be.
#[derive(Clone, Copy, Debug)]
pub struct Damaged {
    id: EnvelopeId,
    place: Place,
}

impl StoreFailure {
    /// Whether space is missing.
    pub fn is_full(&self) -> bool {
        let failure = match self {
            Self::Disk(failure) => failure,
            Self::Redb(failure) => match failure.as_ref() {
                ::redb::Error::Io(failure) => failure,
                _ => return false,
            },
            Self::Record(_) | Self::Row(_) | Self::Schema(_) | Self::Ruined | Self::Late => {
                return false;
            }
        };
        matches!(
            failure.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Whether one record is damaged, while the disk works.
    fn is_record(&self) -> bool {
        matches!(self, Self::Record(_) | Self::Row(_))
    }
}

impl From<::redb::Error> for StoreFailure {
    fn from(error: ::redb::Error) -> Self {
        if let ::redb::Error::Corrupted(what) = &error {
            tracing::error!("the store's file is damaged: {what}");
            return Self::Ruined;
        }
        Self::Redb(Box::new(error))
    }
}

impl From<Malformed> for StoreFailure {
    fn from(wrong: Malformed) -> Self {
        Self::Record(wrong.field)
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<::redb::$error> for StoreFailure {
            fn from(error: ::redb::$error) -> Self {
                ::redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(
    DatabaseError,
    TransactionError,
    TableError,
    StorageError,
    CommitError,
    SetDurabilityError
);

/// Memory for pages in the profile `home`.
pub const CACHE_HOME_BYTES: usize = 16 * 1024 * 1024;
/// Ballast on a real disk: far more than the pages that a deletion writes.
pub const BALLAST_BYTES: u64 = 64 * 1024 * 1024;
/// Operations that may wait: as many deposits as a relay has under way at once, and as many reads.
pub const QUEUE_OPS_MAX: usize = 2 * swarm_proto::limits::DEPOSITS_UNDER_WAY_MAX;
/// Bytes that may wait to be written: 4,096 small envelopes, or 250 large ones.
pub const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Writes in one commit. More per commit is faster but each waits longer: docs/decisions/0001-store.md.
pub const GROUP_OPS_MAX: usize = 512;
/// Bytes of envelopes in one commit; keeps a group of large ones about as long as one of small ones.
pub const GROUP_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long a full disk is left alone when nothing was deleted.
pub const FULL_RETRY: Duration = Duration::from_secs(10);
/// How long closing may take.
pub const CLOSE_MAX: Duration = Duration::from_secs(2);
