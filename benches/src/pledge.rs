//! What an identity costs at the parameters of a public network: its plot, a look at a sector of somebody
//! else's, and a look at a puzzle.
//!
//! Processor time of one thread, for plots are made and checked beside everything else that a machine does.

use std::time::{Duration, Instant};

use swarm_proto::id::NodeKey;
use swarm_proto::network::Network;
use swarm_proto::pledge::{PageAt, Puzzle, make_sector, make_tag, sector_bytes};

use crate::cpu::time_each;
use crate::failure::BenchFailure;
use crate::row::Row;

/// A few sectors plotted, as many made again for one page, and a few looks at a puzzle; about `most` of wall time,
/// three of each at least.
///
/// # Errors
/// [`BenchFailure`] if the clock cannot be read.
pub fn measure(most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let pledge = Network::public("scoreboard", &[]).pledge;
    let node = NodeKey([1; 32]);
    let sectors_per_gib = GIB / sector_bytes(&pledge) as f64;
    let (mut plot, mut verify, mut puzzle) = (Vec::new(), Vec::new(), Vec::new());
    let start = Instant::now();
    for turn in 0..TURNS_MAX {
        if turn >= TURNS_MIN && start.elapsed() >= most {
            break;
        }
        let made = time_each(vec![turn], |sector| make_sector(&pledge, &node, sector))?;
        plot.push(made * 1e-6 * sectors_per_gib);
        let page = PageAt {
            sector: turn,
            page: turn,
        };
        let again = time_each(vec![page], |at| make_tag(&pledge, &node, at, &[2; 32]))?;
        verify.push(again * 1e-6);
        let look = time_each(vec![turn], |nonce| {
            Puzzle::new(&pledge).holds(&node, nonce.into())
        })?;
        puzzle.push(look * 1e-3);
    }
    let beside = |figure: f64| vec![figure; plot.len()];
    Ok(vec![
        Row::beside("pledge/plot", "s of CPU/GiB", &plot, &beside(PLOT_DESIGNED)),
        Row::beside(
            "pledge/verify",
            "s of CPU",
            &verify,
            &beside(VERIFY_DESIGNED),
        ),
        Row::beside(
            "pledge/puzzle",
            "ms of CPU",
            &puzzle,
            &beside(PUZZLE_DESIGNED),
        ),
    ])
}

const GIB: f64 = 1_073_741_824.0;
/// What the parameters of a public network were chosen by, measured before this code was written: the upper figure
/// for a plot, in seconds a GiB.
const PLOT_DESIGNED: f64 = 97.0;
/// The same for a sector that is made again, in seconds.
const VERIFY_DESIGNED: f64 = 0.37;
/// The same for a look at a puzzle, in milliseconds.
const PUZZLE_DESIGNED: f64 = 170.0;
const TURNS_MIN: u32 = 3;
const TURNS_MAX: u32 = 11;
