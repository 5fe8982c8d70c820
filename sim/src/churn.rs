//! Churn: when relays die and come back.
//!
//! A relay that dies loses its memory and what its disk had not answered; one that is destroyed loses its
//! disk too. Schedules are scripted by tests, or drawn here from Weibull distributions, one mixture
//! component a relay, since one distribution for all fits no measured network.

use crate::chance::Chance;

/// How one kind of relay lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Scale of the time that it is up, in microseconds.
    pub up_us: u64,
    /// Shape of that time, in thousandths; below 1,000 the old live on.
    pub shape_milli: u32,
    /// Scale of the time that it is down, in microseconds, exponential.
    pub down_us: u64,
}

/// What kinds of relays there are, and how many of a hundred are of each; the rest never die.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Churn {
    /// Percent of the relays, and how they live.
    pub kinds: Vec<(u32, Sessions)>,
    /// Relays that may be down at once; further deaths are put off.
    pub down_max: u32,
}

impl Churn {
    /// How one relay lives; `None` for ever.
    pub fn draw(&self, chance: &mut Chance) -> Option<Sessions> {
        let mut percent = chance.below(100);
        for (share, sessions) in &self.kinds {
            if percent < u64::from(*share) {
                return Some(*sessions);
            }
            percent = percent.saturating_sub(u64::from(*share));
        }
        None
    }
}

impl Sessions {
    /// How long it stays up, in microseconds; at least a second.
    pub fn draw_up(&self, chance: &mut Chance) -> u64 {
        chance
            .weibull_us(self.up_us, self.shape_milli)
            .max(1_000_000)
    }

    /// How long it stays down, in microseconds; at least a second.
    pub fn draw_down(&self, chance: &mut Chance) -> u64 {
        chance.exponential_us(self.down_us).max(1_000_000)
    }
}
