//! What holders do with mailboxes, one role a file.

pub mod statements;
