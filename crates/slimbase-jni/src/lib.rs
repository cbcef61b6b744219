//! SlimBase for Java: class `io.headrace.slimbase.nativelib.NativeSlim`, static native methods.
//!
//! Nothing but numbers, addresses and byte arrays crosses. Every entry runs in [`guarded`], which catches panics and turns
//! them, and errors, into a `SlimBaseException`; a panic that got out would end the JVM. What the Java side must keep to
//! stands with each entry; docs/concepts/slimbase-format.md has the layout of the blocks.

#![allow(non_snake_case)] // names of JNI symbols

mod env;

use env::{Env, Object};
use slimbase::file::{pack, Run, SegmentReader};
use slimbase::layout::{find_raw, ControlBlock, RawKey};
use slimbase::storage::{write_whole, LocalStorage, Storage};
use slimbase::{memory, Error, Kind, Result};
use std::ffi::CString;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr::NonNull;

/// Grows when an entry's signature or meaning changes; the Java loader refuses another one.
const ABI: i32 = 2;

/// The one wrapper around every entry: a panic becomes an exception of kind `Internal`, an error one of its kind.
fn guarded<T: Default>(env: Env, entry: &str, work: impl FnOnce() -> Result<T>) -> T {
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::new(Kind::Internal, "native code panicked").with("panic", text).hint("this is a bug: report it"))
    });
    outcome.unwrap_or_else(|error| {
        env.throw(error.kind().name(), &error.with("entry", entry).to_string());
        T::default()
    })
}

fn size(bytes: i64) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| Error::new(Kind::Invalid, "size is negative").with("bytes", bytes))
}

fn pointer(address: i64) -> Result<NonNull<u8>> {
    NonNull::new(address as *mut u8).ok_or_else(|| Error::new(Kind::Invalid, "address is 0"))
}

/// `int abi()`.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_abi(env: Env, _: Object) -> i32 {
    guarded(env, "abi", || Ok(ABI))
}

/// `long alloc(long bytes, boolean hugePages)`: zeroed memory, aligned to a page (2 MiB when huge); 0 when refused.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_alloc(
    env: Env,
    _: Object,
    bytes: i64,
    huge_pages: u8,
) -> i64 {
    guarded(
        env,
        "alloc",
        || Ok(memory::map(size(bytes)?, huge_pages != 0).map_or(0, |address| address.as_ptr() as i64)),
    )
}

/// `void free(long address, long bytes)`: both as of one `alloc`; nobody may use the memory any more.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_free(
    env: Env,
    _: Object,
    address: i64,
    bytes: i64,
) {
    guarded(env, "free", || {
        let (address, bytes) = (pointer(address)?, size(bytes)?);
        // SAFETY: contract of the entry.
        unsafe { memory::unmap(address, bytes) };
        Ok(())
    });
}

/// `void prefault(long address, long bytes)`: provides the pages; any thread, while the memory is allocated.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_prefault(
    env: Env,
    _: Object,
    address: i64,
    bytes: i64,
) {
    guarded(env, "prefault", || {
        let (address, bytes) = (pointer(address)?, size(bytes)?);
        // SAFETY: contract of the entry.
        unsafe { memory::prefault(address, bytes) };
        Ok(())
    });
}

/// `int mget(long controlBlock, int identity, long keys, int count, long results)`: looks up `count` keys of one identity
/// (state id * 2 + AUX). Per key 16 bytes: u32 key group, u32 key length, u64 key address; per result u64: the record's
/// memory address or 0. Returns how many were found. Task thread only.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_mget(
    env: Env,
    _: Object,
    control: i64,
    identity: i32,
    keys: i64,
    count: i32,
    results: i64,
) -> i32 {
    guarded(env, "mget", || {
        let count = size(i64::from(count))?;
        if count == 0 {
            return Ok(0);
        }
        let (control, keys, results) = (pointer(control)?, pointer(keys)?, pointer(results)?);
        // SAFETY: contract of the entry: blocks of `count` items, laid out as documented, and an engine at rest.
        let found = unsafe {
            let keys = std::slice::from_raw_parts(keys.as_ptr().cast::<RawKey>(), count);
            let results = std::slice::from_raw_parts_mut(results.as_ptr().cast::<u64>(), count);
            find_raw(control.as_ptr().cast::<ControlBlock>(), identity as u32, keys, results)
        };
        found.map(|found| found as i32)
    })
}

/// A file's folder and name.
fn place(env: Env, path: Object) -> Result<(LocalStorage, String)> {
    let bytes = env.bytes(path).ok_or_else(|| Error::new(Kind::Invalid, "path is null"))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::new(Kind::Invalid, "path is not UTF-8"))?;
    let path = Path::new(&text);
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::new(Kind::Invalid, "path names no file").with("path", &text))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((LocalStorage::new(folder), name.to_owned()))
}

/// `long pack(long runs, int count, long segment, byte[] path)`: sorts and writes sealed records as one file, whole or not at
/// all (a temporary name first, synced, renamed). Per run 16 bytes: u64 memory address, u64 bytes of records, in the log's
/// order. Returns the file's size. Any thread, while the runs are pinned.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_pack(
    env: Env,
    _: Object,
    runs: i64,
    count: i32,
    segment: i64,
    path: Object,
) -> i64 {
    guarded(env, "pack", || {
        let count = size(i64::from(count))?;
        let (storage, name) = place(env, path)?;
        let raw: &[[u64; 2]] = if count == 0 {
            &[]
        } else {
            // SAFETY: contract of the entry.
            unsafe { std::slice::from_raw_parts(pointer(runs)?.as_ptr().cast(), count) }
        };
        let runs: Vec<Run> =
            raw.iter().map(|[address, bytes]| Run { address: *address as *const u8, bytes: *bytes as usize }).collect();
        // SAFETY: contract of the entry.
        let written = write_whole(&storage, &name, |sink| unsafe { pack(&runs, segment as u64, sink) })?;
        Ok(written as i64)
    })
}

/// `long verifyFile(byte[] path)`: reads and checks the whole file; returns its number of entries.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_verifyFile(
    env: Env,
    _: Object,
    path: Object,
) -> i64 {
    guarded(env, "verifyFile", || {
        let (storage, name) = place(env, path)?;
        let verified = SegmentReader::open(storage.open(&name)?, name)?.verify()?;
        Ok(verified.entries as i64)
    })
}

/// `int hintOpen(byte[] path)`: a descriptor for `hintWillNeed`; the JVM keeps its own to itself.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_hintOpen(
    env: Env,
    _: Object,
    path: Object,
) -> i32 {
    guarded(env, "hintOpen", || {
        let bytes = env.bytes(path).ok_or_else(|| Error::new(Kind::Invalid, "path is null"))?;
        let path = CString::new(bytes).map_err(|_| Error::new(Kind::Invalid, "path has a zero byte"))?;
        // SAFETY: a string that ends with 0.
        let descriptor = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if descriptor < 0 {
            return Err(Error::new(Kind::Unavailable, "file could not be opened")
                .with("path", path.to_string_lossy())
                .caused_by(std::io::Error::last_os_error()));
        }
        Ok(descriptor)
    })
}

/// `void hintWillNeed(int descriptor, long position, long bytes)`: the machine may read ahead. A hint, so it cannot fail.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_hintWillNeed(
    env: Env,
    _: Object,
    descriptor: i32,
    position: i64,
    bytes: i64,
) {
    guarded(env, "hintWillNeed", || {
        // SAFETY: takes numbers only; a descriptor that is none is an error that is not looked at.
        unsafe { libc::posix_fadvise(descriptor, position, bytes, libc::POSIX_FADV_WILLNEED) };
        Ok(())
    });
}

/// `void hintClose(int descriptor)`: of one `hintOpen`, once.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_hintClose(env: Env, _: Object, descriptor: i32) {
    guarded(env, "hintClose", || {
        // SAFETY: contract of the entry: the descriptor is the caller's.
        unsafe { libc::close(descriptor) };
        Ok(())
    });
}

/// `void panicForTest()`: panics, so that a test sees the exception.
///
/// # Panics
/// Always, within the wrapper.
#[no_mangle]
pub extern "system" fn Java_io_headrace_slimbase_nativelib_NativeSlim_panicForTest(env: Env, _: Object) {
    guarded(env, "panicForTest", || -> Result<()> { panic!("on purpose") });
}
