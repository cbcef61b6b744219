//! Files that are written and read again.

use super::*;
use crate::error::Kind;
use crate::storage::{read_all, MemoryStorage, Storage};

/// Key group, identity, flags, key, value.
type Owned = (u32, u32, u8, Vec<u8>, Vec<u8>);

fn file(entries: &[Owned]) -> Vec<u8> {
    let storage = MemoryStorage::default();
    let mut sink = storage.create("f").unwrap();
    let mut writer = SegmentWriter::new(sink.as_mut(), 3).unwrap();
    for (group, identity, flags, key, value) in entries {
        writer.add(*group, *identity, *flags, key, value).unwrap();
    }
    let bytes = writer.finish().unwrap();
    let content = read_all(&storage, "f").unwrap();
    assert_eq!(bytes, content.len() as u64);
    content
}

fn sorted(groups: u32, keys: u64, value: usize) -> Vec<Owned> {
    let keys = (0..keys).map(|i| i.to_le_bytes().to_vec());
    let entry = |key: Vec<u8>| {
        let value = key.iter().cycle().take(value).copied().collect();
        (key[0] as u32 % groups, u32::from(key[1] % 2), 0, key, value)
    };
    let mut entries: Vec<_> = keys.map(entry).collect();
    entries.sort_by_key(|entry| (entry.0, entry.1, crate::hash::hash(entry.1, &entry.3), entry.3.clone()));
    entries
}

/// Every key of every group is found, also the last ones of a group and of the file (found by the fuzzer: the search went on
/// into the next group, or past the last block).
#[test]
fn every_key_is_found() {
    for (groups, keys, value) in [(1, 1, 0), (3, 2_000, 10), (7, 3_000, 100), (2, 20, 40_000)] {
        let entries = sorted(groups, keys, value);
        let reader = SegmentReader::open(Box::new(file(&entries)), "f").unwrap();
        assert_eq!(reader.verify().unwrap().entries, keys);
        for (group, identity, flags, key, value) in &entries {
            assert_eq!(reader.get(*group, *identity, key).unwrap(), [(*flags, value.clone())]);
        }
        for absent in 1_000_000..1_000_200u64 {
            for group in 0..groups + 1 {
                assert_eq!(reader.get(group, 1, &absent.to_le_bytes()).unwrap(), []);
            }
        }
    }
}

/// A range of key groups gives just its entries.
#[test]
fn ranges_are_exact() {
    let entries = sorted(9, 2_000, 60);
    let reader = SegmentReader::open(Box::new(file(&entries)), "f").unwrap();
    for (first, last) in [(0, 0), (2, 5), (8, 8), (3, u32::MAX), (9, 20)] {
        let mut count = 0;
        let count_one = |entry: Entry<'_>| {
            assert!((first..=last).contains(&entry.key_group));
            count += 1;
            Ok(())
        };
        reader.for_each(first..=last, count_one).unwrap();
        assert_eq!(count, entries.iter().filter(|entry| (first..=last).contains(&entry.0)).count());
    }
}

/// Entries out of order, or beyond the format, are refused; a newer version is `Unsupported`; an empty file is one.
#[test]
fn limits() {
    let storage = MemoryStorage::default();
    let mut sink = storage.create("f").unwrap();
    let mut writer = SegmentWriter::new(sink.as_mut(), 3).unwrap();
    writer.add(5, 0, 0, b"", b"").unwrap();
    assert_eq!(writer.add(4, 0, 0, b"", b"").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(writer.add(1 << 15, 0, 0, b"", b"").unwrap_err().kind(), Kind::Invalid);
    let mut newer = file(&[]);
    assert_eq!(SegmentReader::open(Box::new(newer.clone()), "f").unwrap().verify().unwrap().entries, 0);
    newer[8] = 4;
    assert_eq!(SegmentReader::open(Box::new(newer), "f").unwrap_err().kind(), Kind::Unsupported);
}

/// An error names the file, the block and both checksums.
#[test]
fn damage_is_named() {
    let mut bytes = file(&sorted(3, 4_000, 50));
    let reader = SegmentReader::open(Box::new(bytes.clone()), "f").unwrap();
    let second = reader.footer().blocks[1] as usize;
    bytes[second + 20] ^= 4;
    let error = SegmentReader::open(Box::new(bytes), "some.slim").unwrap().verify().unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let names: Vec<&str> = error.context().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["stored_checksum", "computed_checksum", "file", "block"]);
    assert_eq!(error.context()[3].1, "1");
}

/// The entries of the golden files in tests/unit/state/fixtures, which each version's own writer made.
fn golden() -> Vec<Owned> {
    let mut entries = Vec::new();
    for (group, identity) in [2u32, 5, 300].into_iter().flat_map(|group| [0, 1, 6].map(|identity| (group, identity))) {
        let mut keys: Vec<(usize, Vec<u8>)> = (0..150).map(|i| (i, format!("key-{i}").into_bytes())).collect();
        keys.sort_by_key(|(_, key)| crate::hash::hash(identity, key));
        for (i, key) in keys {
            let length = if (group, identity, i) == (5, 0, 11) { 40_000 } else { [0, 30, 300][i % 3] };
            let value =
                |piece: usize| (0..length).map(|at| ((i * 31 + piece + at * at) % 251) as u8).collect::<Vec<_>>();
            let flags: &[u8] = match (identity, i % 4) {
                (6, 0) => &[0, ENTRY_CHAINED, ENTRY_CHAINED],
                (6, 1) => &[ENTRY_CHAINED],
                (_, 2) => &[ENTRY_TOMBSTONE],
                _ => &[0],
            };
            for (piece, flags) in flags.iter().enumerate() {
                let value = if *flags == ENTRY_TOMBSTONE { Vec::new() } else { value(piece) };
                entries.push((group, identity, *flags, key.clone(), value));
            }
        }
    }
    entries
}

/// Files of all versions are read, in order and by key.
#[test]
fn golden_files() {
    let entries = golden();
    for (version, content) in [
        (1, include_bytes!("../../../../tests/unit/state/fixtures/version-1.slim").as_slice()),
        (2, include_bytes!("../../../../tests/unit/state/fixtures/version-2.slim").as_slice()),
        (3, include_bytes!("../../../../tests/unit/state/fixtures/version-3.slim").as_slice()),
    ] {
        assert_eq!(content[8], version);
        let reader = SegmentReader::open(Box::new(content.to_vec()), "golden").unwrap();
        assert_eq!(reader.verify().unwrap().entries, entries.len() as u64);
        let mut read = Vec::new();
        let push = |e: Entry<'_>| {
            read.push((e.key_group, e.identity, e.flags, e.key.to_vec(), e.value.to_vec()));
            Ok(())
        };
        reader.for_each(0..=u32::MAX, push).unwrap();
        assert!(read == entries, "version {version}");
        for (group, identity, _, key, _) in &entries {
            let found = reader.get(*group, *identity, key).unwrap();
            let own = entries.iter().filter(|e| (e.0, e.1, &e.3) == (*group, *identity, key));
            assert!(found.into_iter().eq(own.map(|e| (e.2, e.4.clone()))));
        }
    }
}
