//! The status for a person: the answer to "do others reach me?" first, then what is held and used.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Standing, Status, Verdict};
use crate::say::Voice;

/// The status as lines of text, each ended by a newline.
pub fn table(status: &Status, voice: Voice) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<18} {value}");
    };
    row("reached by others", reach(status, voice));
    row(
        "relay",
        format!("{} (version {})", status.node_id, status.version),
    );
    row(
        "network",
        format!(
            "{} ({})",
            status.network,
            status.network_id.get(..8).unwrap_or("?")
        ),
    );
    row(
        "running",
        format!(
            "{} on {}, process {}, {:.1} s of the processor",
            duration(status.uptime_s),
            status.listen,
            status.pid,
            Duration::from_millis(status.processor_ms).as_secs_f64()
        ),
    );
    row(
        "members",
        format!(
            "{} known, {} eligible; discovery {} known, {} connected",
            status.members.known,
            status.members.eligible,
            status.discovery.known,
            status.discovery.connected
        ),
    );
    row("links", links(status));
    row("traffic", status.traffic.line());
    row("holds", holds(status));
    row("repair", repair(status, voice));
    row("sweeps", sweeps(status, voice));
    row("watches", watching(status, voice));
    row("pledge", pledge(status, voice));
    row("readings", readings(status));
    row("disk", disk(status, voice));
    row("clock", clock(status, voice));
    let refused: u64 = status.refusals.values().sum();
    row(
        "trouble",
        format!("{} faults of peers, {refused} refusals", status.faults),
    );
    for (name, count) in &status.refusals {
        row("", format!("{count:>8} {name}"));
    }
    text
}

fn holds(status: &Status) -> String {
    let held = &status.held;
    format!(
        "{} envelopes ({}) in {} mailboxes, {} deposits not at all holders yet",
        held.envelopes,
        bytes(held.bytes),
        held.mailboxes,
        held.copies_unfinished
    )
}

fn reach(status: &Status, voice: Voice) -> String {
    let reach = &status.reach;
    let address = reach.address.as_deref().unwrap_or("an unconfirmed address");
    let by = reach.by_discovery.max(reach.by_links);
    match reach.verdict {
        Verdict::Yes => format!("{}, by {by} relays, at {address}", voice.good("yes")),
        Verdict::No => format!(
            "{}: open {} in UDP and TCP in the firewall and forward it on the router",
            voice.warn("NO"),
            status.listen
        ),
        Verdict::Unknown => "not known yet".to_owned(),
    }
}

fn links(status: &Status) -> String {
    let links = &status.links;
    format!(
        "{} of {} with relays, {} of {} from correspondents",
        links.members, links.members_max, links.clients, links.clients_max
    )
}

fn repair(status: &Status, voice: Voice) -> String {
    let repair = &status.repair;
    let text = format!(
        "{} relays away, {} comparisons ahead, {} copies to send; {} compared, {} sent",
        repair.away, repair.comparing, repair.lacking, repair.compared, repair.pushed
    );
    match repair.drained {
        None => text,
        Some(false) => format!("{}: {text}", voice.warn("LEAVING")),
        Some(true) => format!("{}, it may be stopped for good", voice.good("handed over")),
    }
}

fn sweeps(status: &Status, voice: Voice) -> String {
    let sweeps = &status.sweeps;
    let text = format!(
        "{} opened, {} answered: {} equal, {} not; {} letters missing at others",
        sweeps.opened, sweeps.answered, sweeps.equal, sweeps.unequal, sweeps.missing
    );
    if sweeps.failed == 0 {
        text
    } else {
        let failed = format!("{} relays not counted on", sweeps.failed);
        format!("{text}; {}", voice.warn(&failed))
    }
}

fn readings(status: &Status) -> String {
    format!(
        "{} letters of its own asked for at those who signed for them, {} not shown",
        status.readings.asked, status.readings.failed
    )
}

fn watching(status: &Status, voice: Voice) -> String {
    let watching = &status.watching;
    let text = format!(
        "{} relays; {} testimonies signed, {} heard; {} relays absent",
        watching.watched, watching.testified, watching.heard, watching.absent
    );
    if watching.condemned == 0 {
        text
    } else {
        let condemned = format!("{} to be suspended", watching.condemned);
        format!("{text}; {}", voice.warn(&condemned))
    }
}

fn pledge(status: &Status, voice: Voice) -> String {
    let pledge = &status.pledge;
    let text = format!(
        "class {}, {} of {} sectors ({}); {} challenges answered, {} failed; of others {} shown, {} wrong, {} silent",
        pledge.class,
        pledge.complete,
        pledge.wanted,
        bytes(u64::from(pledge.complete).saturating_mul(pledge.sector_bytes)),
        pledge.answered,
        pledge.failed,
        pledge.shown,
        pledge.wrong,
        pledge.silent
    );
    if pledge.failed == 0 {
        text
    } else {
        format!("{}: {text}", voice.warn("DAMAGED, see `pledge verify`"))
    }
}

/// What is known of another relay, and what follows, in words.
pub fn standing_text(standing: &Standing) -> String {
    format!("{}{}", own_standing(standing), network_standing(standing))
}

/// What its watchers say.
fn network_standing(standing: &Standing) -> String {
    let network = &standing.network;
    let mut text = format!(
        "watchers: {} have spoken in this epoch, of {}; {} call it absent, {} want it suspended ({} suspend)\n",
        network.said, network.watchers, network.absent, network.suspend, network.majority
    );
    let share =
        |share: Option<u8>| share.map_or("unknown".to_owned(), |share| format!("{share} %"));
    if let Some(one) = &network.certificate {
        let _ = writeln!(
            text,
            "certificate of {} epochs ago: there {} of the time, keeps {}, pledge of class {}, {} wanted it suspended, {} certificates before",
            one.epochs_ago,
            share(one.available),
            share(one.kept),
            one.class,
            one.suspend,
            one.age
        );
    } else {
        text.push_str("no certificate yet\n");
    }
    if network.signed_twice {
        text.push_str("convicted: it signed two records with one number\n");
    }
    if network.expelled {
        text.push_str("convicted: it answered wrong about its pledge twice, and is expelled\n");
    } else if network.pledged_wrong {
        text.push_str("convicted: it answered wrong about its pledge\n");
    }
    if network.replaced {
        text.push_str("there too seldom: others take over what it holds\n");
    }
    if network.proven_lost > 0 {
        let _ = writeln!(
            text,
            "{} envelopes lost by its own signatures",
            network.proven_lost
        );
    }
    let cells = match (network.suspended_epochs, network.holds) {
        (0, true) => "it holds mail of this epoch".to_owned(),
        (0, false) => "it holds no mail of this epoch".to_owned(),
        (epochs, _) => format!("suspended: no new mail for {epochs} more epochs"),
    };
    let _ = writeln!(text, "{cells}");
    text
}

fn own_standing(standing: &Standing) -> String {
    let Standing {
        node,
        ranges,
        ranges_needed,
        missing,
        ..
    } = standing;
    let Some(share) = standing.share else {
        return format!(
            "{node}\nnever swept by this relay, or not since it started; it is counted on\n"
        );
    };
    let verdict = if !standing.is_counted_on {
        "below 0.85: it is not counted on, others take its place here".to_owned()
    } else if ranges < ranges_needed {
        format!("counted on; judged after {ranges_needed} ranges")
    } else {
        "counted on".to_owned()
    };
    format!(
        "{node}\n{ranges} ranges swept, {missing} letters missing that it had had\nscore {share:.3}: {verdict}\n"
    )
}

fn disk(status: &Status, voice: Voice) -> String {
    let mut used = format!(
        "{} of {}",
        bytes(status.store.used_bytes),
        bytes(status.store.budget_bytes)
    );
    if status.store.damaged > 0 {
        let damaged = voice.warn("DAMAGED");
        let count = status.store.damaged;
        used += &format!(", {damaged} {count} letters, which were dropped: check this disk");
    }
    if status.store.late {
        voice.warn("the store does not answer: what it holds and does is not known")
    } else if status.store.full {
        format!("{used}, {}: deposits are refused", voice.warn("FULL"))
    } else {
        used
    }
}

fn clock(status: &Status, voice: Voice) -> String {
    match status.clock.offset_ms_median {
        None => "nobody to compare with".to_owned(),
        Some(offset) => {
            let text = format!(
                "others are {offset:+} ms (median of {})",
                status.clock.compared
            );
            if offset.unsigned_abs() > CLOCK_WARN_MS {
                format!("{}: {text}", voice.warn("WRONG"))
            } else {
                text
            }
        }
    }
}

pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        (_, _, _) => format!("{days} d {} h", hours % 24),
    }
}

pub(super) fn bytes(count: u64) -> String {
    let mut unit = "B";
    let mut tenths = u128::from(count) * 10;
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = larger;
    }
    if unit == "B" {
        format!("{count} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// Ten seconds: an operator should look at the time service.
pub(crate) const CLOCK_WARN_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_answers_whether_others_reach_this_relay() {
        let mut status = Status {
            listen: "0.0.0.0:7676".into(),
            ..Status::default()
        };
        let first = |status: &Status| {
            let text = table(status, Voice::plain());
            text.lines().next().unwrap_or_default().to_owned()
        };
        assert!(first(&status).ends_with("not known yet"));
        status.reach.verdict = Verdict::No;
        assert!(first(&status).contains("NO: open 0.0.0.0:7676"));
        status.reach.verdict = Verdict::Yes;
        status.reach.by_discovery = 7;
        assert!(first(&status).contains("yes, by 7 relays"));
    }

    #[test]
    fn a_disk_that_damaged_letters_is_named() {
        let mut status = Status::default();
        assert_eq!(disk(&status, Voice::plain()), "0 B of 0 B");
        status.store.damaged = 3;
        let said = disk(&status, Voice::plain());
        assert!(
            said.contains("3 letters") && said.ends_with("check this disk"),
            "{said}"
        );
    }

    #[test]
    fn a_store_that_does_not_answer_is_told_and_no_zero_is_taken_for_a_figure() {
        let mut status = Status::default();
        status.store.budget_bytes = 1_024;
        let told = |status: &Status| table(status, Voice::plain());
        assert!(told(&status).contains("0 B of 1.0 KiB"));
        status.store.late = true;
        assert!(!told(&status).contains("0 B of 1.0 KiB"));
        assert!(told(&status).contains("the store does not answer"));
    }

    #[test]
    fn sizes_and_times_read_easily() {
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_856 * 1_000), "1.7 MiB");
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(90_061), "1 d 1 h");
    }
}
