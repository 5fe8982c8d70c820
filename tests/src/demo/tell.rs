//! What a person reads while the demo runs, the table at its end, and the one line for a script.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Where and how the demo speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    colour: bool,
    terminal: bool,
}

/// A numbered step that is under way.
pub(super) struct Step {
    voice: Voice,
    bar: ProgressBar,
    start: Instant,
}

/// What the demo came to.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) ok: bool,
    pub(super) relays: usize,
    pub(super) deposited: usize,
    pub(super) delivered: usize,
    pub(super) expired: usize,
    pub(super) lost: usize,
    pub(super) killed: usize,
    pub(super) copies_min: u64,
    pub(super) copies_max: u64,
    pub(super) copies_after_kill: u64,
    pub(super) copies_after_repair: u64,
    pub(super) liars: usize,
    pub(super) suspended: usize,
    pub(super) deposit_ms_p50: u64,
    pub(super) deposit_ms_p99: u64,
    pub(super) fetch_ms_p50: u64,
}

impl Voice {
    /// Colour and moving bars only on a terminal; colour only without `NO_COLOR`.
    pub(super) fn from_environment() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let terminal = stdout().is_terminal() && stderr().is_terminal();
        Self {
            colour: wanted && terminal,
            terminal,
        }
    }

    /// One line.
    pub(super) fn line(self, text: impl Display) {
        // A closed pipe ends the output silently.
        let _closed = writeln!(stdout().lock(), "{text}");
    }

    /// One line on standard error.
    pub(super) fn complain(self, text: impl Display) {
        let _closed = writeln!(stderr().lock(), "poste-demo: {text}");
    }

    /// Begins a step; `why` says in one line why it matters.
    pub(super) fn step(self, number: usize, title: &str, why: &str) -> Step {
        let number = self.paint("1;36", &format!("{number}."));
        self.line(format_args!("\n{number} {}", self.paint("1", title)));
        self.line(format_args!("   {}", self.paint("2", why)));
        Step {
            voice: self,
            bar: ProgressBar::hidden(),
            start: Instant::now(),
        }
    }

    /// `text` in green.
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// `text` in red.
    pub(super) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// `text` in grey.
    pub(super) fn quiet(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Step {
    /// Shows a bar up to `length` on a terminal; nothing elsewhere.
    pub(super) fn progress(&mut self, length: usize, what: &str) {
        let style = ProgressStyle::with_template("   {bar:32} {pos}/{len} {msg}");
        self.show(ProgressBar::new(length as u64), style, what);
    }

    /// Shows that something is waited for, on a terminal.
    pub(super) fn wait(&mut self, what: &str) {
        let style = ProgressStyle::with_template("   {spinner} {msg}");
        self.show(ProgressBar::new_spinner(), style, what);
        self.bar.enable_steady_tick(SPIN_EVERY);
    }

    /// How far the bar has come.
    pub(super) fn at(&self, position: usize) {
        self.bar.set_position(position as u64);
    }

    /// One line of the step's outcome.
    pub(super) fn say(&self, text: impl Display) {
        self.bar
            .suspend(|| self.voice.line(format_args!("   {text}")));
    }

    /// Ends the step with its outcome, which held or did not.
    pub(super) fn end(self, held: bool, outcome: impl Display) -> bool {
        self.bar.finish_and_clear();
        let mark = if held {
            self.voice.good("ok")
        } else {
            self.voice.bad("NOT AS PROMISED")
        };
        let took = self.start.elapsed().as_secs_f64();
        let took = self.voice.quiet(&format!("({took:.1} s)"));
        self.voice.line(format_args!("   {mark}: {outcome} {took}"));
        held
    }

    fn show(
        &mut self,
        bar: ProgressBar,
        style: Result<ProgressStyle, indicatif::style::TemplateError>,
        what: &str,
    ) {
        self.bar.finish_and_clear();
        if !self.voice.terminal {
            return;
        }
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        self.bar = bar;
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Report {
    /// The table for people.
    pub(super) fn table(&self, voice: Voice, took: Duration) {
        let rows = [
            ("relays, processes", self.relays.to_string()),
            ("killed without warning", self.killed.to_string()),
            ("envelopes deposited", self.deposited.to_string()),
            ("delivered, equal by BLAKE3", self.delivered.to_string()),
            ("expired when it should", self.expired.to_string()),
            ("lost", self.lost.to_string()),
            (
                "copies of an envelope",
                format!("{} to {}", self.copies_min, self.copies_max),
            ),
            (
                "fewest copies after the kills",
                self.copies_after_kill.to_string(),
            ),
            (
                "fewest copies after repair",
                self.copies_after_repair.to_string(),
            ),
            (
                "relays that lied, were found out",
                format!("{}, {}", self.liars, self.suspended),
            ),
            ("deposit until stored, median", ms(self.deposit_ms_p50)),
            ("deposit until stored, 99 %", ms(self.deposit_ms_p99)),
            ("a visit to the mailboxes, median", ms(self.fetch_ms_p50)),
            ("all of it", format!("{:.1} s", took.as_secs_f64())),
        ];
        voice.line("");
        for (name, value) in rows {
            voice.line(format_args!("   {name:<34}{value}"));
        }
        voice.line("");
        voice.line(if self.ok {
            voice.good("Everything held.")
        } else {
            voice.bad("Something did not hold; see above.")
        });
    }

    /// The line for a script.
    pub(super) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| failed_line(&error.to_string()))
    }
}

/// The line for a script when the demo did not come to its end.
pub(super) fn failed_line(why: &str) -> String {
    serde_json::json!({ "ok": false, "reason": why }).to_string()
}

/// The value below which `share` per cent of `values` are.
pub(super) fn percentile(values: &mut [u64], share: usize) -> u64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    let at = (values.len() * share).div_ceil(100).saturating_sub(1);
    values.get(at.min(last)).copied().unwrap_or(0)
}

fn ms(ms: u64) -> String {
    format!("{ms} ms")
}

const SPIN_EVERY: Duration = Duration::from_millis(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut values, 50), 50);
        assert_eq!(percentile(&mut values, 99), 99);
        assert_eq!(percentile(&mut [7], 99), 7);
        assert_eq!(percentile(&mut [], 50), 0);
    }

    #[test]
    fn the_last_line_has_the_fields_that_scripts_read() {
        let line = Report::default().line();
        let names = "ok relays deposited delivered expired lost killed copies_min copies_max \
                     copies_after_kill copies_after_repair liars suspended deposit_ms_p50 deposit_ms_p99 fetch_ms_p50";
        let found: serde_json::Value = serde_json::from_str(&line).unwrap();
        let names: Vec<&str> = names.split_whitespace().collect();
        assert!(names.iter().all(|name| found.get(name).is_some()), "{line}");
    }
}
