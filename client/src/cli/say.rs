//! What a command tells its caller: standard output for answers, standard error for complaints and progress.
//!
//! The one place that prints. What others wrote is cleaned before a terminal sees it: a letter must not move
//! the cursor or turn text around. A closed pipe ends the output silently.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use swarm_proto::time::UnixTime;

use crate::app::Failure;
use crate::app::visit::Stage;

/// Where and how a command speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    /// Whether answers are JSON.
    pub(super) json: bool,
    colour: bool,
    muted: bool,
}

impl Voice {
    /// Says nothing: for tests.
    #[cfg(test)]
    pub(super) fn muted() -> Self {
        Self {
            json: true,
            colour: false,
            muted: true,
        }
    }

    /// Colour only on a terminal and only without `NO_COLOR`.
    pub(super) fn from_environment(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            colour: wanted && !json && io::stdout().is_terminal(),
            muted: false,
        }
    }

    /// One line of an answer.
    pub(super) fn line(self, text: impl Display) {
        if self.muted {
            return;
        }
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    /// One line of JSON.
    pub(super) fn object(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::Bug(error.to_string()))?;
        self.line(text);
        Ok(())
    }

    /// One line on standard error.
    pub(super) fn complain(self, text: impl Display) {
        let _ = writeln!(io::stderr().lock(), "poste: {text}");
    }

    /// `text` in green.
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// `text` in yellow.
    pub(super) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// `text` in bold.
    pub(super) fn strong(self, text: &str) -> String {
        self.paint("1", text)
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

/// A line on the terminal that says what is being waited for; nothing when there is none.
pub(super) struct Spinner {
    bar: Option<ProgressBar>,
}

impl Spinner {
    /// On standard error, if somebody watches it.
    pub(super) fn new(voice: Voice) -> Self {
        let watched = io::stderr().is_terminal() && !voice.json;
        let bar = watched.then(ProgressBar::new_spinner);
        if let (Some(bar), Ok(style)) = (&bar, ProgressStyle::with_template("{spinner} {msg}")) {
            bar.set_style(style);
            bar.enable_steady_tick(TURN);
        }
        Self { bar }
    }

    /// Says what is waited for.
    pub(super) fn stage(&self, stage: Stage<'_>) {
        let Some(bar) = &self.bar else { return };
        bar.set_message(match stage {
            Stage::Members(sources) => {
                format!("loading the member list from {} relays", sources.min(5))
            }
            Stage::Card(name) => format!("looking for the card of {}", clean(name)),
            Stage::Letters(left) => format!("sending, {} to go", count(left, "letter")),
            Stage::Mailboxes(left) => {
                format!("asking 3 holders each, {} to go", count(left, "mailbox"))
            }
        });
    }

    /// Runs `print` while the line is out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// "1 letter", "2 letters", "3 mailboxes".
pub(super) fn count(number: usize, noun: &str) -> String {
    let ending = match (number, noun.ends_with('x')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {noun}{ending}")
}

/// Text of others, fit for a terminal: control characters and those that turn the direction of writing are
/// shown as their code.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && c != '\n' && c != '\t') || turns {
            // Writing to a string does not fail.
            let _never = write!(cleaned, "\\u{{{:x}}}", u32::from(c));
        } else {
            cleaned.push(c);
        }
    }
    cleaned
}

/// "2026-12-06 14:00 UTC", with seconds if there are any.
pub(super) fn date(unix: UnixTime) -> String {
    let seconds = unix.0 / 1_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let mut text = format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}");
    if second != 0 {
        let _never = write!(text, ":{second:02}");
    }
    text.push_str(" UTC");
    text
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`, for dates after 1970).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// How fast the spinner turns.
const TURN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_cannot_move_the_cursor_or_turn_text_around() {
        let nasty = "a\x1b[2J\u{202e}b\rc\u{9b}d\n\tend";
        assert_eq!(clean(nasty), "a\\u{1b}[2J\\u{202e}b\\u{d}c\\u{9b}d\n\tend");
        assert_eq!(clean("Grüße, 世界"), "Grüße, 世界");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_796_565_600, "2026-12-06 14:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ];
        for (seconds, text) in cases {
            assert_eq!(date(UnixTime(seconds * 1_000 + 999)), text);
        }
    }

    #[test]
    fn numbers_agree_with_their_nouns() {
        assert_eq!(count(1, "letter"), "1 letter");
        assert_eq!(count(0, "mailbox"), "0 mailboxes");
    }
}
