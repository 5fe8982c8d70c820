//! Sectors on disk: whole or absent, read as they were written, and the same that everybody else would make.

use super::*;
use swarm_proto::id::NodeId;
use swarm_proto::network::Network;
use swarm_proto::pledge::{PlotDone, PlotOp, Terms, make_sector};

fn pledge() -> Pledge {
    let mut pledge = Network::public("plot", &[]).pledge;
    (pledge.labels, pledge.layers, pledge.class_sectors) = (256, 2, 3);
    pledge
}

fn plot(dir: &Path) -> Plot {
    Plot::at(dir.join("plot"), NodeKey([1; 32]), pledge())
}

fn filled(dir: &Path, sectors: u32) -> Plot {
    let plot = plot(dir);
    for sector in 0..sectors {
        assert!(plot.make(sector, |_| true).unwrap());
    }
    plot
}

fn flip(plot: &Plot, sector: u32, at: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(plot.path(sector))
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// [PLG-8]: and interrupted ones leave nothing that counts.
#[test]
fn sectors_count_when_they_are_whole_and_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(plot(dir.path()).complete().unwrap(), 0);
    let plot = filled(dir.path(), 3);
    let large = Pledge {
        labels: 16_384,
        ..pledge()
    };
    let slow = Plot::at(dir.path().join("plot"), NodeKey([1; 32]), large);
    assert!(!slow.make(3, |left| left > large.labels.into()).unwrap());
    assert!(!plot.path(3).exists());
    fs::write(plot.path(3).with_extension("new"), [0; 9]).unwrap();
    fs::write(plot.path(4), vec![0; 100]).unwrap();
    assert_eq!(plot.complete().unwrap(), 3);
    assert_eq!((plot.class_of(2), plot.class_of(3)), (0, 1));
    assert_eq!(plot.release(u32::MAX).unwrap(), 0);
    assert!(!plot.path(3).with_extension("new").exists());
    plot.make(5, |_| true).unwrap();
    assert_eq!(plot.complete().unwrap(), 3);
    plot.forget(1).unwrap();
    assert_eq!(plot.complete().unwrap(), 1);
    plot.make(1, |_| true).unwrap();
    assert_eq!(plot.complete().unwrap(), 3);
}

#[test]
fn what_is_on_the_disk_is_what_the_sector_function_makes() {
    let dir = tempfile::tempdir().unwrap();
    let plot = filled(dir.path(), 2);
    let kept = fs::read(plot.path(1)).unwrap();
    let made = make_sector(&pledge(), &NodeKey([1; 32]), 1);
    assert_eq!(&kept[..made.len()], made);
    assert_eq!(kept.len() as u64, plot.file_bytes());
    assert!(plot.is_right(0).unwrap() && plot.is_right(1).unwrap());
}

#[test]
fn pages_are_read_as_a_challenge_wants_them() {
    let dir = tempfile::tempdir().unwrap();
    let plot = filled(dir.path(), 3);
    let terms = Terms {
        nonce: [7; 32],
        prover: NodeKey([1; 32]).node_id(),
        watcher: NodeId([9; 32]),
    };
    let (pages, key) = (terms.pages(&pledge(), 1), terms.key());
    let read = plot.read(&pages, &key).unwrap();
    let right = PlotOp::Pages { pages, key }.make(&pledge(), &NodeKey([1; 32]), |_| true);
    assert_eq!(PlotDone::Tags(read), right);
}

/// [PLG-5]: so it is silent about them, and no disk makes it a liar.
#[test]
fn damaged_pages_missing_sectors_and_files_of_others_are_not_answered_for() {
    let dir = tempfile::tempdir().unwrap();
    let plot = filled(dir.path(), 3);
    let all = |page: u32| [0, 1, 2].map(|sector| PageAt { sector, page });
    flip(&plot, 1, 4_096 + 77);
    assert!(plot.read(&all(0), &[0; 32]).is_ok());
    assert_eq!(plot.read(&all(1), &[0; 32]), Err(1));
    assert!(!plot.is_right(1).unwrap());
    plot.forget(1).unwrap();
    assert_eq!(plot.read(&all(0), &[0; 32]), Err(1));
    fs::copy(plot.path(2), plot.path(1)).unwrap();
    assert_eq!(plot.read(&all(0), &[0; 32]), Err(1), "another sector");
    plot.make(1, |_| true).unwrap();
    assert!(plot.read(&all(0), &[0; 32]).is_ok());
    let other = Plot::at(dir.path().join("plot"), NodeKey([2; 32]), pledge());
    assert_eq!(other.read(&all(0), &[0; 32]), Err(0), "another relay");
}

#[test]
fn one_flipped_bit_anywhere_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let plot = filled(dir.path(), 1);
    for at in [0, 5_000, 8_191, plot.file_bytes() - 1] {
        flip(&plot, 0, at);
        assert!(!plot.is_right(0).unwrap(), "{at}");
        flip(&plot, 0, at);
        assert!(plot.is_right(0).unwrap());
    }
}

#[test]
fn released_sectors_are_gone_and_the_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let plot = filled(dir.path(), 6);
    assert_eq!(plot.class_of(plot.complete().unwrap()), 2);
    assert_eq!(plot.release(plot.sectors_of(1)).unwrap(), 3);
    assert_eq!(plot.complete().unwrap(), 3);
    assert_eq!(plot.release(0).unwrap(), 3);
    assert_eq!(plot.complete().unwrap(), 0);
}

#[test]
fn the_setting_the_network_and_a_shrink_say_which_class_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let most = dir.path().join("most");
    let mut wish = Wish { class: None, most };
    assert_eq!(wanted_class(&pledge(), &wish), 1);
    wish.class = Some(4);
    assert_eq!(wanted_class(&pledge(), &wish), 4);
    wish.limit(Some(2)).unwrap();
    assert_eq!(wanted_class(&pledge(), &wish), 2);
    wish.class = Some(0);
    assert_eq!(wanted_class(&pledge(), &wish), 0);
    wish.limit(None).unwrap();
    wish.limit(None).unwrap();
    wish.class = Some(3);
    assert_eq!(wanted_class(&pledge(), &wish), 3);
}
