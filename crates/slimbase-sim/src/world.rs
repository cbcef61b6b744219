//! One simulated world: engines, their folders, and the map that says what they must hold.

use crate::random::Random;
use slimbase::checkpoint::{Checkpointer, Manifest, MANIFEST};
use slimbase::engine::{Engine, Options};
use slimbase::memory::{Allocator, MemoryBudget, SystemAllocator};
use slimbase::storage::{read_all, Fault, MemoryStorage, Storage};
use slimbase::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

const KEY_GROUPS: u32 = 12;
const VALUES: u32 = 2;
const PAGES: u32 = 3;
const LISTS: u32 = 4;
/// One record per key group says which checkpoint this is.
const MARKS: u32 = 8;

/// What a key holds: a value, or a list's elements joined with `,` and their number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    Value(Vec<u8>),
    List(Vec<u8>, u64),
}

/// By key group, identity and key.
type Model = BTreeMap<(u32, u32, Vec<u8>), Held>;

/// What a run has done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Operations on keys.
    pub operations: u64,
    /// Operations refused for want of memory.
    pub refused: u64,
    /// Checkpoints that succeeded.
    pub checkpoints: u64,
    /// Checkpoints that a storage fault ended.
    pub failed_checkpoints: u64,
    /// Crashes, each with a restore.
    pub crashes: u64,
    /// Changes of the number of engines.
    pub rescales: u64,
    /// Restores from damaged folders.
    pub damages: u64,
    /// Comparisons of everything with the map.
    pub comparisons: u64,
}

#[derive(Debug)]
struct Dice {
    random: Random,
    /// One allocation in so many fails; 0: none.
    allocation: usize,
    /// One storage operation in so many fails; 0: none.
    storage: usize,
}

type SharedDice = Arc<Mutex<Dice>>;

fn with_dice<T>(dice: &SharedDice, work: impl FnOnce(&mut Dice) -> T) -> T {
    work(&mut dice.lock().unwrap_or_else(PoisonError::into_inner))
}

#[derive(Debug)]
struct FaultyAllocator(SharedDice);

impl Allocator for FaultyAllocator {
    fn allocate(&self, bytes: usize) -> Option<NonNull<u8>> {
        let fails = with_dice(&self.0, |dice| dice.allocation > 0 && dice.random.one_in(dice.allocation));
        if fails {
            return None;
        }
        SystemAllocator { huge_pages: false }.allocate(bytes)
    }

    unsafe fn free(&self, address: NonNull<u8>, bytes: usize) {
        // SAFETY: contract of the trait.
        unsafe { SystemAllocator { huge_pages: false }.free(address, bytes) }
    }
}

struct FaultyStorage(SharedDice);

impl Fault for FaultyStorage {
    fn fails(&mut self, _: &'static str, _: &str) -> bool {
        with_dice(&self.0, |dice| dice.storage > 0 && dice.random.one_in(dice.storage))
    }

    fn survivors(&mut self, bytes: usize) -> usize {
        with_dice(&self.0, |dice| dice.random.below(bytes + 1))
    }
}

struct Part {
    engine: Engine,
    checkpointer: Checkpointer,
    storage: MemoryStorage,
    budget_bytes: u64,
    /// By mark, what this part held at its last good checkpoint and at those tried since.
    tried: BTreeMap<u64, Model>,
}

/// The world.
pub struct World {
    seed: u64,
    random: Random,
    dice: SharedDice,
    budget_bytes: u64,
    keys: usize,
    parts: Vec<Part>,
    model: Model,
    engines_opened: u64,
    marks: u64,
    /// What was done so far.
    pub report: Report,
}

impl World {
    /// A world of one engine; the seed also chooses budget and number of keys.
    ///
    /// # Errors
    /// As the engine's.
    pub fn new(seed: u64) -> Result<World> {
        let mut random = Random::new(seed);
        let dice = Dice { random: Random::new(seed ^ 0x5EED), allocation: 0, storage: 0 };
        let budget_bytes = *random.pick(&[1 << 20, 3 << 20, 64 << 20]);
        let keys = *random.pick(&[40, 600, 6_000]);
        let mut world = World {
            seed,
            random,
            dice: Arc::new(Mutex::new(dice)),
            budget_bytes,
            keys,
            parts: Vec::new(),
            model: Model::new(),
            engines_opened: 0,
            marks: 0,
            report: Report::default(),
        };
        let part = world.open_part(0, KEY_GROUPS, budget_bytes)?;
        world.parts.push(part);
        world.checkpoint_all()?;
        Ok(world)
    }

    fn open_engine(&self, first: u32, count: u32, budget_bytes: u64) -> Result<Engine> {
        Engine::open(Options {
            budget: MemoryBudget::new(budget_bytes),
            allocator: Arc::new(FaultyAllocator(Arc::clone(&self.dice))),
            first_key_group: first,
            key_group_count: count,
            prefault: false,
        })
    }

    fn open_part(&mut self, first: u32, count: u32, budget_bytes: u64) -> Result<Part> {
        self.engines_opened += 1;
        Ok(Part {
            budget_bytes,
            engine: self.open_engine(first, count, budget_bytes)?,
            checkpointer: Checkpointer::new(format!("engine{}", self.engines_opened)),
            storage: MemoryStorage::with_faults(Box::new(FaultyStorage(Arc::clone(&self.dice)))),
            tried: BTreeMap::new(),
        })
    }

    /// A part filled from folders. The smallest of some budgets that it fits: several full ones may have become one.
    fn restored_part(&mut self, first: u32, count: u32, folders: &[MemoryStorage], same: bool) -> Result<Part> {
        let mut budget_bytes = self.budget_bytes;
        'again: loop {
            let mut part = self.open_part(first, count, budget_bytes)?;
            for folder in folders {
                match part.checkpointer.restore(&mut part.engine, folder, same) {
                    Err(error) if error.kind() == Kind::Throttled => {
                        budget_bytes *= 2;
                        continue 'again;
                    }
                    other => drop(other?),
                }
            }
            return Ok(part);
        }
    }

    fn faults(&self, allocation: usize, storage: usize) {
        with_dice(&self.dice, |dice| (dice.allocation, dice.storage) = (allocation, storage));
    }

    /// Runs so many operations on keys, with everything else in between.
    ///
    /// # Errors
    /// What the engine gave where it had no reason to fail.
    ///
    /// # Panics
    /// When engines and map differ; the message names the seed.
    pub fn run(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            self.operate()?;
            match self.random.below(12_000) {
                0..=11 => self.try_checkpoints()?,
                12 | 13 => self.crash()?,
                14 => self.rescale()?,
                15 | 16 => self.damage()?,
                17..=20 => self.compare()?,
                _ => {}
            }
        }
        self.compare()
    }

    fn part_of(&self, key_group: u32) -> usize {
        let holds = |part: &Part| part.engine.key_groups().contains(&key_group);
        self.parts.iter().position(holds).unwrap_or_else(|| panic!("key group {key_group} is lost, seed={}", self.seed))
    }

    // --- operations ----------------------------------------------------------------------------------------------------

    fn value(&mut self) -> Vec<u8> {
        let length = match self.random.below(3_000) {
            0 => 70_000 + self.random.below(100_000),
            1..=60 => self.random.below(3_000),
            _ => self.random.below(40),
        };
        let byte = self.random.bits() as u8;
        (0..length).map(|i| byte.wrapping_add(i as u8)).collect()
    }

    fn operate(&mut self) -> Result<()> {
        let number =
            if self.random.one_in(2) { self.random.below(self.keys) } else { self.random.below(self.keys / 10) };
        let key = (number as u64).to_le_bytes()[..2 + number % 2 * 6].to_vec();
        let group = slimbase::hash::key_group(&key, KEY_GROUPS);
        let value = self.value();
        let choice = self.random.below(20);
        let identity = match choice {
            0..=11 => VALUES,
            12..=14 => PAGES,
            _ => LISTS,
        };
        let part = self.part_of(group);
        let faulty = self.random.one_in(50);
        self.faults(usize::from(faulty), 0);
        let engine = &mut self.parts[part].engine;
        let place = (group, identity, key.clone());
        let outcome = match choice {
            0..=7 | 12 | 13 => engine.put(group, identity, &key, &value).map(|()| Some(Held::Value(value))),
            15..=17 => {
                let element = value[..value.len().min(60)].to_vec();
                let held = match self.model.get(&place) {
                    Some(Held::List(joined, count)) => {
                        Held::List([joined.as_slice(), element.as_slice()].join(&b','), count + 1)
                    }
                    _ => Held::List(element.clone(), 1),
                };
                engine.append_element(group, identity, &key, &element).map(|()| Some(held))
            }
            18 => {
                let elements = vec![value[..value.len().min(9)].to_vec(); 1 + value.len() % 3];
                let joined = elements.join(&b',');
                let put = engine.put_list(group, identity, &key, &joined, elements.len() as u32);
                put.map(|()| Some(Held::List(joined, elements.len() as u64)))
            }
            _ => {
                let expected = self.model.contains_key(&place);
                let was = engine.delete(group, identity, &key);
                was.map(|was| assert_eq!(was, expected, "delete, seed={}", self.seed)).map(|()| None)
            }
        };
        self.faults(0, 0);
        self.report.operations += 1;
        match outcome {
            Ok(Some(held)) => drop(self.model.insert(place, held)),
            Ok(None) => drop(self.model.remove(&place)),
            Err(error) if error.kind() == Kind::Throttled => self.refused(&place)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// An operation that was refused has changed nothing. Now and then some state is given up, so that it goes on.
    fn refused(&mut self, place: &(u32, u32, Vec<u8>)) -> Result<()> {
        self.report.refused += 1;
        let part = self.part_of(place.0);
        let held = read(&self.parts[part].engine, place)?;
        assert_eq!(
            held.as_ref(),
            self.model.get(place),
            "a refused operation has changed something, seed={}",
            self.seed
        );
        if self.random.one_in(20) {
            let range = self.parts[part].engine.key_groups();
            let of_part = |key: &&(u32, u32, Vec<u8>)| range.contains(&key.0);
            let gone: Vec<_> = self.model.keys().filter(of_part).step_by(2).cloned().collect();
            for place in gone {
                match self.parts[part].engine.delete(place.0, place.1, &place.2) {
                    Ok(was) => assert!(was && self.model.remove(&place).is_some(), "seed={}", self.seed),
                    Err(error) if error.kind() == Kind::Throttled => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    // --- checkpoints, crashes, rescales --------------------------------------------------------------------------------

    fn model_of(&self, part: usize) -> Model {
        let range = self.parts[part].engine.key_groups();
        self.model.iter().filter(|(place, _)| range.contains(&place.0)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// Marks, seals and writes one part's state. False when the mark had no room.
    fn checkpoint(&mut self, index: usize) -> Result<bool> {
        self.marks += 1;
        let (mark, model) = (self.marks, self.model_of(index));
        let part = &mut self.parts[index];
        let first = *part.engine.key_groups().start();
        match part.engine.put(first, MARKS, b"mark", &mark.to_le_bytes()) {
            Err(error) if error.kind() == Kind::Throttled => return Ok(false),
            other => other?,
        }
        part.tried.insert(mark, model);
        let snapshot = part.engine.seal();
        let states = BTreeMap::from([(1, 0)]);
        part.checkpointer.write(&snapshot, part.engine.key_groups(), KEY_GROUPS, states, &part.storage)?;
        part.tried.retain(|each, _| *each == mark);
        Ok(true)
    }

    fn try_checkpoints(&mut self) -> Result<()> {
        for part in 0..self.parts.len() {
            let storage = if self.random.one_in(3) { 8 } else { 0 };
            self.faults(0, storage);
            let outcome = self.checkpoint(part);
            self.faults(0, 0);
            match outcome {
                Ok(true) => self.report.checkpoints += 1,
                Ok(false) => {}
                Err(error) if error.kind() == Kind::Unavailable => self.report.failed_checkpoints += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Without faults; true when all parts have one.
    fn checkpoint_all(&mut self) -> Result<bool> {
        for part in 0..self.parts.len() {
            if !self.checkpoint(part)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All machines stop; each engine comes back from its folder, as of its last durable checkpoint.
    fn crash(&mut self) -> Result<()> {
        self.report.crashes += 1;
        let parts = std::mem::take(&mut self.parts);
        self.model.clear();
        for old in parts {
            let (range, storage, tried) = (old.engine.key_groups(), old.storage, old.tried);
            drop(old.engine);
            storage.crash();
            let count = range.end() - range.start() + 1;
            let mut part = self.restored_part(*range.start(), count, std::slice::from_ref(&storage), true)?;
            let mark = part.engine.get(*range.start(), MARKS, b"mark")?.unwrap_or_default().to_vec();
            let mark = u64::from_le_bytes(mark.try_into().unwrap_or_default());
            let Some(model) = tried.get(&mark) else { panic!("an unknown checkpoint is restored, seed={}", self.seed) };
            self.model.extend(model.clone());
            part.tried = BTreeMap::from([(mark, model.clone())]);
            part.storage = storage;
            self.parts.push(part);
        }
        self.compare()
    }

    /// Checkpoint, then other engines, each with another range of key groups, from all folders.
    fn rescale(&mut self) -> Result<()> {
        if !self.checkpoint_all()? {
            return Ok(());
        }
        self.report.rescales += 1;
        let count = 1 + self.random.below(4) as u32;
        let bounds: Vec<u32> = (0..=count).map(|i| i * KEY_GROUPS / count).collect();
        let folders: Vec<MemoryStorage> = self.parts.drain(..).map(|part| part.storage).collect();
        for pair in bounds.windows(2) {
            let part = self.restored_part(pair[0], pair[1] - pair[0], &folders, false)?;
            self.parts.push(part);
        }
        self.compare()?;
        self.checkpoint_all().map(drop)
    }

    /// Restores from damaged copies of a folder: an error that fits, or what was written.
    fn damage(&mut self) -> Result<()> {
        self.report.damages += 1;
        let index = self.random.below(self.parts.len());
        let range = self.parts[index].engine.key_groups();
        let copy = MemoryStorage::default();
        for name in self.parts[index].storage.list()? {
            copy.create(&name)?.write(&read_all(&self.parts[index].storage, &name)?)?;
        }
        let before = self.restore_copy(&copy, &range)?;
        let names = Manifest::read(&copy)?.files.into_iter().map(|file| file.name).chain([MANIFEST.to_owned()]);
        let name = self.random.pick(&names.collect::<Vec<_>>()).clone();
        let random = &mut self.random;
        if random.one_in(6) {
            copy.delete(&name)?;
        } else {
            copy.damage(&name, |bytes| {
                let at = random.below(bytes.len());
                match random.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes[at..].iter_mut().take(512).for_each(|byte| *byte = 0),
                    _ => bytes[at] ^= 1 << random.below(8),
                }
            })?;
        }
        match self.restore_copy(&copy, &range) {
            Ok(after) => assert!(after == before, "damage to {name} gives other data, seed={}", self.seed),
            Err(error) => {
                let fits = matches!(error.kind(), Kind::Corrupt | Kind::Unsupported | Kind::NotFound);
                assert!(fits, "damage to {name} gives {error}, seed={}", self.seed);
            }
        }
        Ok(())
    }

    fn restore_copy(&self, copy: &MemoryStorage, range: &std::ops::RangeInclusive<u32>) -> Result<Model> {
        let mut engine = self.open_engine(*range.start(), range.end() - range.start() + 1, 1 << 30)?;
        Checkpointer::new("copy").restore(&mut engine, copy, false)?;
        contents(&engine)
    }

    // --- comparison ----------------------------------------------------------------------------------------------------

    fn compare(&mut self) -> Result<()> {
        self.report.comparisons += 1;
        let mut seen = Model::new();
        for part in &self.parts {
            part.engine.check_accounts()?;
            seen.extend(contents(&part.engine)?);
            let bytes = part.engine.statistics();
            assert!(bytes.chunk_bytes + bytes.index_bytes <= part.budget_bytes, "over the budget, seed={}", self.seed);
        }
        if seen != self.model {
            let key = seen.keys().chain(self.model.keys()).find(|key| seen.get(*key) != self.model.get(*key));
            panic!("engines and model differ at {key:?}, seed={}", self.seed);
        }
        Ok(())
    }
}

fn read(engine: &Engine, (group, identity, key): &(u32, u32, Vec<u8>)) -> Result<Option<Held>> {
    if *identity != LISTS {
        return Ok(engine.get(*group, *identity, key)?.map(|value| Held::Value(value.to_vec())));
    }
    Ok(engine.list(*group, *identity, key)?.map(|(joined, count)| Held::List(joined, count)))
}

/// Everything but the marks.
fn contents(engine: &Engine) -> Result<Model> {
    let mut out = Model::new();
    for group in engine.key_groups() {
        let keys: Vec<_> =
            engine.records(group)?.map(|view| (view.identity, view.key.to_vec(), view.value.to_vec())).collect();
        let whole: Vec<(u32, &[u8])> =
            keys.iter().filter(|key| key.0 == VALUES).map(|(_, key, _)| (group, key.as_slice())).collect();
        let mut batched = Vec::new();
        engine.get_batch(VALUES, &whole, &mut batched)?;
        let listed = keys.iter().filter(|key| key.0 == VALUES).map(|(_, _, value)| Some(value.as_slice()));
        if !batched.into_iter().eq(listed) {
            return Err(Error::new(Kind::Internal, "batched reads differ from the walk").with("key_group", group));
        }
        for (identity, key, _) in keys.into_iter().filter(|key| key.0 != MARKS) {
            let place = (group, identity, key);
            if let Some(held) = read(engine, &place)? {
                out.insert(place, held);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short runs of many seeds; `make test-long` runs long ones.
    #[test]
    fn short_runs() {
        for seed in 0..8 {
            let mut world = World::new(seed).unwrap();
            world.run(25_000).unwrap_or_else(|error| panic!("{error}, seed={seed}"));
            assert!(world.report.checkpoints > 10, "{:?}", world.report);
        }
    }
}
