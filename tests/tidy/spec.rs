//! Rules that tie the spec to the code: every anchor is implemented and tested somewhere, every vector
//! file is read.
//!
//! An anchor such as the one in `docs/spec/README.md` *opens* a sentence when it stands at the start of a
//! line, list item or table cell, or after a full stop, and the sentence goes on with anything but a small
//! letter. Anywhere else it is a citation. Citations in the packages `tests` and `benches` do not count as
//! code; a line counts as a test as `tree.rs` says.

use std::collections::{BTreeMap, BTreeSet};

use crate::expect_none;
use crate::tree::{Source, files, sources};

#[test]
fn anchors_are_each_cited_by_code_and_by_a_test() {
    let (opened, _) = opened();
    let cited = citations(&sources());
    let mut faults = Vec::new();
    for (anchor, place) in &opened {
        let (code, test) = cited.get(anchor).cloned().unwrap_or_default();
        println!(
            "[{anchor}] {place}\n    code: {}\n    test: {}",
            code.join(" "),
            test.join(" ")
        );
        match (code.is_empty(), test.is_empty()) {
            (false, false) => {}
            (true, false) => faults.push(format!("{place}: [{anchor}] no code cites it")),
            (false, true) => faults.push(format!("{place}: [{anchor}] no test cites it")),
            (true, true) => faults.push(format!(
                "{place}: [{anchor}] neither code nor test cites it"
            )),
        }
    }
    expect_none(
        &faults,
        "a normative sentence is cited where it is done and where it is tried",
    );
}

#[test]
fn anchors_that_are_cited_exist() {
    let (opened, _) = opened();
    let mut faults = Vec::new();
    let texts = files(&["md"]).into_iter();
    let code = sources()
        .into_iter()
        .map(|source| (source.path, source.text));
    for (path, text) in texts.chain(code) {
        for (number, line) in text.lines().enumerate() {
            for (_, anchor) in anchors(line) {
                if !opened.contains_key(anchor) {
                    faults.push(format!(
                        "{path}:{}: [{anchor}] opens no sentence of docs/spec",
                        number + 1
                    ));
                }
            }
        }
    }
    expect_none(&faults, "a citation leads to a sentence of the spec");
}

#[test]
fn anchors_open_one_sentence_each() {
    let (opened, twice) = opened();
    assert!(
        !opened.is_empty(),
        "docs/spec has no anchors: the other rules would hold of nothing"
    );
    expect_none(&twice, "an anchor names one sentence");
}

#[test]
fn vectors_are_well_formed() {
    let mut faults = Vec::new();
    for (path, text) in vector_files() {
        let mut names = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            if let Err(fault) = vector_line(line, &mut names) {
                faults.push(format!("{path}:{}: {fault}", number + 1));
            }
        }
        if names.is_empty() {
            faults.push(format!("{path}:1: holds no vector"));
        }
    }
    expect_none(
        &faults,
        "a vector file holds `name = hex` lines, each name once, and `#` comments",
    );
}

#[test]
fn vectors_are_each_read_by_a_test() {
    let sources = sources();
    let mut faults = Vec::new();
    for (path, _) in vector_files() {
        let name = path.trim_start_matches("docs/spec/");
        let read = sources.iter().any(|source| {
            let lines = source.text.lines().zip(&source.test_lines);
            lines
                .filter(|(_, test)| **test)
                .any(|(line, _)| line.contains(name))
                && source.text.contains("include_str!")
        });
        if !read {
            faults.push(format!("{path}:1: no test includes it"));
        }
    }
    expect_none(&faults, "a vector that no test reads proves nothing");
}

/// Anchor to the place that opens it, and the faults of those opened twice.
fn opened() -> (BTreeMap<String, String>, Vec<String>) {
    let mut opened: BTreeMap<String, String> = BTreeMap::new();
    let mut twice = Vec::new();
    for (path, text) in files(&["md"]) {
        if !path.starts_with("docs/spec/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for (at, anchor) in anchors(line) {
                if !opens(line, at, anchor) {
                    continue;
                }
                let place = format!("{path}:{}", number + 1);
                if let Some(first) = opened.insert(anchor.to_owned(), place.clone()) {
                    twice.push(format!("{place}: [{anchor}] is opened at {first} too"));
                }
            }
        }
    }
    (opened, twice)
}

/// Places that cite each anchor: in code and in tests.
type Citations = BTreeMap<String, (Vec<String>, Vec<String>)>;

fn citations(sources: &[Source]) -> Citations {
    let mut cited = Citations::new();
    for source in sources {
        let elsewhere = ["tests/", "benches/"]
            .iter()
            .any(|folder| source.path.starts_with(folder));
        for ((number, line), test) in source.text.lines().enumerate().zip(&source.test_lines) {
            for (_, anchor) in anchors(line) {
                let (code, tests) = cited.entry(anchor.to_owned()).or_default();
                let place = format!("{}:{}", source.path, number + 1);
                if *test {
                    tests.push(place);
                } else if !elsewhere {
                    code.push(place);
                }
            }
        }
    }
    cited
}

/// The anchors of a line with the offsets of their brackets: two to six capitals, a dash, digits.
fn anchors(line: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices('[') {
        let Some(length) = line[at..].find(']') else {
            break;
        };
        let inner = &line[at + 1..at + length];
        let Some((family, number)) = inner.split_once('-') else {
            continue;
        };
        let capitals = family.bytes().all(|byte| byte.is_ascii_uppercase());
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if (2..=6).contains(&family.len()) && capitals && digits {
            found.push((at, inner));
        }
    }
    found
}

/// Whether the anchor at `at` opens a sentence.
fn opens(line: &str, at: usize, anchor: &str) -> bool {
    let before = line[..at].trim();
    let numbered = before
        .strip_suffix('.')
        .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let starts = matches!(before, "" | "-" | "*") || numbered || before.ends_with(['.', '|']);
    let after = &line[at + anchor.len() + 2..];
    let goes_on = after
        .strip_prefix(' ')
        .and_then(|after| after.chars().next());
    starts && goes_on.is_some_and(|letter| !letter.is_lowercase())
}

fn vector_files() -> Vec<(String, String)> {
    let all = files(&["txt"]).into_iter();
    all.filter(|(path, _)| path.starts_with("docs/spec/vectors/"))
        .collect()
}

fn vector_line(line: &str, names: &mut BTreeSet<String>) -> Result<(), String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let (name, hex) = line
        .split_once('=')
        .ok_or("neither `name = hex` nor a comment")?;
    let (name, hex) = (name.trim(), hex.trim());
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte);
    if name.is_empty() || !name.bytes().all(letter) {
        return Err(format!(
            "`{name}` is no name: letters, digits, `_`, `-`, `.`, spaces"
        ));
    }
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("the value of `{name}` is not whole bytes of hex"));
    }
    if !names.insert(name.to_owned()) {
        return Err(format!("`{name}` is there twice"));
    }
    Ok(())
}

#[test]
fn a_sentence_is_told_from_a_citation() {
    let all = |line: &str| -> Vec<bool> {
        anchors(line)
            .into_iter()
            .map(|(at, anchor)| opens(line, at, anchor))
            .collect()
    };
    let a = concat!("[AB", "-1]");
    let b = concat!("[ABCD", "-12]");
    assert_eq!(
        all(&format!("- {a} A holder. {b} `x` is (see {a}).")),
        [true, true, false]
    );
    assert_eq!(all(&format!("such as {a} are, {b} A")), [false, false]);
    assert_eq!(all(&format!("{a} and more")), [false]);
    assert_eq!(all(&format!("3. {a} Three")), [true]);
    assert!(anchors("a [link](x-1), [0; 32], [u8], [A-1], [ab-1]").is_empty());
}

#[test]
fn a_bad_vector_is_refused() {
    let mut names = BTreeSet::new();
    assert_eq!(vector_line("key = 00ff", &mut names), Ok(()));
    for bad in [
        "key = 00",
        "odd = 0",
        "no hex",
        "bad/name = 00",
        "other = 0x00",
    ] {
        assert!(vector_line(bad, &mut names).is_err(), "{bad}");
    }
}
