//! Memory of index nodes and directories: a few sizes, carved from blocks; freed ones serve the same size again.

use crate::layout::{node_bytes, MAX_CODE};
use crate::memory::{Arena, Purpose, Region};
use std::collections::BTreeMap;
use std::sync::Arc;

const FIRST_BLOCK: usize = 16 << 10;
/// A node of the greatest size has 64 KiB: a block holds 16.
const LAST_BLOCK: usize = 1 << 20;

/// Owner of all nodes.
#[derive(Debug)]
pub(super) struct Nodes {
    arena: Arena,
    blocks: Vec<Arc<Region>>,
    free: BTreeMap<usize, Vec<*mut u8>>,
    cursor: *mut u8,
    left: usize,
    allocated_bytes: u64,
}

impl Nodes {
    pub(super) fn new(arena: Arena) -> Self {
        let (blocks, free) = (Vec::new(), BTreeMap::new());
        Nodes { arena, blocks, free, cursor: std::ptr::null_mut(), left: 0, allocated_bytes: 0 }
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes
    }

    /// Zeroed, aligned to 64 bytes; `None` when there is no room. `bytes` is a multiple of 64.
    pub(super) fn allocate(&mut self, bytes: usize) -> Option<*mut u8> {
        debug_assert!(bytes % 64 == 0);
        if let Some(address) = self.free.get_mut(&bytes).and_then(Vec::pop) {
            // SAFETY: freed nodes of this size are ours alone until they are given out again.
            unsafe { std::ptr::write_bytes(address, 0, bytes) };
            return Some(address);
        }
        if self.left < bytes {
            self.add_block(bytes)?;
        }
        Some(self.carve(bytes))
    }

    fn carve(&mut self, bytes: usize) -> *mut u8 {
        let address = self.cursor;
        self.left -= bytes;
        // SAFETY: `left` bytes of the newest block follow the cursor, and `bytes` is not more.
        self.cursor = unsafe { address.add(bytes) };
        address
    }

    fn add_block(&mut self, bytes: usize) -> Option<()> {
        let half = (self.allocated_bytes / 2) as usize + 1;
        let wanted = (1 << half.ilog2()).clamp(FIRST_BLOCK, LAST_BLOCK).max(bytes);
        let block = self.allocate_block(wanted).or_else(|| self.allocate_block(bytes))?;
        self.keep_rest();
        self.allocated_bytes += block.bytes() as u64;
        self.cursor = block.address();
        self.left = block.bytes();
        self.blocks.push(block);
        Some(())
    }

    fn allocate_block(&self, bytes: usize) -> Option<Arc<Region>> {
        self.arena.allocate(bytes, Purpose::Growth)
    }

    /// What the newest block has left serves as small nodes.
    fn keep_rest(&mut self) {
        for code in (0..=MAX_CODE).rev() {
            let bytes = node_bytes(code);
            while self.left >= bytes {
                let node = self.carve(bytes);
                self.free(node, bytes);
            }
        }
    }

    /// Takes a node back; nothing points to it any more.
    pub(super) fn free(&mut self, address: *mut u8, bytes: usize) {
        self.free.entry(bytes).or_default().push(address);
    }
}
