//! Files in memory that forget what was not synced, and fail when a test wants them to.

use super::{Blob, Sink, Storage};
use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a test may do to an operation.
pub trait Fault: Send {
    /// Whether the operation on the file fails (`Unavailable`).
    fn fails(&mut self, operation: &'static str, name: &str) -> bool;

    /// How many of `bytes` unsynced bytes survive a crash.
    fn survivors(&mut self, bytes: usize) -> usize;
}

struct NoFault;

impl Fault for NoFault {
    fn fails(&mut self, _: &'static str, _: &str) -> bool {
        false
    }

    fn survivors(&mut self, _: usize) -> usize {
        0
    }
}

#[derive(Default, Clone)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
}

type Shared = Arc<Mutex<Content>>;

struct State {
    files: BTreeMap<String, Shared>,
    /// The names as of the last sync of the folder: what is there after a crash.
    durable: BTreeMap<String, Shared>,
    fault: Box<dyn Fault>,
}

/// A folder in memory; clones are the same folder.
#[derive(Clone)]
pub struct MemoryStorage {
    state: Arc<Mutex<State>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::with_faults(Box::new(NoFault))
    }
}

impl MemoryStorage {
    /// An empty folder with these faults.
    pub fn with_faults(fault: Box<dyn Fault>) -> Self {
        MemoryStorage { state: Arc::new(Mutex::new(State { files: BTreeMap::new(), durable: BTreeMap::new(), fault })) }
    }

    /// The machine stops: names go back to the last folder sync, unsynced bytes are cut as the fault says.
    pub fn crash(&self) {
        let mut state = lock(&self.state);
        state.files = state.durable.clone();
        let files: Vec<Shared> = state.files.values().cloned().collect();
        for file in files {
            let mut content = lock(&file);
            let loose = content.bytes.len() - content.synced;
            let kept = content.synced + state.fault.survivors(loose).min(loose);
            content.bytes.truncate(kept);
            content.synced = kept;
        }
    }

    /// Changes a file's bytes behind everybody's back.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let file = self.file(name)?;
        let mut content = lock(&file);
        change(&mut content.bytes);
        content.synced = content.bytes.len();
        Ok(())
    }

    fn file(&self, name: &str) -> Result<Shared> {
        let found = lock(&self.state).files.get(name).cloned();
        found.ok_or_else(|| Error::new(Kind::NotFound, "opening a file failed").with("path", name))
    }

    fn check(&self, operation: &'static str, name: &str) -> Result<()> {
        if lock(&self.state).fault.fails(operation, name) {
            return Err(Error::new(Kind::Unavailable, "storage does not answer")
                .with("operation", operation)
                .with("path", name));
        }
        Ok(())
    }
}

struct MemorySink {
    storage: MemoryStorage,
    name: String,
    file: Shared,
}

impl Sink for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let outcome = self.storage.check("write", &self.name);
        // A write that fails may have been done in part.
        let part = if outcome.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        lock(&self.file).bytes.extend_from_slice(part);
        outcome
    }

    fn sync(&mut self) -> Result<()> {
        self.storage.check("sync", &self.name)?;
        let mut content = lock(&self.file);
        content.synced = content.bytes.len();
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        self.check("open", name)?;
        let file = self.file(name)?;
        let bytes = lock(&file).bytes.clone();
        Ok(Box::new(bytes))
    }

    fn create(&self, name: &str) -> Result<Box<dyn Sink>> {
        self.check("create", name)?;
        let file = Shared::default();
        lock(&self.state).files.insert(name.to_owned(), Arc::clone(&file));
        Ok(Box::new(MemorySink { storage: self.clone(), name: name.to_owned(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.check("rename", from)?;
        let mut state = lock(&self.state);
        let file = state.files.remove(from);
        let file = file.ok_or_else(|| Error::new(Kind::NotFound, "renaming a file failed").with("path", from))?;
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.check("sync", "")?;
        let mut state = lock(&self.state);
        state.durable = state.files.clone();
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>> {
        self.check("list", "")?;
        Ok(lock(&self.state).files.keys().cloned().collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.check("delete", name)?;
        lock(&self.state).files.remove(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read_all, write_whole};
    use super::*;

    /// What was written whole is there after a crash, what was not synced is gone.
    #[test]
    fn crash_keeps_only_what_was_synced() {
        let storage = MemoryStorage::default();
        write_whole(&storage, "a", |sink| sink.write(b"whole").map(|()| 5)).unwrap();
        storage.sync().unwrap();
        write_whole(&storage, "b", |sink| sink.write(b"lost").map(|()| 4)).unwrap();
        storage.crash();
        assert_eq!(storage.list().unwrap(), ["a"]);
        assert_eq!(read_all(&storage, "a").unwrap(), b"whole");
        assert_eq!(storage.open("b").err().map(|error| error.kind()), Some(Kind::NotFound));
    }
}
