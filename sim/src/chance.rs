//! Chance: one stream per node and purpose, so that what one node draws never shifts what another does.
//!
//! Transcendental functions come from `libm`, since those of a platform may differ in the last bit.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

/// A stream of random numbers of one node for one purpose.
#[derive(Debug)]
pub struct Chance(ChaCha12Rng);

impl Chance {
    /// The stream of node `number` for `purpose` in the run of `seed`.
    pub fn new(seed: u64, purpose: &str, number: u32) -> Self {
        Self(ChaCha12Rng::from_seed(seed_of(seed, purpose, number)))
    }

    /// A number below `bound`; 0 if the bound is 0. The bias is below 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// Whether something of this many parts in a million happens.
    pub fn happens(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// One of a slice; `None` if it is empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(from.len()).unwrap_or(0));
        from.get(usize::try_from(at).unwrap_or(0))
    }

    /// Fills a slice.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Above 0 and at most 1, uniform.
    pub fn unit(&mut self) -> f64 {
        let bits = u32::try_from(self.0.next_u64() >> 32).unwrap_or(u32::MAX);
        (f64::from(bits) + 1.0) / 4_294_967_296.0
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let (radius, turn) = (self.unit(), self.unit());
        libm::sqrt(-2.0 * libm::log(radius)) * libm::cos(core::f64::consts::TAU * turn)
    }

    /// Exponential with this mean, in whole microseconds.
    pub fn exponential_us(&mut self, mean_us: u64) -> u64 {
        whole(-libm::log(self.unit()) * float(mean_us))
    }

    /// Weibull with this scale and a shape in thousandths, in whole microseconds.
    pub fn weibull_us(&mut self, scale_us: u64, shape_milli: u32) -> u64 {
        let exponent = 1_000.0 / f64::from(shape_milli.max(1));
        whole(libm::pow(-libm::log(self.unit()), exponent) * float(scale_us))
    }

    /// Log-normal with this median and a sigma in thousandths, in whole microseconds.
    pub fn log_normal_us(&mut self, median_us: u64, sigma_milli: u32) -> u64 {
        let sigma = f64::from(sigma_milli) / 1_000.0;
        whole(libm::exp(sigma * self.normal()) * float(median_us))
    }
}

/// A seed for one node and purpose.
pub fn seed_of(seed: u64, purpose: &str, number: u32) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("poste sim chance");
    hasher.update(&seed.to_be_bytes());
    hasher.update(&number.to_be_bytes());
    hasher.update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Exact up to 2^53, about 285 years of microseconds.
#[allow(clippy::cast_precision_loss, reason = "durations stay below 2^53 us")]
fn float(us: u64) -> f64 {
    us as f64
}

/// Rounds towards zero; saturates.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is never negative"
)]
fn whole(us: f64) -> u64 {
    us as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_nodes_and_purposes_differ() {
        let draw = |seed, purpose, number| Chance::new(seed, purpose, number).below(u64::MAX);
        let first = draw(1, "links", 1);
        assert_eq!(first, draw(1, "links", 1));
        for other in [draw(2, "links", 1), draw(1, "disk", 1), draw(1, "links", 2)] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn distributions_have_their_medians_and_means() {
        let mut chance = Chance::new(7, "test", 0);
        let mut draws = |draw: &mut dyn FnMut(&mut Chance) -> u64| {
            let mut all: Vec<u64> = (0..20_001).map(|_| draw(&mut chance)).collect();
            all.sort_unstable();
            (all[10_000], all.iter().sum::<u64>() / 20_001)
        };
        let near = |is: u64, wanted: u64| is.abs_diff(wanted) * 100 < wanted * 4;
        let (median, _) = draws(&mut |c| c.log_normal_us(50_000, 500));
        assert!(near(median, 50_000), "{median}");
        let (_, mean) = draws(&mut |c| c.exponential_us(1_000_000));
        assert!(near(mean, 1_000_000), "{mean}");
        // Gamma(1 + 1/0.5) = 2.
        let (_, mean) = draws(&mut |c| c.weibull_us(1_000_000, 1_000));
        assert!(near(mean, 1_000_000), "{mean}");
    }
}
