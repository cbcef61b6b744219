//! Writes entries that come in the file's order.

use super::format::{
    header, put_varint, trailer, varint_bytes, Extent, FirstEntry, Footer, StateStatistics, BLOCK_BYTES,
    BLOCK_HEADER_BYTES, CODEC_LZ4, CODEC_NONE, WORTHWHILE_SAVING,
};
use super::{filter, ENTRY_TOMBSTONE};
use crate::error::{Error, Kind, Result};
use crate::storage::Sink;
use std::collections::BTreeMap;

/// One file in the making.
pub struct SegmentWriter<'a> {
    sink: &'a mut dyn Sink,
    written: u64,
    raw: Vec<u8>,
    stored: Vec<u8>,
    footer: Footer,
    states: BTreeMap<u16, StateStatistics>,
    /// Of the entry added last.
    last: Option<FirstEntry>,
    /// Hashes of all keys, for the filter: 8 bytes a key.
    hashes: Vec<u64>,
}

impl<'a> SegmentWriter<'a> {
    /// Writes the header.
    ///
    /// # Errors
    /// As the sink's.
    pub fn new(sink: &'a mut dyn Sink, segment: u64) -> Result<Self> {
        let header = header();
        sink.write(&header)?;
        Ok(SegmentWriter {
            sink,
            written: header.len() as u64,
            raw: Vec::with_capacity(BLOCK_BYTES),
            stored: Vec::new(),
            footer: Footer { segment, ..Footer::default() },
            states: BTreeMap::new(),
            last: None,
            hashes: Vec::new(),
        })
    }

    /// Adds an entry; `flags` without AUX, which the identity has. Entries come ordered by key group, identity, hash, key.
    ///
    /// # Errors
    /// `Invalid` when the entry does not come after the one before or something is too large; else as the sink's.
    pub fn add(&mut self, key_group: u32, identity: u32, flags: u8, key: &[u8], value: &[u8]) -> Result<()> {
        let fits = key.len() <= crate::record::LENGTH_LIMIT && value.len() <= crate::record::LENGTH_LIMIT;
        if !fits || key_group > 0x7FFF || identity > 2047 {
            return Err(Error::new(Kind::Invalid, "entry does not fit a file")
                .with("key_group", key_group)
                .with("identity", identity)
                .with("key_bytes", key.len())
                .with("value_bytes", value.len()));
        }
        let state_id = identity >> 1;
        let lengths = varint_bytes(key.len() as u32) + varint_bytes(value.len() as u32);
        let bytes = 1 + varint_bytes(state_id) + lengths + key.len() + value.len();
        if !self.raw.is_empty() && self.raw.len() + bytes > BLOCK_BYTES {
            self.write_block()?;
        }
        self.place(key_group, identity, crate::hash::hash(identity, key))?;
        self.raw.push(flags | ((identity & 1) << 2) as u8);
        put_varint(&mut self.raw, state_id);
        put_varint(&mut self.raw, key.len() as u32);
        put_varint(&mut self.raw, value.len() as u32);
        self.raw.extend_from_slice(key);
        self.raw.extend_from_slice(value);
        self.count(identity as u16, flags, bytes);
        Ok(())
    }

    /// Notes where the entry is to be found; before its bytes are added.
    fn place(&mut self, key_group: u32, identity: u32, hash: u64) -> Result<()> {
        let mut entry = FirstEntry { key_group: key_group as u16, identity: identity as u16, hash, continued: false };
        if self.last.is_some_and(|last| last > entry) {
            return Err(Error::new(Kind::Invalid, "entries are not in order").with("key_group", key_group));
        }
        let same = self.last == Some(entry);
        self.last = Some(entry);
        if self.raw.is_empty() {
            entry.continued = same;
            self.footer.first_entries.push(entry);
        }
        if self.hashes.last() != Some(&hash) {
            self.hashes.push(hash);
        }
        self.extent(key_group as u16);
        Ok(())
    }

    fn extent(&mut self, key_group: u16) {
        match self.footer.extents.last_mut() {
            Some(last) if last.key_group == key_group => last.entries += 1,
            _ => self.footer.extents.push(Extent {
                key_group,
                block: self.footer.blocks.len() as u32,
                offset: self.raw.len() as u32,
                entries: 1,
            }),
        }
    }

    fn count(&mut self, identity: u16, flags: u8, bytes: usize) {
        let empty = StateStatistics { identity, tombstones: 0, entries: 0, raw_bytes: 0 };
        let state = self.states.entry(identity).or_insert(empty);
        state.entries += 1;
        state.raw_bytes += bytes as u64;
        state.tombstones += u32::from(flags & ENTRY_TOMBSTONE != 0);
    }

    fn write_block(&mut self) -> Result<()> {
        self.stored.resize(lz4_flex::block::get_maximum_output_size(self.raw.len()), 0);
        let packed = lz4_flex::block::compress_into(&self.raw, &mut self.stored)
            .map_err(|cause| Error::new(Kind::Internal, "a block was not compressed").caused_by(cause))?;
        let (codec, stored) = if packed <= self.raw.len() - self.raw.len() / WORTHWHILE_SAVING {
            (CODEC_LZ4, &self.stored[..packed])
        } else {
            (CODEC_NONE, self.raw.as_slice())
        };
        let mut head = [0; BLOCK_HEADER_BYTES];
        head[..4].copy_from_slice(&(self.raw.len() as u32).to_le_bytes());
        head[4..8].copy_from_slice(&(stored.len() as u32).to_le_bytes());
        head[8] = codec;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[..12]), stored);
        head[12..].copy_from_slice(&checksum.to_le_bytes());
        self.footer.blocks.push(self.written);
        self.sink.write(&head)?;
        self.sink.write(stored)?;
        self.written += (head.len() + stored.len()) as u64;
        self.raw.clear();
        Ok(())
    }

    /// Writes what is left, the filter, the footer and the trailer; returns the file's size. Syncing is the caller's affair.
    ///
    /// # Errors
    /// As the sink's.
    pub fn finish(mut self) -> Result<u64> {
        if !self.raw.is_empty() {
            self.write_block()?;
        }
        self.footer.states = self.states.into_values().collect();
        let filter = filter::build(&self.hashes);
        self.footer.filter_bytes = u32::try_from(filter.len())
            .map_err(|cause| Error::new(Kind::Unsupported, "file has too many keys").caused_by(cause))?;
        self.footer.filter_checksum = crc32c::crc32c(&filter);
        self.sink.write(&filter)?;
        self.written += filter.len() as u64;
        let footer = self.footer.encode();
        self.sink.write(&footer)?;
        let trailer = trailer(self.written, &footer, self.footer.filter_bytes);
        self.sink.write(&trailer)?;
        Ok(self.written + (footer.len() + trailer.len()) as u64)
    }
}
