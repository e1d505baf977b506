//! The subcommands that have a file of their own.
//! Promises nothing itself: each says what it prints and when it fails. Deliberately holds no code.

pub(crate) mod token;
