//! Who reads the plot and makes sectors again, for the machine: two threads with bounded queues beside its loop.
//!
//! Reading for a watcher has ten seconds, so it never waits behind sectors that are made again. What finds no
//! room is answered as failed at once: then this relay is silent, or judges nobody.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use swarm_proto::effects::PlotId;
use swarm_proto::id::NodeKey;
use swarm_proto::limits;
use swarm_proto::network::Pledge;
use swarm_proto::pledge::{PageAt, PlotDone, PlotOp, make_tag};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Plot;

/// The way to both threads; they end when it is dropped.
pub(crate) struct PlotWorkers {
    pages: SyncSender<(PlotId, Vec<PageAt>, [u8; 32])>,
    sectors: SyncSender<(PlotId, NodeKey, PageAt, [u8; 32])>,
    done: mpsc::Sender<(PlotId, PlotDone)>,
}

impl PlotWorkers {
    /// Starts the threads; what they did comes out of the second part.
    pub(crate) fn start(
        plot: Plot,
        pledge: Pledge,
        tracker: &TaskTracker,
    ) -> std::io::Result<(Self, mpsc::Receiver<(PlotId, PlotDone)>)> {
        // Room for all that waits and for as much that is refused.
        let (done, answers) = mpsc::channel(2 * (PAGES_WAITING_MAX + SECTORS_WAITING_MAX));
        let (pages, pages_asked) = sync_channel(PAGES_WAITING_MAX);
        let (sectors, sectors_asked) = sync_channel(SECTORS_WAITING_MAX);
        let (to, token) = (done.clone(), tracker.token());
        std::thread::Builder::new()
            .name("plot-pages".to_owned())
            .spawn(move || {
                read_pages(&plot, &pages_asked, &to);
                drop(token);
            })?;
        let to = done.clone();
        // Not tracked: it may be in the middle of a sector, and nothing depends on its end.
        std::thread::Builder::new()
            .name("plot-sectors".to_owned())
            .spawn(move || make_sectors(&pledge, &sectors_asked, &to))?;
        let workers = Self {
            pages,
            sectors,
            done,
        };
        Ok((workers, answers))
    }

    /// Has it done; answered exactly once.
    pub(crate) fn submit(&self, op: PlotId, request: PlotOp) {
        let refused = match request {
            PlotOp::Pages { pages, key } => {
                let asked = self.pages.try_send((op, pages, key));
                asked.err().map(|failed| opened(failed).0)
            }
            PlotOp::Sector { node, at, key } => {
                let asked = self.sectors.try_send((op, node, at, key));
                asked.err().map(|failed| opened(failed).0)
            }
        };
        if let Some(op) = refused
            && self.done.try_send((op, PlotDone::Failed)).is_err()
        {
            tracing::error!("an answer of the plot found no room");
        }
    }
}

fn opened<T>(failed: std::sync::mpsc::TrySendError<T>) -> T {
    match failed {
        std::sync::mpsc::TrySendError::Full(asked)
        | std::sync::mpsc::TrySendError::Disconnected(asked) => asked,
    }
}

fn read_pages(
    plot: &Plot,
    asked: &Receiver<(PlotId, Vec<PageAt>, [u8; 32])>,
    to: &mpsc::Sender<(PlotId, PlotDone)>,
) {
    for (op, pages, key) in asked {
        let done = match plot.read(&pages, &key) {
            Ok(tags) => PlotDone::Tags(tags),
            Err(sector) => {
                tracing::warn!(
                    sector,
                    "a sector of the plot is missing or damaged: it is made again"
                );
                if let Err(failure) = plot.forget(sector) {
                    tracing::error!(%failure, sector, "a damaged sector cannot be removed");
                }
                PlotDone::Failed
            }
        };
        if to.blocking_send((op, done)).is_err() {
            return;
        }
    }
}

fn make_sectors(
    pledge: &Pledge,
    asked: &Receiver<(PlotId, NodeKey, PageAt, [u8; 32])>,
    to: &mpsc::Sender<(PlotId, PlotDone)>,
) {
    for (op, node, at, key) in asked {
        let tag = make_tag(pledge, &node, at, &key);
        let done = tag.map_or(PlotDone::Failed, |tag| PlotDone::Tags(vec![tag]));
        if to.blocking_send((op, done)).is_err() {
            return;
        }
    }
}

/// As many as the machine takes within the time that an answer has.
const PAGES_WAITING_MAX: usize = limits::CHALLENGES_ANSWERED_MAX;
/// As many as the machine has open.
const SECTORS_WAITING_MAX: usize = limits::CHALLENGES_OPEN_MAX;
