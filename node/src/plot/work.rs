//! Who reads the plot and makes sectors again, for the machine: two threads with bounded queues beside its loop.
//!
//! Reading for a watcher has ten seconds, so it never waits behind sectors that are made again. What finds no
//! room is answered as failed at once: then this relay is silent, or judges nobody.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use swarm_proto::id::NodeKey;
use swarm_proto::limits;
use swarm_proto::network::Pledge;
use swarm_proto::pledge::{PageAt, PlotDone, PlotOp, make_tag};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Plot;

/// The way to both threads; they end when it is dropped. `I` names what was asked for.
pub(crate) struct PlotWorkers<I> {
    pages: SyncSender<(I, Vec<PageAt>, [u8; 32])>,
    sectors: SyncSender<(I, NodeKey, PageAt, [u8; 32])>,
    done: mpsc::Sender<(I, PlotDone)>,
}

impl<I: Send + 'static> PlotWorkers<I> {
    /// Starts the threads; what they did comes out of the second part.
    pub(crate) fn start(
        plot: Plot,
        pledge: Pledge,
        tracker: &TaskTracker,
    ) -> std::io::Result<(Self, mpsc::Receiver<(I, PlotDone)>)> {
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
    pub(crate) fn submit(&self, op: I, request: PlotOp) {
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

fn read_pages<I>(
    plot: &Plot,
    asked: &Receiver<(I, Vec<PageAt>, [u8; 32])>,
    to: &mpsc::Sender<(I, PlotDone)>,
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

fn make_sectors<I>(
    pledge: &Pledge,
    asked: &Receiver<(I, NodeKey, PageAt, [u8; 32])>,
    to: &mpsc::Sender<(I, PlotDone)>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_proto::id::NodeId;
    use swarm_proto::network::Network;
    use swarm_proto::pledge::Terms;

    fn scene(dir: &std::path::Path) -> (Plot, Pledge, NodeKey) {
        let mut pledge = Network::public("work", &[]).pledge;
        (pledge.labels, pledge.layers, pledge.class_sectors) = (256, 2, 3);
        let key = NodeKey([1; 32]);
        let plot = Plot::at(dir.join("plot"), key, pledge);
        for sector in 0..3 {
            plot.make(sector, |_| true).unwrap();
        }
        (plot, pledge, key)
    }

    /// [PLG-4] [PLG-6]
    #[tokio::test(flavor = "multi_thread")]
    async fn pages_and_sectors_are_answered_once_each_and_as_everybody_would() {
        let dir = tempfile::tempdir().unwrap();
        let (plot, pledge, key) = scene(dir.path());
        let (workers, mut done) = PlotWorkers::start(plot, pledge, &TaskTracker::new()).unwrap();
        let terms = Terms {
            nonce: [7; 32],
            prover: key.node_id(),
            watcher: NodeId([9; 32]),
        };
        let pages = terms.pages(&pledge, 1);
        let node = NodeKey([5; 32]);
        let asked = [
            PlotOp::Sector {
                node,
                at: pages[1],
                key: terms.key(),
            },
            PlotOp::Pages {
                pages,
                key: terms.key(),
            },
        ];
        for (name, request) in asked.iter().enumerate() {
            workers.submit(name, request.clone());
        }
        for _ in 0..asked.len() {
            let (name, answer) = done.recv().await.unwrap();
            assert_eq!(answer, asked[name].make(&pledge, &key, |_| true));
        }
    }

    /// [PLG-5]: and has the sector made again; what finds no room fails at once.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_read_or_has_no_room_fails_and_is_answered_once() {
        let dir = tempfile::tempdir().unwrap();
        let (plot, pledge, _) = scene(dir.path());
        let path = dir.path().join("plot/00000002.sector");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let tracker = TaskTracker::new();
        let (workers, mut done) = PlotWorkers::start(plot.clone(), pledge, &tracker).unwrap();
        let page = |sector| PageAt { sector, page: 0 };
        let many = 2 * (PAGES_WAITING_MAX + SECTORS_WAITING_MAX);
        for name in 0..many {
            workers.submit(
                name,
                PlotOp::Pages {
                    pages: (0..3).map(page).collect(),
                    key: [0; 32],
                },
            );
        }
        let mut names = Vec::new();
        for _ in 0..many {
            let (name, answer) = done.recv().await.unwrap();
            assert_eq!(answer, PlotDone::Failed);
            names.push(name);
        }
        names.sort_unstable();
        assert!(names.into_iter().eq(0..many));
        assert!(!path.exists() && plot.complete().unwrap() == 2);
        drop(workers);
        tracker.close();
        tracker.wait().await;
    }
}
