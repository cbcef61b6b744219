//! Nanoseconds per operation of get, put and batched get on Long records:
//! `cargo run --release -p slimbase --example ops -- 500000 5000000`.
#![allow(clippy::disallowed_methods)] // a measurement: it needs the clock

use slimbase::engine::{Engine, Options};
use slimbase::error::Result;
use slimbase::hash::key_group;
use slimbase::memory::MemoryBudget;
use std::time::Instant;

const GROUPS: u32 = 128;
const OPERATIONS: u64 = 2_000_000;

fn mixed(i: u64) -> u64 {
    (i ^ (i >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

fn timed(name: &str, count: u64, keys: u64, work: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let begin = Instant::now();
    (0..count).try_for_each(work)?;
    println!("  {name:<24} {:>8.1} ns", begin.elapsed().as_nanos() as f64 / (count * keys) as f64);
    Ok(())
}

/// Keeps the compiler from leaving a read out.
fn first(value: Option<&[u8]>) -> u64 {
    value.and_then(|bytes| bytes.first()).map_or(0, |byte| u64::from(*byte))
}

fn run(records: u64) -> Result<()> {
    let budget = MemoryBudget::new(4 << 30);
    let mut engine = Engine::open(Options { prefault: true, ..Options::new(budget, GROUPS) })?;
    let key = |i: u64| mixed(i % records).to_le_bytes();
    println!("{records} Long records, {GROUPS} key groups");
    let put = |engine: &mut Engine, i: u64| {
        let key = key(i);
        engine.put(key_group(&key, GROUPS), 2, &key, &i.to_le_bytes())
    };
    timed("load", records, 1, |i| put(&mut engine, i))?;
    let random = |i: u64| mixed(i.wrapping_mul(7_919));
    let mut sum = 0u64;
    timed("get", OPERATIONS, 1, |i| {
        let key = key(random(i));
        sum += first(engine.get(key_group(&key, GROUPS), 2, &key)?);
        Ok(())
    })?;
    let mut values = Vec::new();
    timed("get_batch(64), per key", OPERATIONS / 64, 64, |i| {
        let keys: Vec<[u8; 8]> = (0..64).map(|j| key(random(i * 64 + j))).collect();
        let placed: Vec<(u32, &[u8])> = keys.iter().map(|key| (key_group(key, GROUPS), key.as_slice())).collect();
        engine.get_batch(2, &placed, &mut values)?;
        sum += values.iter().map(|value| first(*value)).sum::<u64>();
        values.clear();
        Ok(())
    })?;
    timed("put in place", OPERATIONS, 1, |i| put(&mut engine, random(i)))?;
    let begin = Instant::now();
    let snapshot = engine.seal();
    println!("  seal                     {:>8.1} us", begin.elapsed().as_nanos() as f64 / 1e3);
    timed("put of sealed (append)", OPERATIONS.min(records / 4), 1, |i| put(&mut engine, random(i)))?;
    drop(snapshot);
    let sizes = engine.statistics();
    let memory = (sizes.chunk_bytes + sizes.index_bytes) as f64 / sizes.records as f64;
    println!("  {memory:.1} bytes a record, {} segments, sum {sum}", sizes.segments);
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    for count in std::env::args().skip(1) {
        run(count.parse().map_err(|_| format!("not a number of records: {count}"))?)?;
    }
    Ok(())
}
