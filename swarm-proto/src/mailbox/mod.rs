//! What holders do with mailboxes, one role a file, in the order of the road.

pub(crate) mod clock;
pub(crate) mod deposit;
pub(crate) mod expiry;
pub(crate) mod fetch;
pub(crate) mod owner;
pub mod receipt;
pub(crate) mod repair;
pub(crate) mod replica;
pub mod statements;
pub(crate) mod sweep;

use crate::envelope::{EnvelopeHeader, grace};
use crate::network::Network;
use crate::store::NotKept;
use crate::time::Now;
use crate::wire::refusal::Refusal;
use receipt::Promise;

pub use repair::{Counts as RepairCounts, RepairState};
pub use sweep::SweepCounts;

/// Whether a holder may take an envelope at this moment ([ENV-4]).
fn window(
    network: &Network,
    now: Now,
    header: &EnvelopeHeader,
    promise: &Promise,
) -> Result<(), Refusal> {
    let scale = network.scale;
    let grace = grace(scale);
    if scale.tick_start(header.made) > now.unix.plus(grace) {
        return Err(Refusal::Clock { time: now.unix });
    }
    let epoch_ends = scale.epoch_start(promise.epoch.plus(1));
    if epoch_ends.plus(grace) < now.unix || scale.hour_start(promise.expires) <= now.unix {
        return Err(Refusal::Expired { time: now.unix });
    }
    Ok(())
}

/// What to tell when the store did not keep something.
fn refusal_of(why: NotKept, now: Now) -> Refusal {
    match why {
        NotKept::Deleted => Refusal::NotFound,
        NotKept::Expired => Refusal::Expired { time: now.unix },
        NotKept::MailboxFull => Refusal::MailboxFull,
        NotKept::DiskFull => Refusal::DiskFull,
        NotKept::Busy => Refusal::TooBusy {
            retry_after_ms: 1_000,
        },
    }
}

#[cfg(test)]
mod tests;
