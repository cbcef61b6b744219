//! Writes entries that come in the file's order.

use super::format::{
    header, put_varint, trailer, varint_bytes, Extent, Footer, StateStatistics, BLOCK_BYTES, BLOCK_HEADER_BYTES,
    CODEC_LZ4, CODEC_NONE,
};
use super::ENTRY_TOMBSTONE;
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
        })
    }

    /// Adds an entry; `flags` without AUX, which the identity has. Entries come ordered by key group, identity, hash, key.
    ///
    /// # Errors
    /// `Invalid` when the key group goes back or something is too large; else as the sink's.
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
        self.extent(key_group)?;
        self.raw.push(flags | ((identity & 1) << 2) as u8);
        put_varint(&mut self.raw, state_id);
        put_varint(&mut self.raw, key.len() as u32);
        put_varint(&mut self.raw, value.len() as u32);
        self.raw.extend_from_slice(key);
        self.raw.extend_from_slice(value);
        self.count(identity as u16, flags, bytes);
        Ok(())
    }

    fn extent(&mut self, key_group: u32) -> Result<()> {
        let key_group = key_group as u16;
        match self.footer.extents.last_mut() {
            Some(last) if last.key_group == key_group => last.entries += 1,
            Some(last) if last.key_group > key_group => {
                return Err(Error::new(Kind::Invalid, "entries are not in order").with("key_group", key_group))
            }
            _ => self.footer.extents.push(Extent {
                key_group,
                block: self.footer.blocks.len() as u32,
                offset: self.raw.len() as u32,
                entries: 1,
            }),
        }
        Ok(())
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
        let (codec, stored) = if packed < self.raw.len() {
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

    /// Writes what is left, the footer and the trailer; returns the file's size. Syncing is the caller's affair.
    ///
    /// # Errors
    /// As the sink's.
    pub fn finish(mut self) -> Result<u64> {
        if !self.raw.is_empty() {
            self.write_block()?;
        }
        self.footer.states = self.states.into_values().collect();
        let footer = self.footer.encode();
        self.sink.write(&footer)?;
        let trailer = trailer(self.written, &footer);
        self.sink.write(&trailer)?;
        Ok(self.written + (footer.len() + trailer.len()) as u64)
    }
}
