//! One link to one relay, greeted: asking and telling over it, whichever side dialled ([LNK-12]).
//!
//! A link is a handle; one that was dialled lives until its last handle is dropped or either side closes it,
//! one that was taken in belongs to its dialler. What comes in on it is served in `accept.rs`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, SendStream, StoppedError, VarInt};
use swarm_proto::id::NodeKey;
use swarm_proto::wire::codec::{Malformed, Reader, Writer};
use swarm_proto::wire::frames::{FrameKind, Speaker, Way};
use tokio::time::timeout;

use crate::admission::Activity;
use crate::counts::{LinkCount, LinkCounts};
use crate::frame::{Frame, FrameFault, read_frame};
use crate::hello::ClockHeard;

/// A link to a relay whose key was proven.
#[derive(Clone, Debug)]
pub struct Link {
    pub(crate) connection: Connection,
    pub(crate) counts: Arc<LinkCounts>,
    pub(crate) key: NodeKey,
    pub(crate) speaker: Speaker,
    pub(crate) version: u16,
    pub(crate) clock: ClockHeard,
    pub(crate) frame_wait: Duration,
    pub(crate) silence_max: Duration,
    /// Streams of the link, whoever opened them.
    pub(crate) activity: Arc<Activity>,
    /// Keeps a link open that this side dialled.
    pub(crate) hold: Option<Arc<Hold>>,
}

/// Whoever holds one wants a link that this side dialled; with the last one it ends.
#[derive(Debug)]
pub(crate) struct Hold(pub(crate) Connection);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.close(VarInt::from_u32(0), b"done");
    }
}

impl Link {
    /// The relay at the other end.
    pub fn node_key(&self) -> NodeKey {
        self.key
    }

    /// The protocol version in use.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// What the hello told of the other clock; wrong by at most half the round trip.
    pub fn clock(&self) -> ClockHeard {
        self.clock
    }

    /// Sends `frame` and waits for its one answer, at most for `deadline`; less if nothing at all is heard
    /// of the peer, so that each relay of a road notices its own dead neighbour before the one behind it
    /// gives up.
    ///
    /// # Errors
    /// [`AskFailure`]. After a failure the relay may or may not have acted.
    pub async fn ask(&self, frame: &Frame, deadline: Duration) -> Result<Frame, AskFailure> {
        if !frame.fits() || !frame.kind.may_travel(self.speaker, Way::Ask) {
            return Err(AskFailure::Unsendable(frame.kind));
        }
        let _busy = self.activity.busy();
        let heard = self.datagrams_heard();
        let mut exchange = pin!(self.exchange(frame));
        let first = self.silence_max.min(deadline);
        if let Ok(answer) = timeout(first, &mut exchange).await {
            return answer;
        }
        if self.datagrams_heard() != heard
            && let Ok(answer) = timeout(deadline.saturating_sub(first), exchange).await
        {
            return answer;
        }
        self.counts.one(LinkCount::Late);
        Err(AskFailure::Late {
            silent: self.datagrams_heard() == heard,
        })
    }

    /// Sends `frame` and waits until the peer's machine has acknowledged all of it, so that what a link took
    /// with it when it ended is known.
    ///
    /// # Errors
    /// [`TellFailure`].
    pub async fn tell(&self, frame: &Frame) -> Result<(), TellFailure> {
        if !frame.fits() || !frame.kind.may_travel(self.speaker, Way::Tell) {
            return Err(TellFailure::Unsendable(frame.kind));
        }
        let _busy = self.activity.busy();
        let sent = async {
            let stream = self.connection.open_uni().await?;
            let acknowledged = stream.stopped();
            if let Err(Unsent) = send_frame(stream, frame).await {
                let reason = self.connection.close_reason();
                return Err(reason.map_or(TellFailure::Cut, TellFailure::Lost));
            }
            self.counts.sent(frame);
            match acknowledged.await {
                Ok(None) => Ok(()),
                Ok(Some(_unwanted)) => Err(TellFailure::Cut),
                Err(StoppedError::ConnectionLost(reason)) => Err(TellFailure::Lost(reason)),
                Err(StoppedError::ZeroRttRejected) => Err(TellFailure::Cut),
            }
        };
        match timeout(self.frame_wait, sent).await {
            Ok(sent) => sent,
            Err(_late) => {
                self.counts.one(LinkCount::Late);
                Err(TellFailure::Late)
            }
        }
    }

    /// Whether the link can still be used, as far as is known.
    pub fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Closes the link for every holder of a handle.
    pub fn close(&self) {
        self.connection.close(VarInt::from_u32(0), b"done");
    }

    async fn exchange(&self, frame: &Frame) -> Result<Frame, AskFailure> {
        let (send, mut receive) = self.connection.open_bi().await?;
        if send_frame(send, frame).await.is_ok() {
            self.counts.sent(frame);
        }
        let read = read_frame(&mut receive, Speaker::Relay, Way::Answer).await;
        match read {
            Ok(answer) => {
                self.counts.received(&answer);
                answered(answer)
            }
            Err(FrameFault::Cut | FrameFault::Short) => match self.connection.close_reason() {
                Some(reason) => Err(reason.into()),
                None => Err(AskFailure::Cut),
            },
            Err(fault) => {
                self.counts.one(LinkCount::Fault);
                Err(AskFailure::Fault(fault))
            }
        }
    }

    /// Datagrams that came from the peer.
    pub(crate) fn datagrams_heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }
}

fn answered(answer: Frame) -> Result<Frame, AskFailure> {
    if answer.kind != FrameKind::Refusal {
        return Ok(answer);
    }
    match Refused::read(answer.body) {
        Ok(refused) => Err(AskFailure::Refused(refused)),
        Err(_malformed) => Err(AskFailure::Cut),
    }
}

/// A refusal as it travels: the codes and details are those of the formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub code: u16,
    /// What the code says more.
    pub detail: u64,
}

impl Refused {
    /// The frame that says so.
    pub fn frame(self) -> Frame {
        let mut writer = Writer::with_capacity(FrameKind::Refusal.body_bytes_max());
        writer.u16(self.code).u64(self.detail);
        Frame::new(FrameKind::Refusal, writer.finish())
    }

    pub(crate) fn read(body: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let code = reader.u16("code")?;
        let detail = reader.u64("detail")?;
        reader.end()?;
        Ok(Self { code, detail })
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskFailure {
    /// The relay declined.
    #[error("refused with code {}", .0.code)]
    Refused(Refused),
    /// No answer came in time.
    #[error("no answer in time")]
    Late {
        /// Nothing at all came from the relay meanwhile: the link is probably dead.
        silent: bool,
    },
    /// The relay gave the stream up without an answer.
    #[error("the answer broke off")]
    Cut,
    /// The link ended.
    #[error("the link was lost: {0}")]
    Lost(ConnectionError),
    /// The relay answered with something that is no answer.
    #[error(transparent)]
    Fault(#[from] FrameFault),
    /// This side may not ask that, or it is too long.
    #[error("a frame of this type or length cannot be asked: {0:?}")]
    Unsendable(FrameKind),
    /// There is no link.
    #[error(transparent)]
    NoLink(#[from] crate::LinkFailure),
}

impl From<ConnectionError> for AskFailure {
    fn from(reason: ConnectionError) -> Self {
        Self::Lost(reason)
    }
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TellFailure {
    /// The relay did not take it in time.
    #[error("the message was not taken in time")]
    Late,
    /// The relay gave the stream up.
    #[error("the message broke off")]
    Cut,
    /// The link ended.
    #[error("the link was lost: {0}")]
    Lost(ConnectionError),
    /// This side may not tell that, or it is too long.
    #[error("a frame of this type or length cannot be told: {0:?}")]
    Unsendable(FrameKind),
}

impl From<ConnectionError> for TellFailure {
    fn from(reason: ConnectionError) -> Self {
        Self::Lost(reason)
    }
}

/// A frame did not get out; the link or the stream is gone.
#[derive(Debug)]
pub(crate) struct Unsent;

/// Writes a frame and ends the stream; a stream that is dropped before its end is reset, so that the
/// other side sees a change of mind and not a frame cut short.
pub(crate) async fn send_frame(stream: SendStream, frame: &Frame) -> Result<(), Unsent> {
    let mut sending = Sending {
        stream,
        done: false,
    };
    let header = Bytes::copy_from_slice(&frame.header());
    let mut parts = [header, frame.body.clone()];
    let written = sending.stream.write_all_chunks(&mut parts).await;
    written.map_err(|_| Unsent)?;
    sending.stream.finish().map_err(|_| Unsent)?;
    sending.done = true;
    Ok(())
}

struct Sending {
    stream: SendStream,
    done: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.done {
            // Fails only if the stream is closed, which is what is wanted.
            let _closed = self.stream.reset(VarInt::from_u32(0));
        }
    }
}

/// Refusal codes that links themselves use (`docs/spec/formats.md`, *Refusals*); a link that is closed
/// for one of these reasons carries the same number as its close code.
pub(crate) mod code {
    /// Too busy.
    pub(crate) const BUSY: u16 = 9;
    /// Unknown message.
    pub(crate) const UNKNOWN_MESSAGE: u16 = 12;
    /// Wrong network.
    pub(crate) const WRONG_NETWORK: u16 = 13;
    /// Wrong version.
    pub(crate) const WRONG_VERSION: u16 = 14;
    /// The close code for faults; no refusal has it.
    pub(crate) const FAULT: u16 = 256;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_comes_back() {
        let refused = Refused {
            code: 9,
            detail: 1_500,
        };
        assert_eq!(Refused::read(refused.frame().body), Ok(refused));
        assert!(Refused::read(Bytes::from_static(&[0; 9])).is_err());
    }
}
