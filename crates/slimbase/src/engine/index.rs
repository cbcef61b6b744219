//! Writing the hash index: one table per key group, nodes of at most 8,192 slots, extendible hashing above
//! (docs/concepts/slimbase-format.md, section Index). Reading is in [`crate::layout::Tables`].
//!
//! No step of growth moves more than one node, and records are never touched: a slot's tag says where it belongs.

use super::nodes::Nodes;
use crate::error::{Error, Kind, Result};
use crate::hash::tag;
use crate::layout::{node_bytes, Entry, ADDRESS_MASK, DIRECTORY, MAX_CODE, MAX_DEPTH, NODE_HEADER, TAG_BITS};
use crate::memory::Arena;

/// The index of one engine.
#[derive(Debug)]
pub(super) struct Index {
    table: Vec<u64>,
    nodes: Nodes,
}

fn directory_bytes(depth: u32) -> usize {
    (8usize << depth).max(64)
}

/// Count and local depth, in a node's header.
///
/// # Safety
/// `first_bucket` is that of a node that nobody else writes.
unsafe fn node_header<'a>(first_bucket: *mut u64) -> &'a mut [u32; 2] {
    // SAFETY: a node has 64 bytes before its first bucket.
    unsafe { &mut *first_bucket.cast::<u8>().sub(NODE_HEADER).cast() }
}

/// Puts a slot into the first empty place from its home on.
///
/// # Safety
/// `node` is one with an empty slot that nobody else writes.
unsafe fn place(node: Entry, slot: u64) -> *mut u64 {
    let mask = node.mask();
    let mut index = node.home((slot >> 40) as u32);
    loop {
        // SAFETY: masked to the node's slots.
        let address = unsafe { node.address().add(index) };
        // SAFETY: as above.
        unsafe {
            if *address == 0 {
                *address = slot;
                return address;
            }
        }
        index = (index + 1) & mask;
    }
}

impl Index {
    pub(super) fn new(arena: Arena, key_groups: usize) -> Self {
        Index { table: vec![0; key_groups], nodes: Nodes::new(arena) }
    }

    pub(super) fn table(&self) -> *const u64 {
        self.table.as_ptr()
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.nodes.allocated_bytes()
    }

    fn node(&self, group: usize, tag: u32) -> Entry {
        let entry = Entry(self.table[group]);
        if entry.code() < DIRECTORY {
            return entry;
        }
        // SAFETY: a directory has an entry for each value of the tag's top bits.
        unsafe { Entry(*entry.address().add((tag >> (TAG_BITS + DIRECTORY - entry.code())) as usize)) }
    }

    /// Makes room for one more record, so that [`Index::insert`] cannot fail. False when there is no memory; what the
    /// index holds is the same either way.
    pub(super) fn prepare_insert(&mut self, group: usize, hash: u64) -> Result<bool> {
        let tag = tag(hash);
        loop {
            let node = self.node(group, tag);
            if node.0 == 0 {
                let Some(memory) = self.nodes.allocate(node_bytes(0)) else { return Ok(false) };
                self.table[group] = memory as u64 + NODE_HEADER as u64;
                return Ok(true);
            }
            // SAFETY: the node is the index's own.
            let after = unsafe { node_header(node.address()) }[0] as usize + 1;
            if 16 * after < 13 * (8 << node.code()) {
                return Ok(true);
            }
            let grown = if node.code() < MAX_CODE { self.double(group, node) } else { self.split(group, tag, node)? };
            if grown.is_none() {
                return Ok(false);
            }
        }
    }

    /// Adds a slot; room was made by [`Index::prepare_insert`].
    pub(super) fn insert(&mut self, group: usize, hash: u64, logical: u64) -> *mut u64 {
        debug_assert_eq!(logical & !ADDRESS_MASK, 0);
        let node = self.node(group, tag(hash));
        // SAFETY: the node is the index's own and has room (contract).
        unsafe {
            node_header(node.address())[0] += 1;
            place(node, (hash >> 40 << 40) | logical)
        }
    }

    /// Takes a slot out and moves later ones back, so that no probe ends too early.
    pub(super) fn remove(&mut self, group: usize, slot: *mut u64) {
        // SAFETY: the slot is one of the index's, found since it was last written.
        let node = self.node(group, (unsafe { *slot } >> 40) as u32);
        let (base, mask) = (node.address(), node.mask());
        let mut hole = (slot as usize - base as usize) >> 3;
        assert!(hole <= mask, "slot is not of its node");
        let mut next = hole;
        // SAFETY: all indices are masked to the node's slots; the node has an empty one, so the walk ends.
        unsafe {
            node_header(base)[0] -= 1;
            loop {
                next = (next + 1) & mask;
                let slot = *base.add(next);
                if slot == 0 {
                    break;
                }
                let home = node.home((slot >> 40) as u32);
                // May move when its home is not between the hole (excluded) and its place, around the end.
                if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                    *base.add(hole) = slot;
                    hole = next;
                }
            }
            *base.add(hole) = 0;
        }
    }

    fn double(&mut self, group: usize, node: Entry) -> Option<()> {
        let memory = self.nodes.allocate(node_bytes(node.code() + 1))?;
        let bigger = Entry((memory as u64 + NODE_HEADER as u64) | u64::from(node.code() + 1));
        // SAFETY: both nodes are the index's own; the new one is empty and larger.
        unsafe {
            node_header(bigger.address())[0] = node_header(node.address())[0];
            slots(node).for_each(|slot| {
                place(bigger, slot);
            });
        }
        self.table[group] = bigger.0;
        self.free_node(node);
        Some(())
    }

    fn free_node(&mut self, node: Entry) {
        self.nodes.free(node.address().cast::<u8>().wrapping_sub(NODE_HEADER), node_bytes(node.code()));
    }

    /// Splits a full node of the greatest size by the next bit of the tag, doubling the directory when needed.
    fn split(&mut self, group: usize, tag: u32, node: Entry) -> Result<Option<()>> {
        // SAFETY: the node is the index's own.
        let local = unsafe { node_header(node.address()) }[1];
        if local == MAX_DEPTH {
            return Err(Error::new(Kind::Unsupported, "a key group holds more records than its index can address")
                .with("key_group_index", group)
                .hint("raise the job's maximum parallelism"));
        }
        let entry = Entry(self.table[group]);
        let depth = entry.code().saturating_sub(DIRECTORY);
        let new_depth = depth.max(local + 1);
        let Some((low, high, directory)) = self.split_memory(entry, depth, new_depth) else { return Ok(None) };
        let bit = 1u64 << (63 - local);
        // SAFETY: old and new nodes are the index's own; each half has at most as many slots as the old node; the
        // directory has 2^new_depth entries, of which the span of the split node is a part.
        unsafe {
            let mut counts = [0u32; 2];
            for slot in slots(node) {
                let half = usize::from(slot & bit != 0);
                counts[half] += 1;
                place(if half == 1 { high } else { low }, slot);
            }
            *node_header(low.address()) = [counts[0], local + 1];
            *node_header(high.address()) = [counts[1], local + 1];
            let span = 1usize << (new_depth - local);
            let first = (tag >> (TAG_BITS - new_depth)) as usize & !(span - 1);
            for i in 0..span {
                *directory.add(first + i) = if i < span / 2 { low.0 } else { high.0 };
            }
        }
        self.table[group] = directory as u64 | u64::from(DIRECTORY + new_depth);
        self.free_node(node);
        Ok(Some(()))
    }

    /// Two empty nodes, and the directory: the old one, or a new one with its entries doubled.
    fn split_memory(&mut self, entry: Entry, depth: u32, new_depth: u32) -> Option<(Entry, Entry, *mut u64)> {
        let bytes = node_bytes(MAX_CODE);
        let low = self.nodes.allocate(bytes)?;
        let Some(high) = self.nodes.allocate(bytes) else {
            self.nodes.free(low, bytes);
            return None;
        };
        let directory = if new_depth == depth {
            entry.address()
        } else {
            let Some(memory) = self.nodes.allocate(directory_bytes(new_depth)) else {
                self.nodes.free(low, bytes);
                self.nodes.free(high, bytes);
                return None;
            };
            self.copy_directory(entry, depth, memory.cast())
        };
        let node = |memory: *mut u8| Entry((memory as u64 + NODE_HEADER as u64) | u64::from(MAX_CODE));
        Some((node(low), node(high), directory))
    }

    fn copy_directory(&mut self, entry: Entry, depth: u32, directory: *mut u64) -> *mut u64 {
        if depth > 0 {
            let old = entry.address();
            for i in 0..1usize << depth {
                // SAFETY: the old directory has 2^depth entries, the new one twice as many.
                unsafe {
                    *directory.add(2 * i) = *old.add(i);
                    *directory.add(2 * i + 1) = *old.add(i);
                }
            }
            self.nodes.free(old.cast(), directory_bytes(depth));
        }
        directory
    }

    /// Logical addresses of all records of a key group, in no order.
    pub(super) fn addresses(&self, group: usize) -> Vec<u64> {
        let entry = Entry(self.table[group]);
        let mut out = Vec::new();
        // SAFETY: nodes and directories are the index's own; nobody writes while `self` is borrowed.
        unsafe {
            if entry.code() < DIRECTORY {
                if entry.0 != 0 {
                    out.extend(slots(entry).map(|slot| slot & ADDRESS_MASK));
                }
                return out;
            }
            let directory = std::slice::from_raw_parts(entry.address(), 1 << (entry.code() - DIRECTORY));
            let mut previous = 0;
            for &node in directory {
                if node != previous {
                    out.extend(slots(Entry(node)).map(|slot| slot & ADDRESS_MASK));
                }
                previous = node;
            }
        }
        out
    }
}

/// The slots of a node that are taken.
///
/// # Safety
/// The node stays, and is not written while the iterator is used.
unsafe fn slots<'a>(node: Entry) -> impl Iterator<Item = u64> + 'a {
    // SAFETY: a node has mask + 1 slots; contract.
    unsafe { std::slice::from_raw_parts(node.address(), node.mask() + 1) }.iter().copied().filter(|slot| *slot != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryBudget, SystemAllocator};
    use std::sync::Arc;

    fn index() -> Index {
        let arena = Arena::new(Arc::new(SystemAllocator { huge_pages: false }), MemoryBudget::new(1 << 30));
        Index::new(arena, 1)
    }

    fn lookup(index: &Index, hash: u64, logical: u64) -> Option<*mut u64> {
        let node = index.node(0, tag(hash));
        let slot = (hash >> 40 << 40) | logical;
        (0..=node.mask()).map(|i| node.address().wrapping_add((node.home(tag(hash)) + i) & node.mask())).find_map(
            // SAFETY: within the node.
            |at| match unsafe { *at } {
                0 => Some(None),
                found if found == slot => Some(Some(at)),
                _ => None,
            },
        )?
    }

    /// Through doubling, splitting and removal every slot stays reachable, and removed ones are gone.
    #[test]
    fn slots_stay_reachable() {
        let mut index = index();
        let hash = |i: u64| crate::hash::hash(0, &i.to_le_bytes());
        for i in 1..200_000u64 {
            assert!(index.prepare_insert(0, hash(i)).unwrap());
            index.insert(0, hash(i), i);
        }
        assert!(Entry(index.table[0]).code() > DIRECTORY, "the directory was grown");
        for i in (1..200_000u64).filter(|i| i % 3 == 0) {
            let slot = lookup(&index, hash(i), i).unwrap();
            index.remove(0, slot);
        }
        for i in 1..200_000u64 {
            assert_eq!(lookup(&index, hash(i), i).is_some(), i % 3 != 0, "{i}");
        }
        let mut all = index.addresses(0);
        all.sort_unstable();
        assert!(all.into_iter().eq((1..200_000).filter(|i| i % 3 != 0)));
    }

    /// Too many equal tags are an error, not an endless loop.
    #[test]
    fn equal_tags_end_in_an_error() {
        let mut index = index();
        let error = (1..10_000u64).find_map(|i| match index.prepare_insert(0, 7 << 40) {
            Ok(ready) => {
                assert!(ready);
                index.insert(0, 7 << 40, i);
                None
            }
            Err(error) => Some(error),
        });
        assert_eq!(error.map(|error| error.kind()), Some(Kind::Unsupported));
    }
}
