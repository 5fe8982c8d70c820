//! Timing several things side by side by the processor time of one thread.
//!
//! Processor time leaves out what other programs took, though not what they did to caches and clocks;
//! so the things take turns in short batches, and what counts is the ratio within a turn.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::failure::BenchFailure;

/// One of the things: does its work some times and says the processor time that one took, in
/// microseconds.
pub type Batch<'a> = dyn FnMut() -> Result<f64, BenchFailure> + 'a;

/// Lets the things take turns until `turns` are full or `most` is over (of wall time, but three turns at
/// least), and answers the results of each in the order of the turns. A first turn warms up and is
/// dropped.
///
/// # Errors
/// That of a batch.
pub fn take_turns(
    things: &mut [&mut Batch<'_>],
    turns: usize,
    most: Duration,
) -> Result<Vec<Vec<f64>>, BenchFailure> {
    let mut results = vec![Vec::with_capacity(turns); things.len()];
    let start = Instant::now();
    for turn in 0..=turns {
        if turn > TURNS_MIN && start.elapsed() >= most {
            break;
        }
        for (thing, results) in things.iter_mut().zip(&mut results) {
            let micros = thing()?;
            if turn > 0 {
                results.push(micros);
            }
        }
    }
    Ok(results)
}

/// The processor time in microseconds that one of `inputs` takes `work`; inputs are made before and
/// what comes out is dropped within.
///
/// # Errors
/// [`BenchFailure`] if the clock cannot be read.
pub fn time_each<I, O>(inputs: Vec<I>, mut work: impl FnMut(I) -> O) -> Result<f64, BenchFailure> {
    let count = inputs.len().max(1);
    let start = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    for input in inputs {
        std::hint::black_box(work(input));
    }
    let end = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    let took = Duration::from(end).saturating_sub(Duration::from(start));
    Ok(took.as_secs_f64() * 1e6 / count as f64)
}

/// So few turns are made in any case.
const TURNS_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_take_turns_and_the_first_turn_does_not_count() {
        let order = std::cell::RefCell::new(Vec::new());
        let mut calls = 0.0;
        let mut first = || {
            order.borrow_mut().push('a');
            calls += 1.0;
            Ok(calls)
        };
        let mut second = || {
            order.borrow_mut().push('b');
            Ok(7.0)
        };
        let results =
            take_turns(&mut [&mut first, &mut second], 2, Duration::from_secs(60)).unwrap();
        assert_eq!(results, [vec![2.0, 3.0], vec![7.0, 7.0]]);
        assert_eq!(order.into_inner(), ['a', 'b', 'a', 'b', 'a', 'b']);
    }

    #[test]
    fn turns_end_when_their_time_is_over_but_three_are_made() {
        let mut thing = || Ok(1.0);
        let results = take_turns(&mut [&mut thing], 1_000, Duration::ZERO).unwrap();
        assert_eq!(results, [vec![1.0; 3]]);
    }
}
