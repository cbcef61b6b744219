//! Memory from the operating system, and the budget it is charged to.
//!
//! Chunks and index nodes are anonymous mappings; large ones are aligned to 2 MiB and ask for huge pages, which is worth
//! 1.3 to 1.9 times at 15 M records (facts/state-engine.md 4.4). A [`Region`] is one allocation with its charge; it is
//! shared by the engine and the snapshots that read it, and goes when the last of them lets go.

use crate::error::{Error, Kind, Result};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;

/// Size of an ordinary page; every allocation is a multiple of it.
pub const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

/// Bytes that an allocation of `bytes` takes.
#[inline]
pub fn round_up(bytes: usize) -> usize {
    (bytes + PAGE - 1) & !(PAGE - 1)
}

/// Zeroed memory, or `None` when the machine refuses. Large blocks are aligned to 2 MiB when `huge_pages` is set.
pub fn map(bytes: usize, huge_pages: bool) -> Option<NonNull<u8>> {
    let wanted = round_up(bytes.max(1));
    let huge = huge_pages && wanted >= HUGE_PAGE;
    let slack = if huge { HUGE_PAGE } else { 0 };
    let raw = map_raw(wanted.checked_add(slack)?)?;
    if !huge {
        return Some(raw);
    }
    let start = raw.as_ptr() as usize;
    let lead = ((start + HUGE_PAGE - 1) & !(HUGE_PAGE - 1)) - start;
    // SAFETY: lead and tail lie in the mapping just made, at page boundaries, and nobody knows of them.
    unsafe {
        let aligned = raw.as_ptr().add(lead);
        if lead > 0 {
            libc::munmap(raw.as_ptr().cast(), lead);
        }
        if lead < slack {
            libc::munmap(aligned.add(wanted).cast(), slack - lead);
        }
        // Advice only: machines with transparent huge pages switched off give ordinary ones.
        libc::madvise(aligned.cast(), wanted, libc::MADV_HUGEPAGE);
        NonNull::new(aligned)
    }
}

fn map_raw(bytes: usize) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of ours.
    let raw = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if raw == libc::MAP_FAILED {
        None
    } else {
        NonNull::new(raw.cast())
    }
}

/// Gives memory of [`map`] back.
///
/// # Safety
/// `address` and `bytes` are those of one [`map`], not given back yet, and nobody reads or writes it any more.
pub unsafe fn unmap(address: NonNull<u8>, bytes: usize) {
    // SAFETY: contract.
    let code = unsafe { libc::munmap(address.as_ptr().cast(), round_up(bytes.max(1))) };
    debug_assert_eq!(code, 0, "munmap refused");
}

/// Lets the kernel provide the pages now, without changing what they hold; any thread may call it.
///
/// Touches them instead of asking for them with `MADV_POPULATE_WRITE`: that holds the lock of the process's mappings while a huge page is found and
/// zeroed, and a thread that only wants to map a chunk waits as long (22 ms measured, bench/NOTES.md). A page fault holds the lock of one mapping.
///
/// # Safety
/// The range is mapped and stays so during the call.
pub unsafe fn prefault(address: NonNull<u8>, bytes: usize) {
    for offset in (0..bytes).step_by(PAGE) {
        // SAFETY: within the range; what is found is what is stored, so whoever writes there at the same time loses nothing.
        let byte = unsafe { AtomicU8::from_ptr(address.as_ptr().add(offset)) };
        // An exchange, failed or not, writes; the compiler may make a mere load of an "or" with 0, which gives the page of zeros that all share.
        let _ = byte.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The bytes that the engines of one slot may take together.
#[derive(Debug)]
pub struct MemoryBudget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl MemoryBudget {
    /// A budget of so many bytes, nothing used.
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(MemoryBudget { limit_bytes, used_bytes: AtomicU64::new(0) })
    }

    /// Takes the bytes if `spare` more would be left, or takes nothing and says no.
    pub fn try_reserve(&self, bytes: u64, spare: u64) -> bool {
        let room = |used: u64| {
            let after = used.checked_add(bytes)?;
            (after.checked_add(spare)? <= self.limit_bytes).then_some(after)
        };
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    /// Gives bytes back.
    pub fn release(&self, bytes: u64) {
        let before = self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "more released than reserved");
    }

    /// Bytes taken now.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Bytes at most.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }
}

/// Where memory comes from; tests put failing ones here.
pub trait Allocator: Send + Sync + std::fmt::Debug {
    /// Zeroed memory of a multiple of [`PAGE`] bytes, or `None` when refused.
    fn allocate(&self, bytes: usize) -> Option<NonNull<u8>>;

    /// Gives it back.
    ///
    /// # Safety
    /// The arguments are those of one [`Allocator::allocate`] of this allocator; nobody uses the memory any more.
    unsafe fn free(&self, address: NonNull<u8>, bytes: usize);
}

/// Anonymous mappings.
#[derive(Debug, Clone, Copy)]
pub struct SystemAllocator {
    /// Whether large blocks ask for huge pages.
    pub huge_pages: bool,
}

impl Allocator for SystemAllocator {
    fn allocate(&self, bytes: usize) -> Option<NonNull<u8>> {
        map(bytes, self.huge_pages)
    }

    unsafe fn free(&self, address: NonNull<u8>, bytes: usize) {
        // SAFETY: contract of the trait.
        unsafe { unmap(address, bytes) }
    }
}

/// Size of the first chunk of a segment.
pub const SMALLEST_CHUNK: usize = 16 << 10;
/// Size of a chunk at most, but for one record that is larger.
pub const LARGEST_CHUNK: usize = 4 << 20;
const CHUNKS_OF_BUDGET: u64 = 64;

/// An allocator with the budget that it is charged to.
#[derive(Debug, Clone)]
pub struct Arena {
    allocator: Arc<dyn Allocator>,
    budget: Arc<MemoryBudget>,
    chunk_bytes: usize,
}

/// What memory is for: the budget's last two chunks are kept for those that give more back than they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// New state.
    Growth,
    /// Tombstones: may take all but one chunk.
    Removal,
    /// Copies of what a victim has alive: may take everything.
    Cleaning,
}

impl Arena {
    /// A chunk is at most a 64th of the budget, so that one of it, copied whole, always fits cleaning's reserve.
    pub fn new(allocator: Arc<dyn Allocator>, budget: Arc<MemoryBudget>) -> Self {
        let share = (budget.limit_bytes() / CHUNKS_OF_BUDGET).clamp(SMALLEST_CHUNK as u64, LARGEST_CHUNK as u64);
        Arena { allocator, budget, chunk_bytes: 1 << share.ilog2() }
    }

    /// The size that chunks grow to.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// The budget.
    pub fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    /// Zeroed memory, charged; `None` when budget or machine have no room.
    pub fn allocate(&self, bytes: usize, purpose: Purpose) -> Option<Arc<Region>> {
        let bytes = round_up(bytes);
        let spare = match purpose {
            Purpose::Growth => 2 * self.chunk_bytes as u64,
            Purpose::Removal => self.chunk_bytes as u64,
            Purpose::Cleaning => 0,
        };
        if !self.budget.try_reserve(bytes as u64, spare) {
            return None;
        }
        let Some(address) = self.allocator.allocate(bytes) else {
            self.budget.release(bytes as u64);
            return None;
        };
        Some(Arc::new(Region { address, bytes, arena: self.clone() }))
    }
}

/// One allocation with its charge.
#[derive(Debug)]
pub struct Region {
    address: NonNull<u8>,
    bytes: usize,
    arena: Arena,
}

// SAFETY: a region is plain memory; who writes where and when is the engine's contract (one writer, readers of sealed
// records only), and the header words that both touch are atomic.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Where it begins.
    #[inline]
    pub fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Its size.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets the kernel provide its pages.
    pub fn prefault(&self) {
        // SAFETY: mapped as long as the region lives.
        unsafe { prefault(self.address, self.bytes) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: made by this allocator with this size; the last owner is going.
        unsafe { self.arena.allocator.free(self.address, self.bytes) };
        self.arena.budget.release(self.bytes as u64);
    }
}

/// Provides the pages of regions on a thread of its own, so that the task thread does not wait for the kernel.
#[derive(Debug)]
pub struct Prefaulter {
    queue: Option<std::sync::mpsc::SyncSender<Arc<Region>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Prefaulter {
    /// Regions that wait at most: one is asked for ahead, so two never do.
    const QUEUE_LIMIT: usize = 2;

    /// Starts the thread.
    ///
    /// # Errors
    /// `Unavailable` when the machine gives no thread.
    pub fn start() -> Result<Self> {
        let (queue, regions) = std::sync::mpsc::sync_channel::<Arc<Region>>(Self::QUEUE_LIMIT);
        let work = move || regions.iter().for_each(|region| region.prefault());
        let thread = std::thread::Builder::new()
            .name("slimbase-prefault".into())
            .spawn(work)
            .map_err(|cause| Error::new(Kind::Unavailable, "no thread for pre-faulting").caused_by(cause))?;
        Ok(Prefaulter { queue: Some(queue), thread: Some(thread) })
    }

    /// Asks for the region's pages; when the thread is behind, nothing happens.
    pub fn ask(&self, region: &Arc<Region>) {
        if let Some(queue) = &self.queue {
            // Full or gone: the pages come when they are touched.
            let _ = queue.try_send(Arc::clone(region));
        }
    }
}

impl Drop for Prefaulter {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has nothing to say here.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Large blocks are aligned for huge pages and all bytes can be written.
    #[test]
    fn mapping_is_aligned_zeroed_writable() {
        for (bytes, huge) in [(1, true), (16 << 10, true), (4 << 20, true), ((4 << 20) + 8, false), (9 << 20, true)] {
            let address = map(bytes, huge).unwrap();
            // SAFETY: the mapping is ours.
            unsafe {
                prefault(address, bytes);
                let memory = std::slice::from_raw_parts_mut(address.as_ptr(), bytes);
                assert!(memory.iter().all(|byte| *byte == 0));
                memory.fill(1);
                assert!(!huge || bytes < HUGE_PAGE || address.as_ptr() as usize % HUGE_PAGE == 0);
                unmap(address, bytes);
            }
        }
    }

    /// Pages are there after pre-faulting: the process has grown by them.
    #[test]
    #[allow(clippy::disallowed_methods)] // of the kernel's figures, not of state
    fn prefault_provides_pages() {
        let resident = || -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
        };
        for huge in [false, true] {
            // Much more than the other tests, on their threads, hold or give back.
            let bytes = 256 << 20;
            let address = map(bytes, huge).unwrap();
            let before = resident();
            // SAFETY: the mapping is ours.
            unsafe { prefault(address, bytes) };
            let grown = resident() - before;
            // SAFETY: as above.
            unsafe { unmap(address, bytes) };
            assert!(grown > 200 << 20, "grown by {grown} bytes, huge={huge}");
        }
    }

    /// A budget never goes over its limit and gets everything back.
    #[test]
    fn budget_is_strict() {
        let budget = MemoryBudget::new(64 << 10);
        let arena = Arena::new(Arc::new(SystemAllocator { huge_pages: false }), Arc::clone(&budget));
        let regions: Vec<_> = std::iter::from_fn(|| arena.allocate(16 << 10, Purpose::Growth)).collect();
        assert_eq!(regions.len(), 2, "the third would take what is kept for removal and cleaning");
        assert!(arena.allocate(20 << 10, Purpose::Removal).is_none());
        let removal = arena.allocate(16 << 10, Purpose::Removal);
        assert!(removal.is_some() && arena.allocate(16 << 10, Purpose::Removal).is_none());
        assert!(arena.allocate(16 << 10, Purpose::Cleaning).is_some());
        assert_eq!(budget.used_bytes(), 48 << 10);
        drop(removal);
        drop(regions);
        assert_eq!(budget.used_bytes(), 0);
    }

    /// Pre-faulting in the background ends with its owner.
    #[test]
    fn prefaulter_ends() {
        let arena = Arena::new(Arc::new(SystemAllocator { huge_pages: true }), MemoryBudget::new(64 << 20));
        let prefaulter = Prefaulter::start().unwrap();
        let region = arena.allocate(4 << 20, Purpose::Growth).unwrap();
        prefaulter.ask(&region);
        drop(prefaulter);
        assert_eq!(Arc::strong_count(&region), 1);
    }
}
