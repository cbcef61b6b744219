//! SlimBase: the keyed state of one operator subtask, as docs/concepts/slimbase-format.md lays it out.
//!
//! A hash index per key group over an append-only log of records, in memory that is charged to a budget; sealed parts of
//! the log become sorted, compressed, checksummed files. Java writes and reads the same bytes.
//!
//! * [`record`], [`hash`], [`layout`]: the bytes in memory, and lookups over them, single and batched.
//! * [`memory`]: mappings with huge pages, pre-faulting, the budget.
//! * [`engine`]: the state itself, from put and get to barriers and restores.
//! * [`file`], [`storage`], [`checkpoint`]: files, where they are, and what a checkpoint of them is.
//!
//! This crate knows no shell: neither the JVM nor Python. Clock, randomness, storage and memory are arguments.

pub mod checkpoint;
pub mod engine;
pub mod error;
pub mod file;
pub mod hash;
pub mod layout;
pub mod memory;
pub mod record;
pub mod storage;

pub use error::{Error, Kind, Result};
