//! Backups and restores, as a node carries them out for an operator.
//!
//! Any node makes one: it reads the partitions one after the other from their homes, here or over the links, and hands on what it
//! read as the client takes it. Promises that a section is of one revision, that one that cannot be read to its end is declared
//! void before it begins again, and that what is held in memory is bounded.

pub mod making;
pub mod readers;
pub mod restoring;
