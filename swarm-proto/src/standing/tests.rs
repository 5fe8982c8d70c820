//! Relays that watch each other: who is absent, who is left out, and that a few liars decide neither.

use super::*;
use crate::crypto::{Crypto, SecretKey};
use crate::effects::{Effect, Event, PeerChange};
use crate::envelope::ExpiryClass;
use crate::id::NodeKey;
use crate::rig::{Rig, owner};
use crate::store::Cursor;
use crate::wire::codec::Writer;
use crate::wire::standing::Past;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Relays whose watchers speak for the network.
fn watched(count: u8) -> Rig {
    Rig::tuned(count, |network| {
        network.verdicts.watchers = 15;
        network.verdicts.reporters = 5;
        network.verdicts.certificates = 2;
        network.pledge.class_min = 0;
        network.sweep_hours = 6;
    })
}

fn verdict(rig: &Rig, by: usize, of: usize) -> Judgement {
    let id = rig.nodes[of].key.node_id();
    rig.nodes[by].relay.judgement(&id)
}

fn absent(rig: &Rig) -> Vec<u64> {
    let up = rig.nodes.iter().filter(|node| node.up);
    up.map(|node| node.relay.standing().absent).collect()
}

/// Until shortly after the next epoch has begun.
fn next_epoch(rig: &mut Rig) {
    let scale = rig.network.scale;
    let next = scale.epoch_of(rig.now.unix).plus(1);
    let left = scale.epoch_start(next).distance(rig.now.unix);
    rig.advance(left + HOUR);
}

/// [STD-3] [STD-5] [STD-9]: nobody but its watchers asked, and all know.
#[test]
fn a_relay_that_died_is_absent_for_all_and_back_when_it_answers() {
    let mut rig = watched(20);
    rig.advance(HOUR);
    assert!(absent(&rig).iter().all(|count| *count == 0));
    rig.nodes[3].up = false;
    rig.advance(Duration::from_secs(60 * 14));
    assert!(absent(&rig).iter().all(|count| *count == 0), "too early");
    rig.advance(Duration::from_secs(60 * 46));
    assert!(
        absent(&rig).iter().all(|count| *count == 1),
        "{:?}",
        absent(&rig)
    );
    // Another epoch has other watchers, and it stays absent all the while.
    next_epoch(&mut rig);
    assert!(absent(&rig).iter().all(|count| *count == 1));
    rig.restart(3);
    for other in 0..3 {
        rig.peer(3, other, PeerChange::Linked);
        rig.peer(other, 3, PeerChange::Linked);
    }
    rig.advance(HOUR);
    assert!(
        absent(&rig).iter().all(|count| *count == 0),
        "{:?}",
        absent(&rig)
    );
}

/// Lets hours pass in which a relay is up for two of five. It answers a probe in three of them: a watcher asks at each
/// full hour, and it goes after that.
fn half_there(rig: &mut Rig, at: usize, hours: core::ops::Range<u32>) {
    for hour in hours {
        rig.nodes[at].up = hour % 5 < 2;
        rig.advance(HOUR);
    }
}

/// [STD-11] [ELI-7] [REP-1]: it gets no new cells, others have taken over what it holds, and it still serves.
#[test]
fn a_relay_that_is_there_in_three_hours_of_five_is_replaced_where_it_holds_and_left_out_later() {
    let mut rig = watched(20);
    let who = owner(9, 0);
    let made = rig.network.scale.tick_of(rig.now.unix);
    let letters: Vec<_> = (0..4)
        .map(|number| rig.letter_of(&who, number, made, ExpiryClass::Days14))
        .collect();
    let ranked = rig.ranked(&rig.promise(&letters[0]));
    for letter in &letters {
        rig.ask(ranked[0], Message::Deposit(letter.clone()));
    }
    rig.advance(HOUR);
    let rare = ranked[1];
    let copies = |rig: &mut Rig| {
        let mut of = |id| {
            (0..20)
                .filter(|at| *at != rare && rig.holds(*at, id))
                .count()
        };
        let ids = letters.iter().map(|letter| letter.envelope.id());
        ids.map(&mut of).collect::<Vec<usize>>()
    };
    half_there(&mut rig, rare, 0..12);
    assert_eq!(copies(&mut rig), [4; 4], "nobody knows it yet");
    half_there(&mut rig, rare, 12..34);
    let seen = verdict(&rig, ranked[0], rare);
    let (_, certificate) = seen.certificate.unwrap();
    assert!(certificate.available.unwrap() < 75 && seen.rare, "{seen:?}");
    assert!(seen.holds, "in this epoch");
    assert_eq!(copies(&mut rig), [5; 4]);
    rig.nodes[rare].up = true;
    let fetch = rig.fetch(&who, rare, Cursor::START);
    let stream = rig.ask(rare, Message::Fetch(fetch));
    let Some(Message::Page(page)) = rig.answer(stream) else {
        panic!("{:?}", rig.answer(stream))
    };
    assert_eq!(page.rows.len(), 4, "it keeps and shows them");
    next_epoch(&mut rig);
    for by in (0..20).filter(|by| *by != rare) {
        assert!(!verdict(&rig, by, rare).holds, "{by}");
        for of in (0..20).filter(|of| *of != rare) {
            let seen = verdict(&rig, by, of);
            assert!(seen.holds && !seen.rare, "{by} of {of}");
        }
    }
    // Two weeks of being there, and it is one of them again.
    for _ in 0..14 {
        next_epoch(&mut rig);
    }
    let seen = verdict(&rig, 0, rare);
    assert!(seen.holds && !seen.rare, "{seen:?}");
}

/// [STD-2]: with few watchers each relay goes by its own tries.
#[test]
fn a_small_network_has_no_verdicts() {
    let mut rig = watched(8);
    rig.nodes[3].up = false;
    rig.advance(DAY * 2);
    assert!(absent(&rig).iter().all(|count| *count == 0));
    assert_eq!(verdict(&rig, 0, 1).certificate, None);
    assert!(verdict(&rig, 0, 1).holds);
}

/// [STD-7] [STD-8] [ELI-7]
#[test]
fn certificates_are_the_same_everywhere_and_grow_old() {
    let mut rig = watched(16);
    for _ in 0..3 {
        next_epoch(&mut rig);
    }
    rig.advance(HOUR * 8);
    for of in 0..16 {
        let one = verdict(&rig, 0, of);
        let (epochs, certificate) = one.certificate.unwrap();
        assert_eq!(epochs, 1, "{of}");
        assert!(certificate.age >= 2, "{of}: {certificate:?}");
        assert_eq!(certificate.available, Some(100), "{of}");
        assert_eq!((certificate.votes, one.suspended_for), (0, 0));
        for by in 1..16 {
            assert_eq!(verdict(&rig, by, of).certificate, one.certificate);
        }
    }
}

fn testimony(rig: &Rig, watcher: usize, of: usize, words: Words) -> Testimony {
    let secret: &SecretKey = &rig.nodes[watcher].secret;
    let mut testimony = Testimony {
        epoch: rig.network.scale.epoch_of(rig.now.unix),
        watcher: NodeKey(*secret.public()),
        number: 40_000,
        about: alloc::vec![About {
            subject: rig.nodes[of].key.node_id(),
            words,
        }],
        signature: Signature([0; 64]),
    };
    let bytes = testimony.statement(&rig.network.id());
    testimony.signature = rig.crypto.sign(secret, &bytes);
    testimony
}

/// [STD-4] [STD-5] [STD-9]: four of fifteen watchers lie as they like.
#[test]
fn a_quarter_of_lying_watchers_removes_nobody() {
    let mut rig = watched(20);
    rig.advance(HOUR);
    let eligible = {
        let context = rig.view_of(0);
        context
            .view
            .eligible(&rig.network, rig.network.scale.epoch_of(rig.now.unix))
    };
    let victim = 7;
    let id = rig.nodes[victim].key.node_id();
    let watchers = Watchers::of(&rig.network, &eligible, &id);
    let lie = Words {
        absent: true,
        suspend: true,
        last: true,
        available: Some(0),
        kept: Some(0),
        past: Past {
            history: 0xff,
            term: 64,
            clean: 0,
            times: 1,
        },
        ..Words::default()
    };
    for liar in watchers.ids().iter().take(4) {
        let liar = rig.index(liar);
        let said = testimony(&rig, liar, victim, lie);
        for to in (0..20).filter(|to| *to != liar) {
            rig.deliver(liar, to, Message::Testimonies(alloc::vec![said.clone()]));
        }
        // It goes on lying, so its own honest words are not heard.
        rig.nodes[liar].up = false;
    }
    rig.run();
    let seen = verdict(&rig, 0, victim);
    assert_eq!((seen.suspend, seen.absent, seen.majority), (4, 4, 11));
    for _ in 0..3 {
        next_epoch(&mut rig);
        let up = rig.nodes.iter().filter(|node| node.up);
        for node in up {
            let counts = node.relay.standing();
            assert_eq!((counts.condemned, counts.absent), (0, 4));
            assert!(node.relay.judgement(&id).holds);
        }
    }
}

/// What the watchers of relay 7 say of it, one after another, and what comes of it at relay 0.
struct Hearing {
    rig: Rig,
    context: Context,
    heard: Heard,
    today: Epoch,
    watchers: Vec<usize>,
    number: u16,
}

impl Hearing {
    fn new() -> Self {
        let mut rig = watched(20);
        rig.advance(HOUR);
        let context = rig.view_of(0);
        let today = rig.network.scale.epoch_of(rig.now.unix);
        let eligible = context.view.eligible(&rig.network, today);
        let watchers = Watchers::of(&rig.network, &eligible, &rig.nodes[7].key.node_id());
        let watchers: Vec<usize> = watchers.ids().iter().map(|id| rig.index(id)).collect();
        assert_eq!(watchers.len(), 15);
        let heard = Heard::default();
        Self {
            rig,
            context,
            heard,
            today,
            watchers,
            number: 1,
        }
    }

    /// Some of the watchers say this; whether the relay counts as absent after that.
    fn say(&mut self, who: core::ops::Range<usize>, absent: bool) -> bool {
        let id = self.rig.nodes[7].key.node_id();
        let words = Words {
            absent,
            ..Words::default()
        };
        for watcher in &self.watchers[who] {
            self.number += 1;
            let mut said = testimony(&self.rig, *watcher, 7, words);
            said.number = self.number;
            let news = self.heard.hear(&self.context, self.today, &said);
            assert_eq!(news, [id]);
            let mut changes = Changes::default();
            let place = (self.today, id);
            self.heard
                .judge(&mut self.context, self.today, place, &mut changes);
        }
        self.context.said.absent.contains(&id)
    }

    /// Whether a watcher that found this is to say so.
    fn is_wanting(&mut self, absent: bool, said: Option<bool>, waited: bool) -> bool {
        let id = self.rig.nodes[7].key.node_id();
        let found = Finding {
            absent,
            said,
            waited,
        };
        self.heard.is_wanting(&self.context, self.today, &id, found)
    }
}

/// [STD-12]
#[test]
fn a_watcher_is_silent_where_enough_have_spoken_and_speaks_when_they_take_it_back() {
    let mut hearing = Hearing::new();
    assert!(hearing.is_wanting(true, None, false));
    assert!(
        !hearing.is_wanting(true, Some(true), false),
        "it has said so"
    );
    assert!(hearing.say(0..9, true));
    assert!(hearing.is_wanting(true, None, false));
    hearing.say(9..10, true);
    assert!(!hearing.is_wanting(true, None, false), "ten have said it");
    assert!(!hearing.is_wanting(true, Some(false), false));
    // Three of them lied, and want others to have been silent for it.
    assert!(hearing.say(0..3, false), "it is away for all the same");
    assert!(hearing.is_wanting(true, None, false));
    assert!(hearing.is_wanting(true, Some(false), false));
    // It is back: first those speak who called it absent.
    assert!(hearing.is_wanting(false, Some(true), false));
    assert!(!hearing.is_wanting(false, Some(false), true));
    assert!(!hearing.is_wanting(false, None, false));
    assert!(hearing.is_wanting(false, None, true), "nobody else did");
    assert!(hearing.say(3..5, false));
    assert!(!hearing.say(5..6, false), "four are left");
    assert!(!hearing.is_wanting(false, Some(true), true));
    assert!(!hearing.is_wanting(false, None, true));
}

/// [STD-9] [STD-12]: what was not taken back and a fifth that lies make no quorum together, and more make one only until
/// the others have been asked.
#[test]
fn words_that_were_left_standing_and_a_fifth_of_liars_call_nobody_absent() {
    let mut hearing = Hearing::new();
    assert!(hearing.say(0..8, true));
    assert!(hearing.say(0..3, false) && !hearing.say(3..4, false));
    assert!(!hearing.say(12..15, true), "seven");
    assert!(hearing.is_wanting(false, Some(true), false));
    assert!(hearing.say(11..12, true), "a fourth liar");
    assert!(hearing.is_wanting(false, Some(true), false));
    assert!(hearing.say(4..7, false), "five are left");
    assert!(
        !hearing.say(7..8, false),
        "as soon as the honest have spoken"
    );
    // A fifth that lies does not bring back who is away.
    let mut hearing = Hearing::new();
    assert!(hearing.say(0..8, true) && hearing.say(0..3, false));
}

/// [STD-12]: a new epoch knows nothing of what the last one said; who was away is away until a quorum finds it there.
#[test]
fn in_a_new_epoch_a_relay_is_away_until_a_quorum_says_otherwise() {
    let mut hearing = Hearing::new();
    let id = hearing.rig.nodes[7].key.node_id();
    hearing.context.said.absent.insert(id);
    assert!(
        hearing.is_wanting(true, None, false),
        "nobody said so today"
    );
    assert!(hearing.is_wanting(false, None, false), "nor took it back");
    assert!(hearing.say(0..3, true) && hearing.say(3..10, false));
    assert!(!hearing.say(10..11, false));
    assert!(!hearing.is_wanting(false, None, true));
}

/// [STD-5]
#[test]
fn testimonies_are_compared_with_whom_the_member_list_is_every_half_hour() {
    let rig = watched(5);
    let (mut context, start) = (rig.view_of(0), rig.now);
    let (mut standing, mut pledges) = (Standing::new(start), Pledges::new(0));
    let peers = [1, 2].map(|at| rig.nodes[at].key.node_id());
    let mut compared = |minutes: u64, drawn: Option<NodeId>| -> Vec<NodeId> {
        let passed = Duration::from_secs(60 * minutes);
        let now = Now {
            mono: start.mono.plus(passed),
            unix: start.unix.plus(passed),
        };
        let mut out = Effects::default();
        standing.wake(&mut context, now, drawn, &mut pledges, &mut out);
        let asked = out.drain().filter_map(|effect| match effect {
            Effect::Send { to, message } => {
                matches!(message, Message::ReconcileTestimonies(_)).then_some(to)
            }
            _ => None,
        });
        asked.collect()
    };
    assert!(compared(0, None).is_empty());
    assert_eq!(compared(1, Some(peers[0])), [peers[0]]);
    assert!(compared(11, Some(peers[1])).is_empty());
    assert!(
        compared(40, None).is_empty(),
        "nobody is drawn for this alone"
    );
    assert_eq!(compared(41, Some(peers[1])), [peers[1]]);
}

/// [STD-12]
#[test]
fn who_holds_nothing_is_not_called_absent() {
    let mut hearing = Hearing::new();
    let stranger = NodeId([9; 32]);
    let found = Finding {
        absent: true,
        said: None,
        waited: false,
    };
    let (context, today) = (&hearing.context, hearing.today);
    assert!(!hearing.heard.is_wanting(context, today, &stranger, found));
    let known = hearing.rig.nodes[8].key.node_id();
    assert!(hearing.heard.is_wanting(context, today, &known, found));
}

/// [STD-12]: thirty words without it.
#[test]
fn an_absence_takes_about_half_of_its_watchers_words() {
    let mut rig = watched(20);
    rig.advance(HOUR);
    let words = |rig: &Rig| -> u64 {
        let all = rig.nodes.iter();
        all.map(|node| node.relay.standing().testified).sum()
    };
    let before = words(&rig);
    for node in [3, 4] {
        rig.nodes[node].up = false;
        rig.advance(HOUR);
        assert_eq!(absent(&rig), [1; 19]);
        rig.nodes[node].up = true;
        rig.advance(HOUR);
        assert_eq!(absent(&rig), [0; 20]);
    }
    let said = words(&rig) - before;
    assert!((28..=40).contains(&said), "{said}");
}

/// [STD-12]
#[test]
fn a_relay_that_hears_of_nobody_blames_nobody() {
    let mut rig = watched(20);
    rig.advance(HOUR);
    let before = rig.nodes[3].relay.standing().testified;
    let parted = (0..20).filter(|other| *other != 3);
    for other in parted {
        rig.cut.extend([(3, other), (other, 3)]);
    }
    rig.advance(HOUR);
    assert_eq!(absent(&rig)[3], 0);
    rig.cut.clear();
    rig.advance(HOUR);
    assert_eq!(rig.nodes[3].relay.standing().testified, before);
    assert_eq!(absent(&rig), [0; 20]);
}

/// [STD-5] [STD-13]: the words behind an absence come to each relay once or twice, and not thrice.
#[test]
fn news_is_asked_for_by_those_who_lack_it() {
    let mut rig = watched(40);
    rig.advance(HOUR);
    rig.sent.clear();
    rig.nodes[3].up = false;
    rig.advance(Duration::from_secs(60 * 25));
    let know: u64 = absent(&rig).iter().sum();
    assert!(know >= 36, "{know} of 39, before most have compared");
    let eligible = {
        let context = rig.view_of(0);
        let today = rig.network.scale.epoch_of(rig.now.unix);
        context.view.eligible(&rig.network, today)
    };
    let watchers = Watchers::of(&rig.network, &eligible, &rig.nodes[3].key.node_id());
    let watches = |at: usize| watchers.ids().contains(&rig.nodes[at].key.node_id());
    let (mut came, mut offered) = (0, 0);
    for (_, to, message) in rig.sent.iter().filter(|(_, to, _)| !watches(*to)) {
        match message {
            Message::Testimonies(some) => came += some.len(),
            Message::Heads(heads) if !heads.wanted => offered += heads.heads.len(),
            _ => assert!(*to < 40),
        }
    }
    // Eight words for nearly each of 24 relays, and a few that two were asked for.
    assert!((21 * 8..24 * 14).contains(&came), "{came}");
    assert!(offered > came, "{offered} {came}");
}

/// [STD-5]
#[test]
fn only_watchers_are_heard_and_only_about_these_days() {
    let mut rig = watched(40);
    rig.advance(HOUR);
    let today = rig.network.scale.epoch_of(rig.now.unix);
    let context = rig.view_of(0);
    let eligible = context.view.eligible(&rig.network, today);
    let id = rig.nodes[7].key.node_id();
    let watchers = Watchers::of(&rig.network, &eligible, &id);
    let is_watcher = |at: &usize| watchers.ids().contains(&rig.nodes[*at].key.node_id());
    let one = (0..40).find(is_watcher).unwrap();
    let other = (0..40).find(|at| *at != 7 && !is_watcher(at)).unwrap();
    let mut heard = Heard::default();
    let mut hear = |testimony: &Testimony| !heard.hear(&context, today, testimony).is_empty();
    let say = |watcher, absent| {
        testimony(
            &rig,
            watcher,
            7,
            Words {
                absent,
                ..Words::default()
            },
        )
    };
    assert!(!hear(&say(other, true)), "it does not watch");
    let first = say(one, true);
    assert!(hear(&first) && !hear(&first), "it is news once");
    let newer = Testimony {
        number: first.number + 1,
        ..say(one, false)
    };
    let older = Testimony {
        number: first.number - 1,
        ..say(one, false)
    };
    assert!(hear(&newer) && !hear(&first) && !hear(&older));
    for (epoch, taken) in [
        (today.plus(1), false),
        (today.minus(2), true),
        (today.minus(3), false),
    ] {
        let dated = Testimony {
            epoch,
            ..first.clone()
        };
        let by_then = Watchers::of(
            &rig.network,
            &context.view.eligible(&rig.network, epoch),
            &id,
        );
        let watches = by_then.ids().contains(&first.watcher.node_id());
        assert_eq!(hear(&dated), taken && watches, "{epoch:?}");
    }
    heard.turn(today.plus(3));
    assert_eq!(heard.items().count(), 0);
}

/// [STD-5]: nobody makes others keep what is about relays that it does not watch.
#[test]
fn a_testimony_that_is_mostly_about_others_is_not_kept() {
    let mut rig = watched(40);
    rig.advance(HOUR);
    let context = rig.view_of(0);
    let today = rig.network.scale.epoch_of(rig.now.unix);
    let eligible = context.view.eligible(&rig.network, today);
    let me = rig.nodes[7].key.node_id();
    let watches = |of: &NodeId| {
        Watchers::of(&rig.network, &eligible, of)
            .ids()
            .contains(&me)
    };
    let all = (0..40)
        .filter(|at| *at != 7)
        .map(|at| rig.nodes[at].key.node_id());
    let (own, others): (Vec<NodeId>, Vec<NodeId>) = all.partition(watches);
    let about = |own_taken: usize, others_taken: usize| {
        let subjects = own[..own_taken].iter().chain(&others[..others_taken]);
        let said = |subject: &NodeId| About {
            subject: *subject,
            words: Words::default(),
        };
        let mut about: Vec<About> = subjects.map(said).collect();
        about.sort_by_key(|one| one.subject);
        Testimony {
            about,
            ..testimony(&rig, 7, 0, Words::default())
        }
    };
    let mut heard = Heard::default();
    assert!(heard.hear(&context, today, &about(3, 4)).is_empty());
    assert_eq!(heard.items().count(), 0);
    assert_eq!(heard.hear(&context, today, &about(3, 3)).len(), 3);
    assert_eq!(heard.items().count(), 1);
}

/// [STD-6] [STD-9] [ELI-7]: its siblings report, its watchers agree, and it gets no cells from the second epoch on.
#[test]
fn a_relay_that_lost_everything_is_condemned_and_then_suspended() {
    let mut rig = watched(12);
    rig.misses = true;
    let liar = 5;
    let made = rig.network.scale.tick_of(rig.now.unix);
    for seed in 1..=30 {
        let who = owner(seed, 0);
        for number in 0..4 {
            let letter = rig.letter_of(&who, number, made, ExpiryClass::Days14);
            let first = rig.ranked(&rig.promise(&letter))[0];
            rig.ask(first, Message::Deposit(letter));
        }
    }
    // Long enough for comparisons that all had all.
    rig.advance(HOUR * 5);
    rig.nodes[liar].hollow = true;
    rig.advance(HOUR * 8);
    for by in (0..12).filter(|by| *by != liar) {
        let seen = verdict(&rig, by, liar);
        assert!(seen.suspend >= seen.majority, "{by}: {seen:?}");
        assert_eq!(rig.nodes[by].relay.standing().condemned, 1, "{by}");
        let told = |event: &Event| matches!(event, Event::Condemned { .. });
        assert!(rig.nodes[by].events.iter().any(told), "{by}");
    }
    // Three of five epochs, and one for the last certificate to spread.
    for _ in 0..3 {
        next_epoch(&mut rig);
    }
    rig.advance(HOUR * 6);
    for by in (0..12).filter(|by| *by != liar) {
        let seen = verdict(&rig, by, liar);
        assert!(seen.suspended_for > 0, "{by}: {seen:?}");
    }
    next_epoch(&mut rig);
    for by in (0..12).filter(|by| *by != liar) {
        let seen = verdict(&rig, by, liar);
        assert!(!seen.holds, "{by}: {seen:?}");
        for of in (0..12).filter(|of| *of != liar) {
            let seen = verdict(&rig, by, of);
            assert!(seen.holds && seen.suspend == 0, "{by} of {of}: {seen:?}");
        }
    }
}

/// The draw of watchers, a testimony's bytes, and those of what is kept ([STD-1], [STD-4], [STD-14]).
#[test]
fn watchers_and_testimonies_are_those_of_the_vectors() {
    use crate::id::hex;
    use crate::members::testing::{self, TODAY, check_vectors};
    use alloc::string::String;
    let members = testing::list((0..20).map(testing::record)).snapshot();
    let eligible = crate::members::Eligible::of(&testing::network(), &members, TODAY);
    let subject = testing::key(0).node_id();
    let watchers = Watchers::of(&testing::network(), &eligible, &subject);
    let ids = |ids: &[NodeId]| -> String { ids.iter().map(|id| hex(&id.short())).collect() };
    let reporter = testing::key(1).node_id();
    let told = watchers.told_by(&testing::network(), &reporter, TODAY);
    let testimony = Testimony {
        epoch: TODAY,
        watcher: testing::key(1),
        number: 513,
        about: alloc::vec![About {
            subject,
            words: Words {
                absent: true,
                suspend: true,
                age: 9,
                available: Some(99),
                class: 2,
                past: Past {
                    history: 5,
                    term: 1,
                    clean: 0,
                    times: 1,
                },
                ..Words::default()
            },
        }],
        signature: Signature([1; 64]),
    };
    let said = testimony.about.iter().map(|about| about.words);
    let certified = Certificate::of(&said.collect::<Vec<_>>(), 1);
    let network = testing::network().id();
    let run_on = |past: Past, suspend: bool, epochs: u8| {
        let certificate = Certificate {
            past,
            suspend,
            ..Certificate::of(&[], 11)
        };
        let after = certificate.past_after(epochs.into(), &testing::network().verdicts);
        let mut writer = Writer::with_capacity(8);
        past.encode(&mut writer);
        writer.u8(u8::from(suspend)).u8(epochs);
        after.encode(&mut writer);
        hex(&writer.finish())
    };
    let past = |history, term, clean, times| Past {
        history,
        term,
        clean,
        times,
    };
    let lines = [
        ("third vote", run_on(past(0b11, 0, 0, 0), true, 1)),
        ("fifth suspension", run_on(past(0b101, 0, 7, 4), true, 1)),
        ("longest", run_on(past(0b11, 0, 0, 200), true, 1)),
        ("served", run_on(past(0b1, 1, 0, 2), false, 1)),
        ("clean", run_on(past(0, 2, 0, 2), false, 3)),
        ("almost forgotten", run_on(past(0, 0, 88, 2), false, 1)),
        ("forgotten", run_on(past(0, 0, 89, 2), false, 1)),
        ("watchers", ids(watchers.ids())),
        ("told", ids(&told)),
        ("statement", hex(&testimony.statement(&network))),
        ("item", hex(&testimony.item())),
        (
            "kept",
            hex(&kept::encode([(&subject, &certified)].into_iter())),
        ),
    ];
    check_vectors(
        include_str!("../../../docs/spec/vectors/standing.txt"),
        &lines,
    );
}
