//! Proofs and verdicts for the tests of messages: laid out right, signed by nobody.

use super::{challenge_answer, envelope, promise, receipt, sweep_listing, sweep_open};
use crate::crypto::Signature;
use crate::envelope::SizeClass;
use crate::id::{NodeId, NodeKey};
use crate::members::Record;
use crate::members::testing::record;
use crate::pledge::Evidence;
use crate::wire::loss::{Listed, Loss};
use crate::wire::proof::Twice;
use crate::wire::standing::Past;
use crate::wire::sweeps::{Listing, Open};

pub(super) fn pledge_evidence(byte: u8, count: usize) -> Evidence {
    Evidence {
        subject: NodeKey([byte; 32]),
        watcher: NodeId([byte; 32]),
        answer: challenge_answer(byte, count),
        page: byte.into(),
    }
}

pub(super) fn loss(byte: u8, count: usize) -> Loss {
    let (receipt, with) = (receipt(byte), NodeId([byte; 32]));
    let open = Open {
        signature: Signature([0; 64]),
        ..sweep_open(byte)
    };
    let (by_opener, subject) = (byte % 2 == 1, receipt.holder.node_id());
    let (opener, prover) = if by_opener {
        (subject, with)
    } else {
        (with, subject)
    };
    let listing = Listing {
        by_opener,
        open: open.digest(&opener, &prover),
        ..sweep_listing(byte, count)
    };
    Loss {
        promise: promise(byte),
        receipt,
        listed: Listed {
            with,
            open,
            listing,
        },
        envelope: envelope(SizeClass::Small, byte),
    }
}

/// What one byte says of a term, or of the time since the last one ([STD-8]).
pub(super) fn past(byte: u8) -> Past {
    Past {
        history: byte,
        term: if byte <= Past::TERM_MAX { byte } else { 0 },
        clean: byte.saturating_sub(Past::TERM_MAX),
        times: byte,
    }
}

/// Two records of one sequence that differ in their puzzles.
pub(super) fn twice(byte: u8) -> Twice {
    let with = |puzzle| Record {
        puzzle,
        ..record(1)
    };
    Twice::new(with(byte.into()), with(700)).unwrap()
}
