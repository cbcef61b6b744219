//! The engine against a sorted map, with barriers, restores and a full budget. Longer runs are in `slimbase-sim`.

use super::*;
use crate::file::{pack, SegmentReader};
use crate::storage::{read_all, MemoryStorage, Storage};
use std::collections::BTreeMap;

/// SplitMix64: enough randomness for tests, from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

const GROUPS: u32 = 4;

fn engine(budget_bytes: u64) -> Engine {
    Engine::open(Options::new(MemoryBudget::new(budget_bytes), GROUPS)).unwrap()
}

fn group(key: &[u8]) -> u32 {
    crate::hash::key_group(key, GROUPS)
}

/// Values of identity 2, lists of identity 4.
#[derive(Default, Clone)]
struct Model {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    lists: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

fn apply(engine: &mut Engine, model: &mut Model, random: &mut Random, keys: u64) -> Result<()> {
    let key = random.below(keys).to_le_bytes()[..3 + (random.below(2) * 5) as usize].to_vec();
    let length = match random.below(200) {
        0 => 70_000,
        1..=20 => random.below(2_000) as usize,
        _ => random.below(24) as usize,
    };
    let value = vec![random.next() as u8; length];
    match random.below(10) {
        0..=4 => {
            engine.put(group(&key), 2, &key, &value)?;
            model.values.insert(key, value);
        }
        5 | 6 => {
            let was = engine.delete(group(&key), 2, &key)?;
            assert_eq!(was, model.values.remove(&key).is_some());
        }
        7 | 8 => {
            let element = value[..length.min(40)].to_vec();
            engine.append_element(group(&key), 4, &key, &element)?;
            model.lists.entry(key).or_default().push(element);
        }
        _ => {
            let was = engine.delete(group(&key), 4, &key)?;
            assert_eq!(was, model.lists.remove(&key).is_some());
        }
    }
    Ok(())
}

fn check(engine: &Engine, model: &Model) {
    let mut seen = BTreeMap::new();
    for key_group in engine.key_groups() {
        for view in engine.records(key_group).unwrap().filter(|view| view.identity == 2) {
            assert_eq!(view.key_group, group(view.key));
            seen.insert(view.key.to_vec(), view.value.to_vec());
        }
    }
    assert!(seen == model.values, "values differ");
    assert_eq!(engine.record_count(4), model.lists.len() as u64);
    for (key, elements) in &model.lists {
        let (joined, count) = engine.list(group(key), 4, key).unwrap().unwrap();
        assert!(count == elements.len() as u64 && joined == elements.join(&b','), "lists differ");
    }
    let keys: Vec<(u32, &[u8])> = model.values.keys().map(|key| (group(key), key.as_slice())).collect();
    let mut values = Vec::new();
    engine.get_batch(2, &keys, &mut values).unwrap();
    assert!(values.iter().map(|value| value.unwrap()).eq(model.values.values().map(Vec::as_slice)));
}

/// Writes every segment as the snapshot strategy would: once.
fn checkpoint(storage: &MemoryStorage, snapshot: &Snapshot) -> Vec<String> {
    let name = |view: &SegmentView| format!("{}.slim", view.number());
    for view in snapshot.segments() {
        if storage.open(&name(view)).is_err() {
            // SAFETY: the snapshot keeps the runs.
            unsafe { pack(&view.runs(), view.number(), storage.create(&name(view)).unwrap().as_mut()) }.unwrap();
        }
    }
    snapshot.segments().iter().map(name).collect()
}

fn restore(storage: &MemoryStorage, files: &[String], options: Options) -> Engine {
    let mut engine = Engine::open(options).unwrap();
    for name in files {
        let reader = SegmentReader::open(Box::new(read_all(storage, name).unwrap()), name).unwrap();
        reader.verify().unwrap();
        engine.restore_file(&reader, 0..=u32::MAX).unwrap();
    }
    engine
}

/// Operations, barriers and cleaning give what a sorted map gives; each snapshot's files restore that moment.
#[test]
fn agrees_with_a_model_and_its_files() {
    for seed in 0..6 {
        let (mut random, mut model) = (Random(seed), Model::default());
        let mut engine = engine(64 << 20);
        let storage = MemoryStorage::default();
        for _ in 0..12 {
            for _ in 0..2_000 {
                apply(&mut engine, &mut model, &mut random, 300).unwrap();
            }
            let files = checkpoint(&storage, &engine.seal());
            check(&engine, &model);
            check(&restore(&storage, &files, Options::new(MemoryBudget::new(64 << 20), GROUPS)), &model);
        }
        assert!(engine.statistics().segments < 40, "segments are merged");
    }
}

/// A snapshot shows its moment, whatever is written while it is held.
#[test]
fn snapshot_is_not_disturbed() {
    let (mut random, mut model) = (Random(99), Model::default());
    let mut engine = engine(64 << 20);
    for _ in 0..5_000 {
        apply(&mut engine, &mut model, &mut random, 300).unwrap();
    }
    let (snapshot, then) = (engine.seal(), model.clone());
    std::thread::scope(|scope| {
        let packed = scope.spawn(move || {
            let storage = MemoryStorage::default();
            let files = checkpoint(&storage, &snapshot);
            (storage, files)
        });
        for i in 0..60_000 {
            apply(&mut engine, &mut model, &mut random, 300).unwrap();
            if i % 10_000 == 0 {
                engine.seal();
            }
        }
        let (storage, files) = packed.join().unwrap();
        check(&restore(&storage, &files, Options::new(MemoryBudget::new(64 << 20), GROUPS)), &then);
    });
    check(&engine, &model);
}

/// A full engine says so, keeps what it has, and takes more after removals. The budget is never exceeded.
#[test]
fn full_budget_is_an_error_and_nothing_is_lost() {
    let budget = MemoryBudget::new(1 << 20);
    let mut engine = Engine::open(Options::new(Arc::clone(&budget), GROUPS)).unwrap();
    let mut model = BTreeMap::new();
    let key = |i: u64| i.to_le_bytes();
    let mut refused = 0;
    for round in 0..4u64 {
        for i in 0..30_000u64 {
            match engine.put(group(&key(i)), 2, &key(i), &key(round)) {
                Ok(()) => drop(model.insert(i, round)),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Throttled);
                    refused += 1;
                }
            }
            assert!(budget.used_bytes() <= budget.limit_bytes());
        }
        for (i, value) in &model {
            assert_eq!(engine.get(group(&key(*i)), 2, &key(*i)).unwrap(), Some(key(*value).as_slice()));
        }
        let gone: Vec<u64> = model.keys().copied().filter(|i| i % 3 != round % 3).collect();
        for i in gone {
            assert!(engine.delete(group(&key(i)), 2, &key(i)).unwrap());
            model.remove(&i);
        }
        engine.seal();
    }
    assert!(refused > 0 && model.len() > 1_000, "{refused} {}", model.len());
    drop(engine);
    assert_eq!(budget.used_bytes(), 0);
}

/// Ranges of key groups are restored apart and together again.
#[test]
fn rescale_keeps_every_key() {
    let (mut random, mut model) = (Random(5), Model::default());
    let mut whole = engine(64 << 20);
    let storage = MemoryStorage::default();
    for _ in 0..3 {
        for _ in 0..2_000 {
            apply(&mut whole, &mut model, &mut random, 300).unwrap();
        }
        whole.seal();
    }
    let files = checkpoint(&storage, &whole.seal());
    let part = |first: u32, count: u32| {
        let options = Options::new(MemoryBudget::new(64 << 20), count);
        restore(&storage, &files, Options { first_key_group: first, ..options })
    };
    let parts = [part(0, 1), part(1, 3)];
    let records: u64 = parts.iter().map(|part| part.record_count(2)).sum();
    assert_eq!(records, model.values.len() as u64);
    for (key, value) in &model.values {
        let owner = &parts[usize::from(group(key) > 0)];
        assert_eq!(owner.get(group(key), 2, key).unwrap(), Some(value.as_slice()));
        let other = &parts[usize::from(group(key) == 0)];
        assert_eq!(other.get(group(key), 2, key).unwrap_err().kind(), Kind::Invalid);
    }
}

/// What a filter no longer wants goes when it is moved; a dropped state is gone at once.
#[test]
fn filters_and_dropped_states() {
    let mut engine = engine(64 << 20);
    engine.set_filter(1, Some(Box::new(|_, value| value != b"old"))).unwrap();
    for i in 0..1_000u64 {
        let key = i.to_le_bytes();
        engine.put(group(&key), 2, &key, if i % 2 == 0 { b"old" } else { b"new" }).unwrap();
        engine.put(group(&key), 6, &key, b"old").unwrap();
    }
    for i in 0..40u64 {
        engine.seal();
        for j in 0..2_000u64 {
            let key = (i * 10 + j % 10 + 5_000).to_le_bytes();
            engine.put(group(&key), 8, &key, &[1; 60]).unwrap();
        }
    }
    assert_eq!(engine.record_count(2), 500);
    assert_eq!(engine.record_count(6), 1_000);
    engine.drop_state(3).unwrap();
    assert_eq!((engine.record_count(6), engine.live_bytes(6)), (0, 0));
    assert_eq!(engine.set_filter(1024, None).unwrap_err().kind(), Kind::Invalid);
}

/// What a filter lets go is gone: no older version comes back from a file.
#[test]
fn expired_records_do_not_bring_older_ones_back() {
    for restored in [false, true] {
        let (mut engine, storage) = (engine(64 << 20), MemoryStorage::default());
        for i in 0..1_000u64 {
            engine.put(group(b"k"), 4, &i.to_le_bytes(), &[1; 60]).unwrap();
        }
        engine.put(group(b"k"), 2, b"k", b"older").unwrap();
        engine.seal();
        engine.put(group(b"k"), 2, b"k", b"old").unwrap();
        if restored {
            let files = checkpoint(&storage, &engine.seal());
            engine = restore(&storage, &files, Options::new(MemoryBudget::new(64 << 20), GROUPS));
        }
        engine.set_filter(1, Some(Box::new(|_, value| value != b"old"))).unwrap();
        for i in 0..20u64 {
            engine.seal();
            for j in 0..20u64 {
                engine.put(group(b"k"), 8, &(i * 20 + j).to_le_bytes(), &[1; 60]).unwrap();
            }
        }
        assert_eq!(engine.get(group(b"k"), 2, b"k").unwrap(), None, "restored={restored}");
        let files = checkpoint(&storage, &engine.seal());
        let copy = restore(&storage, &files, Options::new(MemoryBudget::new(64 << 20), GROUPS));
        assert_eq!(copy.get(group(b"k"), 2, b"k").unwrap(), None, "restored={restored}");
    }
}

/// Lookups through the control block are those of the engine.
#[test]
fn control_block_lookups() {
    let mut engine = engine(64 << 20);
    let keys: Vec<[u8; 8]> = (0..300u64).map(u64::to_le_bytes).collect();
    keys.iter().filter(|key| key[0] % 3 > 0).for_each(|key| engine.put(group(key), 2, key, key).unwrap());
    let raw: Vec<_> = keys
        .iter()
        .map(|key| crate::layout::RawKey { key_group: group(key), key_length: 8, key_address: key.as_ptr() as u64 })
        .collect();
    let mut results = vec![7; raw.len()];
    // SAFETY: block and keys are the engine's and ours, nobody writes.
    let found = unsafe { crate::layout::find_raw(&engine.control_block(), 2, &raw, &mut results) }.unwrap();
    assert_eq!(found, keys.iter().filter(|key| key[0] % 3 > 0).count());
    for (key, address) in keys.iter().zip(results) {
        // SAFETY: an address found is that of a record of the engine.
        let value = (address != 0).then(|| unsafe { Record::at(address as *mut u8).value() });
        assert_eq!(value, engine.get(group(key), 2, key).unwrap());
    }
}

/// Wrong calls are refused before anything happens.
#[test]
fn wrong_calls() {
    let mut engine = engine(1 << 20);
    assert_eq!(engine.put(GROUPS, 2, b"k", b"").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(engine.get(0, 2048, b"k").unwrap_err().kind(), Kind::Invalid);
    let none = Options::new(MemoryBudget::new(1 << 20), 0);
    assert_eq!(Engine::open(none).unwrap_err().kind(), Kind::Invalid);
    let many = Options { first_key_group: 1, ..Options::new(MemoryBudget::new(1 << 20), MAX_KEY_GROUPS) };
    assert_eq!(Engine::open(many).unwrap_err().kind(), Kind::Invalid);
}
