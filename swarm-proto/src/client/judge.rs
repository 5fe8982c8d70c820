//! The correspondent's door: an answer is judged against its own question before the machine is told.
//!
//! Receipts must bind their holder to the promise that the correspondent computes itself ([RCP-2]), and be of
//! about this moment ([RCP-3]); rows must be of the mailbox that was read, and follow the cursor; a card must be
//! its owner's; records must be signed.

use super::{ASK_LIFE, AskFailure, Request};
use crate::crypto::Crypto;
use crate::envelope::{SizeClass, grace};
use crate::mailbox::receipt::{Promise, Receipt};
use crate::mailbox::statements::Statements;
use crate::network::Network;
use crate::store::{Cursor, MailboxKeys, Page};
use crate::time::{TimeScale, UnixTime};
use crate::wire::Message;
use crate::wire::members::ListPart;

/// Judges a holder's answer to `request` by the clock of this machine: receipts that bind nobody, and those of
/// another time, are dropped.
///
/// # Errors
/// [`AskFailure::Senseless`] if it is no answer to it, or contains what is not so.
pub fn judge(
    request: &Request,
    mut answer: Message,
    network: &Network,
    crypto: &dyn Crypto,
    now: UnixTime,
) -> Result<Message, AskFailure> {
    let network_id = network.id();
    let fits = match (request, &mut answer) {
        (_, Message::Refusal(_)) => true,
        (Request::Deposit(_) | Request::Delete(_) | Request::CardPut(_), Message::Elsewhere(_)) => {
            true
        }
        (Request::Deposit(deposit), Message::Deposited(deposited)) => {
            let promise = Promise::of(&deposit.envelope, network);
            deposited.receipts.retain(|receipt| {
                is_of_this_time(receipt, network.scale, now)
                    && receipt.binds(&promise, &network_id, crypto)
            });
            true
        }
        (
            Request::Fetch {
                keys,
                after,
                answer,
            },
            Message::Page(page),
        ) => page_fits(keys, *after, *answer, page),
        (Request::CardAsk { keys }, Message::Card(card)) => {
            Statements::new(crypto, network_id).verify_card(keys, card)
        }
        (Request::Delete(_) | Request::CardPut(_), Message::Done { .. }) => true,
        (_, _) => false,
    };
    if fits {
        Ok(answer)
    } else {
        Err(AskFailure::Senseless)
    }
}

/// Whether a receipt was signed about when its clock's owner asked: within the grace of clocks, and as long ago
/// as a question may take, which matters where a network's calendar runs fast ([RCP-3]).
fn is_of_this_time(receipt: &Receipt, scale: TimeScale, now: UnixTime) -> bool {
    let grace = grace(scale);
    let (begins, ends) = (
        scale.tick_start(receipt.time),
        scale.tick_start(receipt.time.plus(1)),
    );
    begins <= now.plus(grace) && now <= ends.plus(grace).plus(ASK_LIFE)
}

/// Whether a page is of this mailbox and leads on from `after`, so that reading on comes to an end
/// ([FET-5]).
fn page_fits(keys: &MailboxKeys, mut after: Cursor, answer: SizeClass, page: &Page) -> bool {
    let address = keys.address();
    let in_order = page.rows.iter().all(|(arrival, envelope)| {
        let before = after;
        after = Cursor {
            arrival: *arrival,
            id: envelope.id(),
        };
        envelope.header().address == address && before < after
    });
    // A large row does not fit a small answer.
    in_order && !(page.more && page.rows.is_empty() && answer == SizeClass::Large)
}

/// A part of a member list whose records are all signed by their relays. Only [`judge_list`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedPart(pub(super) ListPart);

/// Judges a part of a member list: one false record spoils it all. `None` if it is spoiled.
pub fn judge_list(part: ListPart, network: &Network, crypto: &dyn Crypto) -> Option<JudgedPart> {
    let network_id = network.id();
    let holds = part
        .members
        .iter()
        .all(|member| member.record.clone().verify(crypto, &network_id).is_ok());
    holds.then_some(JudgedPart(part))
}
