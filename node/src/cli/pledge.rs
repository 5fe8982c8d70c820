//! `poste-node pledge` and the puzzle at `init`: what an identity costs, with its progress.
//!
//! While a relay runs it keeps the plot itself; then these commands say what is wanted, and show how far it is.

use std::time::Duration;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use swarm_proto::id::NodeKey;
use swarm_proto::network::Pledge;

use super::{say_json, small_runtime};
use crate::config::Config;
use crate::failure::RunFailure;
use crate::home::{Home, HomeFailure};
use crate::keys::Keys;
use crate::plot::{Plot, Wish, wanted_class};
use crate::say::Voice;
use crate::{puzzle, status};
use poste_link::network_file::NetworkFile;

/// What to do with the plot.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum PledgeVerb {
    /// Fill the disk up to the wanted class now; may be interrupted at any moment and taken up again
    Plot,
    /// Make sectors again and compare: says which are damaged
    Verify {
        /// Only so many, drawn at random
        #[arg(long, value_name = "N")]
        sectors: Option<u32>,
        /// Remove the damaged ones, so that they are made again
        #[arg(long)]
        remove: bool,
    },
    /// Give disk back: keep no more than this class, until `pledge plot` lifts it
    Shrink {
        /// The highest class to keep; 0 gives everything back
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=8))]
        class: u8,
    },
}

/// A relay's plot, with what is wanted of it.
struct Scene {
    home: Home,
    plot: Plot,
    pledge: Pledge,
    wish: Wish,
}

#[derive(Serialize)]
struct Size {
    class: u8,
    complete: u32,
    wanted: u32,
}

#[derive(Serialize)]
struct Verified {
    looked_at: u32,
    bad: Vec<u32>,
}

/// Does it.
pub(super) fn act(
    home: Home,
    verb: PledgeVerb,
    json: bool,
    voice: Voice,
) -> Result<(), RunFailure> {
    let network = NetworkFile::read(&home.network_path())?.network;
    let key = Keys::at(home.keys_dir()).node()?.node_key();
    let config = Config::load(&home.config_path())?;
    let scene = Scene {
        plot: Plot::at(home.plot_dir(), key, network.pledge),
        pledge: network.pledge,
        wish: Wish {
            class: config.pledge_class,
            most: home.pledge_most_path(),
        },
        home,
    };
    match verb {
        PledgeVerb::Plot => scene.fill(json, voice),
        PledgeVerb::Verify { sectors, remove } => scene.verify(sectors, remove, json, voice),
        PledgeVerb::Shrink { class } => scene.shrink(class, json, voice),
    }
}

/// Solves the puzzle of a relay's key and shows how many tries it took; for a network without one it does nothing.
pub(super) fn solve(home: &Home, key: &NodeKey, pledge: &Pledge) -> Result<u64, RunFailure> {
    let path = home.puzzle_path();
    let expected = 1_u64 << pledge.puzzle_bits.min(63);
    let bar = ProgressBar::no_length().with_style(style("{spinner} {msg}"));
    let solved = puzzle::solve(&path, key, pledge, |nonce| {
        bar.set_message(format!(
            "puzzle of the key: try {nonce}, about {expected} are needed"
        ));
        bar.tick();
    });
    bar.finish_and_clear();
    solved.map_err(|source| RunFailure::File { path, source })
}

impl Scene {
    fn fill(&self, json: bool, voice: Voice) -> Result<(), RunFailure> {
        self.limit(None)?;
        let _lock = match self.home.lock() {
            Err(HomeFailure::Locked(_)) => return self.follow(json, voice),
            lock => lock?,
        };
        self.plot
            .release(u32::MAX)
            .map_err(|source| self.failed(source))?;
        let size = self.size()?;
        let bar = bar(&size, self.plot.file_bytes());
        let (labels, mut told) = (u64::from(self.pledge.labels), size.complete);
        for sector in size.complete..size.wanted {
            if self.plot.has(sector) {
                continue;
            }
            let all = labels * u64::from(self.pledge.layers);
            let made = self.plot.make(sector, |left| {
                let share = self.plot.file_bytes() * (all - left.min(all)) / all.max(1);
                bar.set_position(u64::from(sector) * self.plot.file_bytes() + share);
                true
            });
            made.map_err(|source| self.failed(source))?;
            // A line for each hundredth where there is no terminal for a bar.
            let is_due = (sector + 1 - told) * 100 >= size.wanted || sector + 1 == size.wanted;
            if bar.is_hidden() && !json && is_due {
                told = sector + 1;
                voice.line(format_args!("{told} of {} sectors", size.wanted));
            }
        }
        bar.finish_and_clear();
        self.say(json, voice)
    }

    /// The running relay plots; this only shows how far it is.
    fn follow(&self, json: bool, voice: Voice) -> Result<(), RunFailure> {
        let size = self.size()?;
        let bar = bar(&size, self.plot.file_bytes());
        self.until(|pledge| {
            bar.set_position(u64::from(pledge.complete) * self.plot.file_bytes());
            pledge.wanted == size.wanted && pledge.complete >= pledge.wanted
        })?;
        bar.finish_and_clear();
        self.say(json, voice)
    }

    fn verify(
        &self,
        sectors: Option<u32>,
        remove: bool,
        json: bool,
        voice: Voice,
    ) -> Result<(), RunFailure> {
        let complete = self.plot.complete().map_err(|source| self.failed(source))?;
        let chosen = match sectors {
            Some(count) if count < complete => draw(count, complete)?,
            _ => (0..complete).collect(),
        };
        let bar = ProgressBar::new(chosen.len() as u64)
            .with_style(style("{bar:40} {pos} of {len} sectors, {eta} to go"));
        let mut bad = Vec::new();
        for sector in &chosen {
            if !self.plot.is_right(*sector).unwrap_or(false) {
                bad.push(*sector);
                if remove {
                    let removed = self.plot.forget(*sector);
                    removed.map_err(|source| self.failed(source))?;
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let looked_at = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        let count = bad.len();
        if json {
            say_json(voice, &Verified { looked_at, bad })?;
        } else {
            for sector in &bad {
                let done = if remove { "removed" } else { "damaged" };
                voice.line(format_args!("sector {sector}: {}", voice.warn(done)));
            }
            voice.line(format_args!(
                "{} of {looked_at} sectors are right",
                looked_at as usize - count
            ));
        }
        match count {
            0 => Ok(()),
            bad => Err(RunFailure::Sectors(bad)),
        }
    }

    fn shrink(&self, class: u8, json: bool, voice: Voice) -> Result<(), RunFailure> {
        self.limit(Some(class))?;
        let keep = self.plot.sectors_of(class);
        match self.home.lock() {
            // It tells the others first, and gives the disk back then.
            Err(HomeFailure::Locked(_)) => {
                self.until(|pledge| pledge.class <= class && pledge.complete <= keep)?;
            }
            lock => {
                let _lock = lock?;
                self.plot
                    .release(keep)
                    .map_err(|source| self.failed(source))?;
            }
        }
        self.say(json, voice)
    }

    /// Waits until the running relay's plot is so.
    fn until(&self, is_so: impl Fn(&status::Pledge) -> bool) -> Result<(), RunFailure> {
        small_runtime()?.block_on(async {
            loop {
                let status = status::ask(&self.home.socket_path()).await?;
                if !status.store.late && is_so(&status.pledge) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        })
    }

    fn limit(&self, class: Option<u8>) -> Result<(), RunFailure> {
        let path = &self.wish.most;
        self.wish.limit(class).map_err(|source| RunFailure::File {
            path: path.clone(),
            source,
        })
    }

    fn size(&self) -> Result<Size, RunFailure> {
        let wanted_class = wanted_class(&self.pledge, &self.wish);
        let complete = self.plot.complete().map_err(|source| self.failed(source))?;
        Ok(Size {
            class: self.plot.class_of(complete).min(wanted_class),
            complete,
            wanted: self.plot.sectors_of(wanted_class),
        })
    }

    fn say(&self, json: bool, voice: Voice) -> Result<(), RunFailure> {
        let size = self.size()?;
        if json {
            return say_json(voice, &size);
        }
        voice.line(format_args!(
            "class {}: {} of {} sectors are complete",
            size.class, size.complete, size.wanted
        ));
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> RunFailure {
        let path = self.home.plot_dir();
        RunFailure::File { path, source }
    }
}

/// Different sectors, at random.
fn draw(count: u32, of: u32) -> Result<Vec<u32>, RunFailure> {
    let mut all: Vec<u32> = (0..of).collect();
    let mut drawn = Vec::new();
    while drawn.len() < count as usize && !all.is_empty() {
        let word = getrandom::u64().map_err(|failed| RunFailure::System {
            what: "drawing sectors",
            source: std::io::Error::other(failed.to_string()),
        })?;
        let at = usize::try_from(word % all.len() as u64).unwrap_or(0);
        drawn.push(all.swap_remove(at));
    }
    drawn.sort_unstable();
    Ok(drawn)
}

fn bar(size: &Size, sector_bytes: u64) -> ProgressBar {
    ProgressBar::new(u64::from(size.wanted) * sector_bytes)
        .with_position(u64::from(size.complete) * sector_bytes)
        .with_style(style(
            "{bar:40} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} to go",
        ))
}

/// A template of our own that is wrong would fail the tests; then the bar is as plain as it comes.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

const LOOK_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_drawn_once_each() {
        let drawn = draw(30, 40).unwrap();
        assert_eq!(drawn.len(), 30);
        assert!(drawn.is_sorted_by(|a, b| a < b) && drawn.iter().all(|sector| *sector < 40));
    }

    #[test]
    fn bars_are_of_known_shapes() {
        let shapes = [
            "{bar:40} {pos} of {len} sectors, {eta} to go",
            "{bar:40} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} to go",
        ];
        assert!(
            shapes
                .iter()
                .all(|one| ProgressStyle::with_template(one).is_ok())
        );
    }
}
