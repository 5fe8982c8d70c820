//! What a command tells its caller: standard output for answers, standard error for complaints.
//!
//! The one place that prints, so that no other part of a relay can write to a terminal by accident. A
//! closed pipe ends the output silently. It knows nothing of logs; those go through `tracing`.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Where and how a command speaks.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    colour: bool,
}

impl Voice {
    /// Colour only on a terminal and only without `NO_COLOR`.
    pub fn from_environment() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colour: wanted && io::stdout().is_terminal(),
        }
    }

    /// A voice without colour, for tests and files.
    pub fn plain() -> Self {
        Self { colour: false }
    }

    /// One line of an answer.
    pub fn line(self, text: impl Display) {
        let _ = writeln!(io::stdout().lock(), "{text}");
    }

    /// Text as it is, flushed.
    pub fn raw(self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }

    /// One line on standard error.
    pub fn complain(self, text: impl Display) {
        let _ = writeln!(io::stderr().lock(), "poste-node: {text}");
    }

    /// Puts the cursor home and empties the screen; nothing when there is no terminal.
    pub fn clear(self) {
        if io::stdout().is_terminal() {
            self.raw("\x1b[H\x1b[2J");
        }
    }

    /// `text` in green.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// `text` in yellow.
    pub fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_voice_writes_no_escape_codes() {
        assert_eq!(Voice::plain().good("yes"), "yes");
        assert_eq!(Voice { colour: true }.good("yes"), "\x1b[32myes\x1b[0m");
    }
}
