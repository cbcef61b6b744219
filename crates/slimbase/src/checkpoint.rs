//! Checkpoints of an embedded engine: a folder with the segments' files and a manifest that names them.
//!
//! In Flink the manifest is Flink's own meta stream and Java writes it; this one is for engines without Flink (Python, the
//! simulator). A checkpoint writes only segments that have no file yet, makes them durable, then replaces the manifest: until
//! its rename is durable the one before holds, whole. Files that the new manifest does not name are removed afterwards.
//!
//! Manifest (little-endian): 8 magic `SLIMMANI`, u32 version 1, u32 key groups in all; u32 number of states, each: u16 state
//! id, u8 kind (0 value, 1 list), u8 0; u32 number of files in order, each: u16 name length, name in UTF-8, u64 segment
//! number, u64 bytes, u32 first key group, u32 last key group; u32 CRC32C of all before.

use crate::engine::{Engine, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::file::{pack, segment_file_name, SegmentReader};
use crate::storage::{read_all, write_whole, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// The manifest's file name.
pub const MANIFEST: &str = "MANIFEST";
const MAGIC: &[u8; 8] = b"SLIMMANI";
const VERSION: u32 = 1;

/// A file as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its name.
    pub name: String,
    /// The segment's number when it was written.
    pub segment: u64,
    /// Its size.
    pub bytes: u64,
    /// What of it counts: entries outside belong to others.
    pub key_groups: RangeInclusive<u32>,
}

/// What a checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// Key groups in all, over all engines that share the state.
    pub key_group_total: u32,
    /// Kind of each state by its id: 0 value, 1 list.
    pub states: BTreeMap<u16, u8>,
    /// Files, oldest first.
    pub files: Vec<ManifestFile>,
}

fn malformed() -> Error {
    Error::new(Kind::Corrupt, "manifest is malformed").with("file", MANIFEST)
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let mut number = |value: u32| out.extend_from_slice(&value.to_le_bytes());
        number(VERSION);
        number(self.key_group_total);
        number(self.states.len() as u32);
        for (state_id, kind) in &self.states {
            out.extend_from_slice(&state_id.to_le_bytes());
            out.extend_from_slice(&[*kind, 0]);
        }
        out.extend_from_slice(&(self.files.len() as u32).to_le_bytes());
        for file in &self.files {
            out.extend_from_slice(&(file.name.len() as u16).to_le_bytes());
            out.extend_from_slice(file.name.as_bytes());
            out.extend_from_slice(&file.segment.to_le_bytes());
            out.extend_from_slice(&file.bytes.to_le_bytes());
            out.extend_from_slice(&file.key_groups.start().to_le_bytes());
            out.extend_from_slice(&file.key_groups.end().to_le_bytes());
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Manifest> {
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or_else(malformed)?;
        let mut input = Input(body);
        if &input.take::<8>()? != MAGIC {
            return Err(malformed());
        }
        let version = input.u32()?;
        if version > VERSION {
            return Err(Error::new(Kind::Unsupported, "manifest is of a newer version").with("version", version));
        }
        let (wanted, found) = (u32::from_le_bytes(*checksum), crc32c::crc32c(body));
        if wanted != found {
            return Err(Error::new(Kind::Corrupt, "manifest does not match its checksum")
                .with("stored_checksum", format!("{wanted:#010x}"))
                .with("computed_checksum", format!("{found:#010x}")));
        }
        let mut manifest = Manifest { key_group_total: input.u32()?, ..Manifest::default() };
        for _ in 0..input.u32()? {
            let [low, high, kind, _] = input.take()?;
            manifest.states.insert(u16::from_le_bytes([low, high]), kind);
        }
        for _ in 0..input.u32()? {
            let length = u16::from_le_bytes(input.take()?) as usize;
            let (name, rest) = input.0.split_at_checked(length).ok_or_else(malformed)?;
            input.0 = rest;
            let name = String::from_utf8(name.to_vec()).map_err(|_| malformed())?;
            let (segment, bytes) = (u64::from_le_bytes(input.take()?), u64::from_le_bytes(input.take()?));
            manifest.files.push(ManifestFile { name, segment, bytes, key_groups: input.u32()?..=input.u32()? });
        }
        Ok(manifest)
    }

    /// Reads a folder's manifest.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Corrupt` when it is damaged, `Unsupported` when it is of a newer version.
    pub fn read(storage: &dyn Storage) -> Result<Manifest> {
        Manifest::decode(&read_all(storage, MANIFEST)?)
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }
}

/// Writes an engine's checkpoints into one folder, incrementally.
#[derive(Debug)]
pub struct Checkpointer {
    /// Unique for each opened engine: part of the files' names.
    backend: String,
    written: BTreeMap<u64, ManifestFile>,
}

impl Checkpointer {
    /// `backend` is unique for each opened engine, e.g. a random UUID; file names begin with it.
    pub fn new(backend: impl Into<String>) -> Self {
        Checkpointer { backend: backend.into(), written: BTreeMap::new() }
    }

    /// Applies a folder's checkpoint to an engine. With `same_folder` its files are used again by the next checkpoint, which
    /// must go into that folder.
    ///
    /// # Errors
    /// `NotFound` for a missing file, `Corrupt` for a damaged one, `Throttled` when the state does not fit; the engine is then
    /// of no use.
    pub fn restore(&mut self, engine: &mut Engine, storage: &dyn Storage, same_folder: bool) -> Result<Manifest> {
        let manifest = Manifest::read(storage)?;
        for file in &manifest.files {
            let reader = SegmentReader::open(storage.open(&file.name)?, &file.name)?;
            if reader.size() != file.bytes || reader.footer().segment != file.segment {
                return Err(Error::new(Kind::Corrupt, "file is another one than the manifest names")
                    .with("file", &file.name)
                    .with("manifest_bytes", file.bytes)
                    .with("file_bytes", reader.size()));
            }
            let segment = engine.restore_file(&reader, file.key_groups.clone())?;
            if let (Some(segment), true) = (segment, same_folder) {
                let own = engine.key_groups();
                let key_groups = *file.key_groups.start().max(own.start())..=*file.key_groups.end().min(own.end());
                self.written.insert(segment, ManifestFile { key_groups, ..file.clone() });
            }
        }
        Ok(manifest)
    }

    /// Writes what has no file yet, then the manifest; any thread. `total` and `states` go into the manifest. Returns it.
    ///
    /// # Errors
    /// As the storage's; the checkpoint before is then still the folder's.
    pub fn write(
        &mut self,
        snapshot: &Snapshot,
        key_groups: RangeInclusive<u32>,
        total: u32,
        states: BTreeMap<u16, u8>,
        storage: &dyn Storage,
    ) -> Result<Manifest> {
        let mut files = Vec::new();
        for view in snapshot.segments() {
            let file = match self.written.get(&view.number()) {
                Some(file) => file.clone(),
                None => {
                    let name = segment_file_name(&self.backend, view.number());
                    // SAFETY: the snapshot keeps the sealed records.
                    let bytes = write_whole(storage, &name, |sink| unsafe { pack(&view.runs(), view.number(), sink) })?;
                    ManifestFile { name, segment: view.number(), bytes, key_groups: key_groups.clone() }
                }
            };
            self.written.insert(view.number(), file.clone());
            files.push(file);
        }
        storage.sync()?;
        let manifest = Manifest { key_group_total: total, states, files };
        let bytes = manifest.encode();
        write_whole(storage, MANIFEST, |sink| sink.write(&bytes).map(|()| bytes.len() as u64))?;
        storage.sync()?;
        let kept: BTreeSet<u64> = snapshot.segments().iter().map(|view| view.number()).collect();
        self.written.retain(|number, _| kept.contains(number));
        remove_others(storage, &manifest)?;
        Ok(manifest)
    }

    /// Forgets which files exist: the next checkpoint writes everything, into whatever folder.
    pub fn forget(&mut self) {
        self.written.clear();
    }
}

/// Removes segment files and temporary ones that the manifest does not name.
fn remove_others(storage: &dyn Storage, manifest: &Manifest) -> Result<()> {
    let named: BTreeSet<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    for name in storage.list()? {
        let ours = name.ends_with(".slim") || name.ends_with(".slim.tmp");
        if ours && !named.contains(name.as_str()) {
            storage.delete(&name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Options;
    use crate::memory::MemoryBudget;
    use crate::storage::MemoryStorage;

    fn engine() -> Engine {
        Engine::open(Options::new(MemoryBudget::new(16 << 20), 8)).unwrap()
    }

    /// Every byte of a manifest is covered.
    #[test]
    fn manifest_round_trip_and_damage() {
        let file = ManifestFile { name: "a-1.slim".into(), segment: 1, bytes: 99, key_groups: 0..=7 };
        let manifest = Manifest { key_group_total: 8, states: [(3, 1)].into(), files: vec![file.clone(), file] };
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 16;
            let kind = Manifest::decode(&damaged).unwrap_err().kind();
            assert!(kind == Kind::Corrupt || kind == Kind::Unsupported);
            assert_eq!(Manifest::decode(&bytes[..i]).unwrap_err().kind(), Kind::Corrupt);
        }
    }

    /// A second checkpoint writes only what is new, a restored engine goes on with the same files.
    #[test]
    fn checkpoints_are_incremental() {
        let storage = MemoryStorage::default();
        let (mut first, mut checkpointer) = (engine(), Checkpointer::new("one"));
        for i in 0..5_000u64 {
            first.put((i % 8) as u32, 0, &i.to_le_bytes(), b"value").unwrap();
        }
        let write = |engine: &mut Engine, checkpointer: &mut Checkpointer| {
            let snapshot = engine.seal();
            checkpointer.write(&snapshot, engine.key_groups(), 8, BTreeMap::new(), &storage).unwrap()
        };
        let full = write(&mut first, &mut checkpointer);
        first.put(1, 0, b"k", b"new").unwrap();
        let second = write(&mut first, &mut checkpointer);
        assert_eq!(second.files[..full.files.len()], full.files);
        assert!(second.files.last().unwrap().bytes < 1_000);
        let (mut again, mut next) = (engine(), Checkpointer::new("two"));
        assert_eq!(next.restore(&mut again, &storage, true).unwrap(), second);
        again.put(2, 0, b"k", b"newer").unwrap();
        let third = write(&mut again, &mut next);
        assert_eq!(third.files.len(), second.files.len() + 1);
        assert_eq!(again.get(1, 0, b"k").unwrap(), Some(b"new".as_slice()));
        assert_eq!(storage.list().unwrap().len(), third.files.len() + 1);
    }
}
