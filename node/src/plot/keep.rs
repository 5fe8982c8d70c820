//! Who keeps the plot as large as the operator wants it: a thread of the lowest priority in a running relay.
//!
//! It tells the machine which class lies complete on the disk, first downwards and only then removes sectors,
//! so that a record never promises what is not there ([PLG-8]). It plots while the relay runs, and stops within
//! milliseconds.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use swarm_proto::effects::{Command, Input};
use swarm_proto::limits::PLEDGE_CLASS_MAX;
use swarm_proto::network::Pledge;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Plot;
use crate::budget::Inbox;

/// What the operator wants of the plot, as settings and commands left it.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The setting.
    pub class: Option<u8>,
    /// The file in which `pledge shrink` leaves the highest class wanted.
    pub most: PathBuf,
}

impl Wish {
    /// Has no more than this class wanted; `None` lifts that.
    ///
    /// # Errors
    /// If the file cannot be written or removed.
    pub fn limit(&self, class: Option<u8>) -> io::Result<()> {
        match class {
            Some(class) => fs::write(&self.most, class.to_string()),
            None => match fs::remove_file(&self.most) {
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        }
    }
}

/// The class that is wanted now: the setting, or the lowest that may hold, and no more than `pledge shrink` said.
pub fn wanted_class(pledge: &Pledge, wish: &Wish) -> u8 {
    let wanted = wish.class.unwrap_or(pledge.class_min).min(PLEDGE_CLASS_MAX);
    let most = fs::read_to_string(&wish.most).ok();
    let most = most.and_then(|text| text.trim().parse().ok());
    most.map_or(wanted, |most: u8| wanted.min(most))
}

/// How far the plot is, for the operator.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) complete: AtomicU32,
    pub(crate) wanted: AtomicU32,
}

/// What the thread works with.
pub(crate) struct Keeper {
    pub(crate) plot: Plot,
    pub(crate) pledge: Pledge,
    pub(crate) wish: Wish,
    pub(crate) core: Inbox,
    /// The class that the machine was started with.
    pub(crate) told: u8,
    pub(crate) progress: Arc<Progress>,
    /// When the sectors were counted, and how many were complete.
    pub(crate) counted: Option<(SystemTime, u32)>,
}

impl Keeper {
    /// Starts the thread; it ends soon after `stop`.
    pub(crate) fn start(
        mut self,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let token = tracker.token();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("plot".to_owned())
            .spawn(move || {
                // If the system refuses, it plots as everybody else works.
                let _refused = rustix::process::nice(LOWEST_PRIORITY);
                while !stop.is_cancelled() {
                    let rest = self.work(&stop);
                    // Either the rest is over, or the loop ends.
                    let _over = runtime
                        .block_on(async { tokio::time::timeout(rest, stop.cancelled()).await });
                }
                drop(token);
            })?;
        Ok(())
    }

    /// One step towards what is wanted, and how long to rest after it.
    fn work(&mut self, stop: &CancellationToken) -> Duration {
        match self.step(stop) {
            Ok(true) => Duration::ZERO,
            Ok(false) => REST,
            Err(failure) => {
                tracing::warn!(%failure, "the plot cannot be made larger: is the disk full?");
                REST_AFTER_FAILURE
            }
        }
    }

    /// `false` if there is nothing to do now.
    fn step(&mut self, stop: &CancellationToken) -> io::Result<bool> {
        let class = wanted_class(&self.pledge, &self.wish);
        let wanted = self.plot.sectors_of(class);
        let complete = self.count()?;
        self.progress.wanted.store(wanted, Ordering::Relaxed);
        self.progress.complete.store(complete, Ordering::Relaxed);
        if !self.tell(self.plot.class_of(complete).min(class)) {
            return Ok(false);
        }
        if complete > wanted {
            let released = self.plot.release(wanted)?;
            tracing::info!(released, class, "sectors of the plot were released");
            return Ok(true);
        }
        if complete == wanted {
            return Ok(false);
        }
        let made = self.plot.make(complete, |_| !stop.is_cancelled())?;
        if made && !self.plot.has(complete + 1) {
            self.counted = self.plot.stamp().map(|stamp| (stamp, complete + 1));
        }
        Ok(made)
    }

    /// Complete sectors. A large plot is counted only when something came or went that this thread did not see, and
    /// before a higher class is told.
    fn count(&mut self) -> io::Result<u32> {
        let stamp = self.plot.stamp();
        if let (Some(now), Some((then, complete))) = (stamp, self.counted)
            && now == then
            && !self.plot.take_lost()
            && self.plot.class_of(complete) <= self.told
        {
            return Ok(complete);
        }
        let complete = self.plot.complete()?;
        self.counted = stamp.map(|stamp| (stamp, complete));
        Ok(complete)
    }

    /// `false` if the machine has no room for it: then it is told later.
    fn tell(&mut self, class: u8) -> bool {
        if class == self.told {
            return true;
        }
        let told = self.core.hint(Input::Command(Command::Plotted { class }));
        if told {
            tracing::info!(class, "the plot is complete up to this class");
            self.told = class;
        }
        told
    }
}

/// The lowest that there is: everything else goes first.
const LOWEST_PRIORITY: i32 = 19;
/// A plot that is as wanted is looked at every two seconds.
const REST: Duration = Duration::from_secs(2);
/// A full disk is tried again then.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(300);
