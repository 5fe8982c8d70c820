//! What a relay keeps of past eligible lists, by the machine and through a restart.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::effects::Effect;
use crate::id::NodeId;
use crate::members::testing::{TODAY, at, suspended};
use crate::place::{Cell, Placement};
use crate::rig::Rig;
use crate::time::{HOUR_MINUTES, Instant};
use crate::wire::Message;
use crate::wire::members::{RosterAsk, RosterPart};

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * HOUR_MINUTES * 60)
}

/// So many minutes after [`TODAY`] began.
fn minutes(count: i64) -> Now {
    let unix = at(0).0.saturating_add_signed(count * 60_000);
    Now {
        mono: Instant(0),
        unix: UnixTime(unix),
    }
}

/// A relay's list and what it keeps of past ones.
struct Scene {
    context: Context,
    settling: Settling,
    minute: i64,
}

impl Scene {
    /// A relay that started in this minute, has compared its list, and found nothing on its disk.
    fn new(rig: &Rig, minute: i64) -> Self {
        let began = minutes(minute);
        let mut context = rig.view_of(0);
        context.view.completed(began);
        let mut settling = Settling::new(began);
        settling.read(&mut context, began, StoreDone::Entries(Vec::new()));
        Self {
            context,
            settling,
            minute,
        }
    }

    /// The lists that are to be kept when it has looked every ten minutes until then.
    fn until(&mut self, minute: i64) -> Vec<Epoch> {
        let mut kept = Vec::new();
        while self.minute < minute {
            self.minute = minute.min(self.minute + 10);
            kept.extend(self.look());
        }
        kept
    }

    fn look(&mut self) -> Vec<Epoch> {
        let mut out = Effects::default();
        let now = minutes(self.minute);
        self.settling.wake(&mut self.context, now, &mut out);
        let today = TODAY.plus(u32::try_from(self.minute.div_euclid(1_440) + 10).unwrap());
        let store = out.drain().filter_map(|effect| match effect {
            Effect::Store {
                request: StoreOp::PutEntry { epoch, oldest, .. },
                ..
            } => {
                assert_eq!(oldest.plus(31), today.minus(10));
                Some(epoch)
            }
            _ => None,
        });
        store.collect()
    }

    fn has(&self, epoch: Epoch, id: &NodeId) -> bool {
        let context = &self.context;
        context.view.eligible(&context.network, epoch).has(id)
    }
}

/// [ELI-8]
#[test]
fn what_comes_after_the_first_hour_changes_no_list_of_today() {
    let rig = Rig::new(8);
    let ids: Vec<NodeId> = rig.nodes.iter().map(|node| node.key.node_id()).collect();
    let mut scene = Scene::new(&rig, -3_000);
    let days = [3, 2, 1].map(|back| TODAY.minus(back));
    assert_eq!(scene.until(50), days);
    let certify = |scene: &mut Scene, id| {
        let view = &mut scene.context.view;
        view.certify(id, TODAY.minus(2), suspended());
    };
    certify(&mut scene, ids[1]);
    assert!(!scene.has(TODAY, &ids[1]), "it came in time");
    assert_eq!(scene.until(60), [TODAY]);
    certify(&mut scene, ids[2]);
    assert!(scene.has(TODAY, &ids[2]), "it came too late for today");
    assert!(!scene.has(TODAY.plus(1), &ids[2]));
    assert!(scene.until(1_440 + 50).is_empty());
}

/// [ELI-8]: a network that has just begun does not settle without its late founders.
#[test]
fn who_came_in_the_middle_of_a_day_settles_it_when_it_is_over() {
    let rig = Rig::new(8);
    let mut scene = Scene::new(&rig, -60);
    assert!(scene.until(-1).is_empty());
    assert_eq!(scene.until(0), [TODAY.minus(1)]);
    assert!(scene.until(1_439).is_empty());
    assert_eq!(scene.until(1_440), [TODAY]);
    // It has been there for a whole day.
    assert!(scene.until(1_440 + 59).is_empty());
    assert_eq!(scene.until(1_440 + 60), [TODAY.plus(1)]);

    // Who came in the last hour, has compared its list with nobody, or has a wrong clock settles nothing.
    let mut late = Scene::new(&rig, -59);
    assert!(late.until(1_400).is_empty());
    let mut alone = Scene::new(&rig, -60);
    alone.context = rig.view_of(0);
    assert!(alone.until(100).is_empty());
    let mut off = Scene::new(&rig, -60);
    off.context.clock_off = true;
    assert!(off.until(100).is_empty());
}

/// [ELI-8]
#[test]
fn a_machine_that_slept_knows_no_more_than_one_that_starts() {
    let rig = Rig::new(8);
    let mut scene = Scene::new(&rig, -3_000);
    assert_eq!(scene.until(-1_380).len(), 3);
    let day = 1_440;
    scene.minute = 2 * day + 120;
    assert!(scene.until(2 * day + 300).is_empty(), "its list has slept");
    scene.context.view.completed(minutes(2 * day + 300));
    assert!(scene.until(3 * day - 1).is_empty());
    assert_eq!(scene.until(3 * day), [TODAY.plus(2)]);
}

/// [ELI-9]
#[test]
fn a_list_that_was_not_written_is_written_again() {
    let rig = Rig::new(8);
    let mut scene = Scene::new(&rig, -3_000);
    scene.until(50);
    assert_eq!(scene.until(60), [TODAY]);
    scene.settling.kept(TODAY, &StoreDone::Failed);
    assert_eq!(scene.until(70), [TODAY]);
    scene.settling.kept(TODAY, &StoreDone::EntryKept);
    assert!(scene.until(80).is_empty());
}

/// [ELI-9]: a disk that cannot be read is asked again, and what cannot be is passed over.
#[test]
fn lists_of_the_disk_win_unless_they_cannot_be_read() {
    let rig = Rig::new(8);
    let mut context = rig.view_of(0);
    let list = context.view.eligible(&rig.network, TODAY.minus(1));
    let short = list.encode()[48..].to_vec();
    let mut settling = Settling::new(minutes(0));
    settling.read(&mut context, minutes(0), StoreDone::Failed);
    let mut out = Effects::default();
    settling.wake(&mut context, minutes(10), &mut out);
    assert_eq!(out.len(), 1, "asked again");
    let found = vec![
        (TODAY.minus(1), short.into()),
        (TODAY, vec![1; 50].into()),
        (TODAY.plus(1), list.encode().into()),
    ];
    settling.read(&mut context, minutes(10), StoreDone::Entries(found));
    let len = |epoch| context.view.eligible(&rig.network, epoch).len();
    assert_eq!(len(TODAY.minus(1)), 7);
    assert_eq!(len(TODAY), 8);
    assert!(!context.view.is_settled(TODAY) && !context.view.is_settled(TODAY.plus(1)));

    // Yesterday's list was there, so this relay need not see a whole day first.
    context.view.completed(minutes(20));
    let minute = 0;
    let mut scene = Scene {
        context,
        settling,
        minute,
    };
    assert!(scene.until(59).is_empty());
    assert_eq!(scene.until(60), [TODAY]);
}

fn placements(rig: &Rig, at: usize) -> Vec<Arc<Placement>> {
    let epochs = (0..3).map(|later| TODAY.plus(later));
    let places = epochs.flat_map(|epoch| (0..40).map(move |cell| (epoch, Cell(cell * 400))));
    let machine = &rig.nodes[at].relay;
    places
        .map(|(epoch, cell)| machine.placement(epoch, cell))
        .collect()
}

/// [ELI-9]: also of one that has died meanwhile and is in no list any more.
#[test]
fn an_old_epoch_has_the_same_holders_after_a_restart() {
    let mut rig = Rig::new(10);
    for _ in 0..41 {
        rig.advance(hours(1));
    }
    assert_eq!(rig.now.unix, at(51));
    let before = placements(&rig, 0);
    rig.nodes[9].up = false;
    rig.misses = true;
    for _ in 0..31 {
        rig.advance(hours(1));
    }
    assert_eq!(rig.nodes[0].relay.members().len(), 9);
    let dead = rig.nodes[9].key.node_id();
    assert!(before.iter().any(|placement| placement.is_holder(&dead)));
    assert_eq!(placements(&rig, 0), before);
    rig.restart(0);
    rig.advance(Duration::from_secs(1));
    assert_eq!(placements(&rig, 0), before);

    // Without what was on the disk it is otherwise.
    rig.nodes[0].store = crate::store::MemStore::new();
    rig.restart(0);
    for _ in 0..2 {
        rig.advance(hours(1));
    }
    assert_eq!(rig.nodes[0].relay.members().len(), 9);
    assert_ne!(placements(&rig, 0), before);
}

/// [ELI-10]
#[test]
fn a_relay_tells_names_hash_or_nothing_as_it_is_asked() {
    let mut rig = Rig::new(10);
    for _ in 0..16 {
        rig.advance(hours(1));
    }
    let mut ask = |epoch, held, from| {
        let ask = RosterAsk { epoch, held, from };
        let stream = rig.ask(0, Message::RosterAsk(ask));
        match rig.answer(stream) {
            Some(Message::RosterPart(part)) => part.clone(),
            other => panic!("{other:?}"),
        }
    };
    // Settled at its end, and today's as it is at this moment.
    for epoch in [TODAY, TODAY.plus(1)] {
        let hash = ask(epoch, [0; 32], u32::MAX);
        assert_eq!((hash.total, hash.names.len()), (10, 0));
        let names = ask(epoch, [0; 32], 0);
        assert_eq!((names.hash, names.names.len()), (hash.hash, 10));
        assert_eq!(ask(epoch, [0; 32], 4).names, names.names[4..]);
        assert!(ask(epoch, hash.hash, 0).names.is_empty());
        let roster = crate::members::Roster::new(epoch, names.names).unwrap();
        assert_eq!(*roster.hash(), hash.hash);
    }
    for unknown in [TODAY.minus(1), TODAY.plus(2)] {
        assert_eq!(ask(unknown, [0; 32], 0), RosterPart::none());
    }
}
