//! Relays and correspondents in virtual time: the machines of `swarm-proto`, unchanged, in a world that a
//! seed decides.
//!
//! Read the modules in this order:
//!
//! 1. [`scenario`]: what world is wanted
//! 2. [`world`]: the only place that advances time
//! 3. [`links`], [`disk`], [`churn`], [`chance`]: what nature does
//! 4. [`host`]: a relay's driver; [`people`]: a correspondent's; `personas`: that of the correspondent that a
//!    relay has of its own; [`road`]: how a request gets from one to the other
//! 5. [`check`]: what must hold at every moment; [`costs`]: what it takes
//! 6. [`habits`]: what people do all day, for long runs; [`schedule`]: whom a test may
//!    kill; [`adversary`]: how relays lie
//!
//! The same scenario and seed give the same history on every platform: times are integers, transcendental
//! functions are those of `libm`, nothing iterates over a hash map. What real relays have and this world
//! has not: bandwidth, queues of links, processor time.

pub mod adversary;
pub mod chance;
pub mod check;
pub mod churn;
pub mod costs;
pub mod disk;
pub mod habits;
pub mod host;
pub mod links;
pub mod people;
mod personas;
mod queue;
pub mod road;
pub mod scenario;
pub mod schedule;
pub mod world;

pub use scenario::{Cryptography, Scenario};
pub use world::{RelayNo, World};
