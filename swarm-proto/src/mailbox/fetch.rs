//! Reading: pages of a mailbox for its owner, the card of a mailbox for those who may write to it.
//!
//! A holder serves whatever it holds, of any cell and epoch; reading never deletes ([FET-1]).

use crate::context::Context;
use crate::effects::{Effects, StreamId, Ticket};
use crate::envelope::{SizeClass, grace};
use crate::limits;
use crate::store::{NotKept, StoreDone, StoreOp};
use crate::time::{Now, UnixTime};
use crate::wire::Message;
use crate::wire::mailbox::{CardAsk, Fetch};
use crate::wire::refusal::Refusal;

use super::refusal_of;

/// Looks a page up ([FET-2]).
pub(crate) fn fetch(
    context: &Context,
    now: Now,
    stream: StreamId,
    fetch: &Fetch,
    salt: [u8; 32],
    out: &mut Effects,
) {
    if !is_fresh(context, now, fetch.time) {
        out.refuse(stream, Refusal::Clock { time: now.unix });
        return;
    }
    let answer_bytes = match fetch.answer {
        SizeClass::Small => limits::ANSWER_SMALL_BYTES,
        SizeClass::Large => limits::ANSWER_LARGE_BYTES,
    };
    let request = StoreOp::Page {
        address: fetch.keys.address(),
        after: fetch.after,
        bytes_max: answer_bytes - limits::ANSWER_OVERHEAD_BYTES - limits::PAGE_HEADER_BYTES,
        salt,
    };
    out.store(Ticket::Page { stream }, request);
}

/// The page was read.
pub(crate) fn page(now: Now, stream: StreamId, done: StoreDone, out: &mut Effects) {
    if let StoreDone::Page(page) = done {
        out.answer(stream, Message::Page(page));
    } else {
        out.refuse(stream, refusal_of(NotKept::Busy, now));
    }
}

/// Looks a card up.
pub(crate) fn card_ask(
    context: &Context,
    now: Now,
    stream: StreamId,
    ask: &CardAsk,
    out: &mut Effects,
) {
    if is_fresh(context, now, ask.time) {
        out.store(
            Ticket::Card { stream },
            StoreOp::Card {
                address: ask.keys.address(),
            },
        );
    } else {
        out.refuse(stream, Refusal::Clock { time: now.unix });
    }
}

/// The card was read.
pub(crate) fn card(now: Now, stream: StreamId, done: StoreDone, out: &mut Effects) {
    match done {
        StoreDone::Card(Some(card)) => out.answer(stream, Message::Card(card)),
        StoreDone::Card(None) => out.refuse(stream, Refusal::NotFound),
        StoreDone::Kept { .. }
        | StoreDone::NotKept(_)
        | StoreDone::Page(_)
        | StoreDone::Deleted { .. }
        | StoreDone::Have(_)
        | StoreDone::Row(_)
        | StoreDone::CardKept
        | StoreDone::Expired { .. }
        | StoreDone::Usage(_)
        | StoreDone::Cells(_)
        | StoreDone::Inventory(_)
        | StoreDone::Tags(_)
        | StoreDone::EntryKept
        | StoreDone::Entries(_)
        | StoreDone::Many
        | StoreDone::Failed => out.refuse(stream, refusal_of(NotKept::Busy, now)),
    }
}

/// Whether a dated request is still valid ([SIG-2], [FET-3]).
fn is_fresh(context: &Context, now: Now, time: UnixTime) -> bool {
    time.distance(now.unix) <= grace(context.network.scale)
}
