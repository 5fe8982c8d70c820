//! What was certified goes to the disk and comes back, whatever happened to the disk.

use alloc::vec;
use core::time::Duration;

use super::*;
use crate::effects::Effect;
use crate::members::testing::suspended;
use crate::rig::Rig;
use crate::time::{Epoch, UnixTime};
use crate::wire::standing::Past;

/// A certificate in which no two numbers are the same.
fn certificate() -> Certificate {
    Certificate {
        age: 9,
        available: Some(99),
        kept: None,
        class: 2,
        past: Past {
            history: 5,
            term: 0,
            clean: 40,
            times: 3,
        },
        votes: 11,
        suspend: true,
    }
}

fn subject(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// One relay's certificates, and what it keeps of them.
struct Scene {
    context: Context,
    standing: Standing,
    now: Now,
}

impl Scene {
    /// It has just started.
    fn new() -> Self {
        let rig = Rig::tuned(2, |network| network.verdicts.watchers = 15);
        Self {
            context: rig.view_of(0),
            standing: Standing::new(rig.now),
            now: rig.now,
        }
    }

    fn today(&self) -> Epoch {
        self.context.network.scale.epoch_of(self.now.unix)
    }

    fn certify(&mut self, of: u8, ago: u32, certificate: Certificate) {
        let epoch = self.today().minus(ago);
        self.context.view.certify(subject(of), epoch, certificate);
    }

    /// What the store is asked for after so many minutes.
    fn after(&mut self, minutes: u64) -> Vec<StoreOp> {
        let passed = Duration::from_secs(60 * minutes);
        self.now.mono = self.now.mono.plus(passed);
        self.now.unix = UnixTime(self.now.unix.0 + 60_000 * minutes);
        let mut out = Effects::default();
        let standing = &mut self.standing;
        let counted = (&standing.losses, &standing.reports);
        let keeping = &mut standing.keeping;
        keeping.wake(&mut self.context, self.now, counted, &mut out);
        let asked = out.drain().map(|effect| match effect {
            Effect::Store { request, .. } => request,
            other => panic!("{other:?}"),
        });
        asked.collect()
    }

    /// Which epochs are written after so many minutes, by how long ago they were.
    fn written_after(&mut self, minutes: u64) -> Vec<u32> {
        let asked = self.after(minutes).into_iter();
        let written = asked.map(|request| match request {
            StoreOp::PutEntry { epoch, oldest, .. } => {
                assert_eq!(oldest, self.today().minus(5));
                self.today().0 - epoch.0
            }
            other => panic!("{other:?}"),
        });
        written.collect()
    }

    fn restore(&mut self, found: Vec<(Epoch, Bytes)>) -> Changes {
        let done = StoreDone::Entries(found);
        self.standing.restored(&mut self.context, self.now, done)
    }

    fn known(&self, of: u8, ago: u32) -> Option<Certificate> {
        let epoch = self.today().minus(ago);
        let certificates = self.context.view.certificates();
        certificates.of(&subject(of), epoch).copied()
    }
}

fn written(all: &[(u8, Certificate)]) -> Bytes {
    let all: Vec<(NodeId, Certificate)> =
        all.iter().map(|(of, one)| (subject(*of), *one)).collect();
    encode(all.iter().map(|(of, one)| (of, one))).into()
}

/// [STD-14]
#[test]
fn what_is_damaged_is_read_up_to_the_damage() {
    let all = [(1, certificate()), (2, suspended()), (7, certificate())];
    let bytes = written(&all);
    assert_eq!(bytes.len(), 3 * 41);
    let expected: Vec<_> = all.map(|(of, one)| (subject(of), one)).into();
    assert_eq!(decode(bytes.clone()), expected);
    for end in 0..bytes.len() {
        assert_eq!(decode(bytes.slice(..end)), expected[..end / 41], "{end}");
    }
    let with = |at: usize, byte: u8| {
        let mut wrong = bytes.to_vec();
        wrong[at] = byte;
        decode(wrong.into())
    };
    // No share above a hundred, no unknown flag, no relay twice or out of its place.
    for (at, byte) in [
        (2 * 41 + 34, 101),
        (2 * 41 + 32, 8),
        (2 * 41, 2),
        (2 * 41, 1),
    ] {
        assert_eq!(with(at, byte)[..2], expected[..2], "{at}");
    }
    assert_eq!(with(2 * 41 + 34, 101).len(), 2);
    assert_eq!(with(41 + 32, 8).len(), 1);
    assert_eq!(with(2 * 41, 1).len(), 2);
}

/// [STD-14]: half an hour, so that what comes by the comparisons of half an hour is written together.
#[test]
fn what_is_certified_is_written_every_half_hour_once_the_disk_was_read() {
    let mut scene = Scene::new();
    scene.certify(1, 1, certificate());
    let both = [Chronicle::Certificates, Chronicle::Losses];
    let both = both.map(|chronicle| StoreOp::Entries { chronicle });
    assert_eq!(scene.after(0), both);
    assert!(scene.after(60).is_empty(), "it waits for what is there");
    scene.restore(Vec::new());
    assert!(scene.after(29).is_empty());
    assert_eq!(scene.written_after(1), [1]);
    assert!(scene.after(60).is_empty(), "nothing is new");

    scene.certify(1, 1, certificate());
    assert!(scene.after(60).is_empty(), "it is the same");
    scene.certify(1, 1, suspended());
    scene.certify(2, 2, certificate());
    assert_eq!(scene.written_after(60), [2, 1]);
    let epoch = scene.today().minus(1);
    scene.standing.kept(epoch, &StoreDone::Failed);
    assert_eq!(scene.written_after(60), [1], "it was not written");
    scene.standing.kept(epoch, &StoreDone::EntryKept);
    assert!(scene.after(60).is_empty());
}

/// [EVD-7]: as long as there are any, since what was swept grows and a share would be too high.
#[test]
fn what_is_counted_as_lost_is_written_every_half_hour() {
    let mut scene = Scene::new();
    assert_eq!(scene.after(0).len(), 2);
    scene.restore(Vec::new());
    let (today, now) = (scene.today(), scene.now);
    // One relay, nothing swept, one envelope.
    let mut entry = vec![7; 32];
    entry.extend([0, 0, 1]);
    entry.extend([9; 32]);
    entry.extend(today.0.to_be_bytes());
    let found = vec![(today.minus(3), Bytes::from(entry))];
    let Scene {
        standing, context, ..
    } = &mut scene;
    standing.restored_losses(context, now, StoreDone::Failed);
    standing.restored_losses(context, now, StoreDone::Entries(found));
    assert_eq!(scene.standing.losses.of(&subject(7)), 1);
    assert!(scene.after(29).is_empty());
    for minutes in [1, 30] {
        let asked = scene.after(minutes);
        let [StoreOp::PutEntry { epoch, oldest, .. }] = asked[..] else {
            panic!("{asked:?}");
        };
        assert_eq!((epoch, oldest), (scene.today(), scene.today()));
    }
}

/// [STD-14]: what is written is all of the epoch, what was found on the disk included.
#[test]
fn nothing_is_lost_when_a_relay_restarts_twice() {
    let mut scene = Scene::new();
    let epoch = scene.today().minus(1);
    assert_eq!(scene.after(0).len(), 2);
    scene.restore(vec![(epoch, written(&[(1, certificate())]))]);
    scene.certify(2, 1, suspended());
    let asked = scene.after(30);
    let [StoreOp::PutEntry { entry, .. }] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(*entry, written(&[(1, certificate()), (2, suspended())]));
}

/// [STD-14]: a disk that cannot be read, or an epoch in it, is a reason for nothing.
#[test]
fn what_is_too_old_of_a_day_to_come_or_not_there_is_passed_over() {
    let mut scene = Scene::new();
    assert_eq!(scene.after(0).len(), 2);
    let (context, now) = (&mut scene.context, scene.now);
    let changes = scene.standing.restored(context, now, StoreDone::Failed);
    assert_eq!(changes, Changes::default());
    assert!(scene.after(29).is_empty());
    assert_eq!(scene.after(1).len(), 1, "it is asked again");
    let today = scene.today();
    let entry = || written(&[(1, certificate())]);
    scene.restore(vec![
        (today.minus(6), entry()),
        (today.minus(5), entry()),
        (today.minus(2), Bytes::from_static(b"not at all")),
        (today.minus(1), entry()),
        (today.plus(1), entry()),
    ]);
    assert_eq!((scene.known(1, 6), scene.known(1, 2)), (None, None));
    assert_eq!(scene.known(1, 5), Some(certificate()));
    assert_eq!(scene.known(1, 1), Some(certificate()));
    let certificates = scene.context.view.certificates();
    assert_eq!(certificates.of(&subject(1), today.plus(1)), None);
}

/// [STD-14] [STD-11]: what was heard in this run wins, and who was there too seldom is replaced at once.
#[test]
fn what_was_kept_stands_only_where_nothing_was_heard() {
    let mut scene = Scene::new();
    scene.certify(1, 1, suspended());
    let rare = Certificate {
        available: Some(74),
        ..certificate()
    };
    let yesterday = scene.today().minus(1);
    let found = written(&[(1, rare), (2, rare), (3, certificate())]);
    let changes = scene.restore(vec![(yesterday, found)]);
    assert_eq!(scene.known(1, 1), Some(suspended()));
    assert_eq!(scene.known(2, 1), Some(rare));
    assert_eq!(changes.rare, [subject(2)]);
    assert!(scene.context.is_rare(&subject(2)));
    assert!(!scene.context.is_rare(&subject(3)));
    // A quorum that is heard later wins as well.
    scene.certify(2, 1, certificate());
    assert_eq!(scene.known(2, 1), Some(certificate()));
}
