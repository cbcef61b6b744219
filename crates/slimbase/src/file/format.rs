//! Header, footer, trailer and varints as bytes. Version 2 is written; version 1 lacks filter and first entries, version 3
//! also says when a state's entries were used last (Java's tiers ask for it).

use crate::error::{Error, Kind, Result};

pub(super) const HEADER_MAGIC: &[u8; 8] = b"SLIMBASE";
pub(super) const TRAILER_MAGIC: &[u8; 8] = b"SLIMFOOT";
/// Version of the files that are written here.
pub const FILE_VERSION: u32 = 2;
/// The newest version that is read.
pub(super) const NEWEST_VERSION: u32 = 3;
/// The version before files had a filter.
pub(super) const VERSION_WITHOUT_FILTER: u32 = 1;
pub(super) const HEADER_BYTES: u64 = 16;
pub(super) const BLOCK_HEADER_BYTES: usize = 16;
pub(super) const TRAILER_BYTES: usize = 32;
/// Raw bytes of a block, but for one entry that is larger. A lookup reads a block for one entry.
pub const BLOCK_BYTES: usize = 4 << 10;
/// Compressed bytes are kept when they save this part of a block: less is not worth decompressing for each lookup.
pub(super) const WORTHWHILE_SAVING: usize = 8;
/// Of a block row's identity: the entry before the block has the same key group, identity and hash.
const CONTINUED: u16 = 1 << 15;
const FILTER_NONE: u32 = 0;
const FILTER_SPLIT_BLOCK_BLOOM: u32 = 1;
pub(super) const CODEC_NONE: u8 = 0;
pub(super) const CODEC_LZ4: u8 = 1;

/// Where a key group's entries begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The key group.
    pub key_group: u16,
    /// Index of the block with its first entry.
    pub block: u32,
    /// Offset of that entry in the raw block.
    pub offset: u32,
    /// How many entries it has.
    pub entries: u32,
}

/// The first entry of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirstEntry {
    /// Its key group.
    pub key_group: u16,
    /// State id * 2 + AUX.
    pub identity: u16,
    /// Hash of its key.
    pub hash: u64,
    /// Whether the entry before has the same key group, identity and hash.
    pub continued: bool,
}

/// What a file holds of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateStatistics {
    /// State id * 2 + AUX.
    pub identity: u16,
    /// Entries that are tombstones.
    pub tombstones: u32,
    /// All entries, tombstones and chained ones too.
    pub entries: u64,
    /// Bytes of these entries in raw blocks.
    pub raw_bytes: u64,
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Footer {
    /// Offset of each block in the file.
    pub blocks: Vec<u64>,
    /// The first entry of each block; nothing in version 1.
    pub first_entries: Vec<FirstEntry>,
    /// One per key group that occurs, ascending.
    pub extents: Vec<Extent>,
    /// One per state id and AUX, ascending.
    pub states: Vec<StateStatistics>,
    /// Bytes of the filter, which ends where the footer begins; 0 in version 1 and in files without entries.
    pub filter_bytes: u32,
    /// CRC32C of the filter.
    pub filter_checksum: u32,
    /// The segment's number.
    pub segment: u64,
}

pub(super) fn header() -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(HEADER_MAGIC);
    bytes[8..10].copy_from_slice(&(FILE_VERSION as u16).to_le_bytes());
    bytes
}

pub(super) fn trailer(footer_offset: u64, footer: &[u8], filter_bytes: u32) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    bytes[..8].copy_from_slice(&footer_offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&(footer.len() as u32).to_le_bytes());
    bytes[12..16].copy_from_slice(&crc32c::crc32c(footer).to_le_bytes());
    bytes[16..20].copy_from_slice(&FILE_VERSION.to_le_bytes());
    bytes[20..24].copy_from_slice(&filter_bytes.to_le_bytes());
    bytes[24..].copy_from_slice(TRAILER_MAGIC);
    bytes
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let rows = self.blocks.len() * 20 + self.extents.len() * 16 + self.states.len() * 24;
        let mut out = Vec::with_capacity(32 + rows);
        out.extend_from_slice(&(self.blocks.len() as u32).to_le_bytes());
        for (offset, first) in self.blocks.iter().zip(&self.first_entries) {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&first.hash.to_le_bytes());
            out.extend_from_slice(&first.key_group.to_le_bytes());
            let flag = if first.continued { CONTINUED } else { 0 };
            out.extend_from_slice(&(first.identity | flag).to_le_bytes());
        }
        out.extend_from_slice(&(self.extents.len() as u32).to_le_bytes());
        for extent in &self.extents {
            out.extend_from_slice(&u32::from(extent.key_group).to_le_bytes());
            for field in [extent.block, extent.offset, extent.entries] {
                out.extend_from_slice(&field.to_le_bytes());
            }
        }
        out.extend_from_slice(&(self.states.len() as u32).to_le_bytes());
        for state in &self.states {
            out.extend_from_slice(&(state.identity >> 1).to_le_bytes());
            out.extend_from_slice(&(state.identity & 1).to_le_bytes());
            out.extend_from_slice(&state.tombstones.to_le_bytes());
            out.extend_from_slice(&state.entries.to_le_bytes());
            out.extend_from_slice(&state.raw_bytes.to_le_bytes());
        }
        let kind = if self.filter_bytes == 0 { FILTER_NONE } else { FILTER_SPLIT_BLOCK_BLOOM };
        for field in [kind, self.filter_bytes, self.filter_checksum] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.segment.to_le_bytes());
        out
    }

    /// Decodes and checks what can be checked without the blocks; `end` is where the blocks end, and the filter, whose
    /// bytes the trailer gives, begins.
    pub(super) fn decode(bytes: &[u8], version: u32, end: u64, filter_bytes: u32) -> Result<Footer> {
        let has_filter = version != VERSION_WITHOUT_FILTER;
        let mut input = Input { bytes };
        let mut footer = Footer::default();
        for _ in 0..input.count(if has_filter { 20 } else { 8 })? {
            footer.blocks.push(input.u64()?);
            if has_filter {
                let (hash, key_group, identity) = (input.u64()?, input.u16()?, input.u16()?);
                let continued = identity & CONTINUED != 0;
                footer.first_entries.push(FirstEntry { key_group, identity: identity & !CONTINUED, hash, continued });
            }
        }
        for _ in 0..input.count(16)? {
            let key_group = input.u16()?;
            input.u16()?;
            footer.extents.push(Extent { key_group, block: input.u32()?, offset: input.u32()?, entries: input.u32()? });
        }
        let has_times = version > FILE_VERSION;
        for _ in 0..input.count(if has_times { 32 } else { 24 })? {
            let (state_id, aux) = (input.u16()?, input.u16()?);
            if state_id > 1023 || aux > 1 {
                return Err(malformed("state id").with("state_id", state_id).with("aux", aux));
            }
            footer.states.push(StateStatistics {
                identity: state_id * 2 + aux,
                tombstones: input.u32()?,
                entries: input.u64()?,
                raw_bytes: input.u64()?,
            });
            if has_times {
                input.u64()?;
            }
        }
        if has_filter {
            let kind = input.u32()?;
            (footer.filter_bytes, footer.filter_checksum) = (input.u32()?, input.u32()?);
            let wanted = if footer.filter_bytes == 0 { FILTER_NONE } else { FILTER_SPLIT_BLOCK_BLOOM };
            if kind != wanted || (footer.filter_bytes == 0) != footer.blocks.is_empty() {
                return Err(malformed("filter").with("kind", kind).with("filter_bytes", footer.filter_bytes));
            }
        }
        if footer.filter_bytes != filter_bytes {
            return Err(malformed("length of the filter").with("trailer_bytes", filter_bytes));
        }
        footer.segment = input.u64()?;
        if !input.bytes.is_empty() {
            return Err(malformed("length").with("bytes_left", input.bytes.len()));
        }
        footer.check(end)?;
        Ok(footer)
    }

    fn check(&self, end: u64) -> Result<()> {
        let minimum = BLOCK_HEADER_BYTES as u64;
        let starts_well = self.blocks.first().copied().unwrap_or(end) == HEADER_BYTES;
        let mut ends = self.blocks.iter().skip(1).copied().chain([end]);
        let grows = |start: &u64| ends.next().is_some_and(|end| start.checked_add(minimum).is_some_and(|s| s < end));
        if !starts_well || !self.blocks.iter().all(grows) {
            return Err(malformed("block offsets"));
        }
        let place = |extent: &Extent| (extent.key_group, extent.block, extent.offset);
        let ascends = self.extents.windows(2).all(|pair| {
            let (a, b) = (place(&pair[0]), place(&pair[1]));
            a.0 < b.0 && (a.1, a.2) < (b.1, b.2)
        });
        let within = |extent: &Extent| (extent.block as usize) < self.blocks.len() && extent.entries > 0;
        if !ascends || !self.extents.iter().all(within) || self.extents.is_empty() != self.blocks.is_empty() {
            return Err(malformed("extents"));
        }
        if !self.states.windows(2).all(|pair| pair[0].identity < pair[1].identity) {
            return Err(malformed("order of states"));
        }
        self.check_first_entries()
    }

    /// First entries ascend within a key group, which is the one that the extents say.
    fn check_first_entries(&self) -> Result<()> {
        let mut extent = 0;
        for (block, first) in self.first_entries.iter().enumerate() {
            let begins = |extent: &Extent| (extent.block as usize, extent.offset) <= (block, 0);
            while self.extents.get(extent + 1).is_some_and(begins) {
                extent += 1;
            }
            let begins_extent = (self.extents[extent].block as usize, self.extents[extent].offset) == (block, 0);
            let place = |entry: &FirstEntry| (entry.key_group, entry.identity, entry.hash);
            let before = block.checked_sub(1).map(|before| &self.first_entries[before]);
            let ascends = before
                .is_none_or(|before| place(before) < place(first) || place(before) == place(first) && first.continued);
            if first.key_group != self.extents[extent].key_group
                || first.identity > 2047
                || (first.continued && begins_extent)
                || !ascends
            {
                return Err(malformed("first entries of blocks").with("block", block));
            }
        }
        Ok(())
    }
}

fn malformed(what: &str) -> Error {
    Error::new(Kind::Corrupt, format!("footer is malformed in its {what}"))
}

struct Input<'a> {
    bytes: &'a [u8],
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(|| malformed("length"))?;
        self.bytes = rest;
        Ok(*head)
    }

    fn u16(&mut self) -> Result<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// A count of items of so many bytes, which must be there.
    fn count(&mut self, item_bytes: usize) -> Result<u32> {
        let count = self.u32()?;
        if (count as usize).checked_mul(item_bytes).is_none_or(|bytes| bytes > self.bytes.len()) {
            return Err(malformed("counts").with("count", count));
        }
        Ok(count)
    }
}

/// Appends a varint: 7 bits a byte, low first, top bit: more follows.
pub fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of a varint.
pub(super) fn varint_bytes(value: u32) -> usize {
    ((38 - (value | 1).leading_zeros()) / 7) as usize
}

/// Takes a varint of at most 5 bytes off the front.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0u64;
    for i in 0..5 {
        let byte = *bytes.get(i)?;
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            *bytes = &bytes[i + 1..];
            return u32::try_from(value).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Varints of all lengths come back, and have the length foretold.
    #[test]
    fn varints_round_trip() {
        for value in (0..32).flat_map(|shift| [(1u32 << shift) - 1, 1 << shift]).chain([u32::MAX]) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_bytes(value), "{value}");
            let mut rest = out.as_slice();
            assert_eq!((take_varint(&mut rest), rest.len()), (Some(value), 0));
            assert_eq!(take_varint(&mut &out[..out.len() - 1]), None);
        }
        assert_eq!(take_varint(&mut [0xFF; 6].as_slice()), None);
    }

    /// A footer comes back; one that does not fit its blocks is refused.
    #[test]
    fn footer_round_trip() {
        let footer = Footer {
            blocks: vec![16, 100],
            first_entries: vec![
                FirstEntry { key_group: 3, identity: 5, hash: 6, continued: false },
                FirstEntry { key_group: 3, identity: 5, hash: 6, continued: true },
            ],
            extents: vec![
                Extent { key_group: 3, block: 0, offset: 0, entries: 4 },
                Extent { key_group: 9, block: 1, offset: 7, entries: 1 },
            ],
            states: vec![StateStatistics { identity: 5, tombstones: 1, entries: 5, raw_bytes: 99 }],
            filter_bytes: 32,
            filter_checksum: 9,
            segment: 77,
        };
        let bytes = footer.encode();
        let decode = |bytes: &[u8], end, filter| Footer::decode(bytes, FILE_VERSION, end, filter);
        assert_eq!(decode(&bytes, 150, 32).unwrap(), footer);
        assert_eq!(decode(&bytes, 110, 32).unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(decode(&bytes, 150, 64).unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(Footer::decode(&bytes, 1, 150, 0).unwrap_err().kind(), Kind::Corrupt);
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length], 150, 32).unwrap_err().kind(), Kind::Corrupt);
        }
        let mut unordered = footer.clone();
        unordered.first_entries[1].hash = 5;
        assert_eq!(decode(&unordered.encode(), 150, 32).unwrap_err().kind(), Kind::Corrupt);
    }
}
