//! Promises of cards.

use super::*;
use crate::conversation::tests::Person;

fn text(person: &Person) -> CardText {
    CardText {
        inbox: person.identity.inbox().public().clone(),
        policy: Policy::Welcome,
    }
}

fn card(person: &Person, sequence: u64) -> Card {
    let terms = CardTerms {
        salt: &person.identity.salt,
        epoch: Epoch(7),
        sequence,
        expires: Hour(900),
    };
    let statements = person.desk().statements;
    let account = person.identity.account();
    let sealed = text(person).seal(account, &terms, &statements, &[1; 24]);
    sealed.unwrap().1
}

fn open(person: &Person, epoch: u32, card: &Card) -> Result<CardText, BadCard> {
    let statements = person.desk().statements;
    let salt = &person.identity.salt;
    CardText::open(&person.key(), salt, Epoch(epoch), card, &statements)
}

/// [CARD-1] and [CARD-2].
#[test]
fn whoever_has_the_invitation_reads_the_card_and_nobody_else() {
    let (bob, eve) = (Person::new(2), Person::new(3));
    let card = card(&bob, 1);
    assert_eq!(card.sealed.len(), limits::CARD_BYTES);
    assert_eq!(open(&bob, 7, &card), Ok(text(&bob)));
    // Without the salt there is not even the mailbox whose signature it would be.
    let statements = bob.desk().statements;
    let opened = CardText::open(&bob.key(), &[0; 32], Epoch(7), &card, &statements);
    assert_eq!(opened, Err(BadCard::Signature));
    assert_eq!(open(&eve, 7, &card), Err(BadCard::Signature));
    // The inbox key does not lie open in it.
    let inbox = bob.identity.inbox().public();
    let start = &inbox.as_bytes()[..16];
    assert!(!card.sealed.windows(16).any(|window| window == start));
}

/// [CARD-2].
#[test]
fn a_card_counts_nowhere_else_and_under_no_other_number() {
    let bob = Person::new(2);
    let good = card(&bob, 1);
    assert_eq!(open(&bob, 8, &good), Err(BadCard::Signature));
    let later = Card {
        sequence: 2,
        ..good.clone()
    };
    assert_eq!(open(&bob, 7, &later), Err(BadCard::Signature));
    // Even signed anew by its owner, the sealed bytes belong to one number.
    let side = bob.identity.first_contact_mailbox(Epoch(7)).unwrap().side;
    let statements = bob.desk().statements;
    let signature = statements.card(&side.read, &side.keys, 2, Hour(900), &good.sealed);
    let moved = Card {
        sequence: 2,
        signature,
        ..good.clone()
    };
    assert_eq!(open(&bob, 7, &moved), Err(BadCard::Sealed));
    let short = Card {
        sealed: good.sealed.slice(1..),
        ..good
    };
    assert_eq!(open(&bob, 7, &short), Err(BadCard::Size));
}

/// [CARD-2].
#[test]
fn a_changed_byte_spoils_a_card() {
    let bob = Person::new(2);
    let good = card(&bob, 1);
    for at in (0..limits::CARD_BYTES).step_by(61) {
        let mut sealed = good.sealed.to_vec();
        sealed[at] ^= 1;
        let other = Card {
            sealed: sealed.into(),
            ..good.clone()
        };
        assert_eq!(open(&bob, 7, &other), Err(BadCard::Signature));
    }
}

/// [CARD-3].
#[test]
fn of_several_cards_the_highest_number_holds_and_then_the_lower_hash() {
    let bob = Person::new(2);
    let (first, second) = (card(&bob, 1), card(&bob, 2));
    let cards = [second.clone(), first.clone()];
    assert_eq!(newest(cards), Some(second.clone()));
    let mut twin = second.clone();
    twin.sealed = vec![0; limits::CARD_BYTES].into();
    let lower = if card_digest(&twin.sealed) < card_digest(&second.sealed) {
        twin.clone()
    } else {
        second.clone()
    };
    assert_eq!(newest([twin.clone(), second.clone()]), Some(lower.clone()));
    assert_eq!(newest([second, twin]), Some(lower));
    assert_eq!(newest([]), None);
}

/// [CARD-4].
#[test]
fn a_card_is_looked_for_in_the_thirty_epochs_that_it_lies() {
    let epochs: Vec<u32> = epochs_to_ask(Epoch(100)).map(|epoch| epoch.0).collect();
    assert_eq!((epochs[0], epochs[29], epochs.len()), (100, 71, 30));
    let scale = TimeScale { minute_ms: 60_000 };
    let published = scale.epoch_start(Epoch(71));
    let expires = scale.hour_start(expiry(published, scale));
    assert_eq!(scale.epoch_of(expires), Epoch(101));
}

/// [CARD-5].
#[test]
fn a_closed_card_says_so_and_a_malformed_one_is_refused() {
    let bob = Person::new(2);
    let closed = CardText {
        policy: Policy::Closed,
        ..text(&bob)
    };
    let terms = CardTerms {
        salt: &bob.identity.salt,
        epoch: Epoch(7),
        sequence: 1,
        expires: Hour(900),
    };
    let statements = bob.desk().statements;
    let sealed = closed.seal(bob.identity.account(), &terms, &statements, &[1; 24]);
    assert_eq!(open(&bob, 7, &sealed.unwrap().1), Ok(closed));
    bolero::check!().with_iterations(1_000).for_each(|bytes| {
        let _ = CardText::read(Bytes::copy_from_slice(bytes));
    });
}
