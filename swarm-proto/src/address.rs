//! Accounts and the mailbox addresses that they have, one for each epoch.
