//! What a correspondent is promised about its member list: whole lists of several sources, and guards only
//! when these agree.

use alloc::vec;

use super::super::lists::{FOUNDERS_ASKED, LIST_RETRY, SOURCES_ASKED};
use super::super::*;
use super::{letter, over};
use crate::members::testing;
use crate::rig::Rig;
use crate::time::UnixTime;
use crate::wire::members::{ListPart, RecordWithKeys};

/// A correspondent that was told of relays 0 to `sources`, of which the first are founders.
struct Scene {
    client: Client,
    now: Now,
    asks: Vec<(AskId, Source)>,
    told: Vec<Event>,
    /// Questions for M(e) that wait for an answer, if they are to wait.
    rosters: Option<Vec<AskId>>,
}

impl Scene {
    fn new(founders: u32, sources: u32, seed: u8) -> Self {
        let keys: Vec<NodeKey> = (0..founders).map(testing::key).collect();
        let network = Arc::new(Network::public("test", &keys));
        let source = |number| Source {
            key: testing::key(number),
            address: testing::address(number).unwrap(),
        };
        let now = Now {
            mono: Instant(0),
            unix: testing::at(1),
        };
        let sources = (0..sources).map(source).collect();
        let mut scene = Self {
            client: Client::new(network, sources, Pinned::default(), [seed; 32], now),
            now,
            asks: Vec::new(),
            told: Vec::new(),
            rosters: None,
        };
        scene.step(Input::Wake);
        scene
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.client.step(self.now, input, &mut out);
        for effect in out {
            match effect {
                Effect::List { ask, source, .. } => self.asks.push((ask, source)),
                Effect::Roster { ask, .. } => match &mut self.rosters {
                    Some(waiting) => waiting.push(ask),
                    // Relays that do not know the question.
                    None => self.step(Input::Rostered { ask, part: None }),
                },
                Effect::Report(event) => self.told.push(event),
                Effect::Ask(ask) => panic!("{ask:?}"),
            }
        }
    }

    fn wake_after(&mut self, by: Duration) {
        self.now.mono = self.now.mono.plus(by);
        self.now.unix = self.now.unix.plus(by);
        self.step(Input::Wake);
    }

    /// The oldest question is answered with these members.
    fn answer(&mut self, members: impl IntoIterator<Item = u32>) {
        let (ask, _) = self.asks.remove(0);
        let members = members.into_iter().map(|number| RecordWithKeys {
            record: testing::record(number),
            keys: crate::members::OnionKeys::default(),
        });
        let members: Vec<RecordWithKeys> = members.collect();
        let part = Some(JudgedPart(ListPart {
            hash: [1; 32],
            total: u32::try_from(members.len()).unwrap(),
            from: 0,
            members,
        }));
        self.step(Input::Listed { ask, part });
    }

    fn has_pinned(&self) -> bool {
        let mut told = self.told.iter();
        told.any(|event| matches!(event, Event::Pinned(_)))
    }
}

/// [LST-6], [PTH-2]
#[test]
fn no_guard_is_pinned_and_nobody_asked_while_sources_differ() {
    let mut rig = Rig::strangers(10);
    rig.join(5);
    let differ = Event::SourcesDiffer {
        sources: 5,
        named: 5,
        shared: 0,
    };
    assert_eq!(rig.told(), core::slice::from_ref(&differ));
    rig.command(1, letter(&rig, 1));
    rig.advance(LIST_RETRY);
    assert_eq!(rig.told(), [differ]);
    assert!(rig.asks().is_empty(), "nobody is asked without guards");
    rig.meet();
    rig.advance(LIST_RETRY);
    let told = rig.told();
    assert!(told.iter().any(|event| matches!(event, Event::Members(_))));
    assert!(told.iter().any(|event| matches!(event, Event::Pinned(_))));
    assert!(matches!(over(&told), Some(Event::Stored { .. })));
}

/// [LST-6]: whole lists of a large network are not fetched every few seconds for ever.
#[test]
fn looks_that_lead_nowhere_become_rarer_and_go_on() {
    let mut rig = Rig::strangers(10);
    rig.join(5);
    let looks = |rig: &mut Rig, minutes: u64| {
        rig.told();
        rig.advance(Duration::from_secs(60 * minutes));
        let differ = |event: &&Event| matches!(event, Event::SourcesDiffer { .. });
        rig.told().iter().filter(differ).count()
    };
    rig.cut = (0..10)
        .flat_map(|one| (0..10).map(move |other| (one, other)))
        .collect();
    let (first, later) = (looks(&mut rig, 2), looks(&mut rig, 10));
    assert!(first >= 10, "{first} looks in two minutes");
    assert!((5..=15).contains(&later), "{later} looks in ten minutes");
}

/// [LST-6]
#[test]
fn guards_of_earlier_days_are_used_while_sources_differ_and_none_is_added() {
    let mut rig = Rig::strangers(10);
    let guard = rig.nodes[4].key.node_id();
    let pins = vec![Pin {
        id: guard,
        until: UnixTime(u64::MAX),
    }];
    let pinned = Pinned {
        guards: pins.clone(),
        second: Vec::new(),
    };
    rig.join_again(5, pinned);
    let told = rig.told();
    assert!(
        told.iter()
            .any(|event| matches!(event, Event::SourcesDiffer { .. }))
    );
    assert!(told.iter().any(|event| matches!(event, Event::Members(_))));
    assert!(!told.iter().any(|event| matches!(event, Event::Pinned(_))));
    rig.command(1, letter(&rig, 1));
    assert!(!rig.asks().is_empty());
    assert!(rig.asks().iter().all(|ask| ask.path.guard() == guard));
    assert_eq!(rig.person.as_ref().unwrap().client.pinned.guards, pins);

    // A look later they agree, and the second guard is chosen.
    rig.meet();
    rig.advance(Duration::from_secs(3_700));
    let guards = &rig.person.as_ref().unwrap().client.pinned.guards;
    assert_eq!((guards.len(), guards[0]), (2, pins[0]));
}

/// [LST-6]
#[test]
fn lists_agree_up_to_a_twentieth_of_all_that_are_named() {
    for (missing, agrees) in [(0, true), (1, true), (2, false)] {
        let mut scene = Scene::new(5, 5, 1);
        for _ in 0..4 {
            scene.answer(0..20);
        }
        scene.answer(missing..20);
        assert_eq!(scene.client.is_ready(), agrees, "{missing} of 20");
        assert_eq!(scene.has_pinned(), agrees, "{missing} of 20");
    }
}

/// [LST-6]: at the first start the last of those asked is heard too, if it is not silent.
#[test]
fn three_that_agree_do_not_outrun_the_others() {
    let mut quick = Scene::new(5, 5, 1);
    (0..3).for_each(|_| quick.answer(0..20));
    assert!(!quick.client.is_ready() && quick.told.is_empty());
    (0..2).for_each(|_| quick.answer(10..40));
    assert!(!quick.client.is_ready());
    let differ = Event::SourcesDiffer {
        sources: 5,
        named: 40,
        shared: 10,
    };
    assert_eq!(quick.told, [differ]);

    let mut silent = Scene::new(5, 5, 1);
    (0..3).for_each(|_| silent.answer(0..20));
    silent.wake_after(LIST_RETRY);
    assert!(silent.client.is_ready() && silent.has_pinned());
}

/// [LST-6]: or it would go on without guards, and say that there is no path.
#[test]
fn a_source_that_differs_while_the_days_list_is_asked_for_is_heard() {
    let mut scene = Scene::new(5, 5, 1);
    scene.rosters = Some(Vec::new());
    (0..3).for_each(|_| scene.answer(0..20));
    scene.wake_after(LIST_RETRY);
    (0..2).for_each(|_| scene.answer(10..40));
    for ask in scene.rosters.take().unwrap() {
        scene.step(Input::Rostered { ask, part: None });
    }
    assert!(!scene.client.is_ready() && !scene.has_pinned());
    scene.wake_after(LIST_RETRY);
    (0..5).for_each(|_| scene.answer(0..40));
    assert!(scene.client.is_ready() && scene.has_pinned());
}

/// [LST-6]
#[test]
fn whose_guards_are_over_while_sources_differ_waits() {
    let mut scene = Scene::new(5, 5, 1);
    (0..5).for_each(|_| scene.answer(0..20));
    assert!(scene.client.is_ready());
    scene.client.pinned = Pinned::default();
    scene.wake_after(Duration::from_secs(3_600));
    (0..4).for_each(|_| scene.answer(0..20));
    scene.answer(10..40);
    let who = crate::rig::owner(1, 0);
    let command = Command::Fetch {
        keys: who.keys,
        epoch: testing::TODAY,
        after: Cursor::START,
    };
    scene.told.clear();
    scene.step(Input::Command {
        id: CommandId(1),
        command,
    });
    for _ in 0..20 {
        scene.wake_after(Duration::from_secs(1));
    }
    assert_eq!(scene.told, [], "neither asked nor given up");
}

/// [LST-6]: whoever wrote the invitation chose the other sources.
#[test]
fn two_founders_are_asked_and_waited_for() {
    for seed in 0..20 {
        let mut scene = Scene::new(3, 60, seed);
        assert_eq!(scene.asks.len(), SOURCES_ASKED);
        let founders: Vec<NodeKey> = (0..3).map(testing::key).collect();
        let is_founder = |(_, source): &(AskId, Source)| founders.contains(&source.key);
        assert!(scene.asks.iter().filter(|ask| is_founder(ask)).count() >= FOUNDERS_ASKED);

        scene.asks.sort_by_key(is_founder);
        (0..3).for_each(|_| scene.answer(0..20));
        scene.wake_after(LIST_RETRY);
        assert!(!scene.client.is_ready(), "three strangers agree");
        let strangers = scene.asks.len();
        scene.wake_after(ASK_LIFE);
        assert!(
            scene.client.is_ready(),
            "the founders are silent: {strangers}"
        );
    }
}

/// [LST-2]: a list that its sources agree about is whole; later nobody's old date is believed.
#[test]
fn a_relay_that_turns_up_later_is_as_young_as_the_last_look() {
    let mut scene = Scene::new(5, 5, 1);
    (0..5).for_each(|_| scene.answer(0..20));
    assert!(scene.client.is_ready());
    let scale = scene.client.network.scale;
    let looked = scale.tick_of(scene.now.unix);
    scene.wake_after(Duration::from_secs(3_600));
    (0..5).for_each(|_| scene.answer(0..21));
    let members = scene.client.members();
    let seen = |number| {
        members
            .find(&testing::key(number).node_id())
            .unwrap()
            .first_seen()
    };
    assert_eq!(seen(3), testing::tick_at(-240));
    assert_eq!(seen(20), looked.minus(limits::NEWS_TICKS));
}

/// [LST-5]
#[test]
fn a_list_counts_when_three_sources_have_given_theirs() {
    let mut rig = Rig::new(10);
    for at in [0, 1, 2] {
        rig.nodes[at].up = false;
    }
    rig.join(5);
    assert_eq!(
        rig.told(),
        [Event::NoMembers {
            answered: 2,
            needed: 3
        }]
    );
    rig.command(1, letter(&rig, 1));
    assert!(rig.asks().is_empty(), "nobody is asked by half a list");
    for at in [0, 1, 2] {
        rig.nodes[at].up = true;
    }
    rig.advance(Duration::from_secs(4));
    let told = rig.told();
    assert!(matches!(over(&told), Some(Event::Stored { .. })));
}

/// [LST-5]
#[test]
fn a_source_that_drips_or_repeats_its_list_holds_nobody_up() {
    let rig = Rig::new(10);
    let sources = rig.nodes.iter().take(4).map(|node| Source {
        key: node.key,
        address: testing::address(0).unwrap(),
    });
    let network = Arc::clone(&rig.network);
    let mut client = Client::new(
        network,
        sources.collect(),
        Pinned::default(),
        [9; 32],
        rig.now,
    );
    let mut out = Vec::new();
    client.step(rig.now, Input::Wake, &mut out);
    let members = members_of(&rig);
    let part = |total, from, members: &[RecordWithKeys]| Some(part(total, from, members));
    let asks: Vec<AskId> = out
        .drain(..)
        .filter_map(|effect| match effect {
            Effect::List { ask, .. } => Some(ask),
            _ => None,
        })
        .collect();
    assert_eq!(asks.len(), 4);
    let mut tell = |ask, part| {
        let mut out = Vec::new();
        client.step(rig.now, Input::Listed { ask, part }, &mut out);
        (out, client.is_ready())
    };
    // An empty part of a long list, the wrong part, and more than there can be: none is a list.
    assert!(tell(asks[0], part(100, 0, &[])).0.is_empty());
    let (again, ready) = tell(asks[1], part(10, 0, &members[..5]));
    assert!(!ready);
    let [
        Effect::List {
            ask: second,
            question,
            ..
        },
    ] = again.as_slice()
    else {
        panic!("{again:?}")
    };
    assert_eq!(question.from, 5);
    assert!(tell(*second, part(10, 0, &members[..5])).0.is_empty());
    assert!(tell(asks[2], part(u32::MAX, 0, &members)).0.is_empty());
    let (told, ready) = tell(asks[3], part(10, 0, &members));
    assert!(!ready);
    let few = Effect::Report(Event::NoMembers {
        answered: 1,
        needed: 3,
    });
    assert_eq!(told, [few]);
}

pub(super) fn part(total: u32, from: u32, members: &[RecordWithKeys]) -> JudgedPart {
    JudgedPart(ListPart {
        hash: [1; 32],
        total,
        from,
        members: members.to_vec(),
    })
}

pub(super) fn members_of(rig: &Rig) -> Vec<RecordWithKeys> {
    let list = rig.nodes[0].relay.members();
    let members = list.iter().map(|member| RecordWithKeys {
        record: member.record().clone(),
        keys: member.keys().clone(),
    });
    members.collect()
}

/// [LST-5]: one false record spoils the list that it came in.
#[test]
fn a_list_with_a_false_record_is_thrown_away() {
    let rig = Rig::new(3);
    let member = rig.nodes[0].relay.members();
    let member = member.iter().next().unwrap();
    let mut members = vec![RecordWithKeys {
        record: member.record().clone(),
        keys: member.keys().clone(),
    }];
    let part = |members: &[RecordWithKeys]| ListPart {
        hash: [0; 32],
        total: 1,
        from: 0,
        members: members.to_vec(),
    };
    assert!(judge_list(part(&members), &rig.network, &rig.crypto).is_some());
    members[0].record.puzzle = 12;
    assert!(judge_list(part(&members), &rig.network, &rig.crypto).is_none());
}

/// [CAN-9]
#[test]
fn a_machine_beside_a_relay_takes_its_list_and_asks_nobody() {
    let mut rig = Rig::new(10);
    rig.join(0);
    let members = rig.nodes[0].relay.members();
    rig.person(Input::Members(Arc::clone(&members)));
    let told = rig.told();
    assert!(matches!(
        told.as_slice(),
        [Event::Members(_), Event::Pinned(_)]
    ));
    let client = &rig.person.as_ref().unwrap().client;
    assert!(client.is_ready() && Arc::ptr_eq(&client.members(), &members));
    rig.command(1, letter(&rig, 1));
    assert!(matches!(over(&rig.told()), Some(Event::Stored { .. })));
    // The same list again is no news.
    rig.person(Input::Members(members));
    assert_eq!(rig.told(), []);
}
