//! One record in memory (docs/concepts/slimbase-format.md, section Record): reading and writing at an address.
//!
//! [`Record`] is a pointer whose maker vouches for it: it points to a whole record in a chunk that stays mapped while
//! the value is used. All reading is then plain. The header word alone may change under a reader of another thread (the
//! writer adds `HAS_PREV` to sealed records), so it is read and written atomically.

use std::sync::atomic::{AtomicU32, Ordering};

/// Superseded or removed within its own epoch.
pub const DEAD: u32 = 1 << 25;
/// The key was removed.
pub const TOMBSTONE: u32 = 1 << 26;
/// Continues an older value.
pub const CHAINED: u32 = 1 << 27;
/// Lengths over 65,535.
pub const LARGE: u32 = 1 << 28;
/// An older sealed version may exist.
pub const HAS_PREV: u32 = 1 << 29;
/// Auxiliary record, part of the identity.
pub const AUX: u32 = 1 << 30;

/// Greatest length that is not LARGE.
pub const SHORT_LIMIT: usize = 0xFFFF;
/// Greatest length of a key or a value: what Java can address in one array.
pub const LENGTH_LIMIT: usize = i32::MAX as usize - 64;
/// Bits of the header word that say whose record it is: key group, state id, AUX.
pub const IDENTITY_MASK: u32 = 0x01FF_FFFF | AUX;
/// Identity, key length and LARGE of the first eight bytes.
const MATCH_MASK: u64 = 0x0000_FFFF_0000_0000 | (IDENTITY_MASK | LARGE | TOMBSTONE) as u64;

/// Rounds up to the alignment of records.
#[inline]
pub fn align8(bytes: usize) -> usize {
    (bytes + 7) & !7
}

/// The header word without flags but AUX; `identity` is state id * 2 + AUX.
#[inline]
pub fn header(key_group: u32, identity: u32) -> u32 {
    debug_assert!(key_group < 1 << 15 && identity < 2048);
    key_group | ((identity >> 1) << 15) | ((identity & 1) << 30)
}

/// The identity in a header word.
#[inline]
pub fn identity_of(header: u32) -> u32 {
    (((header >> 15) & 0x3FF) << 1) | ((header >> 30) & 1)
}

#[inline]
fn is_large(key_length: usize, value_length: usize) -> bool {
    key_length > SHORT_LIMIT || value_length > SHORT_LIMIT
}

/// Bytes that a record takes in the log.
#[inline]
pub fn size_of(chained: bool, key_length: usize, value_length: usize) -> usize {
    let fixed = 8 + if is_large(key_length, value_length) { 8 } else { 0 } + if chained { 8 } else { 0 };
    align8(fixed + key_length + value_length)
}

/// A record at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record(*mut u8);

impl Record {
    /// # Safety
    /// `address` is that of a whole record in the log, 8-byte aligned, which stays mapped and whose lengths do not
    /// change while the value or what it gave out is used.
    #[inline]
    pub unsafe fn at(address: *mut u8) -> Record {
        debug_assert!(!address.is_null() && address as usize & 7 == 0);
        Record(address)
    }

    /// The memory address.
    #[inline]
    pub fn address(self) -> *mut u8 {
        self.0
    }

    #[inline]
    fn word(self) -> &'static AtomicU32 {
        // SAFETY: a record begins with its header word, aligned to 8 (contract of `at`); all access to it is atomic.
        unsafe { AtomicU32::from_ptr(self.0.cast()) }
    }

    #[inline]
    fn read_u32(self, offset: usize) -> u32 {
        // SAFETY: offsets asked for lie within the fixed part of a whole record (contract of `at`).
        u32::from_le(unsafe { self.0.add(offset).cast::<u32>().read() })
    }

    #[inline]
    fn read_u16(self, offset: usize) -> u16 {
        // SAFETY: as in `read_u32`.
        u16::from_le(unsafe { self.0.add(offset).cast::<u16>().read() })
    }

    /// Flags, state id and key group.
    #[inline]
    pub fn header(self) -> u32 {
        u32::from_le(self.word().load(Ordering::Relaxed))
    }

    /// Whether the flag is set.
    #[inline]
    pub fn has(self, flag: u32) -> bool {
        self.header() & flag != 0
    }

    /// Sets a flag; only the writer calls it.
    #[inline]
    pub fn add_flag(self, flag: u32) {
        self.word().store((self.header() | flag).to_le(), Ordering::Relaxed);
    }

    /// The key group.
    #[inline]
    pub fn key_group(self) -> u32 {
        self.header() & 0x7FFF
    }

    /// State id * 2 + AUX.
    #[inline]
    pub fn identity(self) -> u32 {
        identity_of(self.header())
    }

    /// Length of the key bytes.
    #[inline]
    pub fn key_length(self) -> usize {
        if self.has(LARGE) {
            self.read_u32(8) as usize
        } else {
            usize::from(self.read_u16(4))
        }
    }

    /// Length of the value.
    #[inline]
    pub fn value_length(self) -> usize {
        if self.has(LARGE) {
            self.read_u32(12) as usize
        } else {
            usize::from(self.read_u16(6))
        }
    }

    #[inline]
    fn key_offset(self) -> usize {
        let header = self.header();
        8 + ((header & LARGE) >> 25) as usize + ((header & CHAINED) >> 24) as usize
    }

    /// Where the key bytes are.
    #[inline]
    pub fn key_address(self) -> *mut u8 {
        // SAFETY: the key lies within the record.
        unsafe { self.0.add(self.key_offset()) }
    }

    /// Where the value is.
    #[inline]
    pub fn value_address(self) -> *mut u8 {
        // SAFETY: the value lies within the record.
        unsafe { self.0.add(self.key_offset() + self.key_length()) }
    }

    /// The key bytes.
    ///
    /// # Safety
    /// The record stays mapped and is not written as long as the slice is used.
    #[inline]
    pub unsafe fn key<'a>(self) -> &'a [u8] {
        // SAFETY: a whole record (contract of `at`), unchanged for the slice's life (contract of this).
        unsafe { std::slice::from_raw_parts(self.key_address(), self.key_length()) }
    }

    /// The value.
    ///
    /// # Safety
    /// The record stays mapped and is not written as long as the slice is used.
    #[inline]
    pub unsafe fn value<'a>(self) -> &'a [u8] {
        // SAFETY: as in `key`.
        unsafe { std::slice::from_raw_parts(self.value_address(), self.value_length()) }
    }

    /// Logical address of what a chained record continues; 0 when there is none.
    #[inline]
    pub fn previous(self) -> u64 {
        let header = self.header();
        if header & CHAINED == 0 {
            return 0;
        }
        // SAFETY: a CHAINED record has this field after the lengths (contract of `at`).
        u64::from_le(unsafe { self.0.add(8 + ((header & LARGE) >> 25) as usize).cast::<u64>().read() })
    }

    /// Bytes in the log, with padding.
    #[inline]
    pub fn size(self) -> usize {
        align8(self.key_offset() + self.key_length() + self.value_length())
    }

    /// Whether this is the record of the key; `header` is [`header`]'s.
    #[inline]
    pub fn matches(self, header: u32, key: &[u8]) -> bool {
        // SAFETY: a record has at least 8 bytes; the one writer is this thread, or the record is sealed.
        let word = u64::from_le(unsafe { self.0.cast::<u64>().read() });
        if word & MATCH_MASK == ((key.len() as u64) << 32) | u64::from(header) {
            let offset = 8 + ((word as u32 & CHAINED) >> 24) as usize;
            // SAFETY: the key has this length and place; its padding lies within the record.
            return unsafe { equal(self.0.add(offset), key) };
        }
        word as u32 & (LARGE | TOMBSTONE) == LARGE
            && word as u32 & IDENTITY_MASK == header
            && self.key_length() == key.len()
            // SAFETY: compared at once, the record is not written meanwhile.
            && unsafe { self.key() } == key
    }

    /// Writes all but the value and returns the record. `header` may carry flags; LARGE is added here.
    ///
    /// # Safety
    /// From `address`, 8-byte aligned, [`size_of`] bytes are writable and nobody reads them; `key` is not among them.
    #[inline]
    pub unsafe fn write(address: *mut u8, header: u32, previous: u64, key: &[u8], value_length: usize) -> Record {
        debug_assert!(address as usize & 7 == 0 && key.len() <= LENGTH_LIMIT && value_length <= LENGTH_LIMIT);
        let mut at = 8;
        // SAFETY: all writes lie within `size_of` bytes (contract).
        unsafe {
            if is_large(key.len(), value_length) {
                address.cast::<u64>().write(u64::from(header | LARGE).to_le());
                address.add(8).cast::<u32>().write((key.len() as u32).to_le());
                address.add(12).cast::<u32>().write((value_length as u32).to_le());
                at += 8;
            } else {
                let word = u64::from(header) | ((key.len() as u64) << 32) | ((value_length as u64) << 48);
                address.cast::<u64>().write(word.to_le());
            }
            if header & CHAINED != 0 {
                address.add(at).cast::<u64>().write(previous.to_le());
                at += 8;
            }
            std::ptr::copy_nonoverlapping(key.as_ptr(), address.add(at), key.len());
        }
        Record(address)
    }

    /// Changes the value's length in place; the size must stay the same.
    ///
    /// # Safety
    /// The record is of the current epoch and nobody else reads it.
    pub unsafe fn set_value_length(self, value_length: usize) {
        debug_assert_eq!(align8(self.key_offset() + self.key_length() + value_length), self.size());
        // SAFETY: the field lies within the record (contract of `at`), nobody reads it (contract of this).
        unsafe {
            if self.has(LARGE) {
                self.0.add(12).cast::<u32>().write((value_length as u32).to_le());
            } else {
                self.0.add(6).cast::<u16>().write((value_length as u16).to_le());
            }
        }
    }
}

/// Compares key bytes; short keys without a call.
///
/// # Safety
/// `key.len()` bytes from `address` are readable.
#[inline]
unsafe fn equal(address: *const u8, key: &[u8]) -> bool {
    let length = key.len();
    if length == 8 {
        // SAFETY: eight bytes on both sides.
        return unsafe { address.cast::<u64>().read_unaligned() == key.as_ptr().cast::<u64>().read_unaligned() };
    }
    // SAFETY: contract.
    unsafe { std::slice::from_raw_parts(address, length) == key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(header: u32, previous: u64, key: &[u8], value: &[u8]) -> (Vec<u64>, Record) {
        let mut memory = vec![0u64; size_of(header & CHAINED != 0, key.len(), value.len()) / 8 + 1];
        // SAFETY: `memory` is aligned and large enough, and lives with the record.
        let record = unsafe {
            let record = Record::write(memory.as_mut_ptr().cast(), header, previous, key, value.len());
            std::ptr::copy_nonoverlapping(value.as_ptr(), record.value_address(), value.len());
            record
        };
        (memory, record)
    }

    /// What is written is read again, in all four forms.
    #[test]
    fn round_trip_in_all_forms() {
        for (flags, key_length, value_length) in [
            (0, 0, 0),
            (0, 8, 5),
            (CHAINED, 3, 70_000),
            (CHAINED | HAS_PREV, 9, 1),
            (0, 65_536, 0),
            (0, 65_535, 65_535),
        ] {
            let (key, value) = (vec![7u8; key_length], vec![9u8; value_length]);
            let (memory, record) = written(header(32_767, 2047) | flags, 0x12_3456_7890, &key, &value);
            // SAFETY: `memory` lives to the end of the loop.
            let (read_key, read_value) = unsafe { (record.key(), record.value()) };
            assert_eq!((read_key, read_value), (key.as_slice(), value.as_slice()));
            assert_eq!((record.key_group(), record.identity()), (32_767, 2047));
            assert_eq!(record.previous(), if flags & CHAINED != 0 { 0x12_3456_7890 } else { 0 });
            assert_eq!(record.size(), size_of(flags & CHAINED != 0, key_length, value_length));
            assert_eq!(record.has(LARGE), key_length.max(value_length) > SHORT_LIMIT);
            assert!(record.matches(header(32_767, 2047), &key));
            assert!(!record.matches(header(32_766, 2047), &key) && !record.matches(header(32_767, 2046), &key));
            assert!(memory.len() * 8 > record.size());
        }
    }

    /// The bytes are those of the page.
    #[test]
    fn bytes_are_as_documented() {
        let (memory, _) = written(header(5, 3 * 2) | HAS_PREV, 0, b"key", b"value");
        let bytes: Vec<u8> = memory.iter().flat_map(|word| word.to_le_bytes()).take(16).collect();
        assert_eq!(&bytes[..4], &(5u32 | (3 << 15) | (1 << 29)).to_le_bytes());
        assert_eq!(&bytes[4..], b"\x03\x00\x05\x00keyvalue");
    }
}
