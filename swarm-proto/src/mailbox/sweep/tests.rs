//! Sweeps among relays that keep, lose and lie.

use super::*;
use crate::crypto::{Crypto, SecretKey};
use crate::effects::{Effect, PeerChange};
use crate::envelope::ExpiryClass;
use crate::rig::{Owner, Rig, owner};
use crate::store::{MemStore, Quota, Row, StoreOp, proof_of, tag_of};
use crate::time::Tick;
use crate::wire::Message;
use crate::wire::mailbox::Deposit;
use crate::wire::sweeps::{Listing, Open, Reply, Step, commitment};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

/// Relays of which some have a mailbox with these letters, which live a week; who has them, by rank.
fn scene(mut rig: Rig, letters: u32) -> (Rig, Owner, Vec<Deposit>, Vec<usize>) {
    rig.misses = true;
    let ada = owner(1, 0);
    let made = rig.network.scale.tick_of(rig.now.unix);
    let letters: Vec<Deposit> = (0..letters)
        .map(|number| rig.letter_of(&ada, number, made, ExpiryClass::Days7))
        .collect();
    let ranked = rig.ranked(&rig.promise(&letters[0]));
    for letter in &letters {
        rig.ask(ranked[0], Message::Deposit(letter.clone()));
    }
    rig.advance(Duration::from_secs(1));
    (rig, ada, letters, ranked[..5].to_vec())
}

fn sum(rig: &Rig, of: impl Fn(&SweepCounts) -> u64) -> u64 {
    rig.nodes.iter().map(|node| of(&node.relay.sweeps())).sum()
}

/// Makes a relay's disk one that has these letters only.
fn has_only(rig: &mut Rig, at: usize, letters: &[Deposit]) {
    let mut store = MemStore::new();
    for letter in letters {
        let promise = rig.promise(letter);
        store.apply(StoreOp::Put {
            keys: letter.keys,
            row: Row {
                write_signature: letter.write_signature,
                arrival: letter.envelope.header().made,
                envelope: letter.envelope.clone(),
                long_stay: letter.long_stay,
            },
            expires: promise.expires,
            quota: Quota::of(&letter.keys),
        });
    }
    rig.nodes[at].store = store;
}

fn missing(rig: &Rig, by: usize, of: usize) -> u64 {
    let id = rig.nodes[of].key.node_id();
    rig.nodes[by]
        .relay
        .score(&id)
        .map_or(0, |score| score.missing)
}

/// [SWP-1] [SWP-2] [SWP-3] [SWP-4]
#[test]
fn each_copy_is_proven_once_a_day_to_another_holder_each_time() {
    let (mut rig, _, letters, holders) = scene(Rig::new(7), 20);
    rig.advance(5 * DAY);
    let opened = sum(&rig, |counts| counts.opened);
    assert!((4 * 5..=6 * 5).contains(&opened), "{opened}");
    assert_eq!(sum(&rig, |counts| counts.answered), opened);
    assert_eq!(sum(&rig, |counts| counts.equal), 2 * opened);
    let none = |c: &SweepCounts| c.unequal + c.silent + c.broken + c.missing;
    assert_eq!(sum(&rig, none), 0);
    assert!(sum(&rig, |counts| counts.hashed) >= 2 * opened * letters.len() as u64);
    for prover in &holders {
        let id = rig.nodes[*prover].key.node_id();
        let proven_to = holders.iter().filter(|by| {
            let score = rig.nodes[**by].relay.score(&id);
            score.is_some_and(|score| score.ranges > 0)
        });
        assert_eq!(
            proven_to.count(),
            4,
            "in four days each other holder had its turn"
        );
    }
}

/// [SWP-4]
#[test]
fn a_sweep_waits_an_hour_for_a_link_and_then_opens_one() {
    let (rig, _, letters, holders) = scene(Rig::new(7), 1);
    let promise = rig.promise(&letters[0]);
    let start = rig.now;
    let live = BTreeMap::from([(promise.epoch, BTreeSet::from([promise.cell]))]);
    let later = |minutes: u64| Now {
        mono: start.mono.plus(Duration::from_secs(60 * minutes)),
        unix: start.unix.plus(Duration::from_secs(60 * minutes)),
    };
    let opened = |out: &mut Effects| {
        let asks = out.drain().filter(|effect| {
            let Effect::Store { request, .. } = effect else {
                return false;
            };
            matches!(request, StoreOp::Tags { .. })
        });
        asks.count()
    };
    let mut out = Effects::default();
    // Of two days one at least is some holder's to sweep others.
    let days = 2 * 24 * 60;
    let mut drawn = |context: &Context| {
        let mut sweeps = Sweeps::new(start);
        sweeps.wake(context, start, &live, &mut out);
        sweeps.wake(context, later(days), &live, &mut out);
        assert_eq!(opened(&mut out), 0, "nobody was met");
        sweeps
    };
    let views = holders.iter().map(|at| rig.view_of(*at));
    let mut busy = views.filter(|context| !drawn(context).waiting.is_empty());
    let context = busy.next().unwrap();
    drop(busy);
    let (mut social, mut lonely) = (drawn(&context), drawn(&context));
    let provers: Vec<NodeId> = social.waiting.keys().map(|job| job.prover).collect();
    for node in &rig.nodes {
        let id = node.key.node_id();
        for minute in [1, 2] {
            social.met(&context, later(days + minute), id, &mut out);
        }
        let expected = usize::from(provers.contains(&id));
        assert_eq!(opened(&mut out), expected, "who is met is swept, once");
    }
    lonely.wake(&context, later(days + 59), &live, &mut out);
    assert_eq!(opened(&mut out), 0);
    lonely.wake(&context, later(days + 61), &live, &mut out);
    assert_eq!(opened(&mut out), provers.len());
}

/// [SWP-5] [SWP-6]
#[test]
fn what_a_relay_lost_counts_against_it_and_is_given_back() {
    let (mut rig, _, letters, holders) = scene(Rig::new(7), 20);
    rig.advance(DAY + 6 * HOUR);
    let loser = holders[2];
    has_only(&mut rig, loser, &letters[3..]);
    rig.advance(2 * DAY);
    for letter in &letters {
        assert!(rig.holds(loser, letter.envelope.id()));
    }
    let others = holders.iter().filter(|at| **at != loser);
    let blamed: u64 = others.map(|by| missing(&rig, *by, loser)).sum();
    assert!(blamed >= 3, "{blamed}");
    for of in holders.iter().filter(|at| **at != loser) {
        for by in &holders {
            assert_eq!(missing(&rig, *by, *of), 0, "{of} is honest");
        }
    }
}

/// [SWP-2] [SWP-6] [SWP-7]: a relay that keeps the ids and not the bytes is equal in every comparison.
#[test]
fn a_relay_that_kept_only_the_names_of_letters_is_found_and_replaced() {
    let (mut rig, _, letters, holders) =
        scene(Rig::tuned(7, |network| network.sweep_hours = 1), 20);
    let ranked = rig.ranked(&rig.promise(&letters[0]));
    let hollow = holders[1];
    rig.nodes[hollow].hollow = true;
    let id = rig.nodes[hollow].key.node_id();
    let judges: Vec<usize> = holders.iter().copied().filter(|at| *at != hollow).collect();
    let failed = |rig: &Rig| {
        let says = judges.iter().filter(|by| {
            let score = rig.nodes[**by].relay.score(&id);
            score.is_some_and(|score| score.is_failed())
        });
        says.count()
    };
    rig.advance(DAY);
    assert_eq!(failed(&rig), 0, "twenty ranges are needed");
    (0..5).for_each(|_| rig.advance(DAY));
    assert_eq!(failed(&rig), judges.len());
    for other in &judges {
        for by in &judges {
            assert_eq!(missing(&rig, *by, *other), 0);
            assert!(rig.nodes[*by].relay.failed() <= 1);
        }
    }
    // One that is not counted on is like one that is away: a second missing holder makes the next in rank step in.
    rig.nodes[holders[4]].up = false;
    rig.advance(3 * HOUR);
    for letter in &letters {
        assert!(rig.holds(ranked[5], letter.envelope.id()));
    }
    rig.advance(HOUR);
    let before = rig.network.scale.tick_of(rig.now.unix);
    let fresh = rig.letter_of(&owner(1, 0), 99, before, ExpiryClass::Days7);
    let ranked = rig.ranked(&rig.promise(&fresh));
    let taker = ranked
        .iter()
        .copied()
        .find(|at| *at != hollow && rig.nodes[*at].up)
        .unwrap();
    let stream = rig.ask(taker, Message::Deposit(fresh));
    rig.advance(Duration::from_secs(6));
    let Some(Message::Deposited(deposited)) = rig.answer(stream) else {
        panic!("{:?}", rig.answer(stream));
    };
    let others = deposited
        .receipts
        .iter()
        .filter(|one| one.holder.node_id() != id);
    assert!(others.count() >= usize::from(rig.network.receipts));
}

/// [SWP-5]: whoever restarts knows nothing that it could blame others by.
#[test]
fn relays_that_restart_again_and_again_blame_nobody() {
    let (mut rig, _, _, holders) = scene(Rig::new(7), 10);
    for round in 0..12 {
        let at = holders[round % 5];
        rig.restart(at);
        for other in (0..rig.nodes.len()).filter(|other| *other != at) {
            rig.peer(at, other, PeerChange::Linked);
            rig.peer(other, at, PeerChange::Linked);
        }
        rig.advance(4 * HOUR);
    }
    assert_eq!(sum(&rig, |counts| counts.missing), 0);
    assert!(sum(&rig, |counts| counts.equal) > 0);
}

/// [SWP-5]
#[test]
fn a_deleted_letter_is_missed_by_nobody() {
    let (mut rig, ada, letters, holders) = scene(Rig::new(7), 10);
    rig.advance(DAY + 6 * HOUR);
    let erase = rig.erase(&ada, &letters[0]);
    rig.ask(holders[0], Message::Delete(erase));
    rig.advance(Duration::from_secs(1));
    // Its disk comes back from a copy of yesterday.
    has_only(&mut rig, holders[3], &letters);
    rig.advance(2 * DAY);
    assert!(!rig.holds(holders[3], letters[0].envelope.id()));
    assert_eq!(sum(&rig, |counts| counts.missing), 0);
    for by in &holders {
        for of in &holders {
            assert_eq!(missing(&rig, *by, *of), 0);
        }
    }
}

/// [SWP-5]: the word that an owner is said to have given never comes, so it counts like any loss from then on.
#[test]
fn a_tombstone_that_is_listed_and_never_shown_excuses_nobody_for_long() {
    let rig = Rig::tuned(7, |network| network.sweep_hours = 3);
    let (mut rig, ada, _, holders) = scene(rig, 10);
    rig.advance(6 * HOUR);
    let liar = holders[1];
    let lost = |rig: &Rig| {
        let others = holders.iter().filter(|by| **by != liar);
        others.map(|by| missing(rig, *by, liar)).sum::<u64>()
    };
    assert_eq!(lost(&rig), 0);
    rig.nodes[liar].buries = Some(ada.keys);
    let mut waited = 0;
    while sum(&rig, |counts| counts.unequal) == 0 {
        rig.advance(HOUR / 6);
        waited += 1;
        assert!(waited < 36, "each copy is swept in three hours");
    }
    assert_eq!(lost(&rig), 0, "it may be true");
    rig.advance(2 * DAY);
    assert!(lost(&rig) >= 10, "{}", lost(&rig));
    let id = rig.nodes[liar].key.node_id();
    let worst = rig.nodes[holders[0]].relay.score(&id).unwrap();
    assert!(worst.share() < 0.85, "{worst:?}");
    for by in &holders {
        for of in holders.iter().filter(|of| **of != liar) {
            assert_eq!(missing(&rig, *by, *of), 0);
        }
    }
}

/// Plays V towards the relay `holders[1]`, as `holders[0]`.
struct Liar<'a> {
    rig: &'a mut Rig,
    from: usize,
    to: usize,
    open: Open,
}

impl<'a> Liar<'a> {
    fn new(rig: &'a mut Rig, holders: &[usize], letter: &Deposit, proof: [u8; 32]) -> Self {
        let (from, to) = (holders[0], holders[1]);
        let promise = rig.promise(letter);
        let open = Open {
            epoch: promise.epoch,
            cell: promise.cell,
            part: Part::ALL,
            cutoff: rig.network.scale.tick_of(rig.now.unix),
            nonce: [9; 32],
            commitment: commitment(&proof, &[8; 32]),
            signature: Signature([0; 64]),
        };
        let mut liar = Self {
            rig,
            from,
            to,
            open,
        };
        let (v, p) = liar.ids();
        let bytes = liar.open.statement(&liar.rig.network.id(), &v, &p);
        liar.open.signature = liar.sign(&bytes);
        let open = liar.open.clone();
        liar.say(Step::Open(open));
        liar
    }

    fn ids(&self) -> (NodeId, NodeId) {
        let id = |at: usize| self.rig.nodes[at].key.node_id();
        (id(self.from), id(self.to))
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        let secret: &SecretKey = &self.rig.nodes[self.from].secret;
        self.rig.crypto.sign(secret, bytes)
    }

    fn say(&mut self, step: Step) {
        let message = Sweep { exchange: 77, step };
        self.rig
            .deliver(self.from, self.to, Message::Sweep(message));
        self.rig.run();
    }

    /// What the relay answered.
    fn heard(&self) -> Vec<Step> {
        let sweeps = self
            .rig
            .sent
            .iter()
            .filter_map(|(from, to, message)| match message {
                Message::Sweep(sweep) if (*from, *to) == (self.to, self.from) => Some(sweep),
                _ => None,
            });
        let mine = sweeps.filter(|sweep| sweep.exchange == 77);
        mine.map(|sweep| sweep.step.clone()).collect()
    }

    fn counts(&self) -> SweepCounts {
        self.rig.nodes[self.to].relay.sweeps()
    }
}

/// [SWP-3]
#[test]
fn whoever_echoes_the_other_sides_proof_is_found_out() {
    let (mut rig, _, letters, holders) = scene(Rig::new(7), 5);
    rig.advance(6 * HOUR);
    let mut liar = Liar::new(&mut rig, &holders, &letters[0], [1; 32]);
    let Some(Step::Reply(Reply { proof, .. })) = liar.heard().pop() else {
        panic!("{:?}", liar.heard());
    };
    let before = liar.counts();
    let salt = [8; 32];
    liar.say(Step::Reveal { proof, salt });
    let after = liar.counts();
    assert_eq!(
        (after.broken, after.equal),
        (before.broken + 1, before.equal)
    );
    liar.say(Step::Reveal { proof, salt });
    assert_eq!(liar.counts().equal, before.equal, "it is over");
}

/// [SWP-3]
#[test]
fn a_listing_that_is_not_what_was_proven_is_no_listing() {
    let (mut rig, _, letters, holders) = scene(Rig::new(7), 5);
    rig.advance(6 * HOUR);
    let tags = [[3; 32], [4; 32]];
    let proof = proof_of(&tags);
    let mut liar = Liar::new(&mut rig, &holders, &letters[0], proof);
    liar.say(Step::Reveal {
        proof,
        salt: [8; 32],
    });
    let Some(Step::Listing(theirs)) = liar.heard().pop() else {
        panic!("{:?}", liar.heard());
    };
    assert_eq!(theirs.items.len(), letters.len());
    let (v, p) = liar.ids();
    let before = liar.counts();
    // The relay's own tags, which would make all equal.
    let mut listing = Listing {
        by_opener: true,
        open: liar.open.digest(&v, &p),
        items: theirs.items,
        signature: Signature([0; 64]),
    };
    let bytes = listing.statement(&liar.rig.network.id());
    listing.signature = liar.sign(&bytes);
    liar.say(Step::Listing(listing));
    assert_eq!(liar.counts().broken, before.broken + 1);
}

/// [SWP-1]: what is newer than an hour may not be everywhere yet.
#[test]
fn what_came_just_now_is_not_swept() {
    let (mut rig, ada, letters, holders) = scene(Rig::new(7), 5);
    rig.advance(6 * HOUR);
    let made = rig.network.scale.tick_of(rig.now.unix);
    let late = rig.letter_of(&ada, 50, made, ExpiryClass::Days7);
    rig.ask(holders[0], Message::Deposit(late));
    rig.advance(Duration::from_secs(1));
    let mut liar = Liar::new(&mut rig, &holders, &letters[0], [1; 32]);
    liar.say(Step::Reveal {
        proof: [1; 32],
        salt: [8; 32],
    });
    let Some(Step::Listing(theirs)) = liar.heard().pop() else {
        panic!("{:?}", liar.heard());
    };
    assert_eq!(theirs.items.len(), 5);
}

/// [SWP-3]: a relay answers about cells that both keep, at its own time.
#[test]
fn a_sweep_of_somebody_elses_cell_or_time_is_not_answered() {
    let (mut rig, _, letters, holders) = scene(Rig::new(12), 5);
    rig.advance(6 * HOUR);
    let ranked = rig.ranked(&rig.promise(&letters[0]));
    let outsider = (0..12).find(|at| !ranked.contains(at)).unwrap();
    let outsider = Liar::new(&mut rig, &[outsider, holders[1]], &letters[0], [1; 32]);
    assert_eq!(outsider.heard().len(), 0);
    let mut liar = Liar::new(&mut rig, &holders, &letters[0], [1; 32]);
    assert_eq!(liar.heard().len(), 1);
    liar.open.cutoff = liar.open.cutoff.minus(GRACE + 1);
    let (v, p) = liar.ids();
    let bytes = liar.open.statement(&liar.rig.network.id(), &v, &p);
    liar.open.signature = liar.sign(&bytes);
    let message = Message::Sweep(Sweep {
        exchange: 78,
        step: Step::Open(liar.open.clone()),
    });
    liar.rig.deliver(liar.from, liar.to, message);
    liar.rig.run();
    assert!(liar.rig.sent.iter().all(|(_, _, message)| {
        !matches!(message, Message::Sweep(sweep) if sweep.exchange == 78)
    }));
}

const GRACE: u32 = 3;

/// [SWP-2] [SWP-3] [SWP-4]
#[test]
fn keys_proofs_and_moments_are_those_of_the_vectors() {
    let (v, p) = (NodeId([0x11; 32]), NodeId([0x22; 32]));
    let mut open = Open {
        epoch: Epoch(20_000),
        cell: Cell(9),
        part: Part::new(1, 10).unwrap(),
        cutoff: Tick(2_880_070),
        nonce: [3; 32],
        commitment: [0; 32],
        signature: Signature([0; 64]),
    };
    let key = open.key(&v, &p);
    let tombstone = data_encoding::HEXLOWER
        .decode(b"45001bb036af71617e2aa529fa8efecce9692d697fc4564031135f8982f102be")
        .unwrap();
    let bodies: [&[u8]; 3] = [&[5; 1_856], &[6; 1_856], &tombstone];
    let tags = bodies.map(|body| tag_of(&key, body));
    let proof = proof_of(&tags);
    open.commitment = commitment(&proof, &[4; 32]);
    let listing = Listing {
        by_opener: true,
        open: [0; 32],
        items: alloc::vec![([7; 32], tags[0])],
        signature: Signature([0; 64]),
    };
    let network = crate::members::testing::network();
    let listed = listing.statement(&network.id());
    let moment = moment(&v, &p, Epoch(20_000), Cell(9), 777);
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let lines = [
        ("key", hex(&key)),
        ("tag-1", hex(&tags[0])),
        ("tag-2", hex(&tags[1])),
        ("tag-tombstone", hex(&tags[2])),
        ("proof", hex(&proof)),
        ("proof-of-nothing", hex(&proof_of(&[]))),
        ("commitment", hex(&open.commitment)),
        ("opening", hex(&open.digest(&v, &p))),
        ("listing", hex(&listed[listed.len() - 32..])),
        ("moment", hex(&moment.to_be_bytes())),
    ];
    let file = include_str!("../../../../docs/spec/vectors/sweeps.txt");
    crate::members::testing::check_vectors(file, &lines);
}

/// [SWP-1] [SWP-3] [SWP-6]
#[test]
fn a_large_cell_is_proven_in_one_go_and_looked_at_in_parts_when_something_lacks() {
    let (mut rig, _, letters, holders) = scene(Rig::new(7), 300);
    rig.advance(DAY + 6 * HOUR);
    let opened = sum(&rig, |counts| counts.opened);
    assert!((4..=8).contains(&opened), "{opened}");
    assert_eq!(sum(&rig, |counts| counts.equal), 2 * opened);
    let loser = holders[2];
    let id = rig.nodes[loser].key.node_id();
    let score = |rig: &Rig, by: usize| rig.nodes[by].relay.score(&id);
    let ranges: u32 = holders
        .iter()
        .filter_map(|by| score(&rig, *by))
        .map(|score| score.ranges)
        .sum();
    assert!(
        ranges >= 2 && ranges.is_multiple_of(2),
        "300 are two ranges: {ranges}"
    );

    // Its comparisons do not show what lacks: it keeps the names.
    rig.nodes[loser].hollow = true;
    rig.advance(2 * DAY);
    assert!(sum(&rig, |counts| counts.opened) >= opened + 16, "parts");
    let blamed: u64 = holders
        .iter()
        .filter(|at| **at != loser)
        .map(|by| missing(&rig, *by, loser))
        .sum();
    assert!(
        blamed >= letters.len() as u64,
        "all is missed by somebody: {blamed}"
    );
}
