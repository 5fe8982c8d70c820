//! What a correspondent is promised while a holder is silent: others are asked beside it, a few and not at once.

use super::super::errand::{LATE_MAX, READ_LATE, WRITE_LATE};
use super::super::*;
use super::{answer_signed, fetch_all, letter, over, scene};
use crate::rig::{PERSON, Rig, owner};
use crate::store::Page;

const A_MOMENT: Duration = Duration::from_millis(1);

/// A correspondent whose questions nobody answers.
fn silence() -> Rig {
    let mut rig = scene(16);
    rig.person.as_mut().unwrap().mute = true;
    rig
}

fn asked(rig: &Rig) -> usize {
    let holders: BTreeSet<NodeId> = rig.asks().iter().map(|ask| ask.path.holder()).collect();
    assert_eq!(holders.len(), rig.asks().len(), "each time another holder");
    holders.len()
}

fn answer(rig: &mut Rig, at: usize, answer: Result<Message, AskFailure>) {
    let ask = rig.asks()[at].id;
    rig.person(Input::Answered { ask, answer });
}

fn last_page() -> Result<Message, AskFailure> {
    Ok(Message::Page(Page {
        more: false,
        ..Page::default()
    }))
}

/// [PTH-9]
#[test]
fn beside_a_silent_first_holder_another_is_asked() {
    let mut rig = silence();
    rig.command(1, letter(&rig, 1));
    for so_far in 1..=LATE_MAX {
        assert_eq!(asked(&rig), so_far);
        rig.advance(WRITE_LATE - A_MOMENT);
        assert_eq!(asked(&rig), so_far, "not before");
        rig.advance(A_MOMENT);
        assert_eq!(asked(&rig), so_far + 1);
    }
}

/// [PTH-9]: the wait for a mailbox is shorter than that for what must become durable.
#[test]
fn beside_silent_readers_others_are_asked_but_only_so_many() {
    let mut rig = silence();
    rig.command(1, fetch_all(&rig));
    assert_eq!(asked(&rig), 3);
    rig.advance(READ_LATE - A_MOMENT);
    assert_eq!(asked(&rig), 3, "not before");
    rig.advance(A_MOMENT);
    assert_eq!(asked(&rig), 3 + LATE_MAX);
    rig.advance(ASK_LIFE - READ_LATE - A_MOMENT);
    assert_eq!(asked(&rig), 3 + LATE_MAX, "all of them are silent");
}

/// [PTH-9], [PTH-5]
#[test]
fn the_receipts_of_a_late_holder_count() {
    let mut rig = silence();
    let deposit = Arc::new(rig.letter(&owner(PERSON, 0), 1));
    let ranked = rig.ranked(&rig.promise(&deposit));
    rig.command(1, Command::Deposit(Arc::clone(&deposit)));
    let first = rig.asks()[0].clone();
    rig.advance(WRITE_LATE);
    assert_eq!(asked(&rig), 2);
    answer_signed(&mut rig, &first, &deposit, &ranked[..3]);
    assert!(matches!(over(&rig.told()), Some(Event::Stored { .. })));
}

/// [PTH-9], [FET-4]
#[test]
fn the_pages_of_late_holders_complete_a_reading() {
    let mut rig = silence();
    rig.command(1, fetch_all(&rig));
    rig.advance(READ_LATE);
    for at in 0..3 {
        assert!(over(&rig.told()).is_none());
        answer(&mut rig, at, last_page());
    }
    let told = rig.told();
    let Some(Event::Fetched {
        holders, complete, ..
    }) = over(&told)
    else {
        panic!("{told:?}")
    };
    assert_eq!((holders.len(), *complete), (3, true));
}

/// [PTH-9]: a holder that fails is replaced at once, however silent another one is.
#[test]
fn a_failure_beside_a_silent_holder_costs_no_further_wait() {
    let mut rig = silence();
    rig.command(1, letter(&rig, 1));
    rig.advance(WRITE_LATE);
    assert_eq!(asked(&rig), 2);
    answer(&mut rig, 1, Err(AskFailure::Senseless));
    assert_eq!(asked(&rig), 3);
}

/// [PTH-4], [PTH-9]: the pause between two tries is no longer because somebody else is silent.
#[test]
fn a_pause_beside_a_silent_holder_ends_in_time() {
    let mut rig = silence();
    let deposit = Arc::new(rig.letter(&owner(PERSON, 0), 1));
    let ranked = rig.ranked(&rig.promise(&deposit));
    rig.command(1, Command::Deposit(Arc::clone(&deposit)));
    rig.advance(WRITE_LATE);
    let second = rig.asks()[1].clone();
    answer_signed(&mut rig, &second, &deposit, &ranked[..1]);
    assert_eq!(asked(&rig), 2);
    rig.advance(Duration::from_millis(500));
    assert_eq!(asked(&rig), 3);
}

/// [FET-4], [FET-6]: who was read to the end and what he listed, and who declined for no reason of the moment.
#[test]
fn a_reading_tells_what_each_holder_listed_and_who_declined() {
    let mut rig = silence();
    rig.command(1, fetch_all(&rig));
    let deposit = rig.letter(&owner(PERSON, 0), 1);
    let id = deposit.envelope.id();
    let row = (rig.network.scale.tick_of(rig.now.unix), deposit.envelope);
    let refusal = |refusal| Ok(Message::Refusal(refusal));
    let busy = Refusal::TooBusy { retry_after_ms: 9 };
    let full = Page {
        rows: alloc::vec![row],
        ..Page::default()
    };
    for (at, said) in [
        refusal(Refusal::NoCapability),
        refusal(busy),
        Ok(Message::Page(full)),
        last_page(),
        last_page(),
    ]
    .into_iter()
    .enumerate()
    {
        answer(&mut rig, at, said);
    }
    let told = rig.told();
    let Some(Event::Fetched {
        holders, declined, ..
    }) = over(&told)
    else {
        panic!("{told:?}")
    };
    let holder = |at: usize| rig.asks()[at].path.holder();
    assert_eq!(declined.as_slice(), [holder(0)]);
    let listed: BTreeMap<NodeId, Vec<EnvelopeId>> = holders.iter().cloned().collect();
    let expected = [
        (holder(2), alloc::vec![id]),
        (holder(3), Vec::new()),
        (holder(4), Vec::new()),
    ];
    assert_eq!(listed, expected.into_iter().collect());
}
