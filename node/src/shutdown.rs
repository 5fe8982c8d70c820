//! Stopping: the first SIGTERM or SIGINT asks every task to end, the second ends the process at once.
//!
//! It also ties a relay of a devnet to the process that started it. What each task does on the way out
//! is its own matter; all that was acknowledged is durable already, so nothing is lost by haste.

use std::io;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Cancels `stop` on the first signal and exits with `EXIT_KILLED` on the second.
///
/// Fails if the operating system refuses a signal handler.
pub fn on_signals(stop: &CancellationToken) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    // A tracker of its own: this task listens until the process is gone, so no stop waits for it.
    TaskTracker::new().spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            if !first {
                std::process::exit(EXIT_KILLED);
            }
            stop.cancel();
        }
    });
    Ok(())
}

/// Waits until every tracked task has ended, at most `STOP_WAIT`; answers whether they did.
pub async fn drain(tracker: &TaskTracker) -> bool {
    tracker.close();
    tokio::time::timeout(STOP_WAIT, tracker.wait())
        .await
        .is_ok()
}

/// Asks the kernel for SIGTERM when the process that started this one dies ([DEV-3]).
///
/// `parent` is that process; the answer is false if it is gone already. The starter must do so from its
/// main thread, since the kernel watches the thread.
pub fn die_with(parent: u32) -> io::Result<bool> {
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    Ok(u32::try_from(getppid().as_raw()) == Ok(parent))
}

/// The id of this process as [`die_with`] wants it.
pub fn own_pid() -> u32 {
    u32::try_from(Pid::this().as_raw()).unwrap_or(0)
}

/// Under the two seconds in which a relay promises to be gone.
const STOP_WAIT: Duration = Duration::from_millis(1_500);
/// What shells report for a process that SIGINT ended.
const EXIT_KILLED: i32 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_signal_asks_every_task_to_end() {
        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        on_signals(&stop).unwrap();
        let waiting = stop.clone();
        tracker.spawn(async move { waiting.cancelled().await });
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        stop.cancelled().await;
        assert!(drain(&tracker).await);
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_left_behind() {
        let tracker = TaskTracker::new();
        tracker.spawn(std::future::pending::<()>());
        assert!(!drain(&tracker).await);
    }
}
