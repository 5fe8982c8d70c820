//! What the machines are told and what they ask for.
