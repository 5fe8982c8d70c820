//! Rules for Rust files: sizes, opening docs, names and calls that are not used here.
//!
//! Limits are those of the house: a file that has outgrown them wants to be two files.

use crate::expect_none;
use crate::tree::{Source, is_word, item_end, sources};

#[test]
fn no_file_is_longer_than_800_lines() {
    let faults: Vec<String> = sources()
        .iter()
        .filter(|source| source.test_lines.len() > FILE_LINES_MAX)
        .map(|source| format!("{}:{} lines", source.path, source.test_lines.len()))
        .collect();
    expect_none(&faults, "a file has at most 800 lines; 150 to 250 are good");
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let faults: Vec<String> = sources().iter().flat_map(long_functions).collect();
    expect_none(
        &faults,
        "outside tests a function has at most 70 lines, from `fn` to its brace",
    );
}

#[test]
fn every_file_opens_with_its_purpose() {
    let faults: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("{}:1 does not start with `//! `", source.path))
        .collect();
    expect_none(
        &faults,
        "a file opens with its stop of the road and why it exists",
    );
}

#[test]
fn names_say_what_a_thing_is() {
    let faults: Vec<String> = sources().iter().flat_map(vague_names).collect();
    expect_none(
        &faults,
        "names use the words of docs/ARCHITECTURE.md and none that fit everything",
    );
}

#[test]
fn calls_that_the_house_does_without_are_absent() {
    let mut faults = Vec::new();
    for source in sources() {
        for (call, reason) in CALLS_BANNED {
            for (offset, _) in source.code.match_indices(call) {
                faults.push(format!("{}: `{call}`: {reason}", source.place(offset)));
            }
        }
    }
    expect_none(
        &faults,
        "no unbounded queue, no test that nobody runs, no gap in the code",
    );
}

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Looked for in code, so neither comments nor this table match.
const CALLS_BANNED: &[(&str, &str)] = &[
    ("unbounded_channel", "every queue has a named maximum"),
    ("mpsc::unbounded", "every queue has a named maximum"),
    (
        "#[ignore",
        "a test that needs something skips loudly, by poste_tests::skip or the same line",
    ),
    (
        "todo!",
        "what is missing is said in the README, not in the code",
    ),
    (
        "unimplemented!",
        "what is missing is said in the README, not in the code",
    ),
];

/// Words that no item of ours carries in its name.
const WORDS_BANNED: &[&str] = &[
    "manager", "handler", "helper", "util", "utils", "packet", "info", "data", "process",
];

/// Where `process` is a word of the subject: programs that start and watch operating-system processes.
const PROCESS_ALLOWED: &[&str] = &["node/", "client/", "tests/", "benches/"];

/// Names that a foreign trait or format dictates: (path, name). An entry that no file needs is a fault.
const NAMES_ALLOWED: &[(&str, &str)] = &[
    // The storage engine's trait names it.
    ("node/src/store/disk.rs", "sync_data"),
];

/// What introduces an item of ours.
const ITEM_WORDS: &[&str] = &[
    "fn", "struct", "enum", "union", "trait", "type", "mod", "const", "static",
];

fn long_functions(source: &Source) -> Vec<String> {
    let words = source.words();
    let mut faults = Vec::new();
    for pair in words.windows(2) {
        let [(start, "fn"), (name_at, name)] = pair else {
            continue;
        };
        if source.is_test_at(*start) || source.code[start + 2..*name_at].trim() != "" {
            continue;
        }
        let end = item_end(&source.code, *start);
        let lines = source.line_of(end) - source.line_of(*start) + 1;
        if lines > FUNCTION_LINES_MAX {
            faults.push(format!(
                "{}: fn {name} has {lines} lines",
                source.place(*start)
            ));
        }
    }
    faults
}

fn vague_names(source: &Source) -> Vec<String> {
    let words = source.words();
    let mut faults = Vec::new();
    for (index, (offset, name)) in words.iter().enumerate() {
        let before = index.checked_sub(1).map_or("", |index| words[index].1);
        if source.is_test_at(*offset) || is_allowed(source, name) {
            continue;
        }
        let is_item = ITEM_WORDS.contains(&before) && !is_lifetime(source, words[index - 1].0);
        let vague = if is_item {
            parts(name).into_iter().find(|part| is_vague(source, part))
        } else {
            (is_binding(source, *offset, name, before) && is_vague(source, name))
                .then(|| (*name).to_owned())
        };
        if let Some(word) = vague {
            faults.push(format!("{}: `{name}`: not `{word}`", source.place(*offset)));
        }
        if before == "fn" && name.starts_with("get_") {
            faults.push(format!(
                "{}: `{name}`: a function that reads has no `get_`",
                source.place(*offset)
            ));
        }
    }
    faults
}

fn is_allowed(source: &Source, name: &str) -> bool {
    NAMES_ALLOWED
        .iter()
        .any(|(path, allowed)| *path == source.path && *allowed == name)
}

fn is_vague(source: &Source, word: &str) -> bool {
    let of_the_subject = word == "process"
        && PROCESS_ALLOWED
            .iter()
            .any(|folder| source.path.starts_with(folder));
    WORDS_BANNED.contains(&word) && !of_the_subject
}

/// `static` in `&'static`.
fn is_lifetime(source: &Source, offset: usize) -> bool {
    offset > 0 && source.code.as_bytes()[offset - 1] == b'\''
}

/// Whether the word names a field, a parameter or a variable: `name:`, `let name`, `let mut name`, `|name|`.
fn is_binding(source: &Source, offset: usize, name: &str, before: &str) -> bool {
    let code = source.code.as_bytes();
    let after = &source.code[offset + name.len()..];
    let is_path = after.starts_with("::") || source.code[..offset].ends_with("::");
    let typed = after.trim_start().starts_with(':') && !after.trim_start().starts_with("::");
    let closure = after.starts_with('|') && offset > 0 && code[offset - 1] == b'|';
    let whole = offset == 0 || !is_word(code[offset - 1]);
    whole && !is_path && (typed || closure || before == "let" || before == "mut")
}

/// The words of a name in either case: `body_bytes_max`, `MailboxKeys`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut lower_before = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_ascii_uppercase() && lower_before) {
            parts.push(String::new());
        }
        if letter != '_' {
            parts
                .last_mut()
                .expect("never empty")
                .push(letter.to_ascii_lowercase());
        }
        lower_before = letter.is_ascii_lowercase() || letter.is_ascii_digit();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[test]
fn every_allowed_name_is_needed() {
    let sources = sources();
    let faults: Vec<String> = NAMES_ALLOWED
        .iter()
        .filter(|(path, name)| {
            !sources.iter().any(|source| {
                source.path == *path && source.words().iter().any(|(_, word)| word == name)
            })
        })
        .map(|(path, name)| format!("{path}: `{name}` is allowed and not there"))
        .collect();
    expect_none(&faults, "an allowance goes when its reason goes");
}

#[test]
fn a_vague_name_is_seen_and_a_good_one_is_not() {
    let text = "struct LinkManager;\nfn f(data: u8) { let info = 1; tracing::info!(\"{data}\"); }\n\
                fn get_row() {}\nstruct Process;\nfn informs(metadata: u8) -> &'static Handle {}\n";
    let faults = vague_names(&Source::new("sim/src/x.rs", text));
    assert_eq!(faults.len(), 5, "{faults:#?}");
    assert_eq!(
        vague_names(&Source::new("node/src/x.rs", "struct Process;")),
        Vec::<String>::new()
    );
}

#[test]
fn a_long_function_is_seen() {
    let body = "    let a = [0; 3];\n".repeat(69);
    let long = format!("//! x\nfn f(a: [u8; 2]) -> u8 {{\n{body}}}\nfn g() {{}}\n");
    let faults = long_functions(&Source::new("sim/src/x.rs", &long));
    assert_eq!(faults, ["sim/src/x.rs:2: fn f has 71 lines"]);
}
