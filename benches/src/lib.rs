//! The scoreboard and the benches of the parts: what the promises about speed and size rest on.
//!
//! | module | what it measures |
//! |---|---|
//! | [`onion`], [`sphinx`] | wrapping and peeling, beside a bare key exchange and beside another format |
//! | [`address`] | the keys of a mailbox |
//! | [`pledge`] | a plot, a look at a sector, a look at a puzzle |
//! | [`store`], [`rows`], [`sqlite`] | durable rows, beside SQLite |
//! | [`link`] | opening links, messages over them |
//! | [`road`] | letters through four real relays |
//! | [`day`] | what it takes of a relay to watch and compare |
//! | [`idle`] | what a relay costs that does nothing |
//!
//! [`row`] says what a result is, [`cpu`] how two things are timed side by side. Nothing here judges
//! whether an answer is right: that is for the tests.

pub mod address;
pub mod cpu;
pub mod day;
pub mod failure;
pub mod idle;
pub mod link;
pub mod onion;
pub mod pledge;
pub mod road;
pub mod row;
pub mod rows;
pub mod sphinx;
pub mod sqlite;
pub mod store;
