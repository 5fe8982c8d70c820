//! Sectors on disk.
