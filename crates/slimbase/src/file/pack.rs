//! Sorts a sealed segment's records and writes them as a file.
//!
//! 1. One walk over the runs counts records per key group, a second one notes their positions, group by group (4 bytes a
//!    record, the only memory that grows with the segment).
//! 2. Each group is sorted by identity, hash, key, order in the log.
//! 3. Of each key the newest whole value or tombstone and the chained pieces after it are written.
//!
//! Records that died within their own epoch are left out. Nothing is changed; another thread may be adding `HAS_PREV`.

use super::writer::SegmentWriter;
use super::{ENTRY_CHAINED, ENTRY_TOMBSTONE};
use crate::error::{Error, Kind, Result};
use crate::record::{Record, CHAINED, DEAD, TOMBSTONE};
use crate::storage::Sink;

/// Records of a chunk, from its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Memory address of the first record.
    pub address: *const u8,
    /// Bytes of whole records.
    pub bytes: usize,
}

const KEY_GROUPS: usize = 1 << 15;

#[derive(Clone, Copy)]
struct Item {
    hash: u64,
    record: Record,
    identity: u32,
    order: u32,
}

/// Writes the records of `runs`, given in the order of the log, into `sink`; returns the file's size.
///
/// # Errors
/// `Internal` when the runs do not hold whole records; else as the sink's.
///
/// # Safety
/// The runs are sealed records that stay mapped during the call.
pub unsafe fn pack(runs: &[Run], segment: u64, sink: &mut dyn Sink) -> Result<u64> {
    let total: usize = runs.iter().map(|run| run.bytes).sum();
    if total >> 3 > u32::MAX as usize {
        return Err(Error::new(Kind::Unsupported, "segment is too large for a file").with("bytes", total));
    }
    let mut starts = vec![0u32; KEY_GROUPS + 1];
    // SAFETY: contract.
    unsafe { walk(runs, |record, _| starts[record.key_group() as usize + 1] += 1) }?;
    for group in 0..KEY_GROUPS {
        starts[group + 1] += starts[group];
    }
    let mut positions = vec![0u32; starts[KEY_GROUPS] as usize];
    let mut next = starts.clone();
    let place = |record: Record, position: u32| {
        let slot = &mut next[record.key_group() as usize];
        positions[*slot as usize] = position;
        *slot += 1;
    };
    // SAFETY: contract.
    unsafe { walk(runs, place) }?;
    let mut writer = SegmentWriter::new(sink, segment)?;
    let mut items = Vec::new();
    for group in 0..KEY_GROUPS {
        let range = starts[group] as usize..starts[group + 1] as usize;
        if !range.is_empty() {
            // SAFETY: positions are those of records in the runs.
            unsafe { collect(runs, &positions[range], &mut items) };
            write_group(group as u32, &mut items, &mut writer)?;
        }
    }
    writer.finish()
}

/// Calls `visit` with each record that is not dead and its position in units of 8 bytes.
///
/// # Safety
/// As [`pack`].
unsafe fn walk(runs: &[Run], mut visit: impl FnMut(Record, u32)) -> Result<()> {
    let mut base = 0;
    for run in runs {
        let mut offset = 0;
        while offset < run.bytes {
            // SAFETY: records follow each other without gaps from the run's beginning (contract).
            let record = unsafe { Record::at(run.address.cast_mut().add(offset)) };
            let size = record.size();
            if size > run.bytes - offset {
                return Err(Error::new(Kind::Internal, "a record ends after its chunk")
                    .with("offset", offset)
                    .with("record_bytes", size)
                    .with("chunk_bytes", run.bytes));
            }
            if !record.has(DEAD) {
                visit(record, ((base + offset) >> 3) as u32);
            }
            offset += size;
        }
        base += run.bytes;
    }
    Ok(())
}

/// Fills `items` with the records at ascending positions, sorted.
///
/// # Safety
/// As [`pack`]; each position is that of a record.
unsafe fn collect(runs: &[Run], positions: &[u32], items: &mut Vec<Item>) {
    items.clear();
    let (mut base, mut current) = (0, 0);
    for (order, position) in positions.iter().enumerate() {
        let offset = (*position as usize) << 3;
        while offset >= base + runs[current].bytes {
            base += runs[current].bytes;
            current += 1;
        }
        // SAFETY: contract; the record is not written meanwhile but for its header word.
        unsafe {
            let record = Record::at(runs[current].address.cast_mut().add(offset - base));
            let identity = record.identity();
            items.push(Item { hash: crate::hash::hash(identity, record.key()), record, identity, order: order as u32 });
        }
    }
    items.sort_unstable_by(|a, b| {
        // SAFETY: sealed records.
        let keys = || unsafe { a.record.key().cmp(b.record.key()) };
        (a.identity, a.hash).cmp(&(b.identity, b.hash)).then_with(keys).then(a.order.cmp(&b.order))
    });
}

fn write_group(key_group: u32, items: &mut [Item], writer: &mut SegmentWriter<'_>) -> Result<()> {
    let same = |a: &Item, b: &Item| {
        // SAFETY: sealed records.
        a.hash == b.hash && a.identity == b.identity && unsafe { a.record.key() == b.record.key() }
    };
    for versions in items.chunk_by(same) {
        let newest_whole = versions.iter().rposition(|item| !item.record.has(CHAINED)).unwrap_or(0);
        for item in &versions[newest_whole..] {
            let record = item.record;
            let tombstone = if record.has(TOMBSTONE) { ENTRY_TOMBSTONE } else { 0 };
            let chained = if record.has(CHAINED) { ENTRY_CHAINED } else { 0 };
            // SAFETY: sealed records.
            let (key, value) = unsafe { (record.key(), record.value()) };
            writer.add(key_group, item.identity, tombstone | chained, key, value)?;
        }
    }
    Ok(())
}
