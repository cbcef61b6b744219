//! Reads files. Every length is checked before it is used, every block before it is decoded; damage is `Corrupt`, with
//! the file, the block and both checksums.

use super::format::{
    take_varint, Extent, FirstEntry, Footer, BLOCK_HEADER_BYTES, CODEC_LZ4, CODEC_NONE, HEADER_BYTES, HEADER_MAGIC,
    NEWEST_VERSION, TRAILER_BYTES, TRAILER_MAGIC, VERSION_WITHOUT_FILTER,
};
use super::{filter, ENTRY_AUX, ENTRY_CHAINED, ENTRY_TOMBSTONE};
use crate::error::{Error, Kind, Result};
use crate::storage::Blob;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// An LZ4 block expands to at most so many times its size.
const LZ4_EXPANSION: u64 = 255;

/// An entry of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key group.
    pub key_group: u32,
    /// State id * 2 + AUX.
    pub identity: u32,
    /// [`ENTRY_TOMBSTONE`] and [`ENTRY_CHAINED`]; AUX is in the identity.
    pub flags: u8,
    /// The key bytes.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// What [`SegmentReader::verify`] has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Blocks.
    pub blocks: u64,
    /// Entries.
    pub entries: u64,
    /// Raw bytes of all blocks.
    pub raw_bytes: u64,
}

/// A file whose footer was read and checked.
pub struct SegmentReader {
    blob: Box<dyn Blob>,
    name: String,
    footer: Footer,
    version: u32,
    /// Where the last block ends.
    blocks_end: u64,
}

impl std::fmt::Debug for SegmentReader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SegmentReader").field("name", &self.name).field("footer", &self.footer).finish()
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn check_version(version: u32) -> Result<()> {
    match version {
        VERSION_WITHOUT_FILTER..=NEWEST_VERSION => Ok(()),
        0 => Err(Error::new(Kind::Corrupt, "file has an impossible version").with("version", version)),
        _ => Err(Error::new(Kind::Unsupported, "file is of a newer version")
            .with("version", version)
            .with("known", NEWEST_VERSION)
            .hint("restore with the Headrace release that wrote it, or a newer one")),
    }
}

impl SegmentReader {
    /// Reads header, trailer, footer and filter; `name` is for messages.
    ///
    /// # Errors
    /// `Corrupt` when anything does not fit, `Unsupported` when the file is of a newer version.
    pub fn open(blob: Box<dyn Blob>, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let opened = Self::read_footer(blob.as_ref()).map_err(|error| error.with("file", &name))?;
        let reader = SegmentReader { blob, name, footer: opened.0, blocks_end: opened.1, version: opened.2 };
        // Only lookups in Java's tiers need the filter, but damage is found where it is.
        reader.read_filter()?;
        Ok(reader)
    }

    /// The footer, where the blocks end, and the version.
    fn read_footer(blob: &dyn Blob) -> Result<(Footer, u64, u32)> {
        let size = blob.size();
        if size < HEADER_BYTES + TRAILER_BYTES as u64 {
            return Err(Error::new(Kind::Corrupt, "file is too short").with("file_bytes", size));
        }
        let mut header = [0; HEADER_BYTES as usize];
        blob.read_at(0, &mut header)?;
        let mut trailer = [0; TRAILER_BYTES];
        blob.read_at(size - TRAILER_BYTES as u64, &mut trailer)?;
        if &header[..8] != HEADER_MAGIC || &trailer[24..] != TRAILER_MAGIC {
            return Err(Error::new(Kind::Corrupt, "not a whole SlimBase file: its first or last 8 bytes are others"));
        }
        let version = number(&trailer, 16);
        let stated = u32::from(u16::from_le_bytes(array(&header, 8)));
        check_version(stated)?;
        check_version(version)?;
        if stated != version || header[10..] != [0; 6] {
            return Err(Error::new(Kind::Corrupt, "header and trailer do not fit")
                .with("header_version", stated)
                .with("trailer_version", version));
        }
        let offset = u64::from_le_bytes(array(&trailer, 0));
        let length = number(&trailer, 8);
        if offset.checked_add(u64::from(length)) != Some(size - TRAILER_BYTES as u64) {
            return Err(Error::new(Kind::Corrupt, "footer does not end at the trailer")
                .with("footer_offset", offset)
                .with("footer_bytes", length));
        }
        let mut footer = vec![0; length as usize];
        blob.read_at(offset, &mut footer)?;
        check_checksum("footer", number(&trailer, 12), crc32c::crc32c(&footer))?;
        let filter_bytes = number(&trailer, 20);
        let blocks_end =
            offset.checked_sub(u64::from(filter_bytes)).filter(|_| filter_bytes as usize % filter::BLOCK == 0);
        let blocks_end = blocks_end.ok_or_else(|| {
            Error::new(Kind::Corrupt, "filter does not fit the file").with("filter_bytes", filter_bytes)
        })?;
        Ok((Footer::decode(&footer, version, blocks_end, filter_bytes)?, blocks_end, version))
    }

    /// The name given at opening.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the file says of itself.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The file's size.
    pub fn size(&self) -> u64 {
        self.blob.size()
    }

    /// Reads, checks and decodes a block into `raw`.
    fn read_block(&self, block: u32, raw: &mut Vec<u8>) -> Result<()> {
        self.decode_block(block, raw).map_err(|error| error.with("file", &self.name).with("block", block))
    }

    fn decode_block(&self, block: u32, raw: &mut Vec<u8>) -> Result<()> {
        let start = self.footer.blocks[block as usize];
        let end = self.footer.blocks.get(block as usize + 1).copied().unwrap_or(self.blocks_end);
        let mut bytes = vec![0; (end - start) as usize];
        self.blob.read_at(start, &mut bytes)?;
        let (head, stored) = bytes.split_at(BLOCK_HEADER_BYTES);
        check_checksum("block", number(head, 12), crc32c::crc32c_append(crc32c::crc32c(&head[..12]), stored))?;
        let (raw_length, stored_length, codec) = (number(head, 0), number(head, 4), head[8]);
        let plausible = u64::from(raw_length) <= u64::from(stored_length) * LZ4_EXPANSION + 64;
        if stored_length as usize != stored.len() || !plausible {
            return Err(Error::new(Kind::Corrupt, "block has impossible lengths")
                .with("raw_bytes", raw_length)
                .with("stored_bytes", stored_length));
        }
        raw.clear();
        raw.resize(raw_length as usize, 0);
        match codec {
            CODEC_NONE if raw.len() == stored.len() => raw.copy_from_slice(stored),
            CODEC_LZ4 => {
                let decoded = lz4_flex::block::decompress_into(stored, raw)
                    .map_err(|cause| Error::new(Kind::Corrupt, "block is not decodable").caused_by(cause))?;
                if decoded != raw.len() {
                    return Err(Error::new(Kind::Corrupt, "block is shorter than it says")
                        .with("raw_bytes", raw_length)
                        .with("decoded_bytes", decoded));
                }
            }
            CODEC_NONE => return Err(Error::new(Kind::Corrupt, "block without codec has two lengths")),
            _ => return Err(Error::new(Kind::Unsupported, "block has a codec of a newer version").with("codec", codec)),
        }
        Ok(())
    }

    /// A cursor over the entries of a range of key groups, in the file's order.
    pub fn entries(&self, key_groups: RangeInclusive<u32>) -> Cursor {
        let first = self.footer.extents.partition_point(|extent| u32::from(extent.key_group) < *key_groups.start());
        Cursor { extent: first, last_key_group: *key_groups.end(), left: 0, block: None, raw: Vec::new(), at: 0 }
    }

    /// Calls `visit` with each entry of a range of key groups.
    ///
    /// # Errors
    /// `Corrupt` for damage, and what `visit` returns.
    pub fn for_each(
        &self,
        key_groups: RangeInclusive<u32>,
        mut visit: impl FnMut(Entry<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut cursor = self.entries(key_groups);
        while let Some(entry) = cursor.next(self)? {
            visit(entry)?;
        }
        Ok(())
    }

    /// What the file has of one key: a whole value or tombstone and its chained pieces, in order, as flags and value.
    /// Reads as many blocks as a binary search in the key group's extent needs.
    ///
    /// # Errors
    /// `Corrupt` for damage.
    pub fn get(&self, key_group: u32, identity: u32, key: &[u8]) -> Result<Vec<(u8, Vec<u8>)>> {
        let mut found = Vec::new();
        let extents = &self.footer.extents;
        let Ok(index) = extents.binary_search_by(|extent| u32::from(extent.key_group).cmp(&key_group)) else {
            return Ok(found);
        };
        let wanted = (identity, crate::hash::hash(identity, key));
        let order = |entry: &Entry<'_>| {
            let own = (entry.identity, crate::hash::hash(entry.identity, entry.key));
            own.cmp(&wanted).then_with(|| entry.key.cmp(key))
        };
        let end = self
            .footer
            .extents
            .get(index + 1)
            .map_or((self.footer.blocks.len() as u32, 0), |next| (next.block, next.offset as usize));
        let mut cursor = self.seek(index, wanted, order)?;
        // How many entries the extent has left is not known within it: its end is a place.
        while cursor.place() < end {
            match cursor.next(self)? {
                Some(entry) if order(&entry) == Ordering::Equal => found.push((entry.flags, entry.value.to_vec())),
                Some(entry) if order(&entry) == Ordering::Less => {}
                _ => break,
            }
        }
        Ok(found)
    }

    /// A cursor in the extent, at the last block whose first entry comes before the wanted one. Version 2 has first entries
    /// in its footer; of version 1 blocks are read.
    fn seek(&self, index: usize, wanted: (u32, u64), order: impl Fn(&Entry<'_>) -> Ordering) -> Result<Cursor> {
        let extent = self.footer.extents[index];
        let key_group = u32::from(extent.key_group);
        let last_block = match self.footer.extents.get(index + 1) {
            Some(next) if next.offset == 0 => next.block - 1,
            Some(next) => next.block,
            None => self.footer.blocks.len() as u32 - 1,
        };
        let mut cursor = self.entries(key_group..=key_group);
        let (mut low, mut high) = (extent.block, last_block);
        if let Some(firsts) = self.footer.first_entries.get(low as usize..=high as usize) {
            // The first block may begin with another key group; a block that continues has part of what is wanted only.
            let before = |first: &FirstEntry| {
                let place = (u32::from(first.identity), first.hash);
                place < wanted || place == wanted && !first.continued
            };
            low += firsts[1..].partition_point(before) as u32;
            high = low;
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            cursor.jump(self, index, middle, 0)?;
            let before = matches!(cursor.next(self)?, Some(entry) if order(&entry) == Ordering::Less);
            (low, high) = if before { (middle, high) } else { (low, middle - 1) };
        }
        let offset = if low == extent.block { extent.offset as usize } else { 0 };
        cursor.jump(self, index, low, offset)?;
        Ok(cursor)
    }

    /// Reads everything and compares it with what the footer says.
    ///
    /// # Errors
    /// `Corrupt` for any difference, `Unsupported` for a block of a newer version.
    pub fn verify(&self) -> Result<Verified> {
        let mut seen = Verified { blocks: self.footer.blocks.len() as u64, entries: 0, raw_bytes: 0 };
        let mut states = BTreeMap::<u32, (u64, u32)>::new();
        let mut last: Option<(u32, u32, u64)> = None;
        let mut cursor = self.entries(0..=u32::MAX);
        let filter = self.read_filter()?;
        let mut blocks_read = 0;
        while let Some(entry) = cursor.next(self)? {
            let state = states.entry(entry.identity).or_default();
            state.0 += 1;
            state.1 += u32::from(entry.flags & ENTRY_TOMBSTONE != 0);
            let order = (entry.key_group, entry.identity, crate::hash::hash(entry.identity, entry.key));
            if last.is_some_and(|last| last > order) {
                return Err(self.corrupt("entries are not in order").with("key_group", entry.key_group));
            }
            let continued = last == Some(order);
            last = Some(order);
            if filter.as_ref().is_some_and(|filter| !filter::may_contain(filter, order.2)) {
                return Err(self.corrupt("filter lacks an entry").with("key_group", entry.key_group));
            }
            seen.entries += 1;
            if blocks_read != cursor.blocks_begun() {
                let first =
                    FirstEntry { key_group: order.0 as u16, identity: order.1 as u16, hash: order.2, continued };
                if self.footer.first_entries.get(blocks_read as usize).is_some_and(|told| *told != first) {
                    return Err(self.corrupt("first entry is another than the footer says").with("block", blocks_read));
                }
                blocks_read = cursor.blocks_begun();
                seen.raw_bytes += cursor.raw.len() as u64;
            }
        }
        let told =
            self.footer.states.iter().map(|state| (u32::from(state.identity), (state.entries, state.tombstones)));
        if !told.eq(states) || cursor.at != cursor.raw.len() || u64::from(cursor.blocks_begun()) != seen.blocks {
            return Err(self.corrupt("entries are others than the footer says").with("entries", seen.entries));
        }
        Ok(seen)
    }

    /// The filter, checked; nothing in version 1.
    fn read_filter(&self) -> Result<Option<Vec<u8>>> {
        if self.version == VERSION_WITHOUT_FILTER {
            return Ok(None);
        }
        let mut filter = vec![0; self.footer.filter_bytes as usize];
        self.blob.read_at(self.blocks_end, &mut filter)?;
        check_checksum("filter", self.footer.filter_checksum, crc32c::crc32c(&filter))
            .map_err(|error| error.with("file", &self.name))?;
        Ok(Some(filter))
    }

    fn corrupt(&self, message: &str) -> Error {
        Error::new(Kind::Corrupt, message).with("file", &self.name)
    }
}

fn check_checksum(what: &str, wanted: u32, found: u32) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    Err(Error::new(Kind::Corrupt, format!("{what} does not match its checksum"))
        .with("stored_checksum", format!("{wanted:#010x}"))
        .with("computed_checksum", format!("{found:#010x}"))
        .hint("the stored bytes have changed; restore from another checkpoint"))
}

/// Where a walk over a file is; holds one raw block.
#[derive(Debug)]
pub struct Cursor {
    /// The next extent, or the current one's successor.
    extent: usize,
    last_key_group: u32,
    /// Entries left of the current extent.
    left: u32,
    block: Option<u32>,
    raw: Vec<u8>,
    at: usize,
}

impl Cursor {
    fn blocks_begun(&self) -> u32 {
        self.block.map_or(0, |block| block + 1)
    }

    /// Block and offset of what comes next.
    fn place(&self) -> (u32, usize) {
        match self.block {
            Some(block) if self.at < self.raw.len() => (block, self.at),
            _ => (self.blocks_begun(), 0),
        }
    }

    /// The next entry, or nothing at the end; `reader` is the one that made the cursor.
    ///
    /// # Errors
    /// `Corrupt` for damage.
    pub fn next<'a>(&'a mut self, reader: &SegmentReader) -> Result<Option<Entry<'a>>> {
        if self.left == 0 {
            match reader.footer.extents.get(self.extent) {
                Some(extent) if u32::from(extent.key_group) <= self.last_key_group => self.begin(reader, *extent)?,
                _ => return Ok(None),
            }
        }
        if self.at == self.raw.len() {
            let next = self.blocks_begun();
            if next as usize >= reader.footer.blocks.len() {
                return Err(reader.corrupt("blocks end before the entries do").with("entries_left", self.left));
            }
            self.load(reader, next)?;
        }
        let key_group = u32::from(reader.footer.extents[self.extent - 1].key_group);
        let begin = self.at;
        let parsed = parse(&self.raw[begin..]).filter(|(entry, _)| entry.identity < 2048);
        let Some((entry, bytes)) = parsed else {
            return Err(reader
                .corrupt("entry is malformed")
                .with("block", self.blocks_begun() - 1)
                .with("offset", begin));
        };
        self.at += bytes;
        self.left -= 1;
        Ok(Some(Entry { key_group, ..entry }))
    }

    fn begin(&mut self, reader: &SegmentReader, extent: Extent) -> Result<()> {
        let follows = self.block == Some(extent.block) && self.at == extent.offset as usize;
        let next_block = self.at == self.raw.len() && self.blocks_begun() == extent.block && extent.offset == 0;
        let first = self.block.is_none();
        if !first && !follows && !next_block {
            return Err(reader.corrupt("extents do not follow each other").with("key_group", extent.key_group));
        }
        if !follows {
            self.load(reader, extent.block)?;
            self.at = extent.offset as usize;
            if self.at >= self.raw.len() {
                return Err(reader.corrupt("extent begins after its block").with("key_group", extent.key_group));
            }
        }
        self.left = extent.entries;
        self.extent += 1;
        Ok(())
    }

    /// Goes to a place within an extent; how many entries it has left is not known then.
    fn jump(&mut self, reader: &SegmentReader, extent: usize, block: u32, offset: usize) -> Result<()> {
        if self.block != Some(block) {
            self.load(reader, block)?;
        }
        self.at = offset;
        self.extent = extent + 1;
        self.left = reader.footer.extents[extent].entries;
        if self.at > self.raw.len() {
            return Err(reader.corrupt("extent begins after its block").with("block", block));
        }
        Ok(())
    }

    fn load(&mut self, reader: &SegmentReader, block: u32) -> Result<()> {
        self.block = None;
        reader.read_block(block, &mut self.raw)?;
        self.block = Some(block);
        self.at = 0;
        if self.raw.is_empty() {
            return Err(reader.corrupt("block is empty").with("block", block));
        }
        Ok(())
    }
}

/// An entry and its length; the key group is not in it.
fn parse(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    let mut rest = bytes;
    let (flags, tail) = rest.split_first()?;
    rest = tail;
    if flags & !(ENTRY_TOMBSTONE | ENTRY_CHAINED | ENTRY_AUX) != 0 {
        return None;
    }
    let state_id = take_varint(&mut rest)?;
    let key_length = take_varint(&mut rest)? as usize;
    let value_length = take_varint(&mut rest)? as usize;
    let (key, rest) = rest.split_at_checked(key_length)?;
    let (value, rest) = rest.split_at_checked(value_length)?;
    let identity = state_id.checked_mul(2)? + u32::from(flags & ENTRY_AUX != 0);
    let entry = Entry { key_group: 0, identity, flags: flags & !ENTRY_AUX, key, value };
    Some((entry, bytes.len() - rest.len()))
}
