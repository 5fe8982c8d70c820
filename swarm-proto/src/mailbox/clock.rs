//! Whether a relay may trust its own clock: one that is off the others' would sign for the wrong days and end
//! mail at the wrong hours, so it takes nothing until it is right.
//!
//! The driver measures and tells the median; the rule is here. It does not touch what is already held, and it
//! repairs no clock. Source: `docs/spec/deposit.md`, [CLK-1], [CLK-2], [CLK-3].

use crate::context::Context;
use crate::effects::{Effects, Event};
use crate::envelope::clock_off_max;
use crate::limits;
use crate::time::Now;
use crate::wire::refusal::Refusal;

/// Judges the own clock by the median of others'; with too few of them the last judgement stands.
pub(crate) fn judge(context: &mut Context, ahead_ms: i64, compared: usize, out: &mut Effects) {
    if compared < limits::CLOCKS_COMPARED_MIN {
        return;
    }
    let most = clock_off_max(context.network.scale).as_millis();
    let off = u128::from(ahead_ms.unsigned_abs()) > most;
    if off != context.clock_off {
        context.clock_off = off;
        out.report(if off {
            Event::ClockOff { ahead_ms }
        } else {
            Event::ClockRight
        });
    }
}

/// Whether anything may be taken at this moment ([CLK-3]).
pub(crate) fn trusted(context: &Context, now: Now) -> Result<(), Refusal> {
    if context.clock_off {
        Err(Refusal::Clock { time: now.unix })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Rig;

    /// [CLK-2] [CLK-1]
    #[test]
    fn a_clock_is_off_beyond_a_minute_of_the_median_of_three() {
        let rig = Rig::new(3);
        let mut context = rig.view_of(0);
        let mut out = Effects::default();
        let cases = [
            (60_000, 3, false),
            (60_001, 2, false),
            (60_001, 3, true),
            (0, 2, true),
            (-60_000, 3, false),
            (-60_001, 4, true),
            (i64::MIN, 3, true),
        ];
        for (ahead_ms, compared, off) in cases {
            judge(&mut context, ahead_ms, compared, &mut out);
            assert_eq!(context.clock_off, off, "{ahead_ms} ms of {compared}");
            assert_eq!(trusted(&context, rig.now).is_err(), off);
        }
        let told = out.drain().count();
        assert_eq!(told, 3, "each change is told once");
    }
}
