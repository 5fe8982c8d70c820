//! What a correspondent is promised about M(e): it is what most of the sources say, whoever lies.

use alloc::format;
use alloc::vec;

use super::super::*;
use super::{over, scene};
use crate::envelope::ExpiryClass;
use crate::members::testing::suspended;
use crate::members::{Eligible, testing};
use crate::rig::{PERSON, Rig, RosterLie, owner};
use crate::wire::members::NAMES_IN_ROSTER_PART_MAX;

const TODAY: Epoch = testing::TODAY;

/// All relays know that this one is suspended: in M(e) from the second epoch on.
fn suspend(rig: &mut Rig, subject: usize) {
    let id = rig.nodes[subject].key.node_id();
    for node in &mut rig.nodes {
        node.relay.certify(id, TODAY, suspended());
    }
}

fn pass_hours(rig: &mut Rig, hours: u64) {
    for _ in 0..hours {
        rig.advance(Duration::from_secs(3_600));
    }
}

fn client(rig: &Rig) -> &Client {
    &rig.person.as_ref().unwrap().client
}

/// Whether the correspondent counts a relay among those of an epoch.
fn counts(rig: &Rig, epoch: Epoch, node: usize) -> bool {
    let eligible = client(rig).view.eligible(&rig.network, epoch);
    eligible.has(&rig.nodes[node].key.node_id())
}

/// [ELI-11], [ELI-12]: the whole of it with real machines. By age alone the relay would hold for ever.
#[test]
fn who_is_suspended_gets_nothing_new_and_old_letters_are_found_at_it() {
    let mut rig = scene(12);
    let mine = owner(PERSON, 0);
    let made = rig.network.scale.tick_of(rig.now.unix);
    let deposit = rig.letter_of(&mine, 1, made, ExpiryClass::Days14);
    let promise = rig.promise(&deposit);
    rig.command(1, Command::Deposit(Arc::new(deposit)));
    assert!(matches!(over(&rig.told()), Some(Event::Stored { .. })));
    let holders = rig.ranked(&promise)[..5].to_vec();
    let subject = holders[0];
    suspend(&mut rig, subject);
    pass_hours(&mut rig, 41);
    let later = TODAY.plus(2);
    assert_eq!(rig.network.scale.epoch_of(rig.now.unix), later);

    assert!(counts(&rig, TODAY, subject) && counts(&rig, TODAY.plus(1), subject));
    assert!(!counts(&rig, later, subject));
    let by_age = Eligible::of(&rig.network, &client(&rig).members(), later);
    assert!(by_age.has(&rig.nodes[subject].key.node_id()));
    for cell in 0..400 {
        let (theirs, mine) = (
            rig.nodes[0].relay.placement(later, Cell(cell * 40)),
            client(&rig).placement(later, Cell(cell * 40)),
        );
        assert_eq!(theirs, mine);
    }

    // Of the five holders of the old letter three are left, the suspended one among them.
    for at in &holders[3..] {
        rig.nodes[*at].up = false;
    }
    rig.told();
    let fetch = Command::Fetch {
        keys: mine.keys,
        epoch: TODAY,
        after: Cursor::START,
    };
    rig.command(2, fetch);
    rig.advance(Duration::from_secs(30));
    let told = rig.told();
    let Some(Event::Fetched {
        rows,
        holders: read,
        complete: true,
        ..
    }) = over(&told)
    else {
        panic!("{told:?}")
    };
    let (id, found) = (rig.nodes[subject].key.node_id(), promise.id);
    assert_eq!(rows.len(), 1);
    assert!(
        read.iter()
            .any(|(holder, ids)| *holder == id && *ids == [found])
    );
}

/// [ELI-13]: a newcomer, of whom such a relay would be the guard for months.
#[test]
fn who_is_suspended_becomes_nobodys_guard() {
    let mut rig = Rig::new(8);
    suspend(&mut rig, 3);
    pass_hours(&mut rig, 41);
    let subject = rig.nodes[3].key.node_id();
    rig.join(5);
    let guards = client(&rig).view.guards(&rig.network, rig.now);
    assert_eq!(guards.len(), 7);
    assert!(!guards.contains(&subject));
    let pinned = &client(&rig).pinned;
    let mut pins = pinned.guards.iter().chain(&pinned.second);
    assert!(pins.all(|pin| pin.id != subject));
}

/// Names that nobody has, or those of nobody but the first.
fn invents(_: RosterAsk, part: Option<RosterPart>) -> Option<RosterPart> {
    bent(part, |names| names.push([0xff; 16]))
}

fn leaves_out(_: RosterAsk, part: Option<RosterPart>) -> Option<RosterPart> {
    bent(part, |names| names.truncate(1))
}

/// A list that is well formed, under its own hash.
fn bent(part: Option<RosterPart>, bend: fn(&mut Vec<[u8; 16]>)) -> Option<RosterPart> {
    let mut part = part?;
    // The hash alone is asked for first: the liar has the names all the same.
    let mut names: Vec<[u8; 16]> = (1..=12_u8).map(name).collect();
    names.sort_unstable();
    bend(&mut names);
    let lie = Roster::new(EPOCH, names).unwrap();
    part.hash = *lie.hash();
    part.total = u32::try_from(lie.names().len()).unwrap();
    if part.from == 0 {
        part.names = lie.names().to_vec();
    }
    Some(part)
}

/// The name of the rig's node of this number, from 1.
fn name(number: u8) -> [u8; 16] {
    let secret = crate::crypto::SecretKey::from_seed(&[number; 32]);
    let id = NodeKey(*secret.public()).node_id();
    *id.0.first_chunk().unwrap()
}

fn is_too_long(_: RosterAsk, part: Option<RosterPart>) -> Option<RosterPart> {
    part.map(|part| RosterPart {
        total: u32::MAX,
        names: vec![[1; 16]; NAMES_IN_ROSTER_PART_MAX],
        ..part
    })
}

/// The true hash, and never the names behind it.
fn keeps_the_names(ask: RosterAsk, part: Option<RosterPart>) -> Option<RosterPart> {
    part.filter(|_| ask.from == u32::MAX)
}

/// Names one at a time, as if there were 20,000.
fn drips(ask: RosterAsk, part: Option<RosterPart>) -> Option<RosterPart> {
    part.map(|part| RosterPart {
        hash: [9; 32],
        total: 20_000,
        names: (ask.from != u32::MAX)
            .then(|| (u128::from(ask.from)).to_be_bytes())
            .into_iter()
            .collect(),
        ..part
    })
}

/// The epoch in which the liars lie.
const EPOCH: Epoch = Epoch(TODAY.0 + 2);

/// [ELI-12]: among three sources and among five, and also where the honest ones differ by a relay.
#[test]
fn one_source_that_lies_puts_nobody_in_and_nobody_out() {
    let lies: [(&str, RosterLie); 5] = [
        ("invents", invents),
        ("leaves out", leaves_out),
        ("too long", is_too_long),
        ("keeps the names", keeps_the_names),
        ("drips", drips),
    ];
    let mut rig = Rig::new(12);
    suspend(&mut rig, 9);
    pass_hours(&mut rig, 38);
    // Relay 1 is alone with a verdict about relay 8, so the honest ones differ too.
    let alone = rig.nodes[8].key.node_id();
    rig.nodes[1].relay.certify(alone, TODAY, suspended());
    pass_hours(&mut rig, 3);
    assert_eq!(rig.network.scale.epoch_of(rig.now.unix), EPOCH);
    for sources in [3, 5] {
        for (what, lie) in lies {
            for liar in [0, 2] {
                rig.lies = BTreeMap::from([(liar, lie)]);
                rig.join(sources);
                rig.advance(Duration::from_secs(25));
                let told = client(&rig).view.told(EPOCH);
                let place = format!("{sources} sources, {liar} {what}");
                let names = told.expect(&place).names();
                assert!(client(&rig).is_ready(), "{place}");
                assert!(!names.contains(&[0xff; 16]), "{place}");
                let named = |at: usize| {
                    let id = rig.nodes[at].key.node_id();
                    told.unwrap().has(&id)
                };
                assert!(!named(9), "{place}");
                // Of three of whom one is alone and one lies, nobody can tell about relay 8.
                let open = if sources == 3 { 8 } else { 9 };
                let others = (0..12).filter(|at| *at != 9 && *at != open);
                assert!(others.into_iter().all(named), "{place}");
            }
        }
    }
}

/// [ELI-11]: a hash from each, and the names from one.
#[test]
fn names_are_fetched_once_and_not_again_as_long_as_they_stay() {
    let mut rig = Rig::new(10);
    rig.join(5);
    let asks = core::mem::take(&mut rig.roster_asks);
    let names = |asks: &[(usize, RosterAsk)]| {
        let names = asks.iter().filter(|(_, ask)| ask.from == 0);
        names.count()
    };
    assert_eq!((asks.len(), names(&asks)), (6, 1));
    let known = rig
        .told()
        .into_iter()
        .any(|told| matches!(told, Event::Roster { .. }));
    assert!(known);
    pass_hours(&mut rig, 5);
    let asks = core::mem::take(&mut rig.roster_asks);
    assert_eq!((asks.len(), names(&asks)), (25, 0), "five looks");
    let is_roster = |told: &Event| matches!(told, Event::Roster { .. });
    assert!(!rig.told().iter().any(is_roster), "nothing new to keep");
}

/// [ELI-11]: what a correspondent costs that does nothing all day, at 2,000 relays.
#[test]
fn a_day_of_who_may_hold_costs_less_than_fifty_kilobytes() {
    let names = (0..2_000_u128).map(u128::to_be_bytes).collect();
    let roster = Roster::new(TODAY, names).unwrap();
    let frame =
        |message: &Message| crate::wire::frames::FRAME_HEADER_BYTES + message.encode().len();
    let cost = |from: u32| {
        let ask = RosterAsk {
            epoch: TODAY,
            held: [0; 32],
            from,
        };
        let part = RosterPart::of(&roster, &ask);
        frame(&Message::RosterAsk(ask)) + frame(&Message::RosterPart(part))
    };
    let looks = 24 * 5;
    let day = looks * cost(u32::MAX) + cost(0);
    assert_eq!((cost(u32::MAX), cost(0)), (94, 32_094));
    assert_eq!(day, 43_374);
}

/// [ELI-11]: somebody who was away asks for the list of the day whose mail he is about to read, before he reads.
#[test]
fn who_comes_back_asks_for_the_list_of_the_old_epoch_first() {
    let mut rig = Rig::new(10);
    pass_hours(&mut rig, 41);
    rig.join(5);
    rig.told();
    rig.roster_asks.clear();
    let fetch = |id| Command::Fetch {
        keys: owner(PERSON, id).keys,
        epoch: TODAY,
        after: Cursor::START,
    };
    rig.command(1, fetch(0));
    assert!(rig.roster_asks.iter().all(|(_, ask)| ask.epoch == TODAY));
    assert_eq!(rig.roster_asks.len(), 6);
    let told = rig.told();
    let Some(Event::Roster { roster, at }) = told.first() else {
        panic!("{told:?}")
    };
    assert!(matches!(over(&told), Some(Event::Fetched { .. })));
    let (roster, at) = (Roster::clone(roster), *at);

    // Kept and given back, it is not asked for again.
    rig.join(5);
    let person = rig.person.as_mut().unwrap();
    person.client.remember(roster, at);
    rig.roster_asks.clear();
    rig.command(2, fetch(0));
    assert!(matches!(over(&rig.told()), Some(Event::Fetched { .. })));
    assert!(rig.roster_asks.is_empty());

    // What nobody knows is computed, and asked for again only in a while.
    for _ in 0..2 {
        let fetch = Command::Fetch {
            keys: owner(PERSON, 0).keys,
            epoch: TODAY.minus(3),
            after: Cursor::START,
        };
        rig.command(3, fetch);
        assert!(matches!(over(&rig.told()), Some(Event::Fetched { .. })));
        assert_eq!(rig.roster_asks.len(), 5);
    }
}

/// [ELI-12]: relays that do not know the question, or too few that do.
#[test]
fn where_too_few_know_the_list_it_is_computed() {
    let silent: RosterLie = |_, _| None;
    let mut rig = Rig::new(10);
    suspend(&mut rig, 7);
    pass_hours(&mut rig, 41);
    for (sources, knowing, is_known) in [(5, 0, false), (5, 1, false), (5, 2, true), (2, 1, false)]
    {
        let liars = knowing..sources;
        rig.lies = liars.map(|at| (at, silent)).collect();
        rig.join(sources);
        rig.advance(Duration::from_secs(5));
        assert!(client(&rig).is_ready());
        assert_eq!(!counts(&rig, EPOCH, 7), is_known, "{knowing} of {sources}");
    }
}

/// [ELI-11]: nobody's silence holds a command up for longer than a look lasts.
#[test]
fn sources_that_are_silent_are_waited_for_for_a_while_only() {
    let rig = Rig::new(10);
    let sources = rig.nodes.iter().take(5).map(|node| Source {
        key: node.key,
        address: testing::address(0).unwrap(),
    });
    let network = Arc::clone(&rig.network);
    let sources = sources.collect();
    let mut client = Client::new(network, sources, Pinned::default(), [9; 32], rig.now);
    let mut now = rig.now;
    let step = |client: &mut Client, now: Now, input: Input| {
        let mut out = Vec::new();
        client.step(now, input, &mut out);
        out
    };
    let out = step(&mut client, now, Input::Wake);
    let members = super::lists::members_of(&rig);
    let mut asked = Vec::new();
    for effect in out {
        if let Effect::List { ask, .. } = effect {
            let part = Some(super::lists::part(10, 0, &members));
            asked.extend(step(&mut client, now, Input::Listed { ask, part }));
        }
    }
    let silent = |effect: &&Effect| matches!(effect, Effect::Roster { .. });
    assert_eq!(asked.iter().filter(silent).count(), 5);
    assert!(!client.is_ready());
    for _ in 0..100 {
        if client.is_ready() {
            break;
        }
        now.mono = client.deadline().unwrap();
        step(&mut client, now, Input::Wake);
    }
    assert_eq!(now.mono.since(rig.now.mono), ASK_LIFE);
}
