//! The correspondent's side of Poste: an account, contacts, letters, and the home they are kept in.
//!
//! Read the modules in the order of a letter's road:
//!
//! 1. [`account`]: 24 words and an account id; [`identity`]: what one account has of its own
//! 2. [`invitation`]: how two people find each other; [`contacts`]: what one then knows of the other
//! 3. [`conversation`]: what a letter is, and how it is sealed and opened
//! 4. [`outbox`] and [`inbox`]: what was written and what came, durable before anybody is told
//! 5. [`home`]: the encrypted file that all of it lies in
//!
//! 6. [`driver`]: the only part that opens connections
//!
//! Formats and promises: `docs/spec/letters.md`.

pub mod account;
mod cipher;
pub mod contacts;
pub mod conversation;
pub mod driver;
pub mod home;
pub mod identity;
pub mod inbox;
pub mod invitation;
pub mod outbox;
