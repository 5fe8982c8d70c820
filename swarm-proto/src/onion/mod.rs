//! Onions: a request wrapped for several relays, so that none knows both ends.
