//! The control socket: a Unix socket in the relay's home, open to its owner only.
//!
//! One line of JSON asks, one line answers: `{"ask":"status"}` is answered by
//! `{"ok":true,"status":{...}}`, `{"ask":{"holds":["<envelope id>", ...]}}` by `{"ok":true,"holds":[...]}`
//! with those of the ids that are durable here, `{"ask":{"standing":"<first digits of a node id>"}}` by
//! `{"ok":true,"standing":{...}}`, `{"ask":"drain"}`, after which the relay hands over what it
//! holds and leaves, by `{"ok":true}`, anything else by `{"ok":false,"error":"..."}`. Stopping a relay is a
//! signal's work.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{Standing, Status};
use swarm_proto::id::EnvelopeId;
use swarm_proto::limits;

/// Makes a snapshot when somebody asks.
pub type StatusSource = Arc<dyn Fn() -> BoxFuture<'static, Status> + Send + Sync>;

/// Says which of some envelopes are durable here; `None` if the store does not answer in time.
pub type HoldsSource =
    Arc<dyn Fn(Vec<EnvelopeId>) -> BoxFuture<'static, Option<Vec<EnvelopeId>>> + Send + Sync>;

/// Has the relay leave for good.
pub type DrainSource = Arc<dyn Fn() -> BoxFuture<'static, io::Result<()>> + Send + Sync>;

/// Says how the relay whose node id begins so was found to keep what it had, or why not.
pub type StandingSource =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Standing, String>> + Send + Sync>;

/// Where the socket's answers come from.
#[derive(Clone)]
pub struct Sources {
    /// The snapshot.
    pub status: StatusSource,
    /// Which envelopes are here.
    pub holds: HoldsSource,
    /// What drains the relay.
    pub drain: DrainSource,
    /// How others stand.
    pub standing: StandingSource,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    ask: Ask,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Status,
    Drain,
    /// Envelope ids, 64 hexadecimal digits each.
    Holds(Vec<String>),
    /// The first hexadecimal digits of a node id.
    Standing(String),
}

#[derive(Default, Serialize, Deserialize)]
struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<Standing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Opens the socket and serves it in a task of `tracker` until `stop`.
///
/// A socket left by a crash is replaced; one on which somebody answers is not.
pub fn serve(
    path: &Path,
    sources: Sources,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), SocketFailure> {
    check_length(path)?;
    let io = |source| SocketFailure::Io {
        path: path.to_owned(),
        source,
    };
    if StdUnixStream::connect(path).is_ok() {
        return Err(SocketFailure::Taken(path.to_owned()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        Ok(()) | Err(_) => {}
    }
    // The home is closed to others (0700), so nobody can come in before the mode is set.
    let listener = UnixListener::bind(path).map_err(io)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    let path = path.to_owned();
    let inner = tracker.clone();
    tracker.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept(&listener, &sources, &inner, &stop) => {}
        }
        let _ = std::fs::remove_file(path);
    });
    Ok(())
}

async fn accept(
    listener: &UnixListener,
    sources: &Sources,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CALLERS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (sources, stop) = (sources.clone(), stop.clone());
                tracker.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = tokio::time::timeout(TALK_MAX, talk(stream, sources)) => {}
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!("the control socket cannot accept: {error}");
                // Out of file descriptors, most likely: others have to close theirs first.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn talk(stream: UnixStream, sources: Sources) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        let got = (&mut reader)
            .take(REQUEST_BYTES_MAX)
            .read_line(&mut line)
            .await?;
        if got == 0 {
            return Ok(());
        }
        let whole = line.ends_with('\n');
        let answer = match serde_json::from_str::<Request>(line.trim_end()) {
            Ok(Request { ask: Ask::Status }) => Answer {
                ok: true,
                status: Some((sources.status)().await),
                ..Answer::default()
            },
            Ok(Request { ask: Ask::Drain }) => match (sources.drain)().await {
                Ok(()) => Answer {
                    ok: true,
                    ..Answer::default()
                },
                Err(error) => Answer::no(error.to_string()),
            },
            Ok(Request {
                ask: Ask::Holds(ids),
            }) => holds(&sources, &ids).await.unwrap_or_else(Answer::no),
            Ok(Request {
                ask: Ask::Standing(node),
            }) => match (sources.standing)(node).await {
                Ok(standing) => Answer {
                    ok: true,
                    standing: Some(standing),
                    ..Answer::default()
                },
                Err(error) => Answer::no(error),
            },
            Err(error) => Answer::no(error.to_string()),
        };
        let mut text = serde_json::to_string(&answer)?;
        text.push('\n');
        writer.write_all(text.as_bytes()).await?;
        if !whole {
            return Ok(());
        }
    }
}

async fn holds(sources: &Sources, ids: &[String]) -> Result<Answer, String> {
    if ids.len() > limits::IDS_PER_MESSAGE_MAX {
        return Err(format!("at most {} ids", limits::IDS_PER_MESSAGE_MAX));
    }
    let ids = ids
        .iter()
        .map(|id| EnvelopeId::from_hex(id).ok_or("not an envelope id"));
    let ids: Vec<EnvelopeId> = ids.collect::<Result<_, _>>()?;
    let here = (sources.holds)(ids).await;
    let here = here.ok_or("the store does not answer")?;
    Ok(Answer {
        ok: true,
        holds: Some(here.iter().map(EnvelopeId::to_hex).collect()),
        ..Answer::default()
    })
}

impl Answer {
    fn no(error: impl Into<String>) -> Self {
        Self {
            error: Some(error.into()),
            ..Self::default()
        }
    }
}

/// Asks the relay whose socket is at `path` for a snapshot.
pub async fn ask(path: &Path) -> Result<Status, SocketFailure> {
    let answer = question(path, Ask::Status).await?;
    answer.status.ok_or_else(|| nothing(answer.error))
}

/// Asks the relay whose socket is at `path` which of these envelopes are durable there; `ids` are at most
/// [`limits::IDS_PER_MESSAGE_MAX`] times 64 hexadecimal digits.
pub async fn ask_holds(path: &Path, ids: Vec<String>) -> Result<Vec<String>, SocketFailure> {
    let answer = question(path, Ask::Holds(ids)).await?;
    answer.holds.ok_or_else(|| nothing(answer.error))
}

/// Asks the relay whose socket is at `path` how the relay whose node id begins with `node` stands there.
pub async fn ask_standing(path: &Path, node: &str) -> Result<Standing, SocketFailure> {
    let answer = question(path, Ask::Standing(node.to_lowercase())).await?;
    answer.standing.ok_or_else(|| nothing(answer.error))
}

/// Has the relay whose socket is at `path` leave for good; [`Status::repair`] tells how far it is.
pub async fn ask_drain(path: &Path) -> Result<(), SocketFailure> {
    let answer = question(path, Ask::Drain).await?;
    if answer.ok {
        Ok(())
    } else {
        Err(nothing(answer.error))
    }
}

fn nothing(error: Option<String>) -> SocketFailure {
    let empty = || SocketFailure::Answer("nothing in it".to_owned());
    error.map_or_else(empty, SocketFailure::Declined)
}

async fn question(path: &Path, ask: Ask) -> Result<Answer, SocketFailure> {
    check_length(path)?;
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            SocketFailure::NotRunning(path.to_owned())
        }
        _ => SocketFailure::Io {
            path: path.to_owned(),
            source,
        },
    };
    let talk = async {
        let mut stream = UnixStream::connect(path).await?;
        let mut text = serde_json::to_string(&Request { ask })?;
        text.push('\n');
        stream.write_all(text.as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream)
            .take(ANSWER_BYTES_MAX)
            .read_line(&mut line)
            .await?;
        Ok(line)
    };
    let line = tokio::time::timeout(TALK_MAX, talk)
        .await
        .map_err(|_| SocketFailure::Silent(path.to_owned()))?
        .map_err(io)?;
    serde_json::from_str(&line).map_err(|error| SocketFailure::Answer(error.to_string()))
}

fn check_length(path: &Path) -> Result<(), SocketFailure> {
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(SocketFailure::Long {
            path: path.to_owned(),
            bytes,
        });
    }
    Ok(())
}

/// Why the control socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketFailure {
    /// The path does not fit.
    #[error(
        "{}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes, this one {bytes}; choose a shorter --home",
        path.display()
    )]
    Long {
        /// Which.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Another relay answers there.
    #[error("{}: another relay answers on this socket", .0.display())]
    Taken(PathBuf),
    /// Nobody answers there.
    #[error("{}: no relay is running on this home; `poste-node run` starts it", .0.display())]
    NotRunning(PathBuf),
    /// Somebody is there and says nothing.
    #[error("{}: the relay does not answer", .0.display())]
    Silent(PathBuf),
    /// The answer is not understood.
    #[error("the relay's answer: {0}")]
    Answer(String),
    /// The relay declines, and says why.
    #[error("{0}")]
    Declined(String),
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// `sun_path` has 108 bytes on Linux, the last of them zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Callers served at once; the next waits.
const CALLERS_MAX: usize = 8;
/// A caller's time, so that eight idle ones cannot keep the operator out.
const TALK_MAX: Duration = Duration::from_secs(10);
/// As many ids as one question may name, in hexadecimal with their quotes, and some room.
const REQUEST_BYTES_MAX: u64 = 80 * 1024;
/// A status with every epoch and hour of 31 days is about 100 KiB.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Sources {
        let status = || Status {
            faults: 7,
            ..Status::default()
        };
        let odd = |id: &EnvelopeId| id.0.last().is_some_and(|last| last % 2 == 1);
        Sources {
            status: Arc::new(move || Box::pin(async move { status() })),
            holds: Arc::new(move |ids| {
                Box::pin(async move { Some(ids.into_iter().filter(odd).collect()) })
            }),
            drain: Arc::new(|| Box::pin(async { Ok(()) })),
            standing: Arc::new(|node| Box::pin(async move { Err(format!("no {node}")) })),
        }
    }

    struct Served {
        dir: tempfile::TempDir,
        tracker: TaskTracker,
        stop: CancellationToken,
    }

    impl Served {
        fn start() -> Self {
            let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
            let dir = tempfile::tempdir().unwrap();
            let served = Self { dir, tracker, stop };
            let stop = served.stop.clone();
            serve(&served.path(), sources(), &served.tracker, stop).unwrap();
            served
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("control.sock")
        }

        async fn say(&self, bytes: &[u8]) -> String {
            let mut stream = UnixStream::connect(self.path()).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text).await;
            text
        }
    }

    #[tokio::test]
    async fn a_status_is_answered_to_the_owner_only() {
        let served = Served::start();
        assert_eq!(ask(&served.path()).await.unwrap().faults, 7);
        let mode = std::fs::metadata(served.path()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_full_question_about_envelopes_is_answered_with_those_that_are_here() {
        let served = Served::start();
        let id = |n: usize| format!("{n:064x}");
        let ids: Vec<String> = (0..limits::IDS_PER_MESSAGE_MAX).map(id).collect();
        let here = ask_holds(&served.path(), ids.clone()).await.unwrap();
        let odd: Vec<String> = ids.iter().skip(1).step_by(2).cloned().collect();
        assert_eq!(here, odd);
        let too_many = [ids, vec![id(0)]].concat();
        let error = ask_holds(&served.path(), too_many).await.unwrap_err();
        assert!(error.to_string().contains("at most 1024 ids"), "{error}");
    }

    #[tokio::test]
    async fn nonsense_is_answered_with_an_error_and_the_socket_stays() {
        let served = Served::start();
        let long = vec![b'x'; 200_000];
        for bytes in [
            &b"\n"[..],
            b"{}\n",
            b"{\"ask\":\"keys\"}\n",
            b"{\"ask\":{\"holds\":[\"12\"]}}\n",
            b"\xff\n",
            &long,
        ] {
            let text = served.say(bytes).await;
            assert!(!text.contains("\"ok\":true"), "{text}");
        }
        ask(&served.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_crash_leaves_no_socket_in_the_way_and_a_running_relay_is_not_replaced() {
        let served = Served::start();
        let again = |served: &Served| {
            serve(
                &served.path(),
                sources(),
                &TaskTracker::new(),
                CancellationToken::new(),
            )
        };
        assert!(matches!(again(&served), Err(SocketFailure::Taken(_))));
        served.stop.cancel();
        served.tracker.close();
        served.tracker.wait().await;
        assert!(matches!(
            ask(&served.path()).await,
            Err(SocketFailure::NotRunning(_))
        ));
        drop(std::os::unix::net::UnixListener::bind(served.path()).unwrap());
        again(&served).unwrap();
        ask(&served.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_told() {
        let path = PathBuf::from("/").join("a".repeat(108));
        let error = ask(&path).await.unwrap_err().to_string();
        assert!(error.contains("at most 107 bytes, this one 109"), "{error}");
    }
}
