//! Sectors, challenges among relays that keep, lose and lie, evidence and the puzzle.

use alloc::collections::BTreeSet;
use alloc::vec;
use core::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::crypto::{Crypto, SecretKey, Signature, verify_strict};
use crate::effects::{Command, Event, Input};
use crate::id::{NodeId, hex};
use crate::limits;
use crate::members::testing::{Signing, check_vectors, network};
use crate::network::Network;
use crate::rig::Rig;
use crate::wire::Message;
use crate::wire::pledge::{Challenge, ChallengeAnswer};
use crate::wire::refusal::Refusal;
use crate::wire::verify::{Judge, Via};

const VECTORS: &str = include_str!("../../../docs/spec/vectors/pledge.txt");

const SMALL: Pledge = Pledge {
    puzzle_kib: 64,
    puzzle_bits: 4,
    labels: 256,
    layers: 3,
    parents: 6,
    class_sectors: 2,
    class_min: 1,
};

fn small_network() -> Network {
    Network {
        pledge: SMALL,
        ..network()
    }
}

fn rig(count: u8) -> Rig {
    Rig::tuned(count, |network| network.pledge = SMALL)
}

fn terms(nonce: u8) -> Terms {
    Terms {
        nonce: [nonce; 32],
        prover: NodeKey([2; 32]).node_id(),
        watcher: NodeKey([3; 32]).node_id(),
    }
}

/// [PLG-1], read as the spec says it, one label after the other.
fn sector_by_the_book(pledge: &Pledge, node: &NodeKey, sector: u32) -> Vec<u8> {
    let plot = crate::hash::derive("poste plot", &[&node.0, &[1]]);
    let key = *blake3::keyed_hash(&plot, &sector.to_be_bytes()).as_bytes();
    let n = pledge.labels as usize;
    let mut last = [0; 32];
    let mut layer: Vec<[u8; 32]> = Vec::new();
    for _ in 0..n {
        last = *blake3::keyed_hash(&key, &last).as_bytes();
        layer.push(last);
    }
    for _ in 1..pledge.layers {
        let mut next = Vec::new();
        for own in &layer {
            let mut input = [last, *own].concat();
            for k in 0..usize::from(pledge.parents) {
                let word = u32::from_be_bytes(last[4 * k..4 * k + 4].try_into().unwrap());
                let at = (u128::from(word) * n as u128 / (1 << 32)) as usize;
                input.extend(layer[at]);
            }
            last = *blake3::keyed_hash(&key, &input).as_bytes();
            next.push(last);
        }
        layer = next;
    }
    layer.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// [PLG-1]: and however it is sliced.
    #[test]
    fn a_sector_is_what_the_spec_says(
        layers in 1_u8..5, parents in 0_u8..=6, pages in 1_u32..4, sector: u32, slice in 1_usize..700,
    ) {
        let pledge = Pledge { labels: pages * 128, layers, parents, ..SMALL };
        let node = NodeKey([7; 32]);
        let right = sector_by_the_book(&pledge, &node, sector);
        prop_assert_eq!(&make_sector(&pledge, &node, sector), &right);
        let mut maker = SectorMaker::new(&pledge, &node, sector);
        let all = u64::from(pledge.labels) * u64::from(layers);
        let mut made = 0;
        prop_assert_eq!(maker.left(), all);
        while !maker.advance(slice) {
            made += slice as u64;
            prop_assert_eq!(maker.left(), all - made);
            prop_assert!(maker.clone().finish().is_none());
        }
        prop_assert_eq!(maker.left(), 0);
        prop_assert_eq!(maker.finish(), Some(right));
    }

    /// [PLG-3]
    #[test]
    fn a_challenge_asks_for_one_page_of_each_of_up_to_256_sectors(
        nonce: u8, class in 0_u8..=9, class_sectors in 1_u32..300,
    ) {
        let pledge = Pledge { class_sectors, ..SMALL };
        let pages = terms(nonce).pages(&pledge, class);
        let sectors = sectors_of(&pledge, class);
        prop_assert_eq!(pages.len(), sectors.min(256) as usize);
        let distinct: BTreeSet<u32> = pages.iter().map(|at| at.sector).collect();
        prop_assert_eq!(distinct.len(), pages.len());
        prop_assert!(pages.is_sorted());
        prop_assert!(pages.iter().all(|at| at.sector < sectors && at.page < 2));
        prop_assert_eq!(class_of(&pledge, sectors), class.min(8));
    }

    /// [PLG-7]: whatever the challenge, and whichever page is looked at.
    #[test]
    fn a_right_answer_never_convicts_and_a_wrong_one_always_does(
        nonce: u8, class in 1_u8..4, which in any::<prop::sample::Index>(), bits in 1_u8..,
    ) {
        let network = small_network();
        let secret = SecretKey::from_seed(&[5; 32]);
        let honest = evidence(&network, &secret, nonce, class);
        let count = honest.answer.tags.len();
        let page = which.index(count);
        let mut evidence = Evidence { page: page as u16, ..honest };
        prop_assert!(evidence.is_signed(&Signing, &network.id()));
        prop_assert!(!evidence.check(&Signing, &network));
        prop_assert_eq!(Evidence::decode(Bytes::from(evidence.encode())), Ok(evidence.clone()));

        evidence.answer.tags[page][usize::from(nonce % 8)] ^= bits;
        prop_assert!(!evidence.check(&Signing, &network), "it was never signed");
        let evidence = signed(evidence, &network, &secret);
        prop_assert!(evidence.check(&Signing, &network));
        let other = Evidence { page: ((page + 1) % count) as u16, ..evidence.clone() };
        prop_assert_eq!(other.check(&Signing, &network), count == 1);
        let beyond = Evidence { page: count as u16, ..evidence };
        prop_assert!(!beyond.check(&Signing, &network));
    }
}

/// What an honest relay answers to a challenge of this nonce.
fn evidence(network: &Network, secret: &SecretKey, nonce: u8, class: u8) -> Evidence {
    let subject = NodeKey(*secret.public());
    let watcher = NodeKey([3; 32]).node_id();
    let terms = Terms {
        nonce: [nonce; 32],
        prover: subject.node_id(),
        watcher,
    };
    let request = PlotOp::Pages {
        pages: terms.pages(&network.pledge, class),
        key: terms.key(),
    };
    let PlotDone::Tags(tags) = request.make(&network.pledge, &subject, |_| true) else {
        panic!()
    };
    let answer = ChallengeAnswer {
        nonce: [nonce; 32],
        class,
        tags,
        signature: Signature([0; 64]),
    };
    let evidence = Evidence {
        subject,
        watcher,
        answer,
        page: 0,
    };
    signed(evidence, network, secret)
}

fn signed(mut evidence: Evidence, network: &Network, secret: &SecretKey) -> Evidence {
    let statement = evidence.answer.statement(&network.id(), &evidence.watcher);
    evidence.answer.signature = Signing.sign(secret, &statement);
    evidence
}

/// [PLG-7]: an answer that says less or more than was asked for says nothing that could be wrong.
#[test]
fn an_answer_of_another_length_or_for_another_watcher_convicts_nobody() {
    let network = small_network();
    let secret = SecretKey::from_seed(&[5; 32]);
    let mut short = evidence(&network, &secret, 1, 2);
    short.answer.tags.pop();
    short.answer.tags[0] = [0; 8];
    let short = signed(short, &network, &secret);
    assert!(short.is_signed(&Signing, &network.id()));
    assert!(!short.check(&Signing, &network));
    let other = Evidence {
        watcher: NodeId([9; 32]),
        ..evidence(&network, &secret, 1, 2)
    };
    assert!(!other.check(&Signing, &network));
}

/// [PLG-1] [PLG-3] [PLG-4] [PLG-7] [PUZ-1]
#[test]
fn sectors_challenges_evidence_and_puzzles_are_those_of_the_vectors() {
    let network = small_network();
    let node = NodeKey([2; 32]);
    let sector = make_sector(&SMALL, &node, 3);
    let public = Pledge {
        class_sectors: 1_024,
        labels: 131_072,
        ..SMALL
    };
    let terms = terms(1);
    let place = |at: &PageAt| [at.sector.to_be_bytes(), at.page.to_be_bytes()].concat();
    let many: Vec<u8> = terms.pages(&public, 3).iter().flat_map(place).collect();
    let few: Vec<u8> = terms.pages(&SMALL, 2).iter().flat_map(place).collect();
    let secret = SecretKey::from_seed(&[5; 32]);
    let evidence = evidence(&network, &secret, 1, 1);
    assert!(verify_strict(
        secret.public(),
        &evidence.answer.statement(&network.id(), &evidence.watcher),
        &evidence.answer.signature
    ));
    let mut puzzle = Puzzle::new(&SMALL);
    let solved = puzzle.search(&node, 0, |_| true).unwrap();
    check_vectors(
        VECTORS,
        &[
            ("sector first label", hex(&sector[..32])),
            ("sector last label", hex(&sector[sector.len() - 32..])),
            ("sector blake3", hex(blake3::hash(&sector).as_bytes())),
            ("pages few", hex(&few)),
            ("pages many first", hex(&many[..16])),
            ("pages many blake3", hex(blake3::hash(&many).as_bytes())),
            ("page key", hex(&terms.key())),
            (
                "page tag",
                hex(&page_tag(&terms.key(), &sector[..PAGE_BYTES])),
            ),
            (
                "statement",
                hex(&evidence.answer.statement(&network.id(), &evidence.watcher)),
            ),
            ("evidence", hex(&evidence.encode())),
            ("puzzle nonce", hex(&solved.to_be_bytes())),
        ],
    );
}

/// [PLG-2]
#[test]
fn each_class_has_twice_the_sectors_of_the_one_before() {
    let public = Network::public("classes", &[]).pledge;
    let gib = |class| sectors_of(&public, class) as usize * sector_bytes(&public) / (1 << 30);
    assert_eq!([0, 1, 2, 3, 4, 5].map(gib), [0, 4, 8, 16, 32, 64]);
    assert_eq!(gib(8), gib(255));
    assert_eq!(class_of(&public, 2_047), 1);
    assert_eq!(class_of(&public, 1_023), 0);
}

/// [PUZ-1]
#[test]
fn a_puzzle_is_solved_for_one_key_and_can_be_taken_up_again() {
    let (node, other) = (NodeKey([2; 32]), NodeKey([3; 32]));
    let mut puzzle = Puzzle::new(&SMALL);
    let solved = puzzle.search(&node, 0, |_| true).unwrap();
    assert!(puzzle.holds(&node, solved));
    assert!((0..solved).all(|nonce| !puzzle.holds(&node, nonce)));
    assert!((solved..solved + 8).any(|nonce| !puzzle.holds(&other, nonce)));
    // Stopped before the end, it goes on where it stopped.
    let stop = puzzle.search(&node, 0, |nonce| nonce + 1 < solved);
    assert_eq!(stop, Err(solved.saturating_sub(1)));
    assert_eq!(puzzle.search(&node, solved - 1, |_| true), Ok(solved));
    let free = Pledge {
        puzzle_bits: 0,
        ..SMALL
    };
    assert!(Puzzle::new(&free).holds(&other, 77));
}

fn verdicts(rig: &Rig, at: usize) -> Vec<Verdict> {
    let events = rig.nodes[at].events.iter();
    let verdict = |event: &Event| match event {
        Event::Challenged(verdict) => Some(verdict.clone()),
        _ => None,
    };
    events.filter_map(verdict).collect()
}

fn challenge(rig: &mut Rig, from: usize, to: usize) {
    let subject = rig.nodes[to].key.node_id();
    rig.input(from, Input::Command(Command::Challenge { subject }));
    rig.run();
}

fn plotted(rig: &mut Rig, at: usize, class: u8) {
    rig.input(at, Input::Command(Command::Plotted { class }));
    rig.run();
}

/// [PLG-4] [PLG-5] [PLG-6]
#[test]
fn a_relay_that_keeps_its_plot_shows_it() {
    let mut rig = rig(3);
    challenge(&mut rig, 0, 1);
    let subject = rig.nodes[1].key.node_id();
    assert_eq!(verdicts(&rig, 0), [Verdict::Shown { subject, class: 1 }]);
    let (watcher, shower) = (rig.nodes[0].relay.state(), rig.nodes[1].relay.state());
    assert_eq!((watcher.pledge.asked, watcher.pledge.shown), (1, 1));
    assert_eq!((shower.pledge.answered, shower.pledge_class), (1, 1));
    rig.advance(Duration::from_secs(60));
    assert_eq!(verdicts(&rig, 0).len(), 1, "one challenge, one verdict");
}

/// [PLG-6] [PLG-7]: it is caught as soon as a sector that it has not is drawn.
#[test]
fn a_relay_that_keeps_half_its_plot_convicts_itself_and_honest_ones_never_do() {
    let mut rig = rig(4);
    rig.nodes[1].plot_ends = 1;
    for _ in 0..40 {
        for subject in 1..4 {
            challenge(&mut rig, 0, subject);
        }
        rig.advance(Duration::from_secs(11));
    }
    let liar = rig.nodes[1].key.node_id();
    let (mut shown, mut wrong) = (0, 0);
    for verdict in verdicts(&rig, 0) {
        match verdict {
            Verdict::Shown { .. } => shown += 1,
            Verdict::Wrong { subject, evidence } => {
                wrong += 1;
                assert_eq!(subject, liar);
                assert!(evidence.check(&rig.crypto, &rig.network));
            }
            Verdict::Silent { .. } => panic!(),
        }
    }
    assert_eq!(shown + wrong, 120);
    assert!((8..33).contains(&wrong), "about half of 40: {wrong}");
}

/// [PLG-5] [PLG-6]
#[test]
fn silence_is_silence_and_never_a_wrong_answer() {
    let mut rig = rig(3);
    let subject = rig.nodes[1].key.node_id();
    rig.nodes[1].up = false;
    challenge(&mut rig, 0, 1);
    rig.advance(limits::CHALLENGE_WAIT - Duration::from_millis(1));
    assert!(verdicts(&rig, 0).is_empty());
    rig.advance(Duration::from_secs(1));
    assert_eq!(verdicts(&rig, 0), [Verdict::Silent { subject }]);

    // An answer that comes when its time is over counts for nothing.
    rig.nodes[1].up = true;
    rig.cut.insert((1, 0));
    challenge(&mut rig, 0, 1);
    let late = rig
        .sent
        .iter()
        .rev()
        .find_map(|(_, _, message)| match message {
            Message::ChallengeAnswer(_) => Some(message.clone()),
            _ => None,
        });
    rig.cut.clear();
    rig.advance(limits::CHALLENGE_WAIT + Duration::from_secs(1));
    rig.deliver(1, 0, late.unwrap());
    rig.run();
    let twice = [(); 2].map(|()| Verdict::Silent { subject });
    assert_eq!(verdicts(&rig, 0), twice);
}

/// [PLG-5]: whoever is asked for more than it has says how much it has, and signs nothing else.
#[test]
fn a_challenge_for_more_than_is_there_is_answered_for_what_is_there() {
    let mut rig = rig(3);
    let subject = rig.nodes[1].key.node_id();
    plotted(&mut rig, 1, 2);
    rig.advance(Duration::from_secs(1_200));
    let record = rig.nodes[0].relay.members();
    assert_eq!(record.find(&subject).unwrap().record().class, 2);
    // It falls, and nobody has its new record yet.
    plotted(&mut rig, 1, 1);
    rig.nodes[1].plot_ends = 2;
    challenge(&mut rig, 0, 1);
    plotted(&mut rig, 1, 0);
    rig.nodes[1].plot_ends = 0;
    challenge(&mut rig, 2, 1);
    assert_eq!(verdicts(&rig, 0), [Verdict::Shown { subject, class: 1 }]);
    assert_eq!(verdicts(&rig, 2), [Verdict::Shown { subject, class: 0 }]);
    // Once its record says that it has nothing, nobody asks.
    rig.advance(Duration::from_secs(1_200));
    challenge(&mut rig, 0, 1);
    assert_eq!(verdicts(&rig, 0).len(), 1);
    assert_eq!(rig.nodes[0].relay.state().pledge.asked, 1);
}

/// [PLG-3] [PLG-6]
#[test]
fn answers_to_another_challenge_and_of_another_length_count_for_nothing() {
    let mut rig = rig(3);
    let subject = rig.nodes[1].key.node_id();
    challenge(&mut rig, 0, 1);
    let of = |rig: &Rig| {
        let mut answers = rig
            .sent
            .iter()
            .rev()
            .filter_map(|(_, _, message)| match message {
                Message::ChallengeAnswer(answer) => Some(answer.clone()),
                _ => None,
            });
        answers.next().unwrap()
    };
    let old = of(&rig);
    rig.cut.insert((1, 0));
    rig.advance(limits::CHALLENGE_WAIT);
    challenge(&mut rig, 0, 1);
    let fresh = of(&rig);
    assert_ne!(old.nonce, fresh.nonce);
    let secret = SecretKey::from_seed(&[2; 32]);
    let resigned = |rig: &Rig, mut answer: ChallengeAnswer| {
        let watcher = rig.nodes[0].key.node_id();
        let bytes = answer.statement(&rig.network.id(), &watcher);
        answer.signature = rig.crypto.sign(&secret, &bytes);
        answer
    };
    let mut short = fresh.clone();
    short.tags.pop();
    let mut high = fresh.clone();
    high.class = 2;
    high.tags.extend(vec![[0; 8]; 2]);
    for bad in [old, resigned(&rig, short), resigned(&rig, high)] {
        rig.deliver(1, 0, Message::ChallengeAnswer(bad));
        rig.run();
        assert_eq!(verdicts(&rig, 0).len(), 1);
    }
    rig.deliver(1, 0, Message::ChallengeAnswer(fresh));
    rig.run();
    let shown = [(); 2].map(|()| Verdict::Shown { subject, class: 1 });
    assert_eq!(verdicts(&rig, 0), shown);
}

/// [PLG-4]
#[test]
fn an_answer_counts_only_for_the_watcher_it_was_signed_for_and_from_its_signer() {
    let mut rig = rig(3);
    challenge(&mut rig, 0, 1);
    let answer = rig.sent.iter().find_map(|(_, _, message)| match message {
        Message::ChallengeAnswer(_) => Some(message.clone()),
        _ => None,
    });
    let answer = answer.unwrap();
    let admitted = |from: usize, me: usize| {
        let judge = Judge {
            crypto: &rig.crypto,
            network: rig.network.id(),
            me: rig.nodes[me].key.node_id(),
        };
        judge
            .admit(answer.clone(), Via::Relay(rig.nodes[from].key))
            .err()
    };
    assert_eq!(admitted(1, 0), None);
    assert_eq!(admitted(1, 2), Some(Refusal::NoCapability));
    assert_eq!(admitted(2, 0), Some(Refusal::NoCapability));
}

/// [PLG-5]: a watcher is answered once in ten seconds, and all together so many.
#[test]
fn a_flood_of_challenges_costs_a_bounded_share_of_the_disk() {
    let mut rig = rig(20);
    let ask = |rig: &mut Rig, from: usize| {
        let challenge = Challenge {
            class: 1,
            nonce: [from as u8; 32],
        };
        rig.deliver(from, 0, Message::Challenge(challenge));
        rig.run();
    };
    for from in (1..20).chain(1..20) {
        ask(&mut rig, from);
    }
    let most = limits::CHALLENGES_ANSWERED_MAX as u64;
    let counts = rig.nodes[0].relay.state().pledge;
    assert_eq!((counts.answered, counts.declined), (most, 38 - most));
    rig.advance(limits::CHALLENGE_WAIT);
    ask(&mut rig, 1);
    assert_eq!(rig.nodes[0].relay.state().pledge.answered, most + 1);
}

/// [PLG-6]
#[test]
fn one_challenge_a_subject_is_open_and_so_many_in_all() {
    let mut rig = rig(70);
    for subject in 1..70 {
        rig.nodes[subject].up = false;
    }
    for subject in (1..70).chain(1..70) {
        challenge(&mut rig, 0, subject);
    }
    let asked = rig.nodes[0].relay.state().pledge.asked;
    assert_eq!(asked, limits::CHALLENGES_OPEN_MAX as u64);
}

/// [PLG-8]
#[test]
fn a_record_says_what_the_disk_has_and_the_nonce_of_the_puzzle() {
    let mut rig = rig(3);
    let subject = rig.nodes[1].key.node_id();
    plotted(&mut rig, 1, 3);
    rig.advance(Duration::from_secs(1_200));
    for node in &rig.nodes {
        let members = node.relay.members();
        assert_eq!(members.find(&subject).unwrap().record().class, 3);
    }
}
