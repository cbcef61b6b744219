//! The append-only log: the chunk table, and segments of chunks, the newest open for appends. Bookkeeping only; what is
//! live is the engine's knowledge.

use crate::error::{Error, Kind, Result};
use crate::file::Run;
use crate::layout::{chunk_of, logical, CHUNK_LIMIT};
use crate::memory::{Arena, Prefaulter, Purpose, Region, SMALLEST_CHUNK};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A file's size at most, but for one record.
pub(super) const SEGMENT_BYTES: u64 = 64 << 20;
const SMALLEST_SEGMENT_BYTES: u64 = 256 << 10;
/// A segment is at most this part of the budget, so that cleaning one always helps.
const BUDGET_SHARE: u64 = 16;
/// Epoch of restored segments: always sealed.
pub(super) const RESTORED: i64 = -1;

/// Where a segment is kept: an index into [`Log::segment`].
pub(super) type SegmentSlot = u32;

#[derive(Debug)]
struct Chunk {
    region: Arc<Region>,
    used: usize,
    epoch: i64,
    owner: SegmentSlot,
}

/// The chunks that become one file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) epoch: i64,
    pub(super) chunks: VecDeque<u32>,
    /// Cleaning has come so far in the first chunk.
    pub(super) scanned: usize,
    pub(super) used_bytes: u64,
    /// Bytes of records that the index reaches, and of tombstones.
    pub(super) live_bytes: u64,
    pub(super) tombstone_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Log {
    arena: Arena,
    /// Memory address per chunk number, 0 when it has none.
    table: Vec<u64>,
    chunks: Vec<Option<Chunk>>,
    free_numbers: Vec<u32>,
    /// A chunk asked for ahead, its pages being provided.
    spare: Option<Arc<Region>>,
    prefaulter: Option<Prefaulter>,
    allocated_bytes: u64,
    slots: Vec<Option<Segment>>,
    order: BTreeMap<u64, SegmentSlot>,
    open: Option<SegmentSlot>,
    next_number: u64,
    tail: usize,
    tail_address: *mut u8,
    tail_offset: usize,
    tail_capacity: usize,
    tail_purpose: Purpose,
    pub(super) epoch: i64,
    pub(super) used_bytes: u64,
    pub(super) live_bytes: u64,
    pub(super) tombstone_bytes: u64,
    segment_limit: u64,
}

/// A sealed segment as a snapshot sees it: its memory stays until the view goes, whatever the engine does.
#[derive(Debug, Clone)]
pub struct SegmentView {
    number: u64,
    chunks: Vec<(Arc<Region>, usize)>,
}

impl SegmentView {
    /// Ascending with age: the greater, the newer.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of records.
    pub fn used_bytes(&self) -> u64 {
        self.chunks.iter().map(|(_, used)| *used as u64).sum()
    }

    /// The records, in the order of the log.
    pub fn runs(&self) -> Vec<Run> {
        self.chunks.iter().map(|(region, used)| Run { address: region.address(), bytes: *used }).collect()
    }
}

impl Log {
    pub(super) fn new(arena: Arena, prefaulter: Option<Prefaulter>) -> Self {
        let share = arena.budget().limit_bytes() / BUDGET_SHARE;
        Log {
            arena,
            table: vec![0],
            chunks: vec![None],
            free_numbers: Vec::new(),
            spare: None,
            prefaulter,
            allocated_bytes: 0,
            slots: Vec::new(),
            order: BTreeMap::new(),
            open: None,
            next_number: 1,
            tail: 0,
            tail_address: std::ptr::null_mut(),
            tail_offset: 0,
            tail_capacity: 0,
            tail_purpose: Purpose::Growth,
            epoch: 1,
            used_bytes: 0,
            live_bytes: 0,
            tombstone_bytes: 0,
            segment_limit: share.clamp(SMALLEST_SEGMENT_BYTES, SEGMENT_BYTES),
        }
    }

    // --- chunks --------------------------------------------------------------------------------------------------------

    pub(super) fn table(&self) -> &[u64] {
        &self.table
    }

    /// The size that chunks grow to.
    pub(super) fn chunk_bytes(&self) -> usize {
        self.arena.chunk_bytes()
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes
    }

    fn chunk(&self, number: usize) -> &Chunk {
        match &self.chunks[number] {
            Some(chunk) => chunk,
            None => unreachable!("chunk {number} was freed but is pointed to"),
        }
    }

    pub(super) fn owner(&self, logical: u64) -> SegmentSlot {
        self.chunk(chunk_of(logical)).owner
    }

    #[inline]
    pub(super) fn is_current(&self, logical: u64) -> bool {
        self.chunk(chunk_of(logical)).epoch == self.epoch
    }

    pub(super) fn chunk_address(&self, number: u32) -> *mut u8 {
        self.chunk(number as usize).region.address()
    }

    pub(super) fn chunk_used(&self, number: u32) -> usize {
        self.chunk(number as usize).used
    }

    /// Bytes for a chunk; the spare serves when it is as large, and is given up when memory is short.
    fn region(&mut self, bytes: usize, purpose: Purpose) -> Option<Arc<Region>> {
        if bytes == self.arena.chunk_bytes() {
            if let Some(spare) = self.spare.take() {
                self.ask_spare();
                return Some(spare);
            }
        }
        let region = self.arena.allocate(bytes, purpose).or_else(|| {
            self.spare.take()?;
            self.arena.allocate(bytes, purpose)
        })?;
        if bytes == self.arena.chunk_bytes() {
            self.ask_spare();
        }
        Some(region)
    }

    fn ask_spare(&mut self) {
        if let Some(prefaulter) = &self.prefaulter {
            self.spare = self.arena.allocate(self.arena.chunk_bytes(), Purpose::Growth);
            self.spare.iter().for_each(|region| prefaulter.ask(region));
        }
    }

    fn take_number(&mut self) -> Result<usize> {
        if let Some(number) = self.free_numbers.pop() {
            return Ok(number as usize);
        }
        if self.table.len() == CHUNK_LIMIT {
            return Err(Error::new(Kind::Unsupported, "state has more chunks than addresses")
                .with("chunks", CHUNK_LIMIT)
                .hint("raise the operator's parallelism"));
        }
        self.table.push(0);
        self.chunks.push(None);
        Ok(self.table.len() - 1)
    }

    /// Frees the first chunk of a segment; snapshots that read it keep its memory.
    pub(super) fn free_first_chunk(&mut self, slot: SegmentSlot) {
        let Some(number) = self.segment_mut(slot).chunks.pop_front() else { return };
        if let Some(chunk) = self.chunks[number as usize].take() {
            self.table[number as usize] = 0;
            self.free_numbers.push(number);
            self.allocated_bytes -= chunk.region.bytes() as u64;
            self.used_bytes -= chunk.used as u64;
            let segment = self.segment_mut(slot);
            segment.used_bytes -= chunk.used as u64;
            segment.scanned = 0;
        }
    }

    // --- segments ------------------------------------------------------------------------------------------------------

    pub(super) fn segment(&self, slot: SegmentSlot) -> &Segment {
        match &self.slots[slot as usize] {
            Some(segment) => segment,
            None => unreachable!("segment in slot {slot} was retired but is pointed to"),
        }
    }

    pub(super) fn segment_mut(&mut self, slot: SegmentSlot) -> &mut Segment {
        match &mut self.slots[slot as usize] {
            Some(segment) => segment,
            None => unreachable!("segment in slot {slot} was retired but is pointed to"),
        }
    }

    /// All segments, oldest first.
    pub(super) fn segments(&self) -> impl Iterator<Item = (SegmentSlot, &Segment)> {
        self.order.values().map(|slot| (*slot, self.segment(*slot)))
    }

    pub(super) fn segment_count(&self) -> usize {
        self.order.len()
    }

    pub(super) fn slot_of(&self, number: u64) -> Option<SegmentSlot> {
        self.order.get(&number).copied()
    }

    pub(super) fn open(&self) -> Option<SegmentSlot> {
        self.open
    }

    /// Whether a segment older than this one is still there.
    pub(super) fn has_older(&self, slot: SegmentSlot) -> bool {
        self.order.first_key_value().is_some_and(|(first, _)| *first < self.segment(slot).number)
    }

    pub(super) fn retire(&mut self, slot: SegmentSlot) {
        if let Some(segment) = self.slots[slot as usize].take() {
            assert!(segment.chunks.is_empty(), "a segment is retired with chunks");
            self.order.remove(&segment.number);
            self.tombstone_bytes -= segment.tombstone_bytes;
            self.live_bytes -= segment.live_bytes;
        }
    }

    fn new_segment(&mut self, epoch: i64) -> SegmentSlot {
        let number = self.next_number;
        self.next_number += 1;
        let segment = Segment {
            number,
            epoch,
            chunks: VecDeque::new(),
            scanned: 0,
            used_bytes: 0,
            live_bytes: 0,
            tombstone_bytes: 0,
        };
        let slot = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(segment);
        self.order.insert(number, slot as SegmentSlot);
        slot as SegmentSlot
    }

    // --- the tail ------------------------------------------------------------------------------------------------------

    /// Whether the open chunk takes the bytes. What was opened with the reserve is not for growth.
    #[inline]
    pub(super) fn has_room(&self, bytes: usize, purpose: Purpose) -> bool {
        self.tail_offset + bytes <= self.tail_capacity && purpose >= self.tail_purpose
    }

    /// Opens a chunk with room for the record; false, and nothing has changed, when there is no memory. A restored file
    /// stays one segment.
    pub(super) fn add_chunk(&mut self, bytes: usize, purpose: Purpose, epoch: i64) -> Result<bool> {
        let used = |slot| self.segment(slot).used_bytes + self.tail_offset as u64;
        let open = self.open.filter(|slot| epoch == RESTORED || used(*slot) < self.segment_limit);
        let wanted = 1usize << (open.map_or(0, used) as usize + 1).ilog2();
        let wanted = wanted.clamp(SMALLEST_CHUNK, self.arena.chunk_bytes()).max(bytes);
        let sizes = [(wanted, Purpose::Growth), (wanted, purpose), (bytes.max(SMALLEST_CHUNK), purpose)];
        let found = sizes.into_iter().find_map(|(size, purpose)| Some((self.region(size, purpose)?, purpose)));
        let Some((region, purpose)) = found else { return Ok(false) };
        let number = self.take_number()?;
        if open.is_none() {
            self.close_segment();
        }
        self.close_chunk();
        let owner = self.open.unwrap_or_else(|| self.new_segment(epoch));
        self.open = Some(owner);
        self.segment_mut(owner).chunks.push_back(number as u32);
        self.table[number] = region.address() as u64;
        self.tail = number;
        self.tail_address = region.address();
        self.tail_offset = 0;
        self.tail_capacity = region.bytes();
        self.tail_purpose = purpose;
        self.allocated_bytes += region.bytes() as u64;
        self.chunks[number] = Some(Chunk { region, used: 0, epoch: self.segment(owner).epoch, owner });
        Ok(true)
    }

    /// Where the next record will be; room was made.
    #[inline]
    pub(super) fn next_address(&self) -> *mut u8 {
        self.tail_address.wrapping_add(self.tail_offset)
    }

    /// Takes the bytes; returns their logical address.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> u64 {
        assert!(self.tail_offset + bytes <= self.tail_capacity, "an append without room");
        let address = logical(self.tail, self.tail_offset);
        self.tail_offset += bytes;
        self.used_bytes += bytes as u64;
        address
    }

    fn close_chunk(&mut self) {
        if let (Some(chunk), Some(open)) = (self.chunks[self.tail].as_mut(), self.open) {
            let used = self.tail_offset;
            chunk.used = used;
            self.segment_mut(open).used_bytes += used as u64;
        }
        self.tail = 0;
        self.tail_offset = 0;
        self.tail_capacity = 0;
    }

    /// The open segment gets no more records; returns its number.
    pub(super) fn close_segment(&mut self) -> Option<u64> {
        self.close_chunk();
        self.open.take().map(|slot| self.segment(slot).number)
    }

    pub(super) fn next_epoch(&mut self) {
        self.close_segment();
        self.epoch += 1;
    }

    /// Sealed segments, oldest first.
    pub(super) fn sealed(&self) -> Vec<SegmentView> {
        let view = |segment: &Segment| {
            let chunk = |number: &u32| (Arc::clone(&self.chunk(*number as usize).region), self.chunk_used(*number));
            SegmentView { number: segment.number, chunks: segment.chunks.iter().map(chunk).collect() }
        };
        self.segments().filter(|(_, segment)| segment.epoch != self.epoch).map(|(_, segment)| view(segment)).collect()
    }
}
