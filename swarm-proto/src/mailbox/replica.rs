//! A sibling: keeps a copy that another holder sent, and signs a receipt once it is durable.
//!
//! Source: `docs/spec/deposit.md`, [CPY-1], [CPY-2], [CPY-3].

use crate::context::Context;
use crate::effects::{Effects, Event, SignTicket, Ticket};
use crate::envelope::{ExpiryClass, grace};
use crate::id::NodeId;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::mailbox::{clock, refusal_of, window};
use crate::store::{NotKept, Quota, StoreDone, StoreOp};
use crate::time::{Now, Tick};
use crate::wire::Message;
use crate::wire::copies::{Copied, Copy, CopyAge};
use crate::wire::refusal::Refusal;

/// Takes a copy in, or declines it.
pub(crate) fn copy(context: &Context, now: Now, from: NodeId, copy: Copy, out: &mut Effects) {
    let promise = Promise::of(&copy.row.envelope, &context.network);
    if let Err(refusal) = admit(context, now, &copy, &promise) {
        out.report(Event::Refused(refusal));
        decline(from, promise, refusal, out);
        return;
    }
    let quota = Quota::of_replica(&copy.keys);
    out.store(
        Ticket::Copy { to: from, promise },
        StoreOp::Put {
            keys: copy.keys,
            row: copy.row,
            expires: promise.expires,
            quota,
        },
    );
}

/// The copy is durable, or is not to be: only then is anything signed ([RCP-1]).
pub(crate) fn stored(
    context: &Context,
    now: Now,
    to: NodeId,
    promise: Promise,
    done: StoreDone,
    out: &mut Effects,
) {
    match done {
        StoreDone::Kept { arrival, .. } => {
            let time = context.network.scale.tick_of(now.unix);
            let bytes = promise.statement(&context.network_id, time);
            out.sign(
                SignTicket::Copy {
                    to,
                    promise,
                    arrival,
                    time,
                },
                bytes,
            );
        }
        StoreDone::NotKept(why) => decline(to, promise, refusal_of(why, now), out),
        StoreDone::Failed
        | StoreDone::Page(_)
        | StoreDone::Deleted { .. }
        | StoreDone::Have(_)
        | StoreDone::Row(_)
        | StoreDone::CardKept
        | StoreDone::Card(_)
        | StoreDone::Expired { .. }
        | StoreDone::Usage(_)
        | StoreDone::Cells(_)
        | StoreDone::Inventory(_)
        | StoreDone::Tags(_)
        | StoreDone::EntryKept
        | StoreDone::Entries(_)
        | StoreDone::Many => decline(to, promise, refusal_of(NotKept::Busy, now), out),
    }
}

/// The receipt is signed: it goes to the holder that sent the copy.
pub(crate) fn signed(
    to: NodeId,
    promise: Promise,
    arrival: Tick,
    receipt: Receipt,
    out: &mut Effects,
) {
    out.send(
        to,
        Message::Copied(Copied {
            arrival,
            promise,
            outcome: Ok(receipt),
        }),
    );
}

/// What the first holder had to check holds here too, as far as a row shows it.
fn admit(context: &Context, now: Now, copy: &Copy, promise: &Promise) -> Result<(), Refusal> {
    clock::trusted(context, now)?;
    let scale = context.network.scale;
    let grace = grace(scale);
    let header = copy.row.envelope.header();
    let (made, arrival) = (
        scale.tick_start(header.made),
        scale.tick_start(copy.row.arrival),
    );
    let epoch_ends = scale.epoch_start(promise.epoch.plus(1));
    let untimely = Err(Refusal::Clock { time: now.unix });
    match copy.age {
        CopyAge::First => {
            window(&context.network, now, header, promise)?;
            if arrival.distance(now.unix) > grace {
                return untimely;
            }
        }
        CopyAge::Later => {
            if made > now.unix.plus(grace) || arrival > now.unix.plus(grace) {
                return untimely;
            }
            // No first holder can have taken it at such a moment.
            if arrival.plus(grace) < made || arrival > epoch_ends.plus(grace) {
                return untimely;
            }
            if scale.hour_start(promise.expires) <= now.unix {
                return Err(Refusal::Expired { time: now.unix });
            }
        }
    }
    if copy.keys.is_open_lane() && header.expiry > ExpiryClass::Days3 {
        return Err(Refusal::TooLarge);
    }
    if context.may_keep(promise.epoch, promise.cell, &context.me) {
        return Ok(());
    }
    // After a restart a relay is not in its own list until others have told it: that is no final answer.
    let eligible = context.view.eligible(&context.network, promise.epoch);
    if !eligible.has(&context.me) {
        return Err(Refusal::TooBusy {
            retry_after_ms: LEARNING_RETRY_MS,
        });
    }
    Err(Refusal::WrongHolder)
}

fn decline(to: NodeId, promise: Promise, refusal: Refusal, out: &mut Effects) {
    let copied = Copied {
        arrival: Tick(0),
        promise,
        outcome: Err(refusal),
    };
    out.send(to, Message::Copied(copied));
}

/// What a relay asks for that does not know the members yet: a few round trips.
const LEARNING_RETRY_MS: u64 = 1_000;
