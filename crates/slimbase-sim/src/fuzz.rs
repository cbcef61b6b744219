//! Mutates valid files: reading one must give `Corrupt`, `Unsupported`, or the same content; never a panic, never other data.

use crate::random::Random;
use slimbase::file::{SegmentReader, SegmentWriter};
use slimbase::storage::{read_all, MemoryStorage, Storage};
use slimbase::{Kind, Result};
use std::collections::BTreeMap;

type Entry = (u32, u32, u8, Vec<u8>, Vec<u8>);

/// What a run has seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FuzzReport {
    /// Mutated files.
    pub files: u64,
    /// Refused as `Corrupt` or `Unsupported`.
    pub refused: u64,
    /// Read with the same content.
    pub same: u64,
}

/// A valid file and its entries.
fn valid(random: &mut Random) -> (Vec<u8>, Vec<Entry>) {
    let mut sorted = BTreeMap::new();
    for _ in 0..random.below(400) {
        let (group, identity) = (random.below(6) as u32 * 7, random.below(5) as u32);
        let (key_length, value_length) = (random.below(12), *random.pick(&[0, 3, 40, 900, 40_000]));
        let key = random.bytes(key_length);
        let value = if random.one_in(2) { vec![7; value_length] } else { random.bytes(value_length) };
        let flags = u8::from(random.one_in(5));
        let hash = slimbase::hash::hash(identity, &key);
        sorted.insert((group, identity, hash, key), (flags, if flags == 1 { Vec::new() } else { value }));
    }
    let storage = MemoryStorage::default();
    let mut entries = Vec::new();
    let write = || -> Result<Vec<u8>> {
        let mut sink = storage.create("f")?;
        let mut writer = SegmentWriter::new(sink.as_mut(), 7)?;
        for ((group, identity, _, key), (flags, value)) in sorted {
            writer.add(group, identity, flags, &key, &value)?;
            entries.push((group, identity, flags, key, value));
        }
        writer.finish()?;
        read_all(&storage, "f")
    };
    match { write }() {
        Ok(bytes) => (bytes, entries),
        Err(error) => unreachable!("storage without faults has failed: {error}"),
    }
}

/// A file that the first version's writer made, and its entries as they are read.
fn version_1() -> (Vec<u8>, Vec<Entry>) {
    let bytes = include_bytes!("../../../tests/unit/state/fixtures/version-1.slim").to_vec();
    match read(bytes.clone()) {
        Ok(entries) => (bytes, entries),
        Err(error) => unreachable!("the file of version 1 is not read: {error}"),
    }
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let length = bytes.len();
        let at = random.below(length);
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = *random.pick(&[0, 1, 0x7F, 0x80, 0xFF]),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.bits() as u8),
            4 => drop(bytes.remove(at)),
            5 => {
                let (from, count) = (random.below(length), random.below(40));
                for i in 0..count.min(length - at.max(from)) {
                    bytes[at + i] = bytes[from + i];
                }
            }
            _ => {
                let tail = length - random.below(60).min(length - 1) - 1;
                bytes[tail] ^= random.bits() as u8;
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// Everything that a reader can be asked.
fn read(bytes: Vec<u8>) -> Result<Vec<Entry>> {
    let reader = SegmentReader::open(Box::new(bytes), "fuzzed")?;
    let mut entries = Vec::new();
    reader.for_each(0..=u32::MAX, |entry| {
        entries.push((entry.key_group, entry.identity, entry.flags, entry.key.to_vec(), entry.value.to_vec()));
        Ok(())
    })?;
    reader.verify()?;
    for (group, identity, _, key, value) in entries.iter().step_by(17) {
        let found = reader.get(*group, *identity, key)?;
        assert!(found.iter().any(|(_, each)| each == value), "a key that was read is not found");
    }
    Ok(entries)
}

/// Corrects block and footer checksums, so that the checks behind them are reached. Lengths as the footer has them.
fn repair(bytes: &mut [u8]) {
    let length = bytes.len();
    if length < 48 {
        return;
    }
    let word =
        |bytes: &[u8], at: usize| bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let footer = word(bytes, length - 32) as usize;
    let blocks_end = footer.saturating_sub(word(bytes, length - 12) as usize).min(length - 32);
    let mut at = 16;
    while at + 16 < blocks_end {
        let end = at + 16 + word(bytes, at + 4) as usize;
        if end > blocks_end {
            break;
        }
        let mut covered = bytes[at..at + 12].to_vec();
        covered.extend_from_slice(&bytes[at + 16..end]);
        let checksum = checksum(&covered);
        bytes[at + 12..at + 16].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
    if footer < length - 32 {
        let checksum = checksum(&bytes[footer..length - 32]);
        bytes[length - 20..length - 16].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// CRC32C bit by bit: an implementation apart from the one that is tested.
pub fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// Reads `files` mutated files.
///
/// # Panics
/// When one gives other data or an error of another kind; the message names the seed.
pub fn run(seed: u64, files: u64) -> FuzzReport {
    let mut random = Random::new(seed);
    let mut report = FuzzReport::default();
    let mut current = valid(&mut random);
    for round in 0..files {
        if random.one_in(50) {
            current = if random.one_in(8) { version_1() } else { valid(&mut random) };
            match read(current.0.clone()) {
                Ok(entries) => {
                    assert!(entries == current.1, "a valid file gives other data, seed={seed} round={round}")
                }
                Err(error) => panic!("a valid file is not read: {error}, seed={seed} round={round}"),
            }
        }
        let mut bytes = current.0.clone();
        mutate(&mut random, &mut bytes);
        let repaired = bytes.len() < 20_000 && random.one_in(4);
        if repaired {
            repair(&mut bytes);
        }
        report.files += 1;
        match read(bytes) {
            // With checksums made to fit, other data is what the file says.
            Ok(entries) if repaired || entries == current.1 => report.same += 1,
            Ok(_) => panic!("a mutated file gives other data, seed={seed} round={round}"),
            Err(error) => {
                let fits = matches!(error.kind(), Kind::Corrupt | Kind::Unsupported);
                assert!(fits, "a mutated file gives {error}, seed={seed} round={round}");
                report.refused += 1;
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slow checksum is CRC32C.
    #[test]
    fn checksum_is_crc32c() {
        assert_eq!(checksum(b"123456789"), 0xE306_9283);
    }

    /// Mutated files are refused or read as they were.
    #[test]
    fn mutated_files() {
        for seed in 0..4 {
            let report = run(seed, 1_500);
            assert!(report.refused > 1_000, "{report:?}");
        }
    }
}
