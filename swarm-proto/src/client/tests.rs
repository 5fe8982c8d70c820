//! What a correspondent is promised: paths that keep the rules, deposits that count, readings that end.

mod dead;
mod hedges;
mod lists;
mod rosters;

use proptest::prelude::*;

use super::*;
use crate::rig::{PERSON, Rig, owner};
use crate::store::Page;
use crate::time::{Tick, UnixTime};
use crate::wire::mailbox::{Deposited, Erase};

/// Relays and a correspondent that has loaded the list.
fn scene(count: u8) -> Rig {
    let mut rig = Rig::new(count);
    rig.join(5);
    let told = rig.told();
    assert!(told.iter().any(|event| matches!(event, Event::Members(_))));
    assert!(told.iter().any(|event| matches!(event, Event::Pinned(_))));
    rig
}

fn letter(rig: &Rig, number: u32) -> Command {
    Command::Deposit(Arc::new(rig.letter(&owner(PERSON, 0), number)))
}

fn fetch_all(rig: &Rig) -> Command {
    Command::Fetch {
        keys: owner(PERSON, 0).keys,
        epoch: rig.network.scale.epoch_of(rig.now.unix),
        after: Cursor::START,
    }
}

/// The relays around the correspondent's mailbox.
fn around(rig: &Rig) -> Vec<usize> {
    rig.ranked(&rig.promise(&rig.letter(&owner(PERSON, 0), 0)))
}

fn over(events: &[Event]) -> Option<&Event> {
    events.iter().find(|event| match event {
        Event::Stored { .. }
        | Event::Failed { .. }
        | Event::Fetched { .. }
        | Event::Card { .. }
        | Event::Done { .. } => true,
        Event::Members(_)
        | Event::NoMembers { .. }
        | Event::SourcesDiffer { .. }
        | Event::Roster { .. }
        | Event::Pinned(_)
        | Event::Waiting { .. } => false,
    })
}

/// [PTH-5]
#[test]
fn a_deposit_is_stored_with_receipts_of_w_holders() {
    let mut rig = scene(10);
    rig.command(1, letter(&rig, 1));
    let told = rig.told();
    let Some(Event::Stored {
        id,
        promise,
        receipts,
    }) = over(&told)
    else {
        panic!("{told:?}")
    };
    assert_eq!(*id, CommandId(1));
    assert!(receipts.len() >= 3);
    for receipt in receipts {
        assert!(receipt.binds(promise, &rig.network.id(), &rig.crypto));
        assert!(rig.placement(promise).is_holder(&receipt.holder.node_id()));
    }
}

/// [PLC-5], [PTH-5]
#[test]
fn receipts_of_strangers_and_of_other_promises_do_not_count() {
    let mut rig = scene(12);
    rig.person.as_mut().unwrap().mute = true;
    let deposit = Arc::new(rig.letter(&owner(PERSON, 0), 1));
    rig.command(1, Command::Deposit(Arc::clone(&deposit)));
    let ask = rig.asks()[0].clone();
    let promise = rig.promise(&deposit);
    let other = rig.promise(&rig.letter(&owner(PERSON, 0), 2));
    let ranked = rig.ranked(&promise);
    let time = rig.network.scale.tick_of(rig.now.unix);
    let sign = |at: usize, promise: &Promise| receipt(&rig, at, promise, time);
    let strangers = (0..12).filter(|at| !ranked.contains(at));
    let mut receipts: Vec<Receipt> = strangers.map(|at| sign(at, &promise)).collect();
    receipts.extend(ranked.iter().map(|at| sign(*at, &other)));
    receipts.push(sign(ranked[0], &promise));
    receipts.push(sign(ranked[0], &promise));
    receipts.push(sign(ranked[8], &promise));
    let answer = Message::Deposited(Deposited {
        arrival: time,
        receipts,
    });
    let answer = judge(
        &ask.request,
        answer,
        &rig.network,
        &rig.crypto,
        rig.now.unix,
    );
    rig.person(Input::Answered {
        ask: ask.id,
        answer,
    });
    let told = rig.told();
    assert!(over(&told).is_none());
    let [Event::Waiting { receipts, why, .. }] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((*receipts, *why), (1, Trouble::TooFewCopies));
}

/// [RCP-3]
#[test]
fn receipts_of_another_time_do_not_count() {
    let rig = scene(10);
    let deposit = Arc::new(rig.letter(&owner(PERSON, 0), 1));
    let promise = rig.promise(&deposit);
    let holder = rig.ranked(&promise)[0];
    let scale = rig.network.scale;
    let time = scale.tick_of(rig.now.unix);
    let request = Request::Deposit(deposit);
    let counts = |clock| {
        let answer = Message::Deposited(Deposited {
            arrival: time,
            receipts: alloc::vec![receipt(&rig, holder, &promise, time)],
        });
        match judge(&request, answer, &rig.network, &rig.crypto, clock) {
            Ok(Message::Deposited(deposited)) => deposited.receipts.len() == 1,
            other => panic!("{other:?}"),
        }
    };
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let moment = Duration::from_millis(1);
    let (begins, ends) = (scale.tick_start(time), scale.tick_start(time.plus(1)));
    assert!(counts(rig.now.unix));
    let ahead = UnixTime(begins.0 - 30 * 60_000);
    assert!(counts(ahead) && !counts(UnixTime(ahead.0 - 1)));
    let behind = ends.plus(minutes(30)).plus(ASK_LIFE);
    assert!(counts(behind) && !counts(behind.plus(moment)));
}

/// [PTH-5], [PLC-5], [FET-4]
#[test]
fn receipts_of_spares_are_told_but_make_nothing_stored() {
    let mut rig = scene(12);
    rig.person.as_mut().unwrap().mute = true;
    let deposit = Arc::new(rig.letter(&owner(PERSON, 0), 1));
    let ranked = rig.ranked(&rig.promise(&deposit));
    rig.command(1, Command::Deposit(Arc::clone(&deposit)));
    let ask = rig.asks()[0].clone();
    answer_signed(
        &mut rig,
        &ask,
        &deposit,
        &[ranked[0], ranked[4], ranked[5], ranked[8]],
    );
    let told = rig.told();
    let [Event::Waiting { receipts, why, .. }] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((*receipts, *why), (2, Trouble::TooFewCopies));

    // Another holder is asked, and its answer is added to what is there.
    rig.advance(Duration::from_secs(1));
    let holders: BTreeSet<NodeId> = rig.asks().iter().map(|ask| ask.path.holder()).collect();
    assert_eq!(holders.len(), 2);
    let ask = rig.asks()[1].clone();
    answer_signed(&mut rig, &ask, &deposit, &[ranked[2]]);
    let told = rig.told();
    let Some(Event::Stored { receipts, .. }) = over(&told) else {
        panic!("{told:?}")
    };
    let signers: Vec<usize> = receipts
        .iter()
        .map(|receipt| rig.index(&receipt.holder.node_id()))
        .collect();
    let by_rank = [0, 2, 4, 5, 8].map(|rank: usize| ranked[rank]);
    assert_eq!(signers, by_rank);
}

/// Answers a question with receipts of these relays.
fn answer_signed(rig: &mut Rig, ask: &Ask, deposit: &Deposit, signers: &[usize]) {
    let time = rig.network.scale.tick_of(rig.now.unix);
    let promise = rig.promise(deposit);
    let receipts = signers.iter().map(|at| receipt(rig, *at, &promise, time));
    let receipts = receipts.collect();
    let answer = Message::Deposited(Deposited {
        arrival: time,
        receipts,
    });
    let answer = judge(
        &ask.request,
        answer,
        &rig.network,
        &rig.crypto,
        rig.now.unix,
    );
    rig.person(Input::Answered {
        ask: ask.id,
        answer,
    });
}

fn receipt(rig: &Rig, at: usize, promise: &Promise, time: Tick) -> Receipt {
    let statement = promise.statement(&rig.network.id(), time);
    let signature = crate::crypto::Crypto::sign(&rig.crypto, &rig.nodes[at].secret, &statement);
    Receipt {
        holder: rig.nodes[at].key,
        time,
        signature,
    }
}

/// [PTH-4]
#[test]
fn a_deposit_goes_on_with_other_holders_and_fresh_middles_until_it_is_stored() {
    let mut rig = scene(20);
    let around = around(&rig);
    for at in &around[..7] {
        rig.nodes[*at].up = false;
    }
    rig.command(1, letter(&rig, 1));
    rig.advance(Duration::from_secs(60));
    let told = rig.told();
    assert!(over(&told).is_none(), "W relays near the cell are not up");
    let holders: BTreeSet<NodeId> = rig.asks().iter().map(|ask| ask.path.holder()).collect();
    assert!(holders.len() > 3);
    let pauses: Vec<Duration> = told
        .iter()
        .filter_map(|event| match event {
            Event::Waiting { next, .. } => Some(*next),
            _ => None,
        })
        .collect();
    assert!(pauses.len() > 2 && pauses.len() < 60);
    assert!(pauses.iter().all(|pause| *pause > Duration::ZERO));
    assert!(pauses.last() > pauses.first());
    for at in &around[..7] {
        rig.nodes[*at].up = true;
    }
    rig.advance(Duration::from_secs(120));
    assert!(matches!(over(&rig.told()), Some(Event::Stored { .. })));
}

/// [PTH-6]
#[test]
fn a_refusal_counts_when_two_holders_say_it_and_not_before() {
    let mut rig = scene(10);
    rig.person.as_mut().unwrap().mute = true;
    rig.command(1, letter(&rig, 1));
    for lie in [
        Refusal::MailboxFull,
        Refusal::TooLarge,
        Refusal::MailboxFull,
    ] {
        assert!(over(&rig.told()).is_none());
        let ask = rig.asks().last().unwrap().id;
        let answer = Ok(Message::Refusal(lie));
        rig.person(Input::Answered { ask, answer });
    }
    let told = rig.told();
    let why = Trouble::Refused(Refusal::MailboxFull);
    assert_eq!(
        over(&told),
        Some(&Event::Failed {
            id: CommandId(1),
            why
        })
    );
    let holders: BTreeSet<NodeId> = rig.asks().iter().map(|ask| ask.path.holder()).collect();
    assert_eq!(holders.len(), 3, "each time another holder");
}

/// [PTH-6]
#[test]
fn a_redirect_and_a_busy_holder_end_nothing() {
    let mut rig = scene(10);
    rig.person.as_mut().unwrap().mute = true;
    rig.command(1, letter(&rig, 1));
    for _ in 0..6 {
        for answer in [
            Message::Elsewhere(Vec::new()),
            Message::Refusal(Refusal::TooBusy { retry_after_ms: 1 }),
        ] {
            rig.advance(Duration::from_secs(2));
            let ask = rig.asks().last().unwrap().id;
            rig.person(Input::Answered {
                ask,
                answer: Ok(answer),
            });
        }
    }
    assert!(over(&rig.told()).is_none());
}

/// [PTH-7]
#[test]
fn an_envelope_whose_epoch_is_over_must_be_sealed_again() {
    let mut rig = scene(10);
    let command = letter(&rig, 1);
    rig.person.as_mut().unwrap().mute = true;
    rig.command(1, command);
    rig.advance(Duration::from_secs(14 * 3_600 + 1_860));
    let told = rig.told();
    let why = Trouble::TooLate;
    assert_eq!(
        over(&told),
        Some(&Event::Failed {
            id: CommandId(1),
            why
        })
    );
}

/// [FET-4]
#[test]
fn a_reading_is_the_union_of_three_holders() {
    let mut rig = scene(10);
    let ada = owner(PERSON, 0);
    let around = around(&rig);
    // Each letter at W holders only, a different set each.
    for number in 0..5 {
        let letter = rig.letter(&ada, number);
        let id = letter.envelope.id();
        rig.ask(around[0], Message::Deposit(letter.clone()));
        let row = match rig.nodes[around[0]]
            .store
            .apply(crate::store::StoreOp::Read { id })
        {
            crate::store::StoreDone::Row(Some(stored)) => stored,
            other => panic!("{other:?}"),
        };
        for (rank, at) in around.iter().take(5).enumerate() {
            let keep = (0..3).any(|more| (usize::try_from(number).unwrap() + more) % 5 == rank);
            let node = &mut rig.nodes[*at];
            if number == 0 {
                node.store = crate::store::MemStore::new();
            }
            let quota = crate::store::Quota::of(&ada.keys);
            let put = crate::store::StoreOp::Put {
                keys: ada.keys,
                row: row.row.clone(),
                expires: row.expires,
                quota,
            };
            if keep {
                node.store.apply(put);
            }
        }
    }
    rig.command(2, fetch_all(&rig));
    let told = rig.told();
    let Some(Event::Fetched {
        rows,
        holders,
        complete,
        ..
    }) = over(&told)
    else {
        panic!()
    };
    assert_eq!((rows.len(), holders.len(), *complete), (5, 3, true));
    assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

/// [FET-2], [FET-4]
#[test]
fn a_long_mailbox_is_read_page_by_page() {
    let mut rig = scene(10);
    let around = around(&rig);
    for number in 0..50 {
        let letter = rig.letter(&owner(PERSON, 0), number);
        rig.ask(around[0], Message::Deposit(letter));
    }
    rig.command(1, fetch_all(&rig));
    let told = rig.told();
    let Some(Event::Fetched { rows, complete, .. }) = over(&told) else {
        panic!()
    };
    assert_eq!((rows.len(), *complete), (50, true));
    // Two rows, and then twenty, twenty and eight, of each of three holders.
    assert_eq!(rig.asks().len(), 12);
}

/// [FET-7]
#[test]
fn large_answers_are_asked_for_only_where_there_is_more_than_a_small_one_holds() {
    let mut rig = scene(12);
    let around = around(&rig);
    let read = |rig: &mut Rig, command| {
        let before = rig.asks().len();
        rig.command(command, fetch_all(rig));
        let told = rig.told();
        let Some(Event::Fetched { rows, complete, .. }) = over(&told) else {
            panic!()
        };
        let asks = &rig.asks()[before..];
        let large = asks.iter().filter(|ask| ask.answer == SizeClass::Large);
        ((rows.len(), *complete), (asks.len(), large.count()))
    };
    assert_eq!(read(&mut rig, 1), ((0, true), (3, 0)));
    for number in 0..3 {
        let letter = rig.letter(&owner(PERSON, 0), number);
        rig.ask(around[0], Message::Deposit(letter));
    }
    assert_eq!(read(&mut rig, 2), ((3, true), (6, 3)));
}

/// [FET-4]: spares are read too, but they prove nothing.
#[test]
fn a_reading_without_enough_holders_says_so() {
    let mut rig = scene(12);
    let around = around(&rig);
    let command = letter(&rig, 1);
    rig.command(1, command);
    rig.told();
    for at in &around[..3] {
        rig.nodes[*at].up = false;
    }
    rig.command(2, fetch_all(&rig));
    rig.advance(Duration::from_secs(120));
    let told = rig.told();
    let Some(Event::Fetched {
        complete, holders, ..
    }) = over(&told)
    else {
        panic!("{told:?}")
    };
    assert!(!complete && holders.len() >= 2);
}

/// [FET-5]
#[test]
fn a_holder_that_leads_in_circles_or_without_end_is_not_followed() {
    let rig = scene(10);
    let ada = owner(PERSON, 0);
    let request = Request::Fetch {
        keys: ada.keys,
        after: Cursor::START,
        answer: SizeClass::Large,
    };
    let (one, two) = (rig.letter(&ada, 1).envelope, rig.letter(&ada, 2).envelope);
    let strange = rig.letter(&owner(1, 0), 1).envelope;
    let tick = Tick;
    let page = |more, rows: &[(u32, &Envelope)]| {
        let rows = rows.iter().map(|(at, row)| (tick(*at), (*row).clone()));
        Message::Page(Page {
            count: 9,
            fingerprint: [0; 16],
            more,
            rows: rows.collect(),
        })
    };
    let judged = |page| judge(&request, page, &rig.network, &rig.crypto, rig.now.unix).is_ok();
    assert!(judged(page(true, &[(5, &one), (6, &two)])));
    assert!(!judged(page(true, &[])));
    assert!(judged(page(false, &[])));
    assert!(!judged(page(false, &[(5, &one), (5, &one)])));
    assert!(!judged(page(false, &[(6, &one), (5, &two)])));
    assert!(!judged(page(false, &[(5, &strange)])));
    let cursor = Cursor {
        arrival: tick(5),
        id: one.id(),
    };
    let after = Request::Fetch {
        keys: ada.keys,
        after: cursor,
        answer: SizeClass::Large,
    };
    let again = page(true, &[(5, &one)]);
    assert!(judge(&after, again, &rig.network, &rig.crypto, rig.now.unix).is_err());
}

/// [FET-5]
#[test]
fn a_holder_that_shows_more_than_any_keeps_is_given_up() {
    let mut rig = scene(10);
    rig.person.as_mut().unwrap().mute = true;
    rig.command(1, fetch_all(&rig));
    let ask = rig.asks()[0].clone();
    let row = rig.letter(&owner(PERSON, 0), 1).envelope;
    let most = limits::MAILBOX_ENVELOPES_MAX * limits::REPLICA_QUOTA_FACTOR;
    let (mut next, mut pages) = (ask.id, 0);
    for page in 0..=most / 20 {
        let rows = (0..20)
            .map(|n| (Tick(1 + page * 20 + n), row.clone()))
            .collect();
        let page = Page {
            count: 1,
            fingerprint: [0; 16],
            more: true,
            rows,
        };
        rig.person(Input::Answered {
            ask: next,
            answer: Ok(Message::Page(page)),
        });
        let last = rig.asks().last().unwrap();
        pages += 1;
        if last.path.holder() != ask.path.holder() {
            break;
        }
        next = last.id;
    }
    assert_eq!(pages, most / 20 + 1);
}

/// [CRD-2]
#[test]
fn of_the_cards_of_three_holders_the_highest_sequence_is_told() {
    let mut rig = scene(10);
    rig.person.as_mut().unwrap().mute = true;
    let ada = owner(PERSON, 0);
    let epoch = rig.network.scale.epoch_of(rig.now.unix);
    rig.command(
        1,
        Command::CardAsk {
            keys: ada.keys,
            epoch,
        },
    );
    let asks: Vec<Ask> = rig.asks().to_vec();
    assert_eq!(asks.len(), 3);
    let holders: BTreeSet<NodeId> = asks.iter().map(|ask| ask.path.holder()).collect();
    assert_eq!(holders.len(), 3);
    let answers = [
        Message::Card(rig.card(&ada, 4).card),
        Message::Refusal(Refusal::NotFound),
        Message::Card(rig.card(&ada, 3).card),
    ];
    for (ask, answer) in asks.iter().zip(answers) {
        let answer = judge(
            &ask.request,
            answer,
            &rig.network,
            &rig.crypto,
            rig.now.unix,
        );
        rig.person(Input::Answered {
            ask: ask.id,
            answer,
        });
    }
    let card = Some(rig.card(&ada, 4).card);
    assert_eq!(
        over(&rig.told()),
        Some(&Event::Card {
            id: CommandId(1),
            card
        })
    );
    let mut forged = rig.card(&ada, 4).card;
    forged.sequence = 9;
    let forged = judge(
        &asks[0].request,
        Message::Card(forged),
        &rig.network,
        &rig.crypto,
        rig.now.unix,
    );
    assert_eq!(forged, Err(AskFailure::Senseless));
}

/// A card and a deletion are done when one holder says so; it tells its siblings ([CRD-1], [DEL-2]).
#[test]
fn cards_and_deletions_reach_a_holder_and_are_done() {
    let mut rig = scene(10);
    let ada = owner(PERSON, 0);
    let put = rig.card(&ada, 1);
    rig.command(1, Command::CardPut(Arc::new(put)));
    assert_eq!(over(&rig.told()), Some(&Event::Done { id: CommandId(1) }));
    let letter = rig.letter(&ada, 1);
    rig.command(2, Command::Deposit(Arc::new(letter.clone())));
    rig.told();
    let erase: Erase = rig.erase(&ada, &letter);
    rig.command(3, Command::Delete(erase));
    assert_eq!(over(&rig.told()), Some(&Event::Done { id: CommandId(3) }));
    let around = around(&rig);
    assert!(
        around[..5]
            .iter()
            .all(|at| !rig.holds(*at, letter.envelope.id()))
    );
    let epoch = rig.network.scale.epoch_of(rig.now.unix);
    rig.command(
        4,
        Command::CardAsk {
            keys: ada.keys,
            epoch,
        },
    );
    assert!(matches!(
        over(&rig.told()),
        Some(Event::Card { card: Some(_), .. })
    ));
}

#[test]
fn a_cancelled_command_says_nothing_more() {
    let mut rig = scene(10);
    rig.person.as_mut().unwrap().mute = true;
    rig.command(1, letter(&rig, 1));
    let ask = rig.asks()[0].id;
    rig.command(1, Command::Cancel);
    let answer = Ok(Message::Refusal(Refusal::TooLarge));
    rig.person(Input::Answered { ask, answer });
    rig.advance(Duration::from_secs(100));
    assert!(
        rig.told()
            .iter()
            .all(|event| matches!(event, Event::Members(_)))
    );
    assert_eq!(rig.asks().len(), 1);
}

/// [PTH-8]: and while all questions are out, nobody is woken to ask more.
#[test]
fn commands_and_questions_are_bounded() {
    let mut rig = scene(10);
    rig.person.as_mut().unwrap().mute = true;
    for id in 0..=u64::try_from(limits::ERRANDS_MAX).unwrap() {
        rig.command(id, letter(&rig, u32::try_from(id).unwrap()));
    }
    assert_eq!(rig.asks().len(), limits::ASKS_IN_FLIGHT_MAX);
    let last = CommandId(u64::try_from(limits::ERRANDS_MAX).unwrap());
    assert!(matches!(over(&rig.told()), Some(Event::Failed { id, .. }) if *id == last));
    for _ in 0..50 {
        let due = rig.person.as_ref().unwrap().client.deadline().unwrap();
        assert!(due > rig.now.mono, "a deadline that has passed is a loop");
        rig.advance(due.since(rig.now.mono));
    }
}

/// [PTH-8]
#[test]
fn a_question_without_an_answer_ends_and_another_holder_is_asked() {
    let mut rig = scene(10);
    rig.person.as_mut().unwrap().mute = true;
    rig.command(1, letter(&rig, 1));
    rig.advance(ASK_LIFE);
    let asks = rig.asks();
    // The first, and one more beside it for each pause that it stays silent.
    assert_eq!(asks.len(), 4);
    let holders: BTreeSet<NodeId> = asks.iter().map(|ask| ask.path.holder()).collect();
    assert_eq!(holders.len(), 4);
    assert_ne!(asks[0].path.hops[2], asks[1].path.hops[2], "a fresh middle");
}

/// [PTH-2]
#[test]
fn the_guard_is_left_only_when_it_cannot_be_reached_itself() {
    let mut rig = scene(12);
    rig.person.as_mut().unwrap().mute = true;
    let guards = rig.person.as_ref().unwrap().client.pinned.guards.clone();
    assert_eq!(guards.len(), 2);
    rig.command(1, letter(&rig, 1));
    let failures = [
        AskFailure::Timeout,
        AskFailure::Senseless,
        AskFailure::Hop {
            hop: 0,
            refusal: Refusal::HopUnreachable,
        },
        AskFailure::Hop {
            hop: 1,
            refusal: Refusal::HopUnreachable,
        },
        AskFailure::Hop {
            hop: 2,
            refusal: Refusal::TooBusy { retry_after_ms: 1 },
        },
        AskFailure::Hop {
            hop: 3,
            refusal: Refusal::DiskFull,
        },
        AskFailure::Hop {
            hop: usize::MAX,
            refusal: Refusal::HopUnreachable,
        },
    ];
    for failure in failures {
        rig.advance(Duration::from_secs(3));
        let ask = rig.asks().last().unwrap().clone();
        rig.person(Input::Answered {
            ask: ask.id,
            answer: Err(failure),
        });
    }
    rig.advance(Duration::from_secs(5));
    let used: BTreeSet<NodeId> = rig.asks().iter().map(|ask| ask.path.guard()).collect();
    let pinned: BTreeSet<NodeId> = guards.iter().map(|pin| pin.id).collect();
    assert!(used.is_subset(&pinned));
    let ask = rig.asks().last().unwrap().clone();
    let other = pinned.iter().find(|id| **id != ask.path.guard()).copied();
    let mark = rig.asks().len();
    rig.person(Input::Answered {
        ask: ask.id,
        answer: Err(AskFailure::Guard),
    });
    rig.advance(Duration::from_secs(5));
    assert!(
        rig.asks()[mark..]
            .iter()
            .all(|ask| Some(ask.path.guard()) == other)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a driver says in whatever order, the machine goes on.
    #[test]
    fn no_sequence_of_inputs_stops_the_machine(steps in prop::collection::vec((0_u8..10, any::<u8>(), any::<u16>()), 1..120)) {
        let mut rig = scene(8);
        rig.person.as_mut().unwrap().mute = true;
        let ada = owner(PERSON, 0);
        for (what, byte, ms) in steps {
            let id = u64::from(byte % 8);
            let last = rig.asks().len().saturating_sub(usize::from(byte) % 4 + 1);
            let ask = rig.asks().get(last).map_or(AskId(u64::from(byte)), |ask| ask.id);
            let hop = usize::from(byte) % 6;
            let refusal = if byte % 2 == 0 { Refusal::NotFound } else { Refusal::HopUnreachable };
            match what {
                0 => rig.command(id, letter(&rig, u32::from(byte))),
                1 => rig.command(id, fetch_all(&rig)),
                2 => rig.command(id, Command::CardAsk { keys: ada.keys, epoch: Epoch(u32::from(ms)) }),
                3 => rig.command(id, Command::Cancel),
                4 => rig.person(Input::Answered { ask, answer: Err(AskFailure::Hop { hop, refusal }) }),
                5 => rig.person(Input::Answered { ask, answer: Ok(Message::Refusal(refusal)) }),
                6 => rig.person(Input::Answered { ask, answer: Ok(Message::Page(Page::default())) }),
                7 => rig.person(Input::Listed { ask: AskId(u64::from(byte)), part: None }),
                8 => rig.person(Input::Answered { ask, answer: Err(AskFailure::Guard) }),
                _ => rig.person(Input::Wake),
            }
            rig.advance(Duration::from_millis(u64::from(ms)));
            prop_assert!(rig.person.as_ref().unwrap().client.asks.len() <= limits::ASKS_IN_FLIGHT_MAX);
        }
    }
}
