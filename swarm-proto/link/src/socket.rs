//! The socket of an endpoint, which counts what goes through it.
//!
//! Counted here and not link by link, so that nothing is left out: handshakes that came to nothing, links
//! that are long closed, what strangers send. It looks at lengths and at nothing else.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

use crate::counts::{LinkCount, LinkCounts};

/// A UDP socket and the counts that it adds to.
pub(crate) struct Metered {
    socket: Arc<dyn AsyncUdpSocket>,
    counts: Arc<LinkCounts>,
}

impl Metered {
    /// Takes a socket into the runtime that this is called in.
    pub(crate) fn new(socket: UdpSocket, counts: &Arc<LinkCounts>) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            socket: TokioRuntime.wrap_udp_socket(socket)?,
            counts: Arc::clone(counts),
        }))
    }
}

impl AsyncUdpSocket for Metered {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)?;
        let bytes = transmit.contents.len();
        self.counts.add(LinkCount::UdpBytesOut, bytes);
        let datagrams = transmit
            .segment_size
            .map_or(1, |each| datagrams(bytes, each));
        self.counts.add(LinkCount::DatagramsOut, datagrams);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let polled = self.socket.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(filled)) = &polled {
            for one in meta.iter().take(*filled) {
                self.counts.add(LinkCount::UdpBytesIn, one.len);
                let datagrams = datagrams(one.len, one.stride);
                self.counts.add(LinkCount::DatagramsIn, datagrams);
            }
        }
        polled
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metered")
    }
}

/// How many datagrams of `each` bytes lie in so many.
fn datagrams(bytes: usize, each: usize) -> usize {
    bytes.div_ceil(each.max(1)).max(1)
}
