//! The first words on a link: which versions, which network, what time ([FRM-2]).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use swarm_proto::id::NetworkId;
use swarm_proto::time::UnixTime;
use swarm_proto::wire::codec::{Malformed, Reader, Writer};
use swarm_proto::wire::frames::FrameKind;

use crate::frame::Frame;

/// What one side says of itself.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The network that this program belongs to.
    pub network: NetworkId,
    /// The protocol versions that it speaks.
    pub versions: Versions,
    /// Where it reads the time.
    pub clock: Clock,
}

impl Greeting {
    /// A greeting of version 1 by the system's clock.
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            versions: Versions {
                lowest: 1,
                highest: 1,
            },
            clock: Clock::system(),
        }
    }
}

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest one spoken.
    pub lowest: u16,
    /// The highest one spoken.
    pub highest: u16,
}

impl Versions {
    /// The highest version that both speak; `None` if there is none.
    pub fn common(self, other: Self) -> Option<u16> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }
}

/// A source of wall-clock time, so that a whole relay can be run by another one.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixTime + Send + Sync>);

impl Clock {
    /// The system's clock; 1970 if it stands before that.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let ms = since.unwrap_or_default().as_millis();
            UnixTime(u64::try_from(ms).unwrap_or(u64::MAX))
        })
    }

    /// Any other clock.
    pub fn new(read: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time.
    pub fn read(&self) -> UnixTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What a hello told of the other side's clock. It says where that clock stands at any later moment, so a
/// step of our own calendar clock does not spoil it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockHeard {
    /// What it showed, the way here counted in.
    pub theirs: UnixTime,
    /// When that was, by this machine's monotonic clock.
    pub at: Instant,
    /// By how much `theirs` may be wrong: more if a machine or the road was slow.
    pub error: Duration,
}

impl ClockHeard {
    /// How far their clock is ahead of ours, which shows `ours` at this moment, in milliseconds; saturates.
    pub fn ahead_ms(&self, ours: UnixTime) -> i64 {
        offset_ms(self.theirs.plus(self.at.elapsed()), ours)
    }
}

/// The body of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: Versions,
    pub(crate) network: NetworkId,
    pub(crate) time: UnixTime,
}

impl Hello {
    pub(crate) fn of(greeting: &Greeting) -> Self {
        Self {
            versions: greeting.versions,
            network: greeting.network,
            time: greeting.clock.read(),
        }
    }

    pub(crate) fn frame(&self) -> Frame {
        let mut writer = Writer::with_capacity(FrameKind::Hello.body_bytes_max());
        writer
            .u16(self.versions.lowest)
            .u16(self.versions.highest)
            .put(&self.network.0)
            .u64(self.time.0);
        Frame::new(FrameKind::Hello, writer.finish())
    }

    pub(crate) fn read(body: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let lowest = reader.u16("lowest version")?;
        let highest = reader.u16("highest version")?;
        if lowest > highest {
            return Err(reader.wrong("highest version"));
        }
        let network = NetworkId(reader.array("network id")?);
        let time = UnixTime(reader.u64("time")?);
        reader.end()?;
        Ok(Self {
            versions: Versions { lowest, highest },
            network,
            time,
        })
    }
}

/// How far `theirs` is ahead of `ours`, in milliseconds; saturates.
fn offset_ms(theirs: UnixTime, ours: UnixTime) -> i64 {
    let apart = i64::try_from(theirs.0.abs_diff(ours.0)).unwrap_or(i64::MAX);
    if theirs >= ours { apart } else { -apart }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPUS: &str = include_str!("../../../docs/spec/vectors/malformed-parts.txt");

    fn unhex(text: &str) -> Vec<u8> {
        let at = (0..text.len()).step_by(2);
        at.map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn versions(lowest: u16, highest: u16) -> Versions {
        Versions { lowest, highest }
    }

    /// [FRM-2]
    #[test]
    fn a_hello_comes_back_and_takes_exactly_its_bytes() {
        let hello = Hello {
            versions: versions(1, 3),
            network: NetworkId([7; 32]),
            time: UnixTime(1_800_000_000_000),
        };
        let body = hello.frame().body;
        assert_eq!(body.len(), FrameKind::Hello.body_bytes_max());
        assert_eq!(Hello::read(body.clone()), Ok(hello));
        assert!(Hello::read(body.slice(..43)).is_err());
        assert!(Hello::read([&body[..], &[0]].concat().into()).is_err());
    }

    #[test]
    fn a_range_of_versions_that_runs_backwards_is_malformed() {
        let mut body = vec![0, 2, 0, 1];
        body.resize(44, 0);
        assert_eq!(
            Hello::read(body.into()).unwrap_err().field,
            "highest version"
        );
    }

    /// The shortest bytes refused for each reason, among all beginnings of a hello, one byte more, and one changed.
    #[test]
    fn malformed_hellos_are_refused_at_the_field_of_the_corpus() {
        let refused = |bytes: &[u8]| match Hello::read(Bytes::copy_from_slice(bytes)) {
            Ok(hello) => {
                assert_eq!(hello.frame().body, bytes);
                None
            }
            Err(malformed) => Some(malformed.field),
        };
        let mut known = Vec::new();
        for line in CORPUS.lines().filter(|line| line.starts_with("hello ")) {
            let (name, bytes) = line.split_once(" =").unwrap();
            let bytes = unhex(bytes.trim());
            let field = name.strip_prefix("hello ").unwrap();
            assert_eq!(refused(&bytes), Some(field), "{name}");
            known.push(field);
        }
        let mut good = vec![0, 1, 0, 3];
        good.resize(44, 7);
        assert_eq!(refused(&good), None);
        let mut bent = vec![[good.as_slice(), &[0]].concat()];
        for at in 0..good.len() {
            bent.push(good[..at].to_vec());
            for value in [0, 0xff, good[at] ^ 1] {
                let mut bytes = good.clone();
                bytes[at] = value;
                bent.push(bytes[..=at].to_vec());
                bent.push(bytes);
            }
        }
        bent.sort_by_key(Vec::len);
        for bytes in bent {
            let field = refused(&bytes);
            let is_known = field.is_none_or(|field| known.contains(&field));
            assert!(
                is_known,
                "malformed-parts.txt lacks {field:?}: {bytes:02x?}"
            );
        }
    }

    #[test]
    fn two_programs_speak_the_highest_version_in_common() {
        assert_eq!(versions(1, 3).common(versions(2, 5)), Some(3));
        assert_eq!(versions(1, 1).common(versions(1, 9)), Some(1));
        assert_eq!(versions(1, 2).common(versions(3, 4)), None);
    }

    #[test]
    fn a_clock_ahead_has_a_positive_offset() {
        assert_eq!(offset_ms(UnixTime(1_500), UnixTime(1_000)), 500);
        assert_eq!(offset_ms(UnixTime(1_000), UnixTime(1_500)), -500);
        assert_eq!(offset_ms(UnixTime(u64::MAX), UnixTime(0)), i64::MAX);
    }
}
