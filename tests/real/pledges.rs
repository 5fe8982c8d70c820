//! Relays have each other show the disk that they have pledged. Who made it up convicts himself; who has less than
//! before, or a disk that decays, does not: real processes.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use poste_node::status::{self, NetworkStanding, Standing};
use poste_tests::net::{Net, launcher, until};
use swarm_proto::hash;
use swarm_proto::id::NodeKey;
use swarm_proto::pledge::{PAGE_BYTES, page_tag};
use swarm_proto::time::MINUTE_MS_MIN;

use crate::RELAY;

/// Enough for verdicts: each has nine watchers.
const RELAYS: usize = 10;
/// A day takes 72 s, and each watcher has each relay show its sectors twice in it.
const MINUTE_MS: u32 = MINUTE_MS_MIN;

/// Has something else on its disk than it should, with marks that fit.
const CHEAT: usize = 1;
/// Its disk decays.
const ROTTEN: usize = 2;
/// Gives one of two sectors back.
const RELEASING: usize = 3;
/// Looks at the others.
const LOOKS: usize = 0;

/// A network of relays with plots, and who they are.
struct Plots {
    net: Net,
    ids: Vec<String>,
}

impl Plots {
    async fn start() -> Self {
        let mut net = Net::launch_at(launcher(RELAY), RELAYS, MINUTE_MS).await;
        net.stop(RELEASING).await;
        let config = net.home(RELEASING).config_path();
        let settings = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{settings}pledge_class = 2\n")).unwrap();
        net.restart(RELEASING).await;
        net.meet().await;
        let key = |relay: usize| net.key(relay).node_id().to_hex();
        let ids = (0..RELAYS).map(key).collect();
        Self { net, ids }
    }

    async fn pledge(&self, relay: usize) -> status::Pledge {
        self.net.told(relay).await.pledge
    }

    /// What one relay knows of another.
    async fn standing(&self, at: usize, of: usize) -> Standing {
        let socket = self.net.home(at).socket_path();
        status::ask_standing(&socket, &self.ids[of]).await.unwrap()
    }

    /// What the watchers of this epoch say of a relay at another one, which knows them soon after it has begun.
    async fn watched(&self, at: usize, of: usize) -> NetworkStanding {
        let mut network = NetworkStanding::default();
        until("a relay's watchers are known", async || {
            network = self.standing(at, of).await.network;
            network.watchers > 0
        })
        .await;
        network
    }

    fn run(&self, relay: usize, words: &[&str]) -> String {
        let mut command = Command::new(RELAY);
        command.arg("--home").arg(self.net.home(relay).dir());
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What its operator reads about another relay.
    fn told(&self, of: usize) -> String {
        self.run(LOOKS, &["status", "--standing", &self.ids[of]])
    }

    fn sector(&self, relay: usize, number: u32) -> PathBuf {
        let plot = self.net.home(relay).dir().join("plot");
        plot.join(format!("{number:08}.sector"))
    }

    async fn until_answered(&self, relay: usize, more: u64) {
        let before = self.pledge(relay).await.answered;
        until("more challenges are answered", async || {
            self.pledge(relay).await.answered >= before + more
        })
        .await;
    }

    /// Whether every other relay knows that this one is convicted, does not count on it, and says why.
    async fn is_convicted(&self, relay: usize) -> bool {
        for at in (0..RELAYS).filter(|at| *at != relay) {
            let standing = self.standing(at, relay).await;
            if !standing.network.pledged_wrong || standing.is_counted_on {
                return false;
            }
        }
        self.told(relay)
            .contains("convicted: it answered wrong about its pledge")
    }
}

/// Other bytes in each page, and behind them the marks of these, as a relay that makes its plot up would have them.
fn make_up(path: &PathBuf, key: &NodeKey, sector: u32) {
    let mut bytes = std::fs::read(path).unwrap();
    let mark_key = hash::derive("poste plot mark", &[&key.0, &sector.to_be_bytes()]);
    let mark_bytes = page_tag(&mark_key, &[]).len();
    let pages = bytes.len() / (PAGE_BYTES + mark_bytes);
    for page in 0..pages {
        let at = page * PAGE_BYTES;
        bytes[at] ^= 1;
        let mark = page_tag(&mark_key, &bytes[at..at + PAGE_BYTES]);
        let to = pages * PAGE_BYTES + page * mark_bytes;
        bytes[to..to + mark_bytes].copy_from_slice(&mark);
    }
    let beside = path.with_extension("other");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// A bit of each page flips.
fn rot(path: &PathBuf) {
    let bytes = std::fs::read(path).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    for (at, byte) in bytes.iter().enumerate().step_by(PAGE_BYTES) {
        file.write_all_at(&[byte ^ 4], at as u64).unwrap();
    }
}

/// [PLG-3] [PLG-5] [PLG-6] [PLG-7] [PLG-8] [STD-10] [EVD-3]
#[tokio::test]
async fn who_makes_its_plot_up_convicts_itself_and_who_lost_or_released_a_sector_does_not() {
    let plots = Plots::start().await;
    until("all plots lie complete", async || {
        let mut classes = Vec::new();
        for relay in 0..RELAYS {
            classes.push(plots.pledge(relay).await.class);
        }
        let wanted = |relay| if relay == RELEASING { 2 } else { 1 };
        (0..RELAYS).map(wanted).eq(classes)
    })
    .await;
    make_up(&plots.sector(CHEAT, 0), &plots.net.key(CHEAT), 0);
    let whole = std::fs::read(plots.sector(ROTTEN, 0)).unwrap();
    rot(&plots.sector(ROTTEN, 0));

    until("who made it up is convicted and left out", async || {
        plots.is_convicted(CHEAT).await
    })
    .await;
    println!("{}", plots.told(CHEAT));

    until("the rotten sector is made again", async || {
        let pledge = plots.pledge(ROTTEN).await;
        let kept = std::fs::read(plots.sector(ROTTEN, 0)).unwrap_or_default();
        pledge.failed > 0 && pledge.class == 1 && kept == whole
    })
    .await;
    plots.until_answered(ROTTEN, 1).await;

    plots.until_answered(RELEASING, 1).await;
    plots.run(RELEASING, &["pledge", "shrink", "--class", "1"]);
    assert!(!plots.sector(RELEASING, 1).exists());
    plots.until_answered(RELEASING, 2).await;

    let others: Vec<usize> = (1..RELAYS).filter(|relay| *relay != CHEAT).collect();
    until("the others' classes are certified", async || {
        let told = others.iter().map(|relay| plots.told(*relay));
        { told }.all(|told| told.contains("pledge of class 1"))
    })
    .await;
    let (mut wrong, mut silent) = (0, 0);
    for at in 0..RELAYS {
        let pledge = plots.pledge(at).await;
        (wrong, silent) = (wrong + pledge.wrong, silent + pledge.silent);
        for of in others.iter().filter(|of| **of != at) {
            let network = plots.watched(at, *of).await;
            assert!(!network.pledged_wrong, "{at} of {of}: {network:?}");
            assert!(
                network.suspend < network.majority,
                "{at} of {of}: {network:?}"
            );
        }
    }
    println!("{wrong} wrong answers, {silent} challenges without one");
    assert!(wrong > 0);
}
