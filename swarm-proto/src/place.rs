//! Which relays hold a cell in an epoch.
