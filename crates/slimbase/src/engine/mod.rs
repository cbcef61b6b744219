//! The state of one operator subtask in memory: an index per key group over an append-only log.
//!
//! One thread writes (`&mut self`); what [`Engine::seal`] gives out may be read by any. Every write first makes room (which
//! may clean, and so move records), then looks the key up, then writes; nothing is half done when there is no room.
//! Written after the Java engine of the same layout, so that one can be tested against the other.

mod cleaner;
mod index;
mod list;
mod log;
mod nodes;
mod restore;
#[cfg(test)]
mod tests;

pub use log::SegmentView;

use crate::error::{Error, Kind, Result};
use crate::hash::hash;
use crate::layout::{ControlBlock, Query, Tables, ADDRESS_MASK, BATCH, CONTROL_MAGIC, LAYOUT_VERSION};
use crate::memory::{Allocator, Arena, MemoryBudget, Prefaulter, Purpose, SystemAllocator};
use crate::record::{self, size_of, Record, CHAINED, DEAD, HAS_PREV, LARGE, LENGTH_LIMIT, SHORT_LIMIT, TOMBSTONE};
use cleaner::Cleaner;
use index::Index;
use log::{Log, RESTORED};
use std::sync::Arc;

const IDENTITIES: usize = 2048;
/// The greatest state id.
pub const MAX_STATE_ID: u32 = 1023;
/// Key groups are below this.
pub const MAX_KEY_GROUPS: u32 = 1 << 15;

/// Asked with key and value when a record is moved by cleaning: whether it is still wanted (its time to live). What is
/// unwanted once stays so.
pub type Filter = Box<dyn Fn(&[u8], &[u8]) -> bool + Send>;

/// What an engine is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// What it may take; shared by the engines of a slot.
    pub budget: Arc<MemoryBudget>,
    /// Where memory comes from.
    pub allocator: Arc<dyn Allocator>,
    /// The range's first key group.
    pub first_key_group: u32,
    /// Key groups of the range.
    pub key_group_count: u32,
    /// Whether chunks are asked for ahead and their pages provided by a thread in the background: a load without waits,
    /// for 4 MiB more.
    pub prefault: bool,
}

impl Options {
    /// Memory of the system with huge pages, key groups from 0 on, no pre-faulting.
    pub fn new(budget: Arc<MemoryBudget>, key_group_count: u32) -> Self {
        let allocator = Arc::new(SystemAllocator { huge_pages: true });
        Options { budget, allocator, first_key_group: 0, key_group_count, prefault: false }
    }
}

/// A live record, borrowed from the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The key group.
    pub key_group: u32,
    /// State id * 2 + AUX.
    pub identity: u32,
    /// The key bytes.
    pub key: &'a [u8],
    /// The value; of a list the newest block.
    pub value: &'a [u8],
}

/// All sealed segments at a barrier, oldest first. Their memory stays until the snapshot goes.
#[derive(Debug, Clone)]
pub struct Snapshot {
    segments: Vec<SegmentView>,
}

impl Snapshot {
    /// The segments, oldest first.
    pub fn segments(&self) -> &[SegmentView] {
        &self.segments
    }
}

/// Sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Live records, heads only.
    pub records: u64,
    /// Bytes of live records and tombstones.
    pub live_bytes: u64,
    /// Bytes appended to the log and not freed yet.
    pub log_bytes: u64,
    /// Memory of the log's chunks.
    pub chunk_bytes: u64,
    /// Memory of the index.
    pub index_bytes: u64,
    /// Segments that are not retired.
    pub segments: u64,
}

/// Where a key is, or would be.
#[derive(Debug, Clone, Copy)]
struct Place {
    group: usize,
    header: u32,
    hash: u64,
    found: Option<(*mut u64, Record)>,
}

impl Place {
    fn identity(&self) -> u32 {
        record::identity_of(self.header)
    }
}

/// The engine.
pub struct Engine {
    budget: Arc<MemoryBudget>,
    first_key_group: u32,
    key_group_count: u32,
    index: Index,
    log: Log,
    cleaner: Cleaner,
    filters: Vec<Option<Filter>>,
    /// Live records per identity, heads only.
    counts: Vec<u64>,
    /// Live bytes per identity.
    bytes: Vec<u64>,
    restoring: bool,
}

// SAFETY: the pointers within are to memory that the engine owns; it is used by one thread at a time (`&mut self` to
// write). Snapshots that other threads read share only sealed records, whose header words are atomic.
unsafe impl Send for Engine {}

impl std::fmt::Debug for Engine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Engine").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An empty engine.
    ///
    /// # Errors
    /// `Invalid` when the key groups are none or beyond 32,768; `Unavailable` when there is no thread for pre-faulting.
    pub fn open(options: Options) -> Result<Self> {
        let end = options.first_key_group.checked_add(options.key_group_count);
        if options.key_group_count == 0 || end.is_none_or(|end| end > MAX_KEY_GROUPS) {
            return Err(Error::new(Kind::Invalid, "key groups are out of range")
                .with("first", options.first_key_group)
                .with("count", options.key_group_count)
                .hint("use 1 to 32768 key groups"));
        }
        let arena = Arena::new(options.allocator, Arc::clone(&options.budget));
        let prefaulter = if options.prefault { Some(Prefaulter::start()?) } else { None };
        Ok(Engine {
            budget: options.budget,
            first_key_group: options.first_key_group,
            key_group_count: options.key_group_count,
            index: Index::new(arena.clone(), options.key_group_count as usize),
            log: Log::new(arena, prefaulter),
            cleaner: Cleaner::default(),
            filters: (0..=MAX_STATE_ID).map(|_| None).collect(),
            counts: vec![0; IDENTITIES],
            bytes: vec![0; IDENTITIES],
            restoring: false,
        })
    }

    /// The range of key groups.
    pub fn key_groups(&self) -> std::ops::RangeInclusive<u32> {
        self.first_key_group..=self.first_key_group + self.key_group_count - 1
    }

    #[inline]
    fn tables(&self) -> Tables {
        // SAFETY: index and log keep both tables as the page says; they change only through `&mut self`.
        unsafe { Tables::new(self.index.table(), self.log.table().as_ptr()) }
    }

    #[inline]
    fn record(&self, logical: u64) -> Record {
        self.tables().record(logical)
    }

    #[inline]
    fn group(&self, key_group: u32, identity: u32) -> Result<usize> {
        let group = key_group.wrapping_sub(self.first_key_group);
        if group >= self.key_group_count || identity as usize >= IDENTITIES {
            return Err(Error::new(Kind::Invalid, "key group or state id is not of this engine")
                .with("key_group", key_group)
                .with("first", self.first_key_group)
                .with("count", self.key_group_count)
                .with("identity", identity));
        }
        Ok(group as usize)
    }

    fn locate(&self, key_group: u32, identity: u32, key: &[u8]) -> Result<Place> {
        let group = self.group(key_group, identity)?;
        let hash = hash(identity, key);
        let header = record::header(key_group, identity);
        Ok(Place { group, header, hash, found: self.tables().find(group, header, key, hash) })
    }

    // --- reading -------------------------------------------------------------------------------------------------------

    /// The value of a key; of a list the newest block ([`Engine::list`] has it whole).
    ///
    /// # Errors
    /// `Invalid` when the key group or the identity (state id * 2 + AUX) is not of this engine.
    #[inline]
    pub fn get(&self, key_group: u32, identity: u32, key: &[u8]) -> Result<Option<&[u8]>> {
        let place = self.locate(key_group, identity, key)?;
        // SAFETY: the record is not written or freed while `self` is borrowed.
        Ok(place.found.map(|(_, record)| unsafe { record.value() }))
    }

    /// The values of many keys of one identity, cache misses overlapped: 4 to 5 times cheaper a key than [`Engine::get`]
    /// when the state is larger than the caches.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get_batch<'a>(
        &'a self,
        identity: u32,
        keys: &[(u32, &[u8])],
        values: &mut Vec<Option<&'a [u8]>>,
    ) -> Result<()> {
        values.clear();
        let mut queries = [Query { group: 0, header: 0, hash: 0, key: &[] }; BATCH];
        let mut records = [None; BATCH];
        for keys in keys.chunks(BATCH) {
            for ((key_group, key), query) in keys.iter().zip(&mut queries) {
                let group = self.group(*key_group, identity)? as u32;
                *query = Query { group, header: record::header(*key_group, identity), hash: hash(identity, key), key };
            }
            self.tables().find_batch(&queries[..keys.len()], &mut records);
            // SAFETY: as in `get`.
            values.extend(records[..keys.len()].iter().map(|record| record.map(|record| unsafe { record.value() })));
        }
        Ok(())
    }

    /// The live records of a key group, in no order; of a list its newest block.
    ///
    /// # Errors
    /// `Invalid` when the key group is not of this engine.
    pub fn records(&self, key_group: u32) -> Result<impl Iterator<Item = RecordView<'_>>> {
        let group = self.group(key_group, 0)?;
        Ok(self.index.addresses(group).into_iter().map(move |logical| {
            let record = self.record(logical);
            // SAFETY: as in `get`.
            let (key, value) = unsafe { (record.key(), record.value()) };
            RecordView { key_group, identity: record.identity(), key, value }
        }))
    }

    // --- writing -------------------------------------------------------------------------------------------------------

    /// Sets the value of a key.
    ///
    /// # Errors
    /// `Throttled` when the budget is full, `Invalid` for a wrong key group, identity or length, `Unsupported` when an
    /// address space is used up. The state is then as before.
    pub fn put(&mut self, key_group: u32, identity: u32, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_parts(key_group, identity, key, &[value])
    }

    /// Sets the value that the parts make together.
    fn put_parts(&mut self, key_group: u32, identity: u32, key: &[u8], parts: &[&[u8]]) -> Result<()> {
        let length = parts.iter().map(|part| part.len()).sum();
        let record = self.put_uninitialized(key_group, identity, key, length)?;
        let mut at = record.value_address();
        for part in parts {
            // SAFETY: the record is of the current epoch and has room for the parts; they are the caller's memory.
            unsafe {
                std::ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
                at = at.add(part.len());
            }
        }
        Ok(())
    }

    fn put_uninitialized(&mut self, key_group: u32, identity: u32, key: &[u8], length: usize) -> Result<Record> {
        let mut place = self.locate(key_group, identity, key)?;
        check_lengths(key.len(), length)?;
        if let Some((slot, record)) = place.found {
            // SAFETY: the slot is the index's, just found.
            if self.log.is_current(unsafe { *slot }) && fits_in_place(record, key.len(), length) {
                // SAFETY: of the current epoch, which no snapshot reads.
                unsafe { record.set_value_length(length) };
                return Ok(record);
            }
        }
        let size = size_of(false, key.len(), length);
        self.prepare(&mut place, key, size)?;
        let Some((slot, _)) = place.found else {
            return Ok(self.insert(&place, place.header, 0, key, length));
        };
        let had_previous = self.supersede(slot);
        let flags = if had_previous { HAS_PREV } else { 0 };
        Ok(self.swing(&place, slot, place.header | flags, 0, key, length))
    }

    /// Makes room in the log, and in the index when the key is new; looks the key up again, because records may move.
    fn prepare(&mut self, place: &mut Place, key: &[u8], size: usize) -> Result<()> {
        loop {
            self.make_room(size, place.identity())?;
            place.found = self.tables().find(place.group, place.header, key, place.hash);
            if place.found.is_some() || self.index.prepare_insert(place.group, place.hash)? {
                return Ok(());
            }
            if !self.reclaim_step()? {
                return Err(self.full(place.identity(), size));
            }
        }
    }

    /// A new key's record. Room was made.
    fn insert(&mut self, place: &Place, header: u32, previous: u64, key: &[u8], length: usize) -> Record {
        let (record, logical) = self.append(header, previous, key, length);
        self.index.insert(place.group, place.hash, logical);
        self.counts[place.identity() as usize] += 1;
        record
    }

    /// Appends, and lets the slot point there. Room was made.
    fn swing(&mut self, _: &Place, slot: *mut u64, header: u32, previous: u64, key: &[u8], length: usize) -> Record {
        let (record, logical) = self.append(header, previous, key, length);
        // SAFETY: the slot was found since the index was last written.
        unsafe { *slot = (*slot & !ADDRESS_MASK) | logical };
        record
    }

    fn append(&mut self, header: u32, previous: u64, key: &[u8], length: usize) -> (Record, u64) {
        let size = size_of(header & CHAINED != 0, key.len(), length);
        let address = self.log.next_address();
        let logical = self.log.take(size);
        // SAFETY: `take` has made sure that the open chunk has these bytes; nobody else knows of them yet.
        let record = unsafe { Record::write(address, header, previous, key, length) };
        let owner = self.log.owner(logical);
        let size = size as u64;
        self.log.live_bytes += size;
        self.log.segment_mut(owner).live_bytes += size;
        if header & TOMBSTONE != 0 {
            self.log.tombstone_bytes += size;
            self.log.segment_mut(owner).tombstone_bytes += size;
        } else {
            self.bytes[record::identity_of(header) as usize] += size;
        }
        (record, logical)
    }

    /// Lets go of the record in a slot and what it continues. True when a file may have an older version.
    fn supersede(&mut self, slot: *mut u64) -> bool {
        let mut had_previous = false;
        // SAFETY: the slot was found since the index was last written.
        let mut at = unsafe { *slot } & ADDRESS_MASK;
        while at != 0 {
            let record = self.record(at);
            let size = record.size() as u64;
            let owner = self.log.owner(at);
            self.log.segment_mut(owner).live_bytes -= size;
            self.log.live_bytes -= size;
            self.bytes[record.identity() as usize] -= size;
            had_previous |= record.has(HAS_PREV);
            if self.log.is_current(at) {
                record.add_flag(DEAD);
            } else {
                had_previous = true;
            }
            at = record.previous();
        }
        had_previous
    }

    /// Takes a key out; true when it was there.
    ///
    /// # Errors
    /// As [`Engine::put`]. In a full engine only when even cleaning's reserve has no room for a tombstone.
    pub fn delete(&mut self, key_group: u32, identity: u32, key: &[u8]) -> Result<bool> {
        let mut place = self.locate(key_group, identity, key)?;
        let Some((slot, _)) = place.found else { return Ok(false) };
        if self.needs_tombstone(slot) {
            let size = size_of(false, key.len(), 0);
            if let Err(error) = self.make_room(size, identity) {
                let has_room = self.log.has_room(size, Purpose::Removal);
                if !has_room && !self.log.add_chunk(size, Purpose::Removal, self.log.epoch)? {
                    return Err(error);
                }
            }
            place.found = self.tables().find(place.group, place.header, key, place.hash);
        }
        self.remove_found(&place, key, true);
        Ok(place.found.is_some())
    }

    /// Whether a file may have the record in the slot, or an older version of it.
    fn needs_tombstone(&self, slot: *mut u64) -> bool {
        // SAFETY: the slot was found since the index was last written.
        let mut at = unsafe { *slot } & ADDRESS_MASK;
        while at != 0 {
            let record = self.record(at);
            if record.has(HAS_PREV) || !self.log.is_current(at) {
                return true;
            }
            at = record.previous();
        }
        false
    }

    /// Room was made for a tombstone when there shall be one.
    fn remove_found(&mut self, place: &Place, key: &[u8], with_tombstone: bool) {
        let Some((slot, _)) = place.found else { return };
        let had_previous = self.supersede(slot);
        self.index.remove(place.group, slot);
        self.counts[place.identity() as usize] -= 1;
        if had_previous && with_tombstone {
            self.append(place.header | TOMBSTONE, 0, key, 0);
        }
    }

    /// Removes every record of a state.
    ///
    /// # Errors
    /// As [`Engine::put`]; some records may be gone then.
    pub fn drop_state(&mut self, state_id: u32) -> Result<()> {
        for key_group in self.key_groups() {
            let of_state = |view: &RecordView<'_>| view.identity >> 1 == state_id;
            let own = self.records(key_group)?.filter(of_state).map(|view| (view.identity, view.key.to_vec()));
            for (identity, key) in own.collect::<Vec<_>>() {
                self.delete(key_group, identity, &key)?;
            }
        }
        Ok(())
    }

    // --- epochs --------------------------------------------------------------------------------------------------------

    /// The barrier: the current epoch's segments are sealed. Returns all sealed segments; O(number of chunks).
    pub fn seal(&mut self) -> Snapshot {
        self.log.next_epoch();
        self.barrier();
        Snapshot { segments: self.log.sealed() }
    }

    /// Numbers of the segments that are not retired, oldest first.
    pub fn segment_numbers(&self) -> Vec<u64> {
        self.log.segments().map(|(_, segment)| segment.number).collect()
    }

    // --- memory --------------------------------------------------------------------------------------------------------

    fn make_room(&mut self, size: usize, identity: u32) -> Result<()> {
        if !self.restoring {
            self.pay(size)?;
        }
        if self.log.has_room(size, Purpose::Growth) {
            return Ok(());
        }
        if !self.restoring {
            self.choose();
        }
        let epoch = if self.restoring { RESTORED } else { self.log.epoch };
        while !self.log.has_room(size, Purpose::Growth) && !self.log.add_chunk(size, Purpose::Growth, epoch)? {
            if !self.reclaim_step()? {
                return Err(self.full(identity, size));
            }
        }
        Ok(())
    }

    /// Gives memory up, some of it; false when there is nothing to give.
    fn reclaim_step(&mut self) -> Result<bool> {
        if self.restoring {
            return Ok(false);
        }
        self.clean_now()
    }

    fn full(&self, identity: u32, size: usize) -> Error {
        let largest = (0..IDENTITIES).max_by_key(|each| self.bytes[*each]).unwrap_or(0);
        Error::new(Kind::Throttled, "state does not fit its memory")
            .with("state_id", identity >> 1)
            .with("wanted_bytes", size)
            .with("budget_bytes", self.budget.limit_bytes())
            .with("used_bytes", self.budget.used_bytes())
            .with("largest_state_id", largest >> 1)
            .with("largest_state_bytes", self.bytes[largest])
            .hint("raise the memory budget (`taskmanager.memory.managed.size`) or spread the keys over more subtasks")
    }

    // --- filters, statistics -------------------------------------------------------------------------------------------

    /// Asks `filter` (key, value) when whole values of a state are moved; `None`: keep all.
    ///
    /// # Errors
    /// `Invalid` when the state id is over 1023.
    pub fn set_filter(&mut self, state_id: u32, filter: Option<Filter>) -> Result<()> {
        let slot = self.filters.get_mut(state_id as usize);
        *slot.ok_or_else(|| Error::new(Kind::Invalid, "state id is over 1023").with("state_id", state_id))? = filter;
        Ok(())
    }

    /// Live records of an identity, heads only.
    pub fn record_count(&self, identity: u32) -> u64 {
        self.counts.get(identity as usize).copied().unwrap_or(0)
    }

    /// Live bytes of an identity.
    pub fn live_bytes(&self, identity: u32) -> u64 {
        self.bytes.get(identity as usize).copied().unwrap_or(0)
    }

    /// Sizes.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            records: self.counts.iter().sum(),
            live_bytes: self.log.live_bytes,
            log_bytes: self.log.used_bytes,
            chunk_bytes: self.log.allocated_bytes(),
            index_bytes: self.index.allocated_bytes(),
            segments: self.log.segment_count() as u64,
        }
    }

    /// Compares the counters with what the index reaches: for tests, it looks at every record.
    ///
    /// # Errors
    /// `Internal` when they differ.
    pub fn check_accounts(&self) -> Result<()> {
        let (mut counts, mut bytes) = (vec![0; IDENTITIES], vec![0; IDENTITIES]);
        for group in 0..self.key_group_count as usize {
            for logical in self.index.addresses(group) {
                let head = self.record(logical);
                counts[head.identity() as usize] += 1;
                let next = |block: &Record| Some(block.previous()).filter(|at| *at != 0).map(|at| self.record(at));
                for record in std::iter::successors(Some(head), next) {
                    bytes[record.identity() as usize] += record.size() as u64;
                }
            }
        }
        let live = bytes.iter().sum::<u64>() + self.log.tombstone_bytes;
        let segments: u64 = self.log.segments().map(|(_, segment)| segment.live_bytes).sum();
        if counts != self.counts || bytes != self.bytes || live != self.log.live_bytes || segments != live {
            return Err(Error::new(Kind::Internal, "counters differ from the records")
                .with("reached_bytes", live)
                .with("counted_bytes", self.log.live_bytes)
                .with("segments_bytes", segments));
        }
        Ok(())
    }

    /// What native lookups need; holds until the next writing call.
    pub fn control_block(&self) -> ControlBlock {
        ControlBlock {
            magic: CONTROL_MAGIC,
            version: LAYOUT_VERSION,
            key_group_table: self.index.table() as u64,
            chunk_table: self.log.table().as_ptr() as u64,
            first_key_group: self.first_key_group,
            key_group_count: self.key_group_count,
            chunk_table_length: self.log.table().len() as u32,
            zero: 0,
            rest: [0; 3],
        }
    }
}

fn check_lengths(key: usize, value: usize) -> Result<()> {
    if key > LENGTH_LIMIT || value > LENGTH_LIMIT {
        return Err(Error::new(Kind::Invalid, "key or value is over 2 GiB")
            .with("key_bytes", key)
            .with("value_bytes", value));
    }
    Ok(())
}

fn fits_in_place(record: Record, key_length: usize, value_length: usize) -> bool {
    let large = key_length > SHORT_LIMIT || value_length > SHORT_LIMIT;
    record.header() & (CHAINED | LARGE) == if large { LARGE } else { 0 }
        && size_of(false, key_length, value_length) == record.size()
}
