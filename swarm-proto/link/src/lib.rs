//! Poste's messages over QUIC: the road between two machines.
//!
//! A relay has one [`Endpoint`] that is both served and dialled from; a correspondent has one that
//! only dials and shows no key. Links carry whole frames, one request and its answer a stream, and a
//! frame's type and length are judged before its body is read. Read in the order of a frame's road:
//!
//! 1. [`Identity`]: the node key as a TLS identity, and the pin that a dialler checks
//! 2. [`Endpoint`] and [`Link`]: dialling, hello, asking and telling
//! 3. [`Links`]: a relay's links to many others, opened on demand
//! 4. [`Serve`]: what comes in, behind caps and deadlines
//! 5. [`network_file`]: how a program learns which network it belongs to
//! 6. [`courier`]: the loop that drives a correspondent's machine over links of its own
//!
//! What bodies mean is no concern of this crate. Source: `docs/spec/links.md` and
//! `docs/spec/formats.md`, *Frames on a link*.

mod accept;
mod admission;
mod config;
mod counts;
pub mod courier;
mod endpoint;
mod frame;
mod hello;
mod identity;
mod link;
pub mod network_file;
mod pool;
mod socket;
mod subnet;
#[cfg(test)]
mod tests;
mod tickets;

pub use accept::{Answer, ClientLink, Heard, Peer, Serve};
pub use config::LinkConfig;
pub use counts::{LinkCount, LinkCounts};
pub use endpoint::{Endpoint, EndpointFailure, LinkFailure, bind};
pub use frame::{Frame, FrameFault, read_frame};
pub use hello::{Clock, ClockHeard, Greeting, Versions};
pub use identity::Identity;
pub use link::{AskFailure, Link, Refused, TellFailure};
pub use pool::{Links, Target};
