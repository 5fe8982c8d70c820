//! The Poste protocol without any IO: what relays and correspondents say, keep and check.
//!
//! Read the modules in the order of a letter's road:
//!
//! 1. [`address`]: an account and the mailbox address that it has today
//! 2. [`envelope`]: the sealed bytes that relays keep; [`seal`]: how they are sealed
//! 3. [`members`] and [`place`]: who keeps what
//! 4. [`onion`]: how a request reaches a holder without telling who asks
//! 5. [`wire`]: every message, byte by byte
//! 6. [`relay`]: the machine that a volunteer runs, and [`standing`]: how relays watch each other
//! 7. [`store`]: what is durable, and the model every engine must equal
//! 8. [`client`]: path choice, receipts, retries and reading
//!
//! The machines share one contract: `step(now, input, &mut effects)` and `deadline()`. They read no
//! clock, open nothing and draw no global randomness, so the same code runs in a relay process and in
//! virtual time.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod client;
mod context;
pub mod crypto;
pub mod effects;
pub mod envelope;
pub mod hash;
pub mod id;
pub mod kem;
pub mod limits;
pub mod mailbox;
pub mod members;
pub mod network;
pub mod onion;
pub mod place;
pub mod pledge;
pub mod reconcile;
pub mod relay;
#[cfg(test)]
mod rig;
pub mod seal;
pub mod standing;
pub mod store;
pub mod time;
pub mod wire;
