//! The engine embedded in a Python process.
//!
//! A state (0 to 1023) holds values or lists, by its first write. Elements of lists are bytes of any content: each is kept
//! behind its length, so that the delimiters of the stored form cannot be mistaken.

use crate::{guarded, identity, raise};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use slimbase::checkpoint::Checkpointer;
use slimbase::engine::{Engine as Core, Options};
use slimbase::file::{put_varint, take_varint};
use slimbase::memory::{MemoryBudget, SystemAllocator};
use slimbase::storage::LocalStorage;
use slimbase::{Error, Kind};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, TryLockError};

const VALUE: u8 = 0;
const LIST: u8 = 1;

struct Inner {
    core: Core,
    total: u32,
    kinds: BTreeMap<u16, u8>,
    checkpointer: Checkpointer,
    /// Where the checkpointer's files are.
    folder: Option<PathBuf>,
    /// A restore failed half-way.
    is_partial: bool,
}

impl Inner {
    fn group(&self, key: &[u8], key_group: Option<u32>) -> u32 {
        key_group.unwrap_or_else(|| slimbase::hash::key_group(key, self.total))
    }

    fn check_kind(&self, state: u32, kind: u8) -> slimbase::Result<u32> {
        match self.kinds.get(&(state as u16)) {
            Some(known) if *known != kind => {
                let holds = if *known == LIST { "lists" } else { "values" };
                Err(Error::new(Kind::Invalid, "state is of another kind").with("state", state).with("holds", holds))
            }
            _ => identity(state, false),
        }
    }

    /// Before a write: the state is of this kind from now on.
    fn claim(&mut self, state: u32, kind: u8) -> slimbase::Result<u32> {
        let identity = self.check_kind(state, kind)?;
        self.kinds.insert(state as u16, kind);
        Ok(identity)
    }

    fn elements(&self, group: u32, identity: u32, key: &[u8]) -> slimbase::Result<Vec<Vec<u8>>> {
        let Some((joined, count)) = self.core.list(group, identity, key)? else { return Ok(Vec::new()) };
        let mut rest = joined.as_slice();
        let mut out = Vec::new();
        for i in 0..count {
            let element = (|| {
                rest = if i > 0 { rest.strip_prefix(b",")? } else { rest };
                let length = take_varint(&mut rest)? as usize;
                let (element, tail) = rest.split_at_checked(length)?;
                rest = tail;
                Some(element.to_vec())
            })();
            out.push(element.ok_or_else(|| Error::new(Kind::Corrupt, "list is not one of this engine's"))?);
        }
        Ok(out)
    }

    fn restore(&mut self, paths: &[PathBuf]) -> slimbase::Result<()> {
        if paths.is_empty() || self.core.statistics().segments > 0 {
            return Err(Error::new(Kind::Invalid, "restore needs checkpoints, and an engine that was never written")
                .with("checkpoints", paths.len())
                .hint("open a new engine and restore into it"));
        }
        let alone = paths.len() == 1;
        for path in paths {
            let manifest = self.checkpointer.restore(&mut self.core, &LocalStorage::new(path), alone);
            let manifest = manifest.map_err(|error| error.with("checkpoint", path.display()))?;
            if manifest.key_group_total != self.total {
                return Err(Error::new(Kind::Invalid, "checkpoint has another number of key groups")
                    .with("checkpoint", path.display())
                    .with("checkpoint_key_groups", manifest.key_group_total)
                    .with("engine_key_groups", self.total)
                    .hint("open the engine with the checkpoint's key_groups"));
            }
            self.kinds.extend(manifest.states);
        }
        self.folder = alone.then(|| paths[0].clone());
        Ok(())
    }

    fn checkpoint(&mut self, path: PathBuf) -> slimbase::Result<(usize, u64)> {
        let storage = LocalStorage::new(&path);
        storage.create_folder()?;
        if self.folder.as_ref() != Some(&path) {
            self.checkpointer.forget();
            self.folder = Some(path);
        }
        let snapshot = self.core.seal();
        let kinds = self.kinds.clone();
        let manifest = self.checkpointer.write(&snapshot, self.core.key_groups(), self.total, kinds, &storage)?;
        Ok((manifest.files.len(), manifest.files.iter().map(|file| file.bytes).sum()))
    }

    fn items(&self, key_group: u32, state: u32) -> slimbase::Result<VecDeque<Item>> {
        let identity = identity(state, false)?;
        let is_list = self.kinds.get(&(state as u16)) == Some(&LIST);
        let own = self.core.records(key_group)?.filter(|view| view.identity == identity);
        own.map(|view| {
            let key = view.key.to_vec();
            let value = if is_list {
                Value::List(self.elements(key_group, identity, &key)?)
            } else {
                Value::Whole(view.value.to_vec())
            };
            Ok(Item { key, value })
        })
        .collect()
    }
}

enum Value {
    Whole(Vec<u8>),
    List(Vec<Vec<u8>>),
}

struct Item {
    key: Vec<u8>,
    value: Value,
}

/// Keyed state in memory outside the Python heap, bounded by a budget, with durable incremental checkpoints.
#[pyclass(frozen, module = "headrace.state._slimbase")]
pub struct Engine {
    inner: Mutex<Option<Inner>>,
}

impl Engine {
    /// Runs work on the engine; waits for another thread's call without the interpreter's lock.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        operation: &str,
        work: impl FnOnce(&mut Inner) -> slimbase::Result<T> + Send,
    ) -> PyResult<T> {
        let outcome = match self.inner.try_lock() {
            // The guard moves in, so that a panic poisons the lock: the engine may be half-changed.
            Ok(guard) => guarded(operation, move || {
                let mut guard = guard;
                work(opened(&mut guard)?)
            }),
            Err(TryLockError::WouldBlock) => return self.long(py, operation, work),
            // Waiting here would wait for the very guard that this error holds.
            Err(TryLockError::Poisoned(_)) => Err(left_by_a_panic().during(operation)),
        };
        outcome.map_err(|error| raise(py, &error))
    }

    /// The same for work that takes long: the interpreter's lock is released.
    fn long<T: Send>(
        &self,
        py: Python<'_>,
        operation: &str,
        work: impl FnOnce(&mut Inner) -> slimbase::Result<T> + Send,
    ) -> PyResult<T> {
        let outcome = py.detach(|| {
            guarded(operation, || {
                let mut guard = self.inner.lock().map_err(|_| left_by_a_panic())?;
                work(opened(&mut guard)?)
            })
        });
        outcome.map_err(|error| raise(py, &error))
    }
}

fn left_by_a_panic() -> Error {
    Error::new(Kind::Internal, "engine was left by a panic").hint("restore a checkpoint")
}

/// A whole number of Python's; one that has no place in the type is `Invalid`, as other values out of range are.
fn whole<'py, T: FromPyObjectOwned<'py>>(object: &Bound<'py, PyAny>) -> PyResult<T> {
    object.extract::<T>().map_err(Into::into).map_err(|error: PyErr| {
        if !error.is_instance_of::<PyOverflowError>(object.py()) {
            return error;
        }
        raise(object.py(), &Error::new(Kind::Invalid, "number is out of range").with("number", object))
    })
}

fn opened(inner: &mut Option<Inner>) -> slimbase::Result<&mut Inner> {
    let inner = inner.as_mut().ok_or_else(|| Error::new(Kind::Invalid, "engine is closed"))?;
    if inner.is_partial {
        return Err(
            Error::new(Kind::Invalid, "engine's restore has failed").hint("open a new engine and restore again")
        );
    }
    Ok(inner)
}

#[pymethods]
impl Engine {
    /// Open an empty engine for a range of key groups (all of them, unless told otherwise).
    #[staticmethod]
    #[pyo3(signature = (*, budget_bytes, key_groups = 128, first_key_group = 0, key_group_count = None,
                        huge_pages = true, prefault = false, backend_id = None))]
    #[allow(clippy::too_many_arguments)] // keyword-only in Python
    fn open(
        py: Python<'_>,
        #[pyo3(from_py_with = whole)] budget_bytes: u64,
        #[pyo3(from_py_with = whole)] key_groups: u32,
        #[pyo3(from_py_with = whole)] first_key_group: u32,
        #[pyo3(from_py_with = whole)] key_group_count: Option<u32>,
        huge_pages: bool,
        prefault: bool,
        backend_id: Option<String>,
    ) -> PyResult<Self> {
        let backend_id = match backend_id {
            Some(given) => given,
            None => py.import("uuid")?.call_method0("uuid4")?.str()?.to_string(),
        };
        let options = Options {
            budget: MemoryBudget::new(budget_bytes),
            allocator: Arc::new(SystemAllocator { huge_pages }),
            first_key_group,
            key_group_count: key_group_count.unwrap_or_else(|| key_groups.saturating_sub(first_key_group)),
            prefault,
        };
        let count = options.key_group_count;
        if first_key_group.checked_add(count).is_none_or(|end| end > key_groups) {
            let error = Error::new(Kind::Invalid, "key groups are out of range").during("engine.open");
            let error = error.with("first", first_key_group).with("count", count).with("key_groups", key_groups);
            let error = error.hint("give a range within key_groups");
            return Err(raise(py, &error));
        }
        let core = guarded("engine.open", || Core::open(options)).map_err(|error| raise(py, &error))?;
        let checkpointer = Checkpointer::new(backend_id);
        let inner =
            Inner { core, total: key_groups, kinds: BTreeMap::new(), checkpointer, folder: None, is_partial: false };
        Ok(Engine { inner: Mutex::new(Some(inner)) })
    }

    /// Set the value of a key.
    #[pyo3(signature = (key, value, *, state = 0, key_group = None))]
    fn put(
        &self,
        py: Python<'_>,
        key: &[u8],
        value: &[u8],
        #[pyo3(from_py_with = whole)] state: u32,
        #[pyo3(from_py_with = whole)] key_group: Option<u32>,
    ) -> PyResult<()> {
        self.with(py, "engine.put", |inner| {
            let identity = inner.claim(state, VALUE)?;
            inner.core.put(inner.group(key, key_group), identity, key, value)
        })
    }

    /// Set many values; the first failure ends it, what was set before stays.
    #[pyo3(signature = (items, *, state = 0))]
    fn put_many(
        &self,
        py: Python<'_>,
        items: Vec<(Bound<'_, PyBytes>, Bound<'_, PyBytes>)>,
        #[pyo3(from_py_with = whole)] state: u32,
    ) -> PyResult<()> {
        let items: Vec<(&[u8], &[u8])> = items.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
        self.long(py, "engine.put_many", |inner| {
            let identity = inner.claim(state, VALUE)?;
            items.iter().try_for_each(|(key, value)| inner.core.put(inner.group(key, None), identity, key, value))
        })
    }

    /// The value of a key, or None.
    #[pyo3(signature = (key, *, state = 0, key_group = None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &[u8],
        #[pyo3(from_py_with = whole)] state: u32,
        #[pyo3(from_py_with = whole)] key_group: Option<u32>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let value = self.with(py, "engine.get", |inner| {
            let identity = inner.check_kind(state, VALUE)?;
            Ok(inner.core.get(inner.group(key, key_group), identity, key)?.map(<[u8]>::to_vec))
        })?;
        Ok(value.map(|value| PyBytes::new(py, &value)))
    }

    /// The values of many keys, None where there is none; cheaper a key than `get`.
    #[pyo3(signature = (keys, *, state = 0))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        keys: Vec<Bound<'py, PyBytes>>,
        #[pyo3(from_py_with = whole)] state: u32,
    ) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let values = self.long(py, "engine.get_many", |inner| {
            let identity = inner.check_kind(state, VALUE)?;
            let placed: Vec<(u32, &[u8])> = keys.iter().map(|key| (inner.group(key, None), *key)).collect();
            let mut values = Vec::with_capacity(keys.len());
            inner.core.get_batch(identity, &placed, &mut values)?;
            Ok(values.into_iter().map(|value| value.map(<[u8]>::to_vec)).collect::<Vec<_>>())
        })?;
        Ok(values.into_iter().map(|value| value.map(|value| PyBytes::new(py, &value))).collect())
    }

    /// Take a key out; True when it was there.
    #[pyo3(signature = (key, *, state = 0, key_group = None))]
    fn delete(
        &self,
        py: Python<'_>,
        key: &[u8],
        #[pyo3(from_py_with = whole)] state: u32,
        #[pyo3(from_py_with = whole)] key_group: Option<u32>,
    ) -> PyResult<bool> {
        self.with(py, "engine.delete", |inner| {
            inner.core.delete(inner.group(key, key_group), identity(state, false)?, key)
        })
    }

    /// Add an element to the list of a key.
    #[pyo3(signature = (key, element, *, state = 0, key_group = None))]
    fn append(
        &self,
        py: Python<'_>,
        key: &[u8],
        element: &[u8],
        #[pyo3(from_py_with = whole)] state: u32,
        #[pyo3(from_py_with = whole)] key_group: Option<u32>,
    ) -> PyResult<()> {
        self.with(py, "engine.append", |inner| {
            let identity = inner.claim(state, LIST)?;
            let mut stored = Vec::with_capacity(element.len() + 5);
            put_varint(&mut stored, element.len() as u32);
            stored.extend_from_slice(element);
            inner.core.append_element(inner.group(key, key_group), identity, key, &stored)
        })
    }

    /// The elements of the list of a key; empty when there is none.
    #[pyo3(signature = (key, *, state = 0, key_group = None))]
    fn get_list<'py>(
        &self,
        py: Python<'py>,
        key: &[u8],
        #[pyo3(from_py_with = whole)] state: u32,
        #[pyo3(from_py_with = whole)] key_group: Option<u32>,
    ) -> PyResult<Bound<'py, PyList>> {
        let elements = self.with(py, "engine.get_list", |inner| {
            let identity = inner.check_kind(state, LIST)?;
            inner.elements(inner.group(key, key_group), identity, key)
        })?;
        PyList::new(py, elements.iter().map(|element| PyBytes::new(py, element)))
    }

    /// Iterate over (key, value) of a state, key group by key group, in no order within one; values of a list state are
    /// lists. Each key group is as it was when the iteration reached it, so writing meanwhile is allowed.
    #[pyo3(signature = (*, state = 0))]
    fn iterate(slf: Bound<'_, Self>, #[pyo3(from_py_with = whole)] state: u32) -> PyResult<Items> {
        let groups = slf.get().with(slf.py(), "engine.iterate", |inner| Ok(inner.core.key_groups()))?;
        let walk = Walk { next_group: *groups.start(), last_group: *groups.end(), ready: VecDeque::new() };
        Ok(Items { engine: slf.unbind(), state, walk: Mutex::new(walk) })
    }

    /// Write what has changed since the last checkpoint into a folder; returns `files` and `bytes` of the whole.
    fn checkpoint<'py>(&self, py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyDict>> {
        let (files, bytes) = self.long(py, "engine.checkpoint", |inner| inner.checkpoint(path))?;
        let out = PyDict::new(py);
        out.set_item("files", files)?;
        out.set_item("bytes", bytes)?;
        Ok(out)
    }

    /// Fill an engine that was never written from the checkpoints in these folders, as far as its key groups go.
    fn restore(&self, py: Python<'_>, paths: Vec<PathBuf>) -> PyResult<()> {
        self.long(py, "engine.restore", |inner| {
            let was_written = inner.core.statistics().segments > 0;
            let restored = inner.restore(&paths);
            inner.is_partial = restored.is_err() && !was_written && inner.core.statistics().segments > 0;
            restored
        })
    }

    /// Keys of a state.
    #[pyo3(signature = (*, state = 0))]
    fn count(&self, py: Python<'_>, #[pyo3(from_py_with = whole)] state: u32) -> PyResult<u64> {
        self.with(py, "engine.count", |inner| Ok(inner.core.record_count(identity(state, false)?)))
    }

    /// Sizes: `records`, `live_bytes`, `log_bytes`, `chunk_bytes`, `index_bytes`, `segments`.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let sizes = self.with(py, "engine.statistics", |inner| Ok(inner.core.statistics()))?;
        let out = PyDict::new(py);
        let fields = [
            ("records", sizes.records),
            ("live_bytes", sizes.live_bytes),
            ("log_bytes", sizes.log_bytes),
            ("chunk_bytes", sizes.chunk_bytes),
            ("index_bytes", sizes.index_bytes),
            ("segments", sizes.segments),
        ];
        fields.iter().try_for_each(|(name, value)| out.set_item(name, value))?;
        Ok(out)
    }

    /// Panics within a call, so that a test sees what comes of the engine.
    fn panic_for_test(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, "engine.panic_for_test", |_| -> slimbase::Result<()> { panic!("on purpose") })
    }

    /// Free the memory; further calls are `Invalid`.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            let mut guard = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *guard = None;
        });
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }
}

struct Walk {
    next_group: u32,
    last_group: u32,
    ready: VecDeque<Item>,
}

/// Iterator over a state.
#[pyclass(frozen, module = "headrace.state._slimbase")]
pub struct Items {
    engine: Py<Engine>,
    state: u32,
    walk: Mutex<Walk>,
}

#[pymethods]
impl Items {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyBytes>, Bound<'py, PyAny>)>> {
        let busy = |_| raise(py, &Error::new(Kind::Conflict, "iterator is in use by another thread"));
        let mut walk = self.walk.try_lock().map_err(busy)?;
        while walk.ready.is_empty() && walk.next_group <= walk.last_group {
            let group = walk.next_group;
            walk.ready = self.engine.get().long(py, "engine.iterate", |inner| inner.items(group, self.state))?;
            walk.next_group += 1;
        }
        let Some(item) = walk.ready.pop_front() else { return Ok(None) };
        let value = match item.value {
            Value::Whole(value) => PyBytes::new(py, &value).into_any(),
            Value::List(elements) => {
                PyList::new(py, elements.iter().map(|element| PyBytes::new(py, element)))?.into_any()
            }
        };
        Ok(Some((PyBytes::new(py, &item.key), value)))
    }
}
