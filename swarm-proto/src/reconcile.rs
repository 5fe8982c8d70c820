//! Range-based set reconciliation, used wherever two sides compare what they have.
