//! The engine: one thread that owns redb, commits writes in groups and outlives a full disk.
//!
//! A group is whatever waits when the last commit ended, so a lone writer never waits for company and
//! many writers share one flush. Reads that no waiting write concerns are answered first, from the last
//! commit ([STO-2]). redb's handle refuses writes after a failed one; then the file is opened again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvError, TryRecvError};
use std::time::Instant;

use redb::{Builder, Database, Durability, ReadableDatabase};
use swarm_proto::id::{EnvelopeId, MailboxAddress};
use swarm_proto::store::{NotKept, StoreDone, StoreOp};

use super::catalog::Catalog;
use super::disk::Watched;
use super::read::{self, Snapshot};
use super::write::Group;
use super::{
    Answer, Asked, CLOSE_MAX, Damaged, Disk, GROUP_BYTES_MAX, Inbox, StoreConfig, StoreFailure,
};

/// The engine's state, owned by its thread.
pub(super) struct Engine<D: Disk> {
    disk: D,
    config: StoreConfig,
    /// None between a failure and the next try to open.
    open: Option<Database>,
    /// Of the last commit.
    catalog: Catalog,
    room: Room,
    /// The last commit failed for another reason than a full disk.
    failing: bool,
    /// A flush failed: nothing is written any more until the store is opened anew.
    flush_failed: Arc<AtomicBool>,
}

/// Whether the disk has room.
enum Room {
    Enough,
    /// It was full; the ballast is gone, and only what frees space is written.
    Tight {
        looked: Instant,
    },
}

struct Task {
    op: StoreOp,
    answer: Answer,
}

impl<D: Disk> Engine<D> {
    /// Opens the file.
    pub(super) fn open(disk: D, config: StoreConfig) -> Result<Self, StoreFailure> {
        let mut engine = Self {
            disk,
            config,
            open: None,
            catalog: Catalog::default(),
            room: Room::Enough,
            failing: false,
            flush_failed: Arc::new(AtomicBool::new(false)),
        };
        engine.reopen()?;
        engine.look_for_room();
        Ok(engine)
    }

    /// Serves until the queue is closed and empty.
    pub(super) fn run(mut self, inbox: &Inbox) {
        let mut closing: Option<Instant> = None;
        while let Ok(tasks) = self.gather(inbox) {
            if inbox.counted.closing.load(Ordering::Acquire) {
                // What waits beyond half of the time is dropped, which answers that it failed.
                let since = *closing.get_or_insert_with(Instant::now);
                if since.elapsed() >= CLOSE_MAX / 2 {
                    continue;
                }
            }
            self.serve(tasks);
        }
    }

    /// Waits for work and takes what is there, up to a group; drops dead tables while there is none.
    fn gather(&mut self, inbox: &Inbox) -> Result<Vec<Task>, RecvError> {
        let mut tasks = Vec::new();
        let mut bytes = 0;
        while tasks.len() < self.config.group_ops.max(1) && bytes < GROUP_BYTES_MAX {
            let asked = match inbox.asked.try_recv() {
                Ok(asked) => asked,
                Err(TryRecvError::Empty) if !tasks.is_empty() => break,
                Err(TryRecvError::Empty) if self.has_leftovers() => {
                    self.drop_leftovers();
                    continue;
                }
                Err(TryRecvError::Empty) => inbox.asked.recv()?,
                Err(TryRecvError::Disconnected) if tasks.is_empty() => return Err(RecvError),
                Err(TryRecvError::Disconnected) => break,
            };
            let Asked::Op { op, answer, load } = asked;
            inbox.counted.release(load);
            bytes += load.bytes;
            tasks.push(Task { op, answer });
        }
        Ok(tasks)
    }

    fn serve(&mut self, tasks: Vec<Task>) {
        if self.open.is_none()
            && let Err(failure) = self.reopen()
        {
            tracing::error!(%failure, "the store cannot be opened");
            return;
        }
        let tasks = self.read_ahead(tasks);
        let tasks = self.refuse_when_tight(tasks);
        self.write(tasks);
    }

    /// Commits a group and answers it.
    fn write(&mut self, tasks: Vec<Task>) {
        if tasks.is_empty() {
            return;
        }
        if self.flush_failed.load(Ordering::Acquire) {
            self.give_up(tasks, false);
            return;
        }
        let done = loop {
            match self.commit(&tasks) {
                Err(StoreFailure::Row(damaged)) if self.forget(&damaged) => {}
                done => break done,
            }
        };
        match done {
            Ok(done) => {
                let freed = done.iter().any(frees);
                for (task, done) in tasks.into_iter().zip(done) {
                    task.answer.give(done);
                }
                if freed && matches!(self.room, Room::Tight { .. }) {
                    self.look_for_room();
                }
            }
            Err(failure) => self.recover(tasks, &failure),
        }
    }

    /// Answers reads that no write asked before them concerns; returns the rest in order.
    fn read_ahead(&mut self, tasks: Vec<Task>) -> Vec<Task> {
        let mut touched = Touched::default();
        let mut snapshot = None;
        let mut rest = Vec::new();
        for task in tasks {
            if is_read(&task.op) && !touched.concerns(&task.op) {
                let done = self.read(&mut snapshot, &task.op);
                task.answer.give(done);
            } else {
                touched.add(&task.op);
                rest.push(task);
            }
        }
        rest
    }

    fn read(&mut self, snapshot: &mut Option<Snapshot>, op: &StoreOp) -> StoreDone {
        let mut opened_again = false;
        loop {
            let done = self
                .snapshot(snapshot)
                .and_then(|snapshot| read::answer(snapshot, &self.catalog, op));
            match done {
                Ok(done) => return done.unwrap_or(StoreDone::Failed),
                Err(StoreFailure::Row(damaged)) if self.forget(&damaged) => *snapshot = None,
                // After one failed reading redb's handle refuses all that follow.
                Err(failure) if !failure.is_record() && !opened_again => {
                    tracing::error!(%failure, "the store cannot be read");
                    opened_again = true;
                    *snapshot = None;
                    if let Err(failure) = self.reopen() {
                        tracing::error!(%failure, "the store cannot be opened");
                    }
                }
                Err(failure) => {
                    tracing::error!(%failure, "the store cannot be read");
                    return StoreDone::Failed;
                }
            }
        }
    }

    /// Forgets an envelope that the disk damaged, durably ([STO-10]). False if that is not possible now.
    fn forget(&mut self, damaged: &Damaged) -> bool {
        if self.flush_failed.load(Ordering::Acquire) {
            return false;
        }
        match self.commit_with(|group| group.forget(damaged)) {
            Ok(forgotten) => {
                if forgotten {
                    tracing::error!(
                        "the disk damaged a letter: it is dropped, and asked of its other holders"
                    );
                }
                forgotten
            }
            Err(failure) => {
                self.recover(Vec::new(), &failure);
                false
            }
        }
    }

    fn snapshot<'a>(
        &self,
        snapshot: &'a mut Option<Snapshot>,
    ) -> Result<&'a mut Snapshot, StoreFailure> {
        if let Some(snapshot) = snapshot {
            return Ok(snapshot);
        }
        let open = self.open.as_ref().ok_or(StoreFailure::Record("closed"))?;
        Ok(snapshot.insert(Snapshot::new(open.begin_read()?)))
    }

    /// While the disk is full: says so to whatever needs space.
    fn refuse_when_tight(&mut self, tasks: Vec<Task>) -> Vec<Task> {
        if let Room::Tight { looked } = self.room
            && looked.elapsed() >= self.config.full_retry
        {
            self.look_for_room();
        }
        match self.room {
            Room::Enough => tasks,
            Room::Tight { .. } => Self::refuse_what_grows(tasks),
        }
    }

    fn refuse_what_grows(tasks: Vec<Task>) -> Vec<Task> {
        let mut rest = Vec::new();
        for task in tasks {
            let grows = matches!(
                task.op,
                StoreOp::Put { .. } | StoreOp::PutCard { .. } | StoreOp::PutEntry { .. }
            );
            if grows {
                task.answer.give(StoreDone::NotKept(NotKept::DiskFull));
            } else {
                rest.push(task);
            }
        }
        rest
    }

    /// Carries a group out and makes it durable.
    fn commit(&mut self, tasks: &[Task]) -> Result<Vec<StoreDone>, StoreFailure> {
        self.commit_with(|group| tasks.iter().map(|task| group.apply(&task.op)).collect())
    }

    fn commit_with<T>(
        &mut self,
        work: impl FnOnce(&mut Group<'_>) -> Result<T, StoreFailure>,
    ) -> Result<T, StoreFailure> {
        let open = self.open.as_ref().ok_or(StoreFailure::Record("closed"))?;
        let mut write = open.begin_write()?;
        write.set_quick_repair(true);
        self.set_durability(&mut write)?;
        let mut group = Group::new(&write, self.catalog.clone(), self.config.budget_bytes);
        group.drop_dead()?;
        let done = work(&mut group)?;
        let catalog = group.finish()?;
        write.commit()?;
        self.catalog = catalog;
        self.failing = false;
        Ok(done)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the test build reads the config")]
    fn set_durability(&self, write: &mut redb::WriteTransaction) -> Result<(), StoreFailure> {
        Ok(write.set_durability(Durability::Immediate)?)
    }

    #[cfg(test)]
    fn set_durability(&self, write: &mut redb::WriteTransaction) -> Result<(), StoreFailure> {
        if self.config.durable {
            return Ok(write.set_durability(Durability::Immediate)?);
        }
        write.set_quick_repair(false);
        Ok(write.set_durability(Durability::None)?)
    }

    /// After a commit that failed: nothing of the group was acknowledged. Finds the operation that a
    /// damaged record makes impossible, or opens the file again.
    fn recover(&mut self, tasks: Vec<Task>, failure: &StoreFailure) {
        if failure.is_record() {
            tracing::error!(%failure, "a record of the store is damaged");
            for task in tasks {
                let alone = [task];
                let done = self.commit(&alone);
                let [task] = alone;
                match done {
                    Ok(done) => task
                        .answer
                        .give(done.into_iter().next().unwrap_or(StoreDone::Failed)),
                    Err(failure) if failure.is_record() => task.answer.give(StoreDone::Failed),
                    Err(failure) => self.recover_disk(vec![task], &failure),
                }
            }
        } else {
            self.recover_disk(tasks, failure);
        }
    }

    fn recover_disk(&mut self, tasks: Vec<Task>, failure: &StoreFailure) {
        let full = failure.is_full();
        let mut again = false;
        if full {
            tracing::warn!("the disk is full: deposits are refused");
            again = matches!(self.room, Room::Enough);
            if let Err(failure) = self.disk.drop_ballast() {
                tracing::error!(%failure, "the ballast cannot be dropped");
            }
            let looked = Instant::now();
            self.room = Room::Tight { looked };
        } else {
            tracing::error!(%failure, "the store cannot be written");
        }
        let flush_failed = self.flush_failed.load(Ordering::Acquire);
        if flush_failed {
            tracing::error!("a flush failed: nothing is kept until the relay is started again");
        }
        let fails_again = !full && std::mem::replace(&mut self.failing, true);
        if fails_again || flush_failed || matches!(failure, StoreFailure::Ruined) {
            self.config.ruin.cancel();
        }
        if let Err(failure) = self.reopen() {
            tracing::error!(%failure, "the store cannot be opened");
        }
        if again {
            // What frees space has it from the ballast.
            let rest = Self::refuse_what_grows(tasks);
            self.write(rest);
        } else {
            self.give_up(tasks, full);
        }
    }

    fn give_up(&mut self, tasks: Vec<Task>, full: bool) {
        let mut snapshot = None;
        for task in tasks {
            let done = if is_read(&task.op) {
                self.read(&mut snapshot, &task.op)
            } else if full {
                StoreDone::NotKept(NotKept::DiskFull)
            } else {
                StoreDone::Failed
            };
            task.answer.give(done);
        }
    }

    fn reopen(&mut self) -> Result<(), StoreFailure> {
        self.open = None;
        let backend = Watched::new(self.disk.open()?, Arc::clone(&self.flush_failed));
        let mut builder = Builder::new();
        builder.set_cache_size(self.config.cache_bytes);
        let open = builder.create_with_backend(backend)?;
        let damaged = self.catalog.usage.damaged;
        self.catalog = Catalog::load(&open.begin_read()?)?;
        self.catalog.usage.damaged = damaged;
        self.open = Some(open);
        Ok(())
    }

    /// Puts the ballast back, if need be a smaller one: the file may have grown by what the deletions
    /// wrote, while the space that they freed lies inside it.
    fn look_for_room(&mut self) {
        let full = self.config.ballast_bytes;
        let sizes = [full, full / 2, full / 4];
        let filled = sizes
            .into_iter()
            .any(|bytes| self.disk.fill_ballast(bytes).is_ok());
        self.room = if filled {
            Room::Enough
        } else {
            let looked = Instant::now();
            Room::Tight { looked }
        };
    }

    fn has_leftovers(&self) -> bool {
        let works = self.open.is_some() && !self.flush_failed.load(Ordering::Acquire);
        works && self.catalog.next_dead().is_some()
    }

    /// Drops one dead table in a commit of its own.
    fn drop_leftovers(&mut self) {
        if let Err(failure) = self.commit(&[]) {
            self.recover(Vec::new(), &failure);
        } else if matches!(self.room, Room::Tight { .. }) {
            self.look_for_room();
        }
    }
}

/// What the writes of a group concern.
#[derive(Default)]
struct Touched {
    mailboxes: BTreeSet<MailboxAddress>,
    envelopes: BTreeSet<EnvelopeId>,
    something: bool,
    everything: bool,
}

impl Touched {
    fn add(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Put { row, .. } => {
                self.mailboxes.insert(row.envelope.header().address);
                self.envelopes.insert(row.envelope.id());
            }
            StoreOp::Delete { tombstone, .. } => {
                self.mailboxes.insert(tombstone.keys.address());
                self.envelopes.insert(tombstone.id);
            }
            StoreOp::PutCard { keys, .. } => {
                self.mailboxes.insert(keys.address());
            }
            StoreOp::Expire { .. } | StoreOp::PutEntry { .. } => self.everything = true,
            StoreOp::Page { .. }
            | StoreOp::Have { .. }
            | StoreOp::Read { .. }
            | StoreOp::Card { .. }
            | StoreOp::Usage
            | StoreOp::Cells { .. }
            | StoreOp::Inventory { .. }
            | StoreOp::Entries { .. }
            | StoreOp::Tags { .. } => return,
        }
        self.something = true;
    }

    fn concerns(&self, read: &StoreOp) -> bool {
        self.everything
            || match read {
                StoreOp::Page { address, .. } | StoreOp::Card { address } => {
                    self.mailboxes.contains(address)
                }
                StoreOp::Have { ids } => ids.iter().any(|id| self.envelopes.contains(id)),
                StoreOp::Read { id } => self.envelopes.contains(id),
                StoreOp::Usage
                | StoreOp::Cells { .. }
                | StoreOp::Inventory { .. }
                | StoreOp::Tags { .. } => self.something,
                StoreOp::Entries { .. } => false,
                StoreOp::PutEntry { .. }
                | StoreOp::Put { .. }
                | StoreOp::Delete { .. }
                | StoreOp::PutCard { .. }
                | StoreOp::Expire { .. } => true,
            }
    }
}

fn is_read(op: &StoreOp) -> bool {
    match op {
        StoreOp::Page { .. }
        | StoreOp::Have { .. }
        | StoreOp::Read { .. }
        | StoreOp::Card { .. }
        | StoreOp::Usage
        | StoreOp::Cells { .. }
        | StoreOp::Inventory { .. }
        | StoreOp::Entries { .. }
        | StoreOp::Tags { .. } => true,
        StoreOp::PutEntry { .. }
        | StoreOp::Put { .. }
        | StoreOp::Delete { .. }
        | StoreOp::PutCard { .. }
        | StoreOp::Expire { .. } => false,
    }
}

/// Whether an answer says that space became free.
fn frees(done: &StoreDone) -> bool {
    matches!(
        done,
        StoreDone::Expired { envelopes: 1.. } | StoreDone::Deleted { existed: true }
    )
}
