//! Rules for dependencies: who may know whom, what the core may reach, licences, one of each cipher.
//!
//! It asks cargo, offline and with the lock file, for what this machine builds; other platforms resolve to
//! the same versions because the lock file is one.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};

use crate::expect_none;
use crate::tree::root;

#[test]
fn crates_know_each_other_in_one_direction() {
    let metadata = metadata();
    let own: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some((_, allowed)) = EDGES.iter().find(|(own, _)| *own == name) else {
            faults.push(format!("{name}: has no place in docs/ARCHITECTURE.md"));
            continue;
        };
        for dependency in &package.dependencies {
            let target = dependency.name.as_str();
            if own.contains(target) && !allowed.contains(&target) {
                faults.push(format!("{}: {name} -> {target}", package.manifest_path));
            }
        }
    }
    expect_none(
        &faults,
        "swarm-proto <- link <- node, client; swarm-proto <- sim; tests and benches last",
    );
}

#[test]
fn heavy_crates_stay_where_they_belong() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            let normal = dependency.kind == cargo_metadata::DependencyKind::Normal;
            let rule = HOMES.iter().find(|(name, _)| *name == dependency.name);
            let astray =
                rule.filter(|(_, homes)| normal && !homes.contains(&package.name.as_str()));
            if let Some((name, homes)) = astray {
                faults.push(format!(
                    "{}: {name} is for {homes:?}",
                    package.manifest_path
                ));
            }
        }
    }
    let client = resolved(&["poste"]);
    faults.extend(
        client
            .keys()
            .filter(|name| name.starts_with("libp2p"))
            .map(|n| format!("poste -> {n}")),
    );
    expect_none(
        &faults,
        "discovery is the relay's, storage engines the programs', oracles the tests'",
    );
}

#[test]
fn the_core_resolved_alone_reaches_no_io() {
    let mut faults = Vec::new();
    let tree = resolved(&["swarm-proto"]);
    assert!(
        tree.len() > 10,
        "cargo tree shows too little to judge: {tree:?}"
    );
    for (name, versions) in &tree {
        if IO_CRATES.contains(&name.as_str()) {
            faults.push(format!("swarm-proto -> {name}"));
        }
        for feature in versions
            .values()
            .flatten()
            .filter(|f| IO_FEATURES.contains(&f.as_str()))
        {
            faults.push(format!(
                "swarm-proto -> {name} with the feature `{feature}`"
            ));
        }
    }
    expect_none(
        &faults,
        "the core has no clock, no files, no sockets and no randomness of its own",
    );
}

#[test]
fn relays_carry_one_version_of_each_cipher() {
    let tree = resolved(&["swarm-proto", "poste-link", "poste-node"]);
    let mut faults = Vec::new();
    for name in ONE_VERSION {
        let versions: Vec<&String> = tree
            .get(*name)
            .map(|v| v.keys().collect())
            .unwrap_or_default();
        if versions.len() != 1 {
            faults.push(format!("{name}: {versions:?}; see `cargo tree -i {name}`"));
        }
    }
    expect_none(
        &faults,
        "one implementation of each cipher to review and to measure",
    );
}

#[test]
fn every_licence_is_compatible() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let licence = package.license.clone().unwrap_or_default();
        if !is_compatible(&licence) {
            faults.push(format!("{} {}: `{licence}`", package.name, package.version));
        }
    }
    expect_none(
        &faults,
        "what we ship can be shipped under MPL-2.0 (the list is in tests/tidy/graph.rs)",
    );
}

#[test]
fn our_crates_are_mpl_and_not_published() {
    let mut faults = Vec::new();
    for package in metadata().workspace_packages() {
        if package.license.as_deref() != Some("MPL-2.0") {
            faults.push(format!(
                "{}: licence {:?}",
                package.manifest_path, package.license
            ));
        }
        if package.publish != Some(Vec::new()) {
            faults.push(format!("{}: could be published", package.manifest_path));
        }
    }
    expect_none(
        &faults,
        "one licence; no crate leaves the repository by accident",
    );
}

/// Each crate and those of ours that it may know.
const EDGES: &[(&str, &[&str])] = &[
    ("swarm-proto", &[]),
    ("poste-link", &["swarm-proto"]),
    ("poste-node", &["swarm-proto", "poste-link"]),
    ("poste", &["swarm-proto", "poste-link"]),
    ("poste-sim", &["swarm-proto"]),
    (
        "poste-tests",
        &[
            "swarm-proto",
            "poste-link",
            "poste-node",
            "poste",
            "poste-sim",
        ],
    ),
    (
        "poste-benches",
        &["swarm-proto", "poste-link", "poste-node", "poste"],
    ),
];

/// Crates that cost much or read the world, and the packages that may depend on them outside tests.
const HOMES: &[(&str, &[&str])] = &[
    ("libp2p", &["poste-node"]),
    (
        "redb",
        &["poste-node", "poste", "poste-tests", "poste-benches"],
    ),
    ("quinn", &["poste-link"]),
    ("rusqlite", &["poste-benches"]),
    ("negentropy", &["poste-benches"]),
    ("sphinx-packet", &["poste-benches"]),
    ("x-wing", &[]),
];

const IO_CRATES: &[&str] = &[
    "tokio",
    "libp2p",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "redb",
    "mio",
    "socket2",
    "getrandom",
    "rustls",
    "futures",
    "async-io",
    "libc",
    "nix",
    "rustix",
    "rand",
    "tempfile",
    "tracing",
];

const IO_FEATURES: &[&str] = &[
    "std",
    "getrandom",
    "os_rng",
    "sys_rng",
    "thread_rng",
    "rayon",
    "mmap",
];

const ONE_VERSION: &[&str] = &[
    "blake3",
    "chacha20poly1305",
    "curve25519-dalek",
    "ed25519-dalek",
    "ml-kem",
    "x25519-dalek",
];

/// Licences whose terms we can keep when shipping a binary under MPL-2.0.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml"));
    command
        .other_options(["--offline", "--locked", "--filter-platform", &host()].map(String::from));
    command
        .exec()
        .expect("cargo metadata, offline, with the lock file as it is")
}

/// Crate to version to features: the normal dependencies of these packages, resolved without the rest of
/// the workspace, proc macros left out because they run while building only.
fn resolved(packages: &[&str]) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "--prefix", "none"]);
    command.args(["--edges", "normal,no-proc-macro", "--format", "{p}|{f}"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let mut tree: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for line in output(command).lines() {
        let Some((package, features)) = line.split_once('|') else {
            continue;
        };
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let features = features
            .trim_end_matches(" (*)")
            .split(',')
            .filter(|f| !f.is_empty());
        let known = tree
            .entry(name.to_owned())
            .or_default()
            .entry(version.to_owned())
            .or_default();
        known.extend(features.map(str::to_owned));
    }
    tree
}

/// The platform that this machine builds for.
fn host() -> String {
    let mut command = Command::new(env!("CARGO"));
    command.arg("-vV");
    let text = output(command);
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("cargo names its host")
        .to_owned()
}

fn output(mut command: Command) -> String {
    let done = command.output().expect("cargo runs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?} failed:\n{told}");
    String::from_utf8(done.stdout).expect("cargo writes UTF-8")
}

/// Whether an SPDX expression can be met with [`LICENCES`]: all of an `AND`, one of an `OR`.
fn is_compatible(expression: &str) -> bool {
    let expression = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    let mut at = 0;
    !words.is_empty() && alternatives(&words, &mut at) && at == words.len()
}

fn alternatives(words: &[&str], at: &mut usize) -> bool {
    let mut met = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(words, at);
    }
    met
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut met = licence(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= licence(words, at);
    }
    met
}

fn licence(words: &[&str], at: &mut usize) -> bool {
    let word = words.get(*at).copied().unwrap_or("");
    *at += 1;
    if word == "(" {
        let met = alternatives(words, at);
        *at += 1;
        return met;
    }
    // An exception only widens what a licence allows.
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    LICENCES.contains(&word)
}

#[test]
fn a_licence_expression_is_judged_as_written() {
    for good in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-2.0 OR (MIT AND ISC)",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_compatible(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND AGPL-3.0",
        "MIT )",
    ] {
        assert!(!is_compatible(bad), "{bad}");
    }
}
