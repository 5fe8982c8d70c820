//! `poste-node check`: what stands in a relay's way on this machine, and what to do about it.
//!
//! It looks at the home, the port, the limit on open files and the disk. Whether others reach the relay
//! is told by `status` of the running relay, which can ask them.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::Config;
use crate::home::Home;
use crate::keys::Keys;
use poste_link::network_file::NetworkFile;

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// What was looked at.
    pub name: &'static str,
    /// Whether a relay can run with it.
    pub ok: bool,
    /// What was found, and what to do if it is not well.
    pub found: String,
}

/// Runs every check; writes one file of `PROBE_BYTES` into the home and removes it.
pub fn all(home: &Home, config: &Config) -> Vec<Checked> {
    vec![
        judge(
            "keys",
            Keys::at(home.keys_dir())
                .node()
                .map(|_| "readable, closed to others".to_owned()),
        ),
        judge(
            "network file",
            NetworkFile::read(&home.network_path())
                .map(|file| format!("{}, {} founders", file.network.name, file.founders.len())),
        ),
        port(home, config),
        files(config),
        disk(home),
    ]
}

fn judge<E: std::fmt::Display>(name: &'static str, outcome: Result<String, E>) -> Checked {
    match outcome {
        Ok(found) => Checked {
            name,
            ok: true,
            found,
        },
        Err(error) => Checked {
            name,
            ok: false,
            found: error.to_string(),
        },
    }
}

fn port(home: &Home, config: &Config) -> Checked {
    if home.lock().is_err() {
        return judge::<io::Error>(
            "port",
            Ok("a relay is running; see `poste-node status`".into()),
        );
    }
    let addr = SocketAddr::new(config.listen, config.port);
    let bound = TcpListener::bind(addr).and_then(|_tcp| UdpSocket::bind(addr));
    judge(
        "port",
        bound
            .map(|_| format!("{addr} is free in TCP and UDP"))
            .map_err(|error| format!("{addr}: {error}; choose another `port` in config.toml")),
    )
}

/// Reads the soft limit from the kernel's own account of this process.
fn files(config: &Config) -> Checked {
    let wanted = u64::from(config.discovery_links_max) * 2 + FILES_BESIDE_LINKS;
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .map(|soft| soft.parse::<u64>().unwrap_or(u64::MAX));
    judge(
        "open files",
        match limit {
            None => Ok("the limit is not known on this system".to_owned()),
            Some(limit) if limit >= wanted => Ok(format!("{limit} allowed, {wanted} needed")),
            Some(limit) => Err(format!(
                "{limit} allowed, {wanted} needed: raise `ulimit -n` or LimitNOFILE"
            )),
        },
    )
}

fn disk(home: &Home) -> Checked {
    let path = home.dir().join(".speed");
    let outcome = write_probe(&path);
    let _ = std::fs::remove_file(&path);
    judge(
        "disk",
        outcome
            .map(|(wrote, sync)| {
                let mib_s = (PROBE_BYTES as u128 * 1_000) / wrote.as_millis().max(1) / 1_048_576;
                format!("{mib_s} MiB/s, a sync takes {} ms", sync.as_millis())
            })
            .map_err(|error| format!("{}: {error}", home.dir().display())),
    )
}

fn write_probe(path: &std::path::Path) -> io::Result<(Duration, Duration)> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let start = Instant::now();
    let block = vec![0xa5; 64 * 1024];
    for _ in 0..PROBE_BYTES / block.len() {
        file.write_all(&block)?;
    }
    file.sync_data()?;
    let wrote = start.elapsed();
    let start = Instant::now();
    for _ in 0..SYNCS {
        file.write_all(&[1])?;
        file.sync_data()?;
    }
    Ok((wrote, start.elapsed() / SYNCS))
}

/// Enough to be more than a disk's cache answers at once, little enough for a slow card.
const PROBE_BYTES: usize = 16 * 1024 * 1024;
/// Single syncs, averaged.
const SYNCS: u32 = 8;
/// Store, sockets, logs and room to breathe.
const FILES_BESIDE_LINKS: u64 = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Profile;

    #[test]
    fn a_taken_port_and_missing_keys_are_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.create().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::of(Profile::Home);
        config.listen = taken.local_addr().unwrap().ip();
        config.port = taken.local_addr().unwrap().port();
        let checks = all(&home, &config);
        let of = |name| checks.iter().find(|check| check.name == name).unwrap();
        assert!(!of("port").ok && of("port").found.contains("choose another"));
        assert!(!of("keys").ok && of("keys").found.contains("init"));
        assert!(!of("network file").ok);
        assert!(of("disk").ok && of("disk").found.contains("MiB/s"));
        assert!(!dir.path().join(".speed").exists());
    }
}
