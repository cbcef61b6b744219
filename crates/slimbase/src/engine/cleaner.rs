//! Copies what is still wanted out of a victim segment, record by record, and frees its chunks
//! (docs/concepts/slimbase-format.md, Life of the log).
//!
//! Work is paid for by appends, [`PACE`] bytes scanned for each appended, so no operation waits for a whole segment.
//! Victims are segments with little left alive; 16 of one size class, so that files stay few; the oldest one, when
//! tombstones have become many. When there is no room for a record that should move, the victim waits.

use super::log::{SegmentSlot, SEGMENT_BYTES};
use super::{Engine, Place};
use crate::error::Result;
use crate::hash::hash;
use crate::layout::logical;
use crate::memory::{Purpose, SMALLEST_CHUNK};
use crate::record::{Record, AUX, CHAINED, DEAD, HAS_PREV, IDENTITY_MASK, TOMBSTONE};
use std::collections::VecDeque;

/// Bytes scanned for a byte appended: at a garbage share of 1/3 three are needed to keep up; five leave room.
const PACE: usize = 5;
const SLACK: u64 = 512 << 10;
const SIZE_CLASS_BITS: u32 = 4;
const SIZE_CLASS_COUNT: usize = 16;
const SIZE_CLASSES: usize = 16;
/// With time-to-live states, one old segment is looked through every so many barriers.
const EXPIRY_BARRIERS: u64 = 8;
/// When memory is short: segments with a greater share alive are not worth the copying.
const LAST_RESORT_SHARE: f64 = 0.95;

#[derive(Debug, Default)]
pub(super) struct Cleaner {
    victim: Option<SegmentSlot>,
    merging: VecDeque<u64>,
    barriers: u64,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Worked,
    NoRoom,
}

impl Engine {
    /// Called before an append of so many bytes.
    pub(super) fn pay(&mut self, appended: usize) -> Result<()> {
        if self.cleaner.victim.is_some() {
            // Without room the victim waits; whether the append has room is its own question.
            self.step(appended.saturating_mul(PACE) + 64)?;
        }
        Ok(())
    }

    /// Looks for a victim; called when a chunk is added and at barriers.
    pub(super) fn choose(&mut self) {
        if self.cleaner.victim.is_some() {
            return;
        }
        while let Some(number) = self.cleaner.merging.pop_front() {
            if let Some(slot) = self.log.slot_of(number) {
                self.cleaner.victim = Some(slot);
                return;
            }
        }
        let garbage = self.log.used_bytes - self.log.live_bytes;
        let values = self.log.live_bytes - self.log.tombstone_bytes;
        if garbage > self.log.live_bytes / 2 + SLACK {
            let best = self.least_alive(0.9, &[]);
            if best.is_none() && self.log.open().is_some_and(|slot| self.log.segment(slot).used_bytes > SLACK) {
                // What is garbage is in the open one: the next call may choose it.
                self.log.close_segment();
            }
            self.cleaner.victim = best;
        } else if self.log.tombstone_bytes > values / 4 + SLACK {
            self.cleaner.victim = self.oldest();
        } else {
            self.choose_crowd();
        }
    }

    fn oldest(&self) -> Option<SegmentSlot> {
        let first = self.log.segments().next().map(|(slot, _)| slot);
        first.filter(|slot| Some(*slot) != self.log.open())
    }

    pub(super) fn barrier(&mut self) {
        self.cleaner.barriers += 1;
        let due = self.cleaner.barriers % EXPIRY_BARRIERS == 0 && self.filters.iter().any(Option::is_some);
        if due && self.cleaner.victim.is_none() {
            self.cleaner.victim = self.oldest();
        }
        self.choose();
    }

    fn least_alive(&self, below: f64, blocked: &[SegmentSlot]) -> Option<SegmentSlot> {
        let candidates = self.log.segments().filter(|(slot, segment)| {
            Some(*slot) != self.log.open() && segment.used_bytes > 0 && !blocked.contains(slot)
        });
        let shares = candidates.map(|(slot, each)| (slot, each.live_bytes as f64 / each.used_bytes as f64));
        shares.filter(|(_, share)| *share < below).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(slot, _)| slot)
    }

    /// 16 sealed segments of one size class are merged, the smallest class first.
    fn choose_crowd(&mut self) {
        if self.log.segment_count() <= SIZE_CLASS_COUNT {
            return;
        }
        let mut crowds = vec![Vec::new(); SIZE_CLASSES];
        for (_, segment) in self.log.segments().filter(|(_, segment)| segment.epoch != self.log.epoch) {
            let units = (segment.live_bytes / SMALLEST_CHUNK as u64).max(1);
            crowds[((units.ilog2() / SIZE_CLASS_BITS) as usize).min(SIZE_CLASSES - 1)].push(segment.number);
        }
        let small = |class: usize| (SMALLEST_CHUNK as u64) << (SIZE_CLASS_BITS as usize * class) < SEGMENT_BYTES;
        let full = (0..4).find(|class| crowds[*class].len() >= SIZE_CLASS_COUNT && small(*class));
        if let Some(class) = full {
            self.cleaner.merging = std::mem::take(&mut crowds[class]).into();
            self.choose();
        }
    }

    /// Cleans a step for want of memory; false when there is nothing left to gain.
    pub(super) fn clean_now(&mut self) -> Result<bool> {
        let mut blocked = Vec::new();
        loop {
            if self.cleaner.victim.is_none() {
                self.cleaner.victim = self.least_alive(LAST_RESORT_SHARE, &blocked);
            }
            if self.cleaner.victim.is_none() && self.is_open_segment_worth_it() {
                self.log.close_segment();
                self.cleaner.victim = self.least_alive(LAST_RESORT_SHARE, &blocked);
            }
            let Some(victim) = self.cleaner.victim else { return Ok(false) };
            if self.step(self.log.chunk_bytes())? == Step::Worked {
                return Ok(true);
            }
            blocked.push(victim);
            self.cleaner.victim = None;
        }
    }

    fn is_open_segment_worth_it(&self) -> bool {
        let Some(open) = self.log.open() else { return false };
        // Bytes used in the open chunk are known to the log only when it is closed.
        let others: u64 = self.log.segments().map(|(_, each)| each.used_bytes).sum();
        let used = self.log.segment(open).used_bytes + (self.log.used_bytes - others);
        (self.log.segment(open).live_bytes as f64) < LAST_RESORT_SHARE * used as f64
    }

    /// Scans so many bytes of the victim; `Worked` when anything was scanned or freed.
    fn step(&mut self, bytes: usize) -> Result<Step> {
        let mut left = bytes;
        let mut outcome = Step::NoRoom;
        while left > 0 {
            let Some(victim) = self.cleaner.victim else { return Ok(Step::Worked) };
            let segment = self.log.segment(victim);
            let Some(chunk) = segment.chunks.front().copied() else {
                self.cleaner.victim = None;
                self.log.retire(victim);
                self.choose();
                return Ok(Step::Worked);
            };
            let offset = segment.scanned;
            if offset >= self.log.chunk_used(chunk) || segment.live_bytes == 0 {
                self.log.free_first_chunk(victim);
                outcome = Step::Worked;
                continue;
            }
            // SAFETY: records follow each other in the chunk up to its used bytes.
            let record = unsafe { Record::at(self.log.chunk_address(chunk).add(offset)) };
            if !self.clean(record, logical(chunk as usize, offset), victim)? {
                return Ok(outcome);
            }
            let size = record.size();
            self.log.segment_mut(victim).scanned = offset + size;
            outcome = Step::Worked;
            left = left.saturating_sub(size);
        }
        Ok(outcome)
    }

    fn has_cleaning_room(&mut self, size: usize) -> Result<bool> {
        Ok(self.log.has_room(size, Purpose::Cleaning) || self.log.add_chunk(size, Purpose::Cleaning, self.log.epoch)?)
    }

    /// One record of a victim; false when there is no room for what must move.
    fn clean(&mut self, record: Record, at: u64, victim: SegmentSlot) -> Result<bool> {
        let header = record.header();
        if header & DEAD != 0 {
            return Ok(true);
        }
        // SAFETY: the chunk is freed only when it was scanned, keys and values in it do not change meanwhile.
        let key = unsafe { record.key() };
        let group = (record.key_group() - self.first_key_group) as usize;
        let (header, hash) = (header & IDENTITY_MASK, hash(record.identity(), key));
        let place = Place { group, header, hash, found: self.tables().find(group, header, key, hash) };
        if record.has(TOMBSTONE) {
            return self.clean_tombstone(record, &place, key, victim);
        }
        match place.found {
            Some((_, found)) if found == record => self.clean_live(record, at, &place, key, victim),
            Some((_, found)) if found.has(CHAINED) && self.continues(found, record) => self.clean_list(&place, found),
            _ => Ok(true),
        }
    }

    fn clean_tombstone(&mut self, record: Record, place: &Place, key: &[u8], victim: SegmentSlot) -> Result<bool> {
        let keep = place.found.is_none() && self.log.has_older(victim);
        if keep && !self.has_cleaning_room(record.size())? {
            return Ok(false);
        }
        let size = record.size() as u64;
        let segment = self.log.segment_mut(victim);
        segment.live_bytes -= size;
        segment.tombstone_bytes -= size;
        let of_epoch = segment.epoch == self.log.epoch;
        self.log.live_bytes -= size;
        self.log.tombstone_bytes -= size;
        if let Some((_, found)) = place.found {
            found.add_flag(HAS_PREV);
        } else if keep {
            self.append(place.header | TOMBSTONE, 0, key, 0);
        }
        if of_epoch {
            record.add_flag(DEAD);
        }
        Ok(true)
    }

    fn clean_live(&mut self, record: Record, at: u64, place: &Place, key: &[u8], victim: SegmentSlot) -> Result<bool> {
        // SAFETY: as in `clean`.
        let value = unsafe { record.value() };
        if record.header() & (AUX | CHAINED) == 0 {
            let filter = &self.filters[(place.identity() >> 1) as usize];
            if filter.as_ref().is_some_and(|keep| !keep(key, value)) {
                // An older version in a file would come back with the next restore.
                let older = record.has(HAS_PREV) && self.log.has_older(victim);
                if older && !self.has_cleaning_room(record.size())? {
                    return Ok(false);
                }
                self.remove_found(place, key, older);
                return Ok(true);
            }
        }
        if record.has(CHAINED) {
            return self.clean_list(place, record);
        }
        if !self.has_cleaning_room(record.size())? {
            return Ok(false);
        }
        let Some((slot, _)) = place.found else { return Ok(true) };
        debug_assert_eq!(self.record(at), record);
        let flags = if self.supersede(slot) { HAS_PREV } else { 0 };
        let copy = self.swing(place, slot, place.header | flags, 0, key, value.len());
        // SAFETY: the copy was just appended with room for the value.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), copy.value_address(), value.len()) };
        Ok(true)
    }

    fn clean_list(&mut self, place: &Place, head: Record) -> Result<bool> {
        if !self.has_cleaning_room(self.joined_size(head))? {
            return Ok(false);
        }
        self.join(place);
        Ok(true)
    }
}
