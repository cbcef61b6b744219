//! Lists: chained blocks, the newest in the index. An append never reads or moves what the list has.

use super::{check_lengths, Engine, Place};
use crate::error::Result;
use crate::layout::ADDRESS_MASK;
use crate::record::{size_of, Record, CHAINED, HAS_PREV};

/// u32 used, u32 count.
const BLOCK_HEADER: usize = 8;
/// Blocks double up to this size.
const BLOCK_LIMIT: usize = 64 << 10;
/// Room for a second small element in a list's first block.
const FIRST_SPARE: usize = 8;
const DELIMITER: u8 = b',';

fn header(block: Record) -> (usize, u32) {
    let at = block.value_address().cast::<[u8; 4]>();
    // SAFETY: a list's block begins with two u32; only this thread writes it.
    let (used, count) = unsafe { (at.read(), at.add(1).read()) };
    (u32::from_le_bytes(used) as usize, u32::from_le_bytes(count))
}

/// Writes used and count.
///
/// # Safety
/// The block is of the current epoch and its value has at least 8 bytes.
unsafe fn set_header(block: Record, used: usize, count: u32) {
    let at = block.value_address().cast::<[u8; 4]>();
    // SAFETY: contract.
    unsafe {
        at.write((used as u32).to_le_bytes());
        at.add(1).write(count.to_le_bytes());
    }
}

/// Copies bytes into a block after its header.
///
/// # Safety
/// The block is of the current epoch and has room for them there; they are not the block's.
unsafe fn write_at(block: Record, offset: usize, bytes: &[u8]) {
    debug_assert!(BLOCK_HEADER + offset + bytes.len() <= block.value_length());
    // SAFETY: contract.
    unsafe {
        let at = block.value_address().add(BLOCK_HEADER + offset);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
    }
}

impl Engine {
    /// Adds a serialized element to the list of a key.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn append_element(&mut self, key_group: u32, identity: u32, key: &[u8], element: &[u8]) -> Result<()> {
        let mut place = self.locate(key_group, identity, key)?;
        check_lengths(key.len(), element.len() + BLOCK_HEADER + FIRST_SPARE)?;
        let capacity = match place.found {
            Some((slot, block)) => {
                // SAFETY: the slot is the index's, just found.
                if self.log.is_current(unsafe { *slot }) && append_in_place(block, element) {
                    return Ok(());
                }
                // At most twice the forerunner, so that a list of n bytes has about log(n) blocks an epoch.
                let doubled = 2 * block.value_length().saturating_sub(BLOCK_HEADER);
                doubled.min(BLOCK_LIMIT).max(element.len())
            }
            None => element.len() + FIRST_SPARE,
        };
        let length = BLOCK_HEADER + capacity;
        self.prepare(&mut place, key, size_of(true, key.len(), length))?;
        let block = match place.found {
            None => self.insert(&place, place.header, 0, key, length),
            Some((slot, head)) => {
                // SAFETY: the slot was found since the index was last written.
                let previous = unsafe { *slot } & ADDRESS_MASK;
                let older = !self.log.is_current(previous) || head.has(HAS_PREV);
                let flags = CHAINED | if older { HAS_PREV } else { 0 };
                self.swing(&place, slot, place.header | flags, previous, key, length)
            }
        };
        // SAFETY: the block was just appended with room for header and element.
        unsafe {
            set_header(block, element.len(), 1);
            write_at(block, 0, element);
        }
        Ok(())
    }

    /// Replaces the list of a key by elements already joined with `,`.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn put_list(&mut self, key_group: u32, identity: u32, key: &[u8], joined: &[u8], count: u32) -> Result<()> {
        check_lengths(key.len(), joined.len() + BLOCK_HEADER)?;
        let used = (joined.len() as u32).to_le_bytes();
        self.put_parts(key_group, identity, key, &[&used, &count.to_le_bytes(), joined])
    }

    /// The list of a key: its elements joined with `,`, and how many there are.
    ///
    /// # Errors
    /// `Invalid` when the key group or the identity is not of this engine.
    pub fn list(&self, key_group: u32, identity: u32, key: &[u8]) -> Result<Option<(Vec<u8>, u64)>> {
        let Some((_, head)) = self.locate(key_group, identity, key)?.found else { return Ok(None) };
        let mut joined = Vec::new();
        let mut count = 0;
        for (i, block) in self.chain(head).into_iter().rev().enumerate() {
            if i > 0 {
                joined.push(DELIMITER);
            }
            joined.extend_from_slice(self.elements(block));
            count += u64::from(header(block).1);
        }
        Ok(Some((joined, count)))
    }

    /// The blocks of a list, newest first.
    fn chain(&self, head: Record) -> Vec<Record> {
        let next = |block: &Record| Some(block.previous()).filter(|at| *at != 0).map(|at| self.record(at));
        std::iter::successors(Some(head), next).collect()
    }

    fn elements(&self, block: Record) -> &[u8] {
        // SAFETY: not written while `self` is borrowed.
        let value = unsafe { block.value() };
        &value[BLOCK_HEADER..BLOCK_HEADER + header(block).0]
    }

    /// Whether a block is one that the head continues.
    pub(super) fn continues(&self, head: Record, block: Record) -> bool {
        let next = |block: &Record| Some(block.previous()).filter(|at| *at != 0).map(|at| self.record(at));
        std::iter::successors(next(&head), next).any(|each| each == block)
    }

    /// Bytes of the record that joins a list's blocks.
    pub(super) fn joined_size(&self, head: Record) -> usize {
        size_of(false, head.key_length(), BLOCK_HEADER + self.joined_length(head))
    }

    fn joined_length(&self, head: Record) -> usize {
        let blocks = self.chain(head);
        blocks.iter().map(|block| header(*block).0).sum::<usize>() + blocks.len() - 1
    }

    /// Makes one block of a list. Room was made for [`Engine::joined_size`].
    pub(super) fn join(&mut self, place: &Place) {
        let Some((slot, head)) = place.found else { return };
        let blocks = self.chain(head);
        let used = self.joined_length(head);
        let count = blocks.iter().map(|block| header(*block).1).sum();
        // SAFETY: the old records stay mapped, and their keys and values unchanged, until their chunks are freed.
        let key = unsafe { head.key() };
        let flags = if self.supersede(slot) { HAS_PREV } else { 0 };
        let joined = self.swing(place, slot, place.header | flags, 0, key, BLOCK_HEADER + used);
        let mut at = 0;
        for (i, block) in blocks.iter().rev().enumerate() {
            let elements = self.elements(*block);
            // SAFETY: the joined block was just appended with room for all elements and delimiters.
            unsafe {
                if i > 0 {
                    write_at(joined, at, &[DELIMITER]);
                    at += 1;
                }
                write_at(joined, at, elements);
            }
            at += elements.len();
        }
        assert_eq!(at, used, "a joined list has another length");
        // SAFETY: as above.
        unsafe { set_header(joined, used, count) };
    }
}

/// Adds the element to a block of the current epoch; false when it has no room.
fn append_in_place(block: Record, element: &[u8]) -> bool {
    let (used, count) = header(block);
    let delimiter = usize::from(count > 0);
    let after = used + delimiter + element.len();
    if BLOCK_HEADER + after > block.value_length() {
        return false;
    }
    // SAFETY: of the current epoch (caller), with room (checked).
    unsafe {
        if delimiter == 1 {
            write_at(block, used, &[DELIMITER]);
        }
        write_at(block, used + delimiter, element);
        set_header(block, after, count + 1);
    }
    true
}
