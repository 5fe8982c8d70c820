//! What a mailbox's owner does beside reading: deleting envelopes and leaving a card.
//!
//! Both are the owner's signed word, valid at every holder and for good ([DEL-1]), so the relay that
//! hears it first passes it on to the siblings as it is.

use alloc::sync::Arc;

use crate::context::Context;
use crate::effects::{Effects, StreamId, Ticket};
use crate::envelope::ExpiryClass;
use crate::place::cell_of;
use crate::store::{MailboxKeys, StoreDone, StoreOp};
use crate::time::{Epoch, Hour, Now};
use crate::wire::Message;
use crate::wire::mailbox::{CardPut, Erase};
use crate::wire::refusal::Refusal;

use super::refusal_of;

/// Deletes an envelope: for the owner on a stream, or because a sibling passed the word on ([DEL-2]).
pub(crate) fn erase(
    context: &Context,
    now: Now,
    stream: Option<StreamId>,
    erase: Erase,
    out: &mut Effects,
) {
    let keys = erase.tombstone.keys;
    let refusal = if keys.forbids_delete() {
        Some(Refusal::NoCapability)
    } else {
        admit(context, now, &keys, erase.epoch, erase.tombstone.expires).err()
    };
    match (refusal, stream) {
        (None, _) => {
            let (tombstone, epoch) = (erase.tombstone.clone(), erase.epoch);
            let ticket = Ticket::Erase {
                stream,
                erase: Arc::new(erase),
            };
            out.store(ticket, StoreOp::Delete { tombstone, epoch });
        }
        (Some(refusal), Some(stream)) => out.refuse(stream, refusal),
        (Some(_), None) => {}
    }
}

/// The tombstone is durable here: the owner is told and the siblings hear of it.
pub(crate) fn erased(
    context: &Context,
    now: Now,
    stream: Option<StreamId>,
    erase: &Erase,
    done: &StoreDone,
    out: &mut Effects,
) {
    let Some(stream) = stream else { return };
    let StoreDone::Deleted { existed } = *done else {
        out.refuse(stream, why_not(done, now));
        return;
    };
    out.answer(stream, Message::Done { existed });
    pass_on(
        context,
        &erase.tombstone.keys,
        erase.epoch,
        &Message::Erase(erase.clone()),
        out,
    );
}

/// Keeps a card: for the owner on a stream, or because a sibling passed it on.
pub(crate) fn card_put(
    context: &Context,
    now: Now,
    stream: Option<StreamId>,
    put: CardPut,
    out: &mut Effects,
) {
    match (
        admit(context, now, &put.keys, put.epoch, put.card.expires),
        stream,
    ) {
        (Ok(()), _) => {
            let request = StoreOp::PutCard {
                keys: put.keys,
                card: put.card.clone(),
                epoch: put.epoch,
            };
            out.store(
                Ticket::CardPut {
                    stream,
                    put: Arc::new(put),
                },
                request,
            );
        }
        (Err(refusal), Some(stream)) => out.refuse(stream, refusal),
        (Err(_), None) => {}
    }
}

/// The card is durable here: the owner is told and the siblings hear of it.
pub(crate) fn card_kept(
    context: &Context,
    now: Now,
    stream: Option<StreamId>,
    put: &CardPut,
    done: &StoreDone,
    out: &mut Effects,
) {
    let Some(stream) = stream else { return };
    if *done != StoreDone::CardKept {
        out.refuse(stream, why_not(done, now));
        return;
    }
    out.answer(stream, Message::Done { existed: true });
    pass_on(
        context,
        &put.keys,
        put.epoch,
        &Message::CardCopy(put.clone()),
        out,
    );
}

/// Holders only, and nothing that would stay for ever ([DEL-3], [CRD-1]).
fn admit(
    context: &Context,
    now: Now,
    keys: &MailboxKeys,
    epoch: Epoch,
    expires: Hour,
) -> Result<(), Refusal> {
    let scale = context.network.scale;
    let longest = scale.minutes(ExpiryClass::Days30.minutes().saturating_add(1_440));
    let ends = scale.hour_start(expires);
    if ends <= now.unix {
        return Err(Refusal::Expired { time: now.unix });
    }
    if ends > now.unix.plus(longest) {
        return Err(Refusal::TooLarge);
    }
    let cell = cell_of(&keys.address(), context.network.cell_bits);
    if context.may_keep(epoch, cell, &context.me) {
        Ok(())
    } else {
        Err(Refusal::WrongHolder)
    }
}

fn pass_on(
    context: &Context,
    keys: &MailboxKeys,
    epoch: Epoch,
    message: &Message,
    out: &mut Effects,
) {
    let cell = cell_of(&keys.address(), context.network.cell_bits);
    for sibling in context.siblings(epoch, cell) {
        out.send(sibling, message.clone());
    }
}

fn why_not(done: &StoreDone, now: Now) -> Refusal {
    if let StoreDone::NotKept(why) = done {
        refusal_of(*why, now)
    } else {
        Refusal::TooBusy {
            retry_after_ms: 1_000,
        }
    }
}
