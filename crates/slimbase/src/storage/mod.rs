//! Where files are: one trait, a folder of the local file system, and a faulty one in memory for tests.
//!
//! Names are flat, within one folder. A file is there for good when its writer was synced, its rename done and the
//! folder synced, in this order.

mod local;
mod memory;

pub use local::LocalStorage;
pub use memory::{Fault, MemoryStorage};

use crate::error::Result;

/// A folder of files.
pub trait Storage: Send + Sync {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Unavailable` when the folder does not answer.
    fn open(&self, name: &str) -> Result<Box<dyn Blob>>;

    /// Creates a file, or empties it.
    ///
    /// # Errors
    /// `Unavailable` when that fails.
    fn create(&self, name: &str) -> Result<Box<dyn Sink>>;

    /// Gives a file another name, replacing what has it.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Unavailable` when that fails.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Makes names (new files, renames) durable.
    ///
    /// # Errors
    /// `Unavailable` when that fails.
    fn sync(&self) -> Result<()>;

    /// Names of all files, sorted.
    ///
    /// # Errors
    /// `Unavailable` when the folder does not answer.
    fn list(&self) -> Result<Vec<String>>;

    /// Removes a file; one that is not there counts as removed.
    ///
    /// # Errors
    /// `Unavailable` when that fails.
    fn delete(&self, name: &str) -> Result<()>;
}

/// A file that is read.
pub trait Blob: Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Fills the buffer from the offset on.
    ///
    /// # Errors
    /// `Corrupt` when the file ends before, `Unavailable` when reading fails.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

/// A file that is written, once, from its beginning.
pub trait Sink {
    /// Appends.
    ///
    /// # Errors
    /// `Unavailable` when that fails, for instance on a full disk.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// `Unavailable` when that fails.
    fn sync(&mut self) -> Result<()>;
}

/// Bytes in memory are a file too.
impl Blob for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(buffer.len())?));
        let bytes =
            range.and_then(|range| self.get(range)).ok_or_else(|| short_read(offset, buffer.len(), self.size()))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// Reads a whole file.
///
/// # Errors
/// As [`Storage::open`] and [`Blob::read_at`].
pub fn read_all(storage: &dyn Storage, name: &str) -> Result<Vec<u8>> {
    let blob = storage.open(name)?;
    let mut bytes = vec![0; blob.size() as usize];
    blob.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Writes a file so that it is there whole or not at all, even when the machine stops: the content under a temporary
/// name, synced, then the rename. The folder is synced by the caller, once for many files.
///
/// # Errors
/// As the storage's; nothing of that name is there then.
pub fn write_whole(
    storage: &dyn Storage,
    name: &str,
    content: impl FnOnce(&mut dyn Sink) -> Result<u64>,
) -> Result<u64> {
    let temporary = format!("{name}.tmp");
    let mut sink = storage.create(&temporary)?;
    let written = content(sink.as_mut()).and_then(|bytes| sink.sync().map(|()| bytes));
    drop(sink);
    match written.and_then(|bytes| storage.rename(&temporary, name).map(|()| bytes)) {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            // The error that is on its way says more than one of the clean-up.
            let _ = storage.delete(&temporary);
            Err(error)
        }
    }
}

fn short_read(offset: u64, wanted: usize, size: u64) -> crate::error::Error {
    crate::error::Error::new(crate::error::Kind::Corrupt, "file ends too early")
        .with("offset", offset)
        .with("wanted_bytes", wanted)
        .with("file_bytes", size)
}
