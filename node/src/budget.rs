//! What may wait for the core, in number and in bytes: the part of the memory budget that others fill.
//!
//! A queue that is full is a loss on the wire: the sender's machine tries again by itself. Source: the
//! core's contract in `effects.rs`.

use std::sync::Arc;

use swarm_proto::effects::Input;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// The way into the core's queue; handles are cheap and all mean the same one.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    queue: mpsc::Sender<Waiting>,
    /// KiB that waiting inputs may take together.
    room: Arc<Semaphore>,
}

/// An input and its share of the memory.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The input.
    pub(crate) input: Input,
    _room: Option<OwnedSemaphorePermit>,
}

impl Inbox {
    /// A queue for `bytes_max` bytes of messages, and its end.
    pub(crate) fn new(bytes_max: u64) -> (Self, mpsc::Receiver<Waiting>) {
        let (queue, out) = mpsc::channel(INPUTS_MAX);
        let kib = usize::try_from(bytes_max / 1024).unwrap_or(usize::MAX);
        let room = Arc::new(Semaphore::new(kib.clamp(1, Semaphore::MAX_PERMITS)));
        (Self { queue, room }, out)
    }

    /// Hands in a message whose body takes `bytes`. `false` if it was dropped for lack of room.
    pub(crate) fn put(&self, input: Input, bytes: usize) -> bool {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(kib) else {
            return false;
        };
        self.queue
            .try_send(Waiting {
                input,
                _room: Some(room),
            })
            .is_ok()
    }

    /// Hands in a hint that weighs nothing. `false` if it was dropped.
    pub(crate) fn hint(&self, input: Input) -> bool {
        self.queue.try_send(Waiting { input, _room: None }).is_ok()
    }

    /// Hands in what must not be lost, waiting for a place. `false` if the core has ended.
    pub(crate) async fn tell(&self, input: Input) -> bool {
        self.queue
            .send(Waiting { input, _room: None })
            .await
            .is_ok()
    }
}

/// Inputs that may wait for the core.
const INPUTS_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_memory_budget_drops_messages_and_room_comes_back_when_they_are_taken() {
        let (inbox, mut out) = Inbox::new(64 * 1024);
        assert!(inbox.put(Input::Wake, 40 * 1024));
        assert!(!inbox.put(Input::Wake, 40 * 1024));
        assert!(inbox.hint(Input::Wake), "hints weigh nothing");

        drop(out.try_recv().unwrap());
        assert!(inbox.put(Input::Wake, 40 * 1024));
    }
}
