//! Promises of the onion, kept through whole paths: every layer, every position, every byte. It cannot
//! show secrecy; it shows that sizes, order, integrity and the replay rule hold.

use std::sync::LazyLock;
use std::vec;
use std::vec::Vec;

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::build::{BuildFailure, Draft, Hop, Shape};
use super::door::Door;
use super::peel::{self, OnionFault, Opened, Peeled};
use super::replay::{NotAdmitted, Replay, Why};
use super::reply::{AnswerFault, Replies, ReplyKeys};
use super::*;
use crate::crypto::null::NullCrypto;
use crate::crypto::{Crypto, OnionKey, OnionPublicKey};
use crate::kem::PureCrypto;

const PUBLIC: TimeScale = TimeScale { minute_ms: 60_000 };
const DEVNET: TimeScale = TimeScale { minute_ms: 100 };
/// The middle of a tick and of a generation at both scales.
const NOW: UnixTime = UnixTime(1_790_000_000_000 - 1_790_000_000_000 % 600_000 + 300_500);

/// Four relays and what a sender knows of them.
struct Relays {
    doors: Vec<Door>,
    ids: Vec<NodeId>,
    keys: Vec<OnionPublicKey>,
}

impl Relays {
    fn new(crypto: &dyn Crypto, scale: TimeScale, now: UnixTime) -> Self {
        let generation = Generation::at(scale, now);
        let ids: Vec<_> = (0..4_u8).map(|n| NodeId([n + 1; 32])).collect();
        let mut keys = Vec::new();
        let doors = (0..4_u8)
            .map(|n| {
                let mut door = Door::new(NodeId([n + 1; 32]), scale);
                let key = crypto.onion_key(&[n + 101; 32]);
                keys.push(key.public.clone());
                door.set_key(generation, key);
                door
            })
            .collect();
        Self { doors, ids, keys }
    }

    fn path(&self, hops: usize) -> Vec<Hop<'_>> {
        let known = self.ids.iter().zip(&self.keys);
        known
            .map(|(id, key)| Hop { id: *id, key })
            .take(hops)
            .collect()
    }
}

static NULL: LazyLock<Relays> = LazyLock::new(|| Relays::new(&NullCrypto::new(), PUBLIC, NOW));

fn shape(class: SizeClass, answer: SizeClass, scale: TimeScale, now: UnixTime) -> Shape {
    Shape {
        class,
        answer,
        generation: Generation::at(scale, now),
    }
}

fn inner(text: &'static [u8]) -> Inner {
    Inner {
        kind: 0x0502,
        body: Bytes::from_static(text),
    }
}

fn build(crypto: &dyn Crypto, relays: &Relays, hops: usize, seed: u8) -> (Vec<u8>, Replies) {
    let shape = shape(SizeClass::Small, SizeClass::Small, PUBLIC, NOW);
    Draft::new(crypto, &relays.path(hops), shape, &[seed; 32])
        .unwrap()
        .seal(Command::Deliver, expire(PUBLIC, NOW), &inner(b"fetch"))
        .unwrap()
}

fn null_onion(hops: usize, seed: u8) -> (Vec<u8>, Replies) {
    build(&NullCrypto::new(), &NULL, hops, seed)
}

/// A relay that has been up for long.
fn settled(scale: TimeScale) -> Replay {
    Replay::new(scale, UnixTime(0), 1_000)
}

fn act(opened: Opened) -> Peeled {
    settled(PUBLIC).admit(NOW, opened).unwrap().act().unwrap()
}

/// Peels at the first `hops` relays; the onions as seen on the links, the reply keys, the request.
fn walk(relays: &Relays, first: Vec<u8>) -> (Vec<Vec<u8>>, Vec<ReplyKeys>, Inner) {
    let mut seen = vec![first];
    let mut keys = Vec::new();
    loop {
        let door = &relays.doors[keys.len()];
        match act(door.open(NOW, seen.last().unwrap().clone()).unwrap()) {
            Peeled::Forward { next, onion, reply } => {
                keys.push(reply);
                assert_eq!(next, relays.ids[keys.len()]);
                seen.push(onion);
            }
            Peeled::Deliver { inner, reply } => {
                keys.push(reply);
                return (seen, keys, inner);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn bring_back(keys: impl DoubleEndedIterator<Item = ReplyKeys>, answer: Vec<u8>) -> Vec<u8> {
    keys.rev()
        .fold(answer, |answer, key| key.wrap(answer).unwrap())
}

/// [ONI-1], [ONI-6]: the same with real keys and with stand-ins, for every path length and class.
#[test]
fn a_request_arrives_and_its_answer_returns_and_every_link_sees_one_size() {
    let cryptos: [&dyn Crypto; 2] = [&PureCrypto, &NullCrypto::new()];
    for crypto in cryptos {
        let relays = Relays::new(crypto, PUBLIC, NOW);
        for hops in 1..=4 {
            for class in [SizeClass::Small, SizeClass::Large] {
                let shape = shape(class, class, PUBLIC, NOW);
                let draft = Draft::new(crypto, &relays.path(hops), shape, &[9; 32]).unwrap();
                let reply_hash = draft.reply_hash();
                let (first, replies) = draft
                    .seal(Command::Deliver, expire(PUBLIC, NOW), &inner(b"fetch"))
                    .unwrap();

                let (seen, mut keys, request) = walk(&relays, first);
                assert_eq!(seen.len(), hops);
                assert!(seen.iter().all(|onion| onion.len() == class.onion_bytes()));
                assert!(seen.iter().all(|onion| onion[..2] == seen[0][..2]));
                assert_eq!(request, inner(b"fetch"));

                let holder = keys.pop().unwrap();
                assert_eq!(holder.hash(), reply_hash);
                let answer = holder.seal(&inner(b"page")).unwrap();
                let answer = bring_back(keys.into_iter(), answer);
                assert_eq!(answer.len(), class.answer_bytes());
                let answer = replies.open(answer).unwrap();
                assert_eq!((answer.hop, answer.last), (hops - 1, true));
                assert_eq!(answer.inner, inner(b"page"));
            }
        }
    }
}

/// [ONI-6]: not even the last hop, which decrypts them, finds zeros behind its own slot.
#[test]
fn a_short_path_leaves_no_mark_in_the_slots() {
    for hops in 1..=4_u8 {
        let (mut seen, _, _) = walk(&NULL, null_onion(usize::from(hops), 5).0);
        let onion = seen.last_mut().unwrap();
        let key = NullCrypto::new().onion_key(&[100 + hops; 32]);
        let parts = Parts::of(onion).unwrap();
        let secret = key.secret.decapsulate(parts.ciphertext).unwrap();
        let keys = LayerKeys::derive(&secret, *parts.head, &NodeId([hops; 32]));
        add_stream(&keys.beta, parts.beta);
        let rest = &parts.beta[ONION_LAST_SLOT_BYTES..];
        let runs = rest.windows(6).filter(|run| run.iter().all(|b| *b == 0));
        assert_eq!(runs.count(), 0, "{hops} hops");
    }
}

/// [ONI-3]: whatever byte is changed on whatever link, the next relay refuses.
#[test]
fn a_changed_byte_is_refused_by_the_next_relay() {
    let (seen, _, _) = walk(&NULL, null_onion(4, 6).0);
    for (link, onion) in seen.iter().enumerate().take(4) {
        for at in 0..onion.len() {
            let mut bent = onion.clone();
            bent[at] ^= 1 + (at % 255) as u8;
            let refused = NULL.doors[link].open(NOW, bent).err();
            let expected: &[OnionFault] = match at {
                0 => &[OnionFault::Head],
                1 => &[
                    OnionFault::Head,
                    OnionFault::Length,
                    OnionFault::Generation,
                    OnionFault::Mac,
                ],
                _ => &[OnionFault::Mac],
            };
            let refused = refused.unwrap_or_else(|| panic!("byte {at} on link {link}"));
            assert!(expected.contains(&refused), "byte {at} on link {link}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// [ONI-10]: a changed answer is noticed.
    #[test]
    fn a_changed_answer_is_noticed(at in 0..ANSWER_SMALL_BYTES, flip in 1..=255_u8, after in 0..4_usize) {
        let (first, replies) = null_onion(4, 7);
        let (_, mut keys, _) = walk(&NULL, first);
        let mut answer = keys.pop().unwrap().seal(&inner(b"page")).unwrap();
        for hop in (0..4).rev() {
            if hop == after {
                answer[at] ^= flip;
            }
            if let Some(key) = keys.pop() {
                answer = key.wrap(answer).unwrap();
            }
        }
        prop_assert_eq!(replies.open(answer), Err(AnswerFault::Seal));
    }
}

/// [ONI-3], with the real keys, at the borders of every part.
#[test]
fn real_keys_refuse_a_change_in_every_part() {
    let relays = Relays::new(&PureCrypto, PUBLIC, NOW);
    let (onion, _) = build(&PureCrypto, &relays, 4, 8);
    assert!(relays.doors[0].open(NOW, onion.clone()).is_ok());
    assert!(relays.doors[1].open(NOW, onion.clone()).is_err());
    for at in [
        0, 2, 1_089, 1_090, 1_121, 1_122, 1_137, 1_138, 4_697, 4_698, 7_167,
    ] {
        let mut bent = onion.clone();
        bent[at] ^= 1;
        assert!(relays.doors[0].open(NOW, bent).is_err(), "byte {at}");
    }
}

/// [ONI-10]
#[test]
fn every_hop_can_refuse_and_none_in_the_name_of_another() {
    for hop in 0..4 {
        let (first, replies) = null_onion(4, 10);
        let (_, mut keys, _) = walk(&NULL, first);
        keys.truncate(hop + 1);
        let refusal = keys.pop().unwrap().refuse(16, 7);
        assert_eq!(refusal.len(), ANSWER_SMALL_BYTES);
        let answer = replies.open(bring_back(keys.into_iter(), refusal)).unwrap();
        assert_eq!((answer.hop, answer.last), (hop, hop == 3));
        assert_eq!(answer.inner.kind, 0x0102);
        assert_eq!(&*answer.inner.body, [0, 16, 0, 0, 0, 0, 0, 0, 0, 7]);
    }

    // The guard tries to sign with its own key at the second hop's depth.
    let (first, replies) = null_onion(4, 11);
    let (_, mut keys, _) = walk(&NULL, first.clone());
    let (_, mut again, _) = walk(&NULL, first);
    let forged = keys.remove(0).refuse(16, 0);
    let forged = again.remove(0).wrap(forged).unwrap();
    assert_eq!(replies.open(forged), Err(AnswerFault::Seal));
}

/// [ONI-9]: a relay that restarted refuses what it answered before, under another key stream.
#[test]
fn two_answers_under_one_key_never_share_a_key_stream() {
    let key = || walk(&NULL, null_onion(1, 12).0).1.remove(0);
    let page = key().seal(&inner(b"page")).unwrap();
    let refusal = key().refuse(15, 1);
    assert_ne!(page[..12], refusal[..12]);
    let sum = |at: usize| page[at] ^ refusal[at];
    // Both texts end in zeros; one key stream would make their sum zero there.
    assert!((12 + 100..12 + 200).any(|at| sum(at) != 0));
}

#[test]
fn an_answer_of_the_wrong_size_gives_the_keys_back() {
    let (_, mut keys, _) = walk(&NULL, null_onion(2, 13).0);
    let key = keys.remove(0).wrap(vec![0; 100]).unwrap_err();
    assert_eq!(key.refuse(16, 0).len(), ANSWER_SMALL_BYTES);
    let large = Inner {
        kind: 1,
        body: Bytes::from(vec![1; ANSWER_SMALL_BYTES]),
    };
    assert!(keys.remove(0).seal(&large).is_err());
}

fn opened_at(scale: TimeScale, made: UnixTime, seed: u8) -> impl Fn(UnixTime) -> Opened {
    let crypto = NullCrypto::new();
    let relays = Relays::new(&crypto, scale, made);
    let shape = shape(SizeClass::Small, SizeClass::Small, scale, made);
    let draft = Draft::new(&crypto, &relays.path(1), shape, &[seed; 32]).unwrap();
    let (onion, _) = draft
        .seal(Command::Deliver, expire(scale, made), &inner(b"fetch"))
        .unwrap();
    move |now| relays.doors[0].open(now, onion.clone()).unwrap()
}

fn why(refused: Result<peel::Admitted, NotAdmitted>) -> Option<Why> {
    match refused.err()? {
        NotAdmitted::Replayed => None,
        NotAdmitted::Refused { why, .. } => Some(why),
    }
}

/// [ONI-7]
#[test]
fn an_onion_acts_once_within_and_across_ticks() {
    for scale in [PUBLIC, DEVNET] {
        let copy = opened_at(scale, NOW, 14);
        let mut replay = settled(scale);
        assert!(replay.admit(NOW, copy(NOW)).is_ok());
        let life = scale.minutes(10 * u64::from(life_ticks(scale)));
        let step = scale.minutes(5);
        let mut now = NOW;
        while now < NOW.plus(life) {
            assert!(matches!(
                replay.admit(now, copy(now)),
                Err(NotAdmitted::Replayed)
            ));
            now = now.plus(step);
        }
        let late = NOW.plus(life).plus(scale.minutes(10));
        assert_eq!(
            why(replay.admit(late, copy(late))),
            Some(Why::Expired { now: late })
        );
        assert_eq!(replay.tags(), 0);
        // A clock set back does not bring back what was forgotten.
        assert!(matches!(
            why(replay.admit(NOW, copy(NOW))),
            Some(Why::Expired { .. })
        ));
    }
}

/// [ONI-7]: at least 30 s at the fastest calendar in use, three ticks at the public one.
#[test]
fn an_onion_lives_three_ticks_and_never_less_than_half_a_minute() {
    assert_eq!(life_ticks(PUBLIC), 3);
    assert_eq!(life_ticks(DEVNET), 30);
    assert_eq!(life_ticks(TimeScale { minute_ms: 0 }), 3_000);
}

/// [ONI-7]: whatever was or could have been admitted before a start is refused after it, and the quiet
/// time ends with the tick.
#[test]
fn a_restarted_relay_takes_nothing_it_may_have_seen_and_is_back_within_a_tick() {
    for scale in [PUBLIC, DEVNET] {
        let minute = scale.minutes(1);
        let tick = scale.minutes(10);
        let start = scale.tick_start(scale.tick_of(NOW)).plus(minute * 4);
        for ahead in [0, 1] {
            // Made by somebody whose clock is up to a minute ahead, admitted just before the stop.
            let copy = opened_at(scale, start.plus(minute * ahead), 15);
            assert!(settled(scale).admit(start, copy(start)).is_ok());
            let mut restarted = Replay::new(scale, start, 1_000);
            let refused = why(restarted.admit(start, copy(start)));
            let wait = u64::try_from((tick - minute * 4).as_millis()).unwrap();
            assert_eq!(
                refused,
                Some(Why::Restarted {
                    retry_after_ms: wait
                })
            );

            let back = start.plus(tick - minute * 4);
            assert!(
                restarted
                    .admit(back, opened_at(scale, back, 16)(back))
                    .is_ok()
            );
            assert!(why(restarted.admit(back, copy(back))).is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// [ONI-7]: no tag twice, whenever it is shown, whenever the relay restarts, while the clock goes on.
    #[test]
    fn no_onion_acts_twice_across_restarts(
        made_ms in 0..3_000_i64,
        shown in prop::collection::vec((0..1_500_u64, prop::bool::weighted(0.2)), 1..60),
    ) {
        let base = NOW;
        let made = UnixTime(base.0.saturating_add_signed(made_ms));
        let copy = opened_at(DEVNET, made, 17);
        let mut now = base;
        let mut replay = settled(DEVNET);
        let mut acted = 0;
        for (pause, restart) in shown {
            now = UnixTime(now.0 + pause);
            if restart {
                replay = Replay::new(DEVNET, now, 1_000);
            }
            acted += usize::from(replay.admit(now, copy(now)).is_ok());
        }
        prop_assert!(acted <= 1);
    }
}

/// [ONI-7]
#[test]
fn an_onion_for_later_than_any_honest_one_is_refused() {
    let copy = opened_at(PUBLIC, NOW, 18);
    let earlier = NOW.minus(PUBLIC.minutes(7));
    let refused = why(settled(PUBLIC).admit(earlier, copy(NOW)));
    assert_eq!(refused, Some(Why::Clock { now: earlier }));
    assert_eq!(refused.unwrap().refusal(), (10, earlier.0));
}

#[test]
fn a_full_memory_refuses_instead_of_forgetting() {
    let mut replay = Replay::new(PUBLIC, UnixTime(0), 1);
    let first = opened_at(PUBLIC, NOW, 19);
    assert!(replay.admit(NOW, first(NOW)).is_ok());
    let refused = why(replay.admit(NOW, opened_at(PUBLIC, NOW, 20)(NOW)));
    assert!(matches!(refused, Some(Why::Busy { retry_after_ms }) if retry_after_ms <= 600_000));
    assert!(matches!(
        replay.admit(NOW, first(NOW)),
        Err(NotAdmitted::Replayed)
    ));
}

#[test]
fn every_copy_of_an_onion_meets_the_same_shard() {
    let copy = opened_at(PUBLIC, NOW, 21);
    for shards in [0, 1, 3, 8] {
        assert_eq!(copy(NOW).shard(shards), copy(NOW).shard(shards));
        assert!(copy(NOW).shard(shards) < shards.max(1));
    }
    let shards: std::collections::BTreeSet<_> = (0..40)
        .map(|seed| opened_at(PUBLIC, NOW, seed)(NOW).shard(4))
        .collect();
    assert_eq!(shards.len(), 4);
}

/// [ONI-8]
#[test]
fn keys_of_neighbouring_generations_open_around_the_change_and_retired_ones_never() {
    let crypto = NullCrypto::new();
    let week = PUBLIC.minutes(7 * 1_440);
    let generation = Generation::at(PUBLIC, NOW);
    let change = UnixTime(u64::from(generation.0 + 1) * u64::try_from(week.as_millis()).unwrap());
    let key = |generation: Generation| -> OnionKey {
        crypto.onion_key(&[u8::try_from(generation.0 % 251).unwrap(); 32])
    };
    let id = NodeId([1; 32]);
    let mut door = Door::new(id, PUBLIC);
    for offset in 0..3 {
        let generation = Generation(generation.0 + offset);
        door.set_key(generation, key(generation));
    }
    let made_at = |made: UnixTime| {
        let generation = Generation::at(PUBLIC, made);
        let public = key(generation).public;
        let path = [Hop { id, key: &public }];
        let shape = shape(SizeClass::Small, SizeClass::Small, PUBLIC, made);
        let draft = Draft::new(&crypto, &path, shape, &[1; 32]).unwrap();
        draft
            .seal(Command::Drop, expire(PUBLIC, made), &Inner::NOTHING)
            .unwrap()
            .0
    };
    let minute = PUBLIC.minutes(1);
    let (before, after) = (change.minus(minute), change.plus(minute));
    assert!(door.open(before, made_at(before)).is_ok());
    assert!(door.open(after, made_at(before)).is_ok());
    assert!(door.open(after, made_at(after)).is_ok());
    assert!(door.open(change.minus(minute), made_at(change)).is_ok());

    door.retire(after);
    assert!(door.public(generation).is_some());
    let expired = change.plus(minute * 41);
    door.retire(expired);
    assert!(door.public(generation).is_none());
    let refused = door.open(expired, made_at(before)).err();
    assert_eq!(refused, Some(OnionFault::Generation));
}

/// [ONI-5]
#[test]
fn cover_ends_quietly_and_mix_is_refused() {
    let crypto = NullCrypto::new();
    for command in [Command::Drop, Command::Loop, Command::Mix] {
        let shape = shape(SizeClass::Small, SizeClass::Large, PUBLIC, NOW);
        let draft = Draft::new(&crypto, &NULL.path(1), shape, &[2; 32]).unwrap();
        let (onion, _) = draft
            .seal(command, expire(PUBLIC, NOW), &Inner::NOTHING)
            .unwrap();
        let opened = NULL.doors[0].open(NOW, onion).unwrap();
        let peeled = settled(PUBLIC).admit(NOW, opened).unwrap().act();
        let reply = match (command, peeled) {
            (Command::Drop, Ok(Peeled::Drop { reply })) => reply,
            (Command::Loop, Ok(Peeled::Loop { reply })) => reply,
            (Command::Mix, Err(NotAdmitted::Refused { why, reply })) => {
                assert_eq!(why.refusal(), (12, 2));
                reply
            }
            (_, other) => panic!("unexpected {other:?}"),
        };
        let answer = reply.seal(&Inner::NOTHING).unwrap();
        assert_eq!(answer.len(), ANSWER_LARGE_BYTES);
    }
}

/// [ONI-5]: the fields of a slot are exactly those of the spec.
#[test]
fn a_slot_with_an_unknown_field_is_refused() {
    let slot = Slot {
        command: Command::Deliver,
        answer: SizeClass::Large,
        delay: 0,
        expire: 0xabcd,
        next: NodeId([0; 32]),
    };
    let bytes = slot.encode();
    assert_eq!(bytes[..6], [3, 1, 0, 0, 0xab, 0xcd]);
    assert_eq!(Slot::decode(&bytes), Some(slot));
    for (at, value) in [(0, 0), (0, 6), (1, 2), (3, 1), (37, 1)] {
        let mut bent = bytes;
        bent[at] = value;
        assert_eq!(Slot::decode(&bent), None, "byte {at}");
    }
}

#[test]
fn what_cannot_be_built_is_said() {
    let crypto = NullCrypto::new();
    let shape = shape(SizeClass::Small, SizeClass::Small, PUBLIC, NOW);
    let draft = |path: &[Hop<'_>]| Draft::new(&PureCrypto, path, shape, &[1; 32]).err();
    assert_eq!(draft(&[]), Some(BuildFailure::Path));
    let path = NULL.path(4);
    assert_eq!(draft(&[path[0]; 5]), Some(BuildFailure::Path));
    let broken = OnionPublicKey(std::sync::Arc::new([0xff; 1_216]));
    let broken = Hop {
        id: NodeId([1; 32]),
        key: &broken,
    };
    assert_eq!(draft(&[broken]), Some(BuildFailure::Key(0)));
    let large = Inner {
        kind: 1,
        body: Bytes::from(vec![1; ONION_SMALL_BYTES]),
    };
    let draft = Draft::new(&crypto, &path, shape, &[1; 32]).unwrap();
    let built = draft.seal(Command::Deliver, expire(PUBLIC, NOW), &large);
    assert_eq!(built.err(), Some(BuildFailure::TooLarge));
}

/// [ONI-4]: frames inside are as strict as those on a link.
#[test]
fn an_inner_frame_comes_back_and_its_rest_is_zero() {
    let frame = inner(b"fetch").encode(40).unwrap();
    assert_eq!(
        Inner::decode(Bytes::from(frame.clone())),
        Ok(inner(b"fetch"))
    );
    let mut bent = frame.clone();
    bent[39] = 1;
    assert!(Inner::decode(Bytes::from(bent)).is_err());
    let mut long = frame;
    long[2] = 0xff;
    assert!(Inner::decode(Bytes::from(long)).is_err());
    assert_eq!(inner(b"fetch").encode(10), None);
}

/// Random bytes, as they come and under a valid head, never do more than fail.
#[test]
fn random_bytes_are_never_an_onion() {
    bolero::check!()
        .with_iterations(2_000)
        .for_each(|bytes: &[u8]| {
            assert!(NULL.doors[0].open(NOW, bytes.to_vec()).is_err());
            let mut onion = null_onion(1, 3).0;
            for (to, from) in onion.iter_mut().skip(2).zip(bytes) {
                *to = *from;
            }
            let _ = NULL.doors[0].open(NOW, onion);
            let _ = Inner::decode(Bytes::copy_from_slice(bytes));
            let _ = null_onion(2, 4).1.open(bytes.to_vec());
        });
}

/// What a holder of the keys may write into an authentic layer never panics either.
#[test]
fn an_authentic_layer_of_any_content_is_handled() {
    bolero::check!()
        .with_iterations(2_000)
        .with_type::<([u8; 38], u16)>()
        .for_each(|(fields, length)| {
            let mut onion = null_onion(1, 3).0;
            let key = NullCrypto::new().onion_key(&[101; 32]);
            let parts = Parts::of(&mut onion).unwrap();
            let secret = key.secret.decapsulate(parts.ciphertext).unwrap();
            let keys = LayerKeys::derive(&secret, *parts.head, &NodeId([1; 32]));
            parts.beta[..38].copy_from_slice(fields);
            add_stream(&keys.beta, &mut parts.beta[..38]);
            parts.delta[..2].copy_from_slice(&length.to_be_bytes());
            *parts.mac = parts.expected_mac(&keys.mac);
            if let Ok(opened) = NULL.doors[0].open(NOW, onion)
                && let Ok(admitted) = settled(PUBLIC).admit(NOW, opened)
            {
                let _ = admitted.act();
            }
        });
}

const VECTORS: &str = include_str!("../../../docs/spec/vectors/onion.txt");

/// Recomputes `docs/spec/vectors/onion.txt`; where it differs, the failure prints the lines that belong
/// there. [ONI-4]: and every byte that they depend on.
#[test]
fn the_onion_vectors_come_out() {
    let relays = Relays::new(&PureCrypto, PUBLIC, NOW);
    let mut lines: Vec<(std::string::String, Vec<u8>)> = Vec::new();
    for (n, key) in relays.keys.iter().enumerate() {
        lines.push((std::format!("key_{n}"), hash_of(&key.0[..])));
    }
    let shape = shape(SizeClass::Small, SizeClass::Small, PUBLIC, NOW);
    let draft = Draft::new(&PureCrypto, &relays.path(4), shape, &[42; 32]).unwrap();
    lines.push(("reply_hash".into(), draft.reply_hash().to_vec()));
    let (first, replies) = draft
        .seal(Command::Deliver, expire(PUBLIC, NOW), &inner(b"fetch"))
        .unwrap();
    let (seen, mut keys, _) = walk(&relays, first);
    lines.push(("head".into(), seen[0][..2].to_vec()));
    for (n, onion) in seen.iter().enumerate() {
        lines.push((std::format!("onion_at_{n}"), hash_of(onion)));
    }
    let answer = keys.pop().unwrap().seal(&inner(b"page")).unwrap();
    lines.push(("answer_sealed".into(), hash_of(&answer)));
    let answer = bring_back(keys.into_iter(), answer);
    lines.push(("answer_at_sender".into(), hash_of(&answer)));
    assert!(replies.open(answer).is_ok());

    let fresh: std::string::String = lines
        .iter()
        .map(|(name, bytes)| std::format!("{name} = {}\n", HEXLOWER.encode(bytes)))
        .collect();
    let known: std::string::String = VECTORS
        .split_inclusive('\n')
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert!(fresh == known, "the vectors are:\n{fresh}");
}

fn hash_of(bytes: &[u8]) -> Vec<u8> {
    blake3::hash(bytes).as_bytes().to_vec()
}
