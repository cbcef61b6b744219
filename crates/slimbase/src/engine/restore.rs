//! Filling an engine from files, one segment a file, in the manifest's order.

use super::{check_lengths, Engine};
use crate::error::Result;
use crate::file::{Entry, SegmentReader, ENTRY_CHAINED, ENTRY_TOMBSTONE};
use crate::layout::ADDRESS_MASK;
use crate::record::{size_of, CHAINED, HAS_PREV, TOMBSTONE};
use std::ops::RangeInclusive;

impl Engine {
    /// Applies a file's entries of a range of key groups (and of this engine's own). Returns the number of the segment that
    /// holds them now; `None` when there were none.
    ///
    /// # Errors
    /// `Corrupt` for a damaged file, `Throttled` when the state does not fit; the engine is then of no use.
    pub fn restore_file(&mut self, reader: &SegmentReader, key_groups: RangeInclusive<u32>) -> Result<Option<u64>> {
        self.log.close_segment();
        self.restoring = true;
        let own = self.key_groups();
        let range = (*key_groups.start().max(own.start()))..=(*key_groups.end().min(own.end()));
        let applied = reader.for_each(range, |entry| self.restore_entry(&entry));
        self.restoring = false;
        let segment = self.log.close_segment();
        applied.map(|()| segment)
    }

    fn restore_entry(&mut self, entry: &Entry<'_>) -> Result<()> {
        let chained = entry.flags & ENTRY_CHAINED != 0;
        check_lengths(entry.key.len(), entry.value.len())?;
        let mut place = self.locate(entry.key_group, entry.identity, entry.key)?;
        let size = size_of(chained, entry.key.len(), entry.value.len());
        if entry.flags & ENTRY_TOMBSTONE != 0 {
            self.make_room(size, entry.identity)?;
            self.remove_found(&place, entry.key, false);
            self.append(place.header | TOMBSTONE, 0, entry.key, 0);
            return Ok(());
        }
        self.prepare(&mut place, entry.key, size)?;
        let length = entry.value.len();
        let record = match place.found {
            None => self.insert(&place, place.header, 0, entry.key, length),
            Some((slot, _)) if chained => {
                // SAFETY: the slot was found since the index was last written.
                let head = unsafe { *slot } & ADDRESS_MASK;
                self.swing(&place, slot, place.header | CHAINED | HAS_PREV, head, entry.key, length)
            }
            Some((slot, _)) => {
                self.supersede(slot);
                self.swing(&place, slot, place.header | HAS_PREV, 0, entry.key, length)
            }
        };
        // SAFETY: the record was just appended with room for the value.
        unsafe { std::ptr::copy_nonoverlapping(entry.value.as_ptr(), record.value_address(), length) };
        Ok(())
    }
}
