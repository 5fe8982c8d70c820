//! What opens the home: a key file, a passphrase from a descriptor, or a prompt on the terminal.
//!
//! Nothing is ever taken from an argument or the environment, where other users could see it.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{Common, stdin_is_terminal};
use crate::app::{Failure, Secret};
use crate::home::{create_key_file, read_key_file};

/// What the arguments say; `making`: a missing key file is made, a passphrase is asked for twice.
pub(super) fn of(common: &Common, making: bool) -> Result<Secret, Failure> {
    if let Some(path) = &common.key_file {
        let key = if making && !path.exists() {
            create_key_file(path)?
        } else {
            read_key_file(path)?
        };
        return Ok(Secret::KeyFile(key));
    }
    if let Some(fd) = common.passphrase_fd {
        return Ok(Secret::Passphrase(from_descriptor(fd)?));
    }
    if !has_terminal() {
        let text =
            "no terminal to ask for a passphrase on: give --key-file FILE or --passphrase-fd N";
        return Err(Failure::Usage(text.to_owned()));
    }
    let passphrase = prompt("Passphrase: ")?;
    if making && *prompt("The same again: ")? != *passphrase {
        let text = "the two passphrases differ; nothing was made";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(Secret::Passphrase(passphrase))
}

/// The 24 words: standard input, or a prompt on the terminal.
pub(super) fn words() -> Result<Zeroizing<String>, Failure> {
    if stdin_is_terminal() && has_terminal() {
        return prompt("The 24 words: ");
    }
    let mut words = Zeroizing::new(String::new());
    std::io::stdin()
        .take(SECRET_BYTES_MAX)
        .read_to_string(&mut words)
        .map_err(|source| Failure::System {
            what: "reading the words from standard input",
            source,
        })?;
    Ok(words)
}

/// The operating system gives a descriptor a path, so that no descriptor number has to be trusted.
fn from_descriptor(fd: u32) -> Result<Zeroizing<String>, Failure> {
    let path = PathBuf::from(format!("/dev/fd/{fd}"));
    let mut text = Zeroizing::new(String::new());
    File::open(&path)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
        .map_err(|source| Failure::File { path, source })?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}

fn prompt(text: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = rpassword::prompt_password(text).map_err(|source| Failure::System {
        what: "asking on the terminal",
        source,
    })?;
    Ok(Zeroizing::new(typed))
}

/// Somebody sees the prompt and can answer it, even if standard input is a pipe.
fn has_terminal() -> bool {
    std::io::stderr().is_terminal() && File::open("/dev/tty").is_ok()
}

/// More than any passphrase or 24 words have.
const SECRET_BYTES_MAX: u64 = 4_096;
