//! Files (docs/concepts/slimbase-format.md, section File): one per sealed segment, sorted, in checked and compressed blocks.
//!
//! [`pack`] sorts a segment's records and writes them; [`SegmentWriter`] writes entries that are in order already (timers);
//! [`SegmentReader`] reads whole files or ranges of key groups, and trusts nothing that it has not checked.

mod filter;
mod format;
mod pack;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use format::{put_varint, take_varint, Extent, FirstEntry, Footer, StateStatistics, BLOCK_BYTES, FILE_VERSION};
pub use pack::{pack, Run};
pub use reader::{Cursor, Entry, SegmentReader, Verified};
pub use writer::SegmentWriter;

/// Flag of an entry: the key was removed.
pub const ENTRY_TOMBSTONE: u8 = 1;
/// Flag of an entry: continues the value before it.
pub const ENTRY_CHAINED: u8 = 2;
/// Flag of an entry: auxiliary record.
pub const ENTRY_AUX: u8 = 4;

/// The name of a segment's file.
pub fn segment_file_name(backend: &str, number: u64) -> String {
    format!("{backend}-{number}.slim")
}
