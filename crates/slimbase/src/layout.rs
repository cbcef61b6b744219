//! Addresses, slots, nodes and the control block (docs/concepts/slimbase-format.md), and lookups over raw memory.
//!
//! A lookup needs nothing but a [`Tables`]: the address of the key-group table and of the chunk table. The engine makes
//! one from its own fields, native callers from a control block that Java has filled in; both run the code here.

use crate::error::{Error, Kind, Result};
use crate::hash::tag;
use crate::record::Record;

/// Bits of the offset in a logical address, in units of 8 bytes.
pub const OFFSET_BITS: u32 = 19;
/// Bits of the chunk number.
pub const NUMBER_BITS: u32 = 21;
/// Chunk numbers are below this.
pub const CHUNK_LIMIT: usize = 1 << NUMBER_BITS;
/// The logical address in a slot.
pub const ADDRESS_MASK: u64 = (1 << 40) - 1;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// The code of the greatest node.
pub const MAX_CODE: u32 = 10;
/// The greatest depth of a directory.
pub const MAX_DEPTH: u32 = 11;
/// Bytes before a node's first slot: count, local depth.
pub const NODE_HEADER: usize = 64;
/// Codes from here on are directories.
pub const DIRECTORY: u32 = 32;
/// Bits of a tag.
pub const TAG_BITS: u32 = 24;
const CODE_MASK: u64 = 63;

/// `SLMB` as a little-endian number.
pub const CONTROL_MAGIC: u32 = 0x534C_4D42;
/// Version of the memory layout.
pub const LAYOUT_VERSION: u32 = 1;
/// Keys that are looked up side by side: their cache misses overlap.
pub const BATCH: usize = 64;

/// The logical address of an offset in a chunk.
#[inline]
pub fn logical(number: usize, offset: usize) -> u64 {
    debug_assert!(number < CHUNK_LIMIT && offset & 7 == 0 && offset >> 3 <= OFFSET_MASK as usize);
    ((number as u64) << OFFSET_BITS) | (offset as u64 >> 3)
}

/// The chunk number in a logical address or a slot.
#[inline]
pub fn chunk_of(logical: u64) -> usize {
    ((logical >> OFFSET_BITS) & NUMBER_MASK) as usize
}

/// The offset in bytes in a logical address or a slot.
#[inline]
pub fn offset_of(logical: u64) -> usize {
    ((logical & OFFSET_MASK) << 3) as usize
}

/// Bytes of a node, header included.
#[inline]
pub fn node_bytes(code: u32) -> usize {
    NODE_HEADER + (64 << code)
}

/// What native code gets from Java, 64 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ControlBlock {
    /// [`CONTROL_MAGIC`].
    pub magic: u32,
    /// [`LAYOUT_VERSION`].
    pub version: u32,
    /// Address of the key-group table.
    pub key_group_table: u64,
    /// Address of the chunk table.
    pub chunk_table: u64,
    /// The range's first key group.
    pub first_key_group: u32,
    /// Key groups of the range.
    pub key_group_count: u32,
    /// Entries of the chunk table.
    pub chunk_table_length: u32,
    /// 0.
    pub zero: u32,
    /// 0.
    pub rest: [u64; 3],
}

/// A node's address and code, as an entry of the key-group table or a directory packs them.
#[derive(Debug, Clone, Copy)]
pub struct Entry(pub u64);

impl Entry {
    /// Address of the first bucket, or of the directory.
    #[inline]
    pub fn address(self) -> *mut u64 {
        (self.0 & !CODE_MASK) as *mut u64
    }

    /// The code.
    #[inline]
    pub fn code(self) -> u32 {
        (self.0 & CODE_MASK) as u32
    }

    /// The index of the slot where probing for the tag begins.
    #[inline]
    pub fn home(self, tag: u32) -> usize {
        tag as usize & self.mask()
    }

    /// Number of slots less one.
    #[inline]
    pub fn mask(self) -> usize {
        (8 << self.code()) - 1
    }
}

/// Where a lookup begins.
#[derive(Debug, Clone, Copy)]
pub struct Tables {
    key_groups: *const u64,
    chunks: *const u64,
}

impl Tables {
    /// # Safety
    /// Both tables, and all that they point to, are laid out as the page says and do not change while the value and
    /// what it finds are used.
    #[inline]
    pub unsafe fn new(key_groups: *const u64, chunks: *const u64) -> Self {
        Tables { key_groups, chunks }
    }

    /// The record at a logical address or in a slot; it must be one that the index or a chain holds.
    #[inline]
    pub fn record(self, slot: u64) -> Record {
        // SAFETY: the number is that of a chunk with memory, the offset that of a record in it (contract of `new`).
        unsafe {
            let memory = *self.chunks.add(chunk_of(slot)) as *mut u8;
            Record::at(memory.add(offset_of(slot)))
        }
    }

    /// The node for the tag in a key group (counted from the range's first); 0 when the group is empty.
    #[inline]
    pub fn node(self, group: usize, tag: u32) -> Entry {
        // SAFETY: the group is of the range (checked by callers), directories have 2^d entries (contract of `new`).
        unsafe {
            let entry = Entry(*self.key_groups.add(group));
            if entry.code() < DIRECTORY {
                entry
            } else {
                Entry(*entry.address().add((tag >> (TAG_BITS + DIRECTORY - entry.code())) as usize))
            }
        }
    }

    /// The slot and record of a key; `header` is [`crate::record::header`]'s.
    #[inline]
    pub fn find(self, group: usize, header: u32, key: &[u8], hash: u64) -> Option<(*mut u64, Record)> {
        let tag = tag(hash);
        let node = self.node(group, tag);
        if node.0 == 0 {
            None
        } else {
            self.probe(node, node.home(tag), header, key, tag)
        }
    }

    /// Probes from a slot on.
    #[inline]
    fn probe(self, node: Entry, from: usize, header: u32, key: &[u8], tag: u32) -> Option<(*mut u64, Record)> {
        let mask = node.mask();
        let mut index = from;
        loop {
            // SAFETY: the index is masked to the node's slots, of which at least one is empty (growth rule).
            let place = unsafe { node.address().add(index) };
            // SAFETY: as above.
            let slot = unsafe { *place };
            if slot == 0 {
                return None;
            }
            if (slot >> 40) as u32 == tag {
                let record = self.record(slot);
                if record.matches(header, key) {
                    return Some((place, record));
                }
            }
            index = (index + 1) & mask;
        }
    }

    /// The first slot with the tag, from the home slot on.
    #[inline]
    fn candidate(self, node: Entry, tag: u32) -> Option<(usize, u64)> {
        let mask = node.mask();
        let mut index = node.home(tag);
        loop {
            // SAFETY: as in `probe`.
            let slot = unsafe { *node.address().add(index) };
            if slot == 0 {
                return None;
            }
            if (slot >> 40) as u32 == tag {
                return Some((index, slot));
            }
            index = (index + 1) & mask;
        }
    }

    /// Looks up to [`BATCH`] keys up at once: all home slots are asked for first, then all records, so that the misses
    /// of different keys overlap. `out` has one record or `None` per query.
    ///
    /// # Panics
    /// When there are more than [`BATCH`] queries, or `out` is shorter.
    pub fn find_batch(self, queries: &[Query<'_>], out: &mut [Option<Record>]) {
        assert!(queries.len() <= BATCH && queries.len() <= out.len(), "a batch has at most {BATCH} keys");
        let mut nodes = [Entry(0); BATCH];
        for (query, node) in queries.iter().zip(&mut nodes) {
            // SAFETY: groups are of the range (checked by callers). Only a hint.
            unsafe { prefetch(self.key_groups.add(query.group as usize)) };
            *node = self.node(query.group as usize, tag(query.hash));
            if node.0 != 0 {
                prefetch(node.address().wrapping_add(node.home(tag(query.hash))));
            }
        }
        let mut candidates = [None; BATCH];
        for ((query, node), candidate) in queries.iter().zip(nodes).zip(&mut candidates) {
            if node.0 != 0 {
                *candidate = self.candidate(node, tag(query.hash));
                if let Some((_, slot)) = candidate {
                    prefetch(self.record(*slot).address());
                }
            }
        }
        for (i, query) in queries.iter().enumerate() {
            out[i] = candidates[i].and_then(|(index, _)| {
                self.probe(nodes[i], index, query.header, query.key, tag(query.hash)).map(|(_, record)| record)
            });
        }
    }
}

/// One key of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Key group, counted from the range's first.
    pub group: u32,
    /// [`crate::record::header`] of key group and identity.
    pub header: u32,
    /// [`crate::hash::hash`] of identity and key.
    pub hash: u64,
    /// The key bytes.
    pub key: &'a [u8],
}

#[inline]
fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint and faults on no address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// One key as Java writes it into the block for `mget`: 16 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawKey {
    /// The key group, absolute.
    pub key_group: u32,
    /// Length of the key bytes.
    pub key_length: u32,
    /// Their address.
    pub key_address: u64,
}

impl RawKey {
    /// # Safety
    /// Address and length are those of readable memory; a key without bytes may have any address.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.key_length == 0 {
            return &[];
        }
        // SAFETY: contract.
        unsafe { std::slice::from_raw_parts(self.key_address as *const u8, self.key_length as usize) }
    }
}

/// Looks keys of one identity up through a control block; `results` gets the record's memory address or 0 per key.
/// Returns how many were found.
///
/// # Errors
/// `Invalid` when the block is not one of this version, or a key group is not of its range.
///
/// # Safety
/// The control block is as the page says and the engine behind it is not written during the call; every key's address
/// and length are those of readable memory.
pub unsafe fn find_raw(
    control: *const ControlBlock,
    identity: u32,
    keys: &[RawKey],
    results: &mut [u64],
) -> Result<usize> {
    // SAFETY: contract.
    let control = unsafe { &*control };
    if control.magic != CONTROL_MAGIC || control.version != LAYOUT_VERSION || identity >= 2048 {
        return Err(Error::new(Kind::Invalid, "not a control block of this version")
            .with("magic", format!("{:#x}", control.magic))
            .with("version", control.version)
            .with("identity", identity));
    }
    // SAFETY: contract.
    let tables = unsafe { Tables::new(control.key_group_table as *const u64, control.chunk_table as *const u64) };
    let mut found = 0;
    let mut records = [None; BATCH];
    let mut queries = [Query { group: 0, header: 0, hash: 0, key: &[] }; BATCH];
    for (keys, results) in keys.chunks(BATCH).zip(results.chunks_mut(BATCH)) {
        for (raw, query) in keys.iter().zip(&mut queries) {
            let group = raw.key_group.wrapping_sub(control.first_key_group);
            if group >= control.key_group_count {
                return Err(Error::new(Kind::Invalid, "key group is not of this engine")
                    .with("key_group", raw.key_group)
                    .with("first", control.first_key_group)
                    .with("count", control.key_group_count));
            }
            // SAFETY: contract.
            let key = unsafe { raw.bytes() };
            let hash = crate::hash::hash(identity, key);
            *query = Query { group, header: crate::record::header(raw.key_group, identity), hash, key };
        }
        tables.find_batch(&queries[..keys.len()], &mut records);
        for (record, result) in records.iter().zip(results) {
            *result = record.map_or(0, |record| record.address() as u64);
            found += usize::from(record.is_some());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The control block is what Java fills in.
    #[test]
    fn control_block_is_64_bytes() {
        assert_eq!(std::mem::size_of::<ControlBlock>(), 64);
        assert_eq!(std::mem::offset_of!(ControlBlock, chunk_table), 16);
        assert_eq!(std::mem::offset_of!(ControlBlock, chunk_table_length), 32);
        assert_eq!(std::mem::size_of::<RawKey>(), 16);
    }

    /// Address arithmetic is the page's.
    #[test]
    fn addresses_have_40_bits() {
        let address = logical(CHUNK_LIMIT - 1, (4 << 20) - 8);
        assert_eq!(address, ADDRESS_MASK);
        assert_eq!((chunk_of(address), offset_of(address)), (CHUNK_LIMIT - 1, (4 << 20) - 8));
        assert_eq!(logical(1, 8), 1 << 19 | 1);
    }

    /// Another version and a key group outside the range are refused.
    #[test]
    fn strange_blocks_are_refused() {
        let control = ControlBlock {
            magic: CONTROL_MAGIC,
            version: 2,
            key_group_table: 0,
            chunk_table: 0,
            first_key_group: 0,
            key_group_count: 0,
            chunk_table_length: 0,
            zero: 0,
            rest: [0; 3],
        };
        // SAFETY: the tables are never looked at: version and range are refused before.
        unsafe {
            assert_eq!(find_raw(&control, 0, &[], &mut []).unwrap_err().kind(), Kind::Invalid);
            let control = ControlBlock { version: 1, ..control };
            assert_eq!(find_raw(&control, 0, &[], &mut []).unwrap(), 0);
            let key = RawKey { key_group: 0, key_length: 0, key_address: 0 };
            assert_eq!(find_raw(&control, 0, &[key], &mut [0]).unwrap_err().kind(), Kind::Invalid);
        }
    }
}
