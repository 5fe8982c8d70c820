//! The files of the repository, as the rules see them: code without comments and literals, and which
//! lines are tests.
//!
//! It does not parse Rust. Comments, strings and characters are blanked and braces are counted, which is
//! enough for every rule and cannot be out of date with the compiler.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments, strings and characters blanked; offsets and lines are those of `text`.
    pub(crate) code: String,
    /// For each line, whether it is part of a test.
    pub(crate) test_lines: Vec<bool>,
    /// Where each line but the first begins, less one.
    breaks: Vec<usize>,
}

impl Source {
    /// A source as if read from `path`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let lines = text.lines().count();
        let mut test_lines = vec![is_test_path(path); lines];
        for (first, last) in test_items(&code) {
            for flag in test_lines.iter_mut().take(last + 1).skip(first) {
                *flag = true;
            }
        }
        Self {
            path: path.into(),
            text: text.into(),
            breaks: code.match_indices('\n').map(|(at, _)| at).collect(),
            code,
            test_lines,
        }
    }

    /// The line, counted from 0, that the byte at `offset` is on.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.breaks.partition_point(|at| *at < offset)
    }

    /// Whether the byte at `offset` is part of a test.
    pub(crate) fn is_test_at(&self, offset: usize) -> bool {
        self.test_lines
            .get(self.line_of(offset))
            .copied()
            .unwrap_or(false)
    }

    /// `path:line`, as an editor opens it.
    pub(crate) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, self.line_of(offset) + 1)
    }

    /// Every word of the code with its offset.
    pub(crate) fn words(&self) -> Vec<(usize, &str)> {
        let bytes = self.code.as_bytes();
        let mut words = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            while at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
            if at > start {
                words.push((start, &self.code[start..at]));
            } else {
                at += 1;
            }
        }
        words
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package lies in the repository")
        .to_path_buf()
}

/// Every Rust file, in the order of paths.
pub(crate) fn sources() -> Vec<Source> {
    let mut sources: Vec<Source> = files(&["rs"])
        .into_iter()
        .map(|(path, text)| Source::new(&path, &text))
        .collect();
    let whole: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if whole
            .iter()
            .any(|module| stem == module || stem.starts_with(&format!("{module}/")))
        {
            source.test_lines.fill(true);
        }
    }
    sources
}

/// Every text file with one of these endings, as (path, text), in the order of paths. What starts with a
/// dot is seen only in `.ci`; build products are not seen.
pub(crate) fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if name == "target" || (name.starts_with('.') && name != ".ci") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let ending = path.extension().map(|e| e.to_string_lossy().into_owned());
            if endings.contains(&ending.as_deref().unwrap_or("")) {
                let text = fs::read_to_string(&path).expect("a text file");
                let relative = path.strip_prefix(root()).expect("below the root");
                found.push((relative.to_string_lossy().replace('\\', "/"), text));
            }
        }
    }
    found.sort();
    found
}

/// The offset just past the item whose header starts at `from`: its closing brace or semicolon.
pub(crate) fn item_end(code: &str, from: usize) -> usize {
    let mut nested = 0_i32;
    let mut braces = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested -= 1,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces <= 0 {
                    return offset + 1;
                }
            }
            b';' if nested == 0 && braces == 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Whether a byte can be part of an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A file is a test as a whole if it lies in a `tests` folder, or is called `tests.rs`; the library and
/// the programs of the package `tests` are not.
fn is_test_path(path: &str) -> bool {
    let mut folders: Vec<&str> = path.split('/').collect();
    let name = folders.pop().unwrap_or("");
    !path.starts_with("tests/src/") && (name == "tests.rs" || folders.contains(&"tests"))
}

/// First and last line of everything under `#[cfg(test)]`, `#[cfg(all(test, ...))]` or `#[test]`.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    for mark in ["#[cfg(test)]", "#[cfg(all(test,", "#[test]"] {
        for (start, _) in code.match_indices(mark) {
            let attribute_end = start + code[start..].find(']').unwrap_or(0) + 1;
            let end = item_end(code, attribute_end);
            let line = |offset: usize| code[..offset].matches('\n').count();
            items.push((line(start), line(end)));
        }
    }
    items
}

/// The stems of files that a `#[cfg(test)] mod name;` brings in.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.rsplit_once('/') {
        Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder.to_owned(),
        _ => source.path.trim_end_matches(".rs").to_owned(),
    };
    let mut modules = Vec::new();
    for (start, mark) in source.code.match_indices("#[cfg(test)]") {
        let item = &source.code[start + mark.len()..item_end(&source.code, start + mark.len())];
        let words: Vec<&str> = item.trim_end_matches(';').split_whitespace().collect();
        if let (true, [.., "mod", name]) = (item.ends_with(';'), words.as_slice()) {
            modules.push(format!("{folder}/{name}"));
        }
    }
    modules
}

/// The text with comments, strings and characters blanked; line ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        for byte in code.iter_mut().take(end).skip(at) {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none starts there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at
            + rest
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + comment_length(rest);
    }
    if rest.starts_with(b"\"") {
        return at + quoted_length(rest, b'"');
    }
    if rest.starts_with(b"r") && (at == 0 || bytes[at - 1] == b'b' || !is_word(bytes[at - 1])) {
        return at + raw_length(rest);
    }
    if rest.starts_with(b"'\\") {
        return at + quoted_length(rest, b'\'');
    }
    if rest.starts_with(b"'") {
        // A character is closed within four bytes of UTF-8; a lifetime is not closed at all.
        let width = rest
            .get(1)
            .map_or(1, |byte| byte.leading_ones().max(1) as usize);
        if rest.get(1 + width) == Some(&b'\'') {
            return at + width + 2;
        }
    }
    at
}

/// Bytes of a block comment; they nest.
fn comment_length(rest: &[u8]) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Bytes of a string or character with escapes.
fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    rest.len().min(at + 1)
}

/// Bytes of a raw string; 0 if none starts here.
fn raw_length(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let body = 2 + hashes;
    let end = rest[body..]
        .windows(close.len())
        .position(|window| window == close);
    end.map_or(rest.len(), |end| body + end + close.len())
}

#[test]
fn comments_strings_and_characters_are_not_code() {
    let text = concat!(
        "let a = \"{ // }\\\" {\"; // { fn x\n",
        "let b = r#\"{ \" }\"#; /* { /* } */ */ let c = '{'; let d: &'static str = b\"{\";\n",
        "let e = '\\''; let f = '\u{e9}';\n",
    );
    let code = blank(text);
    assert_eq!(code.len(), text.len());
    assert!(!code.contains(['{', '}']), "left over: {code}");
    assert!(code.contains("let d: &'static str = b"), "{code}");
    assert!(code.contains("let f ="), "{code}");
}

#[test]
fn only_the_lines_of_a_test_are_test_lines() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn b() {}\n}\nfn c() {}\n";
    let source = Source::new("node/src/x.rs", text);
    assert_eq!(
        source.test_lines,
        [false, true, true, true, true, true, false]
    );
    assert!(
        Source::new("tests/road.rs", text)
            .test_lines
            .iter()
            .all(|test| *test)
    );
    assert!(!Source::new("tests/src/lib.rs", text).test_lines[0]);
}

#[test]
fn a_file_that_only_tests_include_is_a_test() {
    let source = Source::new(
        "sim/src/check/mod.rs",
        "#[cfg(test)]\nmod stories;\nmod other;\n",
    );
    assert_eq!(test_modules(&source), ["sim/src/check/stories"]);
}
