//! One frame on a stream: `type | length | body`, then the end.
//!
//! The header is judged before the body is read, and a body's buffer grows with what has come, not
//! with what was announced. Source: `docs/spec/formats.md` [FRM-1], `docs/spec/links.md` [LNK-4].

use std::io;

use bytes::Bytes;
use swarm_proto::wire::frames::{FRAME_HEADER_BYTES, FrameKind, Speaker, Way};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A message as links carry it; what its body means is decoded elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The type.
    pub kind: FrameKind,
    /// The body: at most [`FrameKind::body_bytes_max`] bytes.
    pub body: Bytes,
}

impl Frame {
    /// Takes a type and its body.
    pub fn new(kind: FrameKind, body: impl Into<Bytes>) -> Self {
        Self {
            kind,
            body: body.into(),
        }
    }

    /// Bytes on the wire.
    pub fn wire_bytes(&self) -> usize {
        FRAME_HEADER_BYTES.saturating_add(self.body.len())
    }

    /// Whether a peer would take it for its length.
    pub fn fits(&self) -> bool {
        self.body.len() <= self.kind.body_bytes_max()
    }

    pub(crate) fn header(&self) -> [u8; FRAME_HEADER_BYTES] {
        let length = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        let [a, b] = self.kind.code().to_be_bytes();
        let [c, d, e, f] = length.to_be_bytes();
        [a, b, c, d, e, f]
    }
}

/// What is wrong with what a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// No type has this number, or this peer may not send it this way.
    #[error("a frame of type {0:#06x} is not taken here")]
    Unknown(u16),
    /// The length is above the type's maximum ([FRM-1]).
    #[error("a frame of type {kind:#06x} announces {bytes} bytes")]
    OverLength {
        /// The type's number.
        kind: u16,
        /// The announced length.
        bytes: u32,
    },
    /// The stream went on after the frame.
    #[error("bytes after the end of a frame")]
    Trailing,
    /// The stream ended inside the frame.
    #[error("a frame is shorter than it says")]
    Short,
    /// The sender gave the stream up; it may, so this counts against nobody.
    #[error("a frame was cut off")]
    Cut,
}

/// A header that was judged good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced {
    kind: FrameKind,
    bytes: usize,
}

/// Reads one frame that `speaker` sent `way`, up to the end of the stream.
///
/// # Errors
/// [`FrameFault`]; nothing of a body is read unless its header is good.
pub async fn read_frame<R>(stream: &mut R, speaker: Speaker, way: Way) -> Result<Frame, FrameFault>
where
    R: AsyncRead + Unpin + Send,
{
    let announced = read_header(stream, speaker, way).await?;
    read_body(stream, announced).await
}

pub(crate) async fn read_header<R>(
    stream: &mut R,
    speaker: Speaker,
    way: Way,
) -> Result<Announced, FrameFault>
where
    R: AsyncRead + Unpin + Send,
{
    let mut header = [0; FRAME_HEADER_BYTES];
    let read = stream.read_exact(&mut header).await;
    read.map_err(ended)?;
    let [a, b, c, d, e, f] = header;
    judge(
        u16::from_be_bytes([a, b]),
        u32::from_be_bytes([c, d, e, f]),
        speaker,
        way,
    )
}

pub(crate) async fn read_body<R>(stream: &mut R, announced: Announced) -> Result<Frame, FrameFault>
where
    R: AsyncRead + Unpin + Send,
{
    let bytes = u64::try_from(announced.bytes).unwrap_or(u64::MAX);
    let mut body = Vec::with_capacity(announced.bytes.min(BODY_BYTES_FIRST));
    let mut rest = (&mut *stream).take(bytes);
    let read = rest.read_to_end(&mut body).await;
    if read.map_err(ended)? != announced.bytes {
        return Err(FrameFault::Short);
    }
    match stream.read(&mut [0]).await {
        Ok(0) => Ok(Frame::new(announced.kind, body)),
        Ok(_) => Err(FrameFault::Trailing),
        Err(failure) => Err(ended(failure)),
    }
}

fn ended(failure: io::Error) -> FrameFault {
    if failure.kind() == io::ErrorKind::UnexpectedEof {
        FrameFault::Short
    } else {
        FrameFault::Cut
    }
}

fn judge(code: u16, length: u32, speaker: Speaker, way: Way) -> Result<Announced, FrameFault> {
    let kind = FrameKind::from_code(code)
        .filter(|kind| kind.may_travel(speaker, way))
        .ok_or(FrameFault::Unknown(code))?;
    match usize::try_from(length) {
        Ok(bytes) if bytes <= kind.body_bytes_max() => Ok(Announced { kind, bytes }),
        Ok(_) | Err(_) => Err(FrameFault::OverLength {
            kind: code,
            bytes: length,
        }),
    }
}

/// Room for a body before any of it has come: a small envelope's worth.
const BODY_BYTES_FIRST: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8], speaker: Speaker, way: Way) -> Result<Frame, FrameFault> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut stream = bytes;
        runtime.block_on(read_frame(&mut stream, speaker, way))
    }

    fn written(frame: &Frame) -> Vec<u8> {
        [&frame.header()[..], &frame.body].concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_frame_comes_back_as_it_was_written(
            kind in proptest::sample::select(FrameKind::ALL.to_vec()),
            part in 0.0..=1.0_f64,
            fill: u8,
        ) {
            let bytes = (kind.body_bytes_max() as f64 * part) as usize;
            let frame = Frame::new(kind, vec![fill; bytes]);
            for way in [Way::Ask, Way::Tell, Way::Answer] {
                let expected = if kind.may_travel(Speaker::Relay, way) {
                    Ok(frame.clone())
                } else {
                    Err(FrameFault::Unknown(kind.code()))
                };
                prop_assert_eq!(read(&written(&frame), Speaker::Relay, way), expected);
            }
        }
    }

    /// [FRM-1]
    #[test]
    fn a_length_above_the_maximum_is_seen_before_the_body() {
        let mut bytes = vec![0x03, 0x01];
        bytes.extend_from_slice(&7_169_u32.to_be_bytes());
        assert_eq!(
            read(&bytes, Speaker::Client, Way::Ask),
            Err(FrameFault::OverLength {
                kind: 0x0301,
                bytes: 7_169
            })
        );
    }

    #[test]
    fn a_frame_ends_where_it_says() {
        let frame = Frame::new(FrameKind::ListAsk, vec![1; 36]);
        let mut bytes = written(&frame);
        bytes.push(0);
        assert_eq!(
            read(&bytes, Speaker::Client, Way::Ask),
            Err(FrameFault::Trailing)
        );
        bytes.truncate(41);
        assert_eq!(
            read(&bytes, Speaker::Client, Way::Ask),
            Err(FrameFault::Short)
        );
    }

    /// [LNK-4]
    #[test]
    fn any_bytes_are_a_frame_or_a_fault() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        bolero::check!().for_each(|bytes: &[u8]| {
            for speaker in [Speaker::Client, Speaker::Relay] {
                for way in [Way::Ask, Way::Tell, Way::Answer] {
                    let mut stream = bytes;
                    if let Ok(frame) = runtime.block_on(read_frame(&mut stream, speaker, way)) {
                        assert!(frame.fits());
                        assert!(frame.kind.may_travel(speaker, way));
                        assert_eq!(written(&frame), bytes);
                    }
                }
            }
        });
    }
}
