//! The machine of a correspondent: paths, receipts, retries, reading.
