//! Rules for the repository as a whole: its top level, its words, its marks.

use std::fs;

use crate::expect_none;
use crate::tree::{files, root, sources};

#[test]
fn the_top_level_is_as_drawn() {
    let mut faults = Vec::new();
    let mut missing: Vec<&str> = TOP_LEVEL.to_vec();
    for entry in fs::read_dir(root()).expect("the root") {
        let name = entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        missing.retain(|expected| *expected != name);
        if !name.starts_with('.') && name != "target" && !TOP_LEVEL.contains(&name.as_str()) {
            faults.push(format!("{name}: has no place at the top level"));
        }
    }
    faults.extend(missing.iter().map(|name| format!("{name}: is missing")));
    expect_none(
        &faults,
        "the top level has the entries of docs/ARCHITECTURE.md and dotfiles",
    );
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let mut faults = Vec::new();
    for (path, text) in files(&["rs", "md", "toml", "txt", "svg", "yml", "json", ""]) {
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            for words in WORDS_NEVER.iter().filter(|words| lower.contains(**words)) {
                faults.push(format!("{path}:{}: `{words}`", number + 1));
            }
            for mark in MARKS_NEVER.iter().filter(|mark| has_word(line, mark)) {
                faults.push(format!(
                    "{path}:{}: `{mark}`: finish it, or say it in the README",
                    number + 1
                ));
            }
        }
    }
    expect_none(
        &faults,
        "no paths of a machine, no tools of the trade, no unfinished marks",
    );
}

#[test]
fn punctuation_is_plain() {
    let mut faults = Vec::new();
    for (path, text) in files(&["rs", "md", "toml", "txt"]) {
        for (number, line) in text.lines().enumerate() {
            if let Some(letter) = line
                .chars()
                .find(|letter| PUNCTUATION_NEVER.contains(letter))
            {
                faults.push(format!(
                    "{path}:{}: U+{:04X}",
                    number + 1,
                    u32::from(letter)
                ));
            }
        }
    }
    expect_none(&faults, "quotes, dashes and dots are the ASCII ones");
}

#[test]
fn every_crate_wears_the_lints_of_the_workspace() {
    let mut faults = Vec::new();
    for (path, text) in files(&["toml"]) {
        let is_member = path.ends_with("/Cargo.toml");
        if is_member && !text.contains("[lints]\nworkspace = true") {
            faults.push(format!("{path}: has no `[lints] workspace = true`"));
        }
    }
    expect_none(&faults, "one lint table for all crates");
}

#[test]
fn the_core_cannot_name_the_standard_library() {
    let lib = sources()
        .into_iter()
        .find(|source| source.path == "swarm-proto/src/lib.rs");
    let lib = lib.expect("the core has a lib.rs");
    assert!(
        lib.code.contains("#![no_std]"),
        "{}: `#![no_std]` is gone",
        lib.path
    );
    let bans = fs::read_to_string(root().join("swarm-proto/clippy.toml")).expect("the core's bans");
    for ban in [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::collections::HashMap",
    ] {
        assert!(
            bans.contains(ban),
            "swarm-proto/clippy.toml: does not ban {ban}"
        );
    }
}

const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "client",
    "docs",
    "node",
    "sim",
    "swarm-proto",
    "tests",
];

/// In lower case, found in any case. Written in two parts, so that this table does not find itself.
const WORDS_NEVER: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("../sha", "red"),
    concat!("crates", ".io"),
    concat!("assis", "tant"),
    concat!("clau", "de"),
    concat!("copi", "lot"),
    concat!("language ", "model"),
    concat!("issue", " #"),
    concat!("design", " page"),
];

const MARKS_NEVER: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
];

/// Curly quotes, long dashes, the one-letter ellipsis, the space that does not break.
const PUNCTUATION_NEVER: &[char] = &[
    '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{2013}', '\u{2014}', '\u{2026}', '\u{a0}',
];

fn has_word(line: &str, word: &str) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric())
        .any(|part| part == word)
}
