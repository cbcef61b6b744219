//! Reading one file.

use crate::{guarded, identity, raise};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use slimbase::file::{Cursor, SegmentReader};
use slimbase::storage::{Blob, LocalStorage, Storage};
use slimbase::{Error, Kind};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Entries that are read ahead with the interpreter's lock released: about a block of small ones.
const READ_AHEAD: usize = 512;

/// A file of a sealed segment, its footer checked; blocks are checked as they are read.
#[pyclass(frozen, module = "headrace.state._slimbase")]
pub struct SegmentFile {
    reader: Arc<SegmentReader>,
}

fn open_path(path: &Path) -> slimbase::Result<SegmentReader> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::new(Kind::Invalid, "path names no file").with("path", path.display()))?;
    let blob = LocalStorage::new(path.parent().unwrap_or(Path::new("."))).open(name)?;
    SegmentReader::open(blob, path.display().to_string())
}

#[pymethods]
impl SegmentFile {
    /// Open a path, or the bytes of a file.
    #[staticmethod]
    #[pyo3(signature = (source, *, name = "bytes"))]
    fn open(py: Python<'_>, source: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        let opened = if let Ok(bytes) = source.cast::<PyBytes>() {
            let blob: Box<dyn Blob> = Box::new(bytes.as_bytes().to_vec());
            guarded("segment.open", || SegmentReader::open(blob, name))
        } else {
            let path: PathBuf = source.extract().map_err(|_| PyTypeError::new_err("a path or bytes is needed"))?;
            py.detach(|| guarded("segment.open", || open_path(&path)))
        };
        Ok(SegmentFile { reader: Arc::new(opened.map_err(|error| raise(py, &error))?) })
    }

    /// What the file says of itself: `segment`, `bytes`, `blocks`, `extents` (key group, entries), `states`.
    fn footer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let footer = self.reader.footer();
        let out = PyDict::new(py);
        out.set_item("segment", footer.segment)?;
        out.set_item("bytes", self.reader.size())?;
        out.set_item("blocks", footer.blocks.len())?;
        let extents: Vec<_> = footer.extents.iter().map(|extent| (extent.key_group, extent.entries)).collect();
        out.set_item("extents", extents)?;
        let mut states = Vec::new();
        for state in &footer.states {
            let row = PyDict::new(py);
            row.set_item("state", state.identity >> 1)?;
            row.set_item("aux", state.identity & 1 == 1)?;
            row.set_item("entries", state.entries)?;
            row.set_item("tombstones", state.tombstones)?;
            row.set_item("raw_bytes", state.raw_bytes)?;
            states.push(row);
        }
        out.set_item("states", states)?;
        Ok(out)
    }

    /// Read and check everything; returns `blocks`, `entries`, `raw_bytes`.
    fn verify<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let verified = py.detach(|| guarded("segment.verify", || self.reader.verify()));
        let verified = verified.map_err(|error| raise(py, &error))?;
        let out = PyDict::new(py);
        out.set_item("blocks", verified.blocks)?;
        out.set_item("entries", verified.entries)?;
        out.set_item("raw_bytes", verified.raw_bytes)?;
        Ok(out)
    }

    /// Iterate over (key group, state, aux, flags, key, value) of a range of key groups, both ends included.
    #[pyo3(signature = (first_key_group = 0, last_key_group = 32767))]
    fn entries(&self, first_key_group: u32, last_key_group: u32) -> Entries {
        let cursor = self.reader.entries(first_key_group..=last_key_group);
        Entries { reader: Arc::clone(&self.reader), state: Mutex::new((cursor, VecDeque::new())) }
    }

    /// What the file has of one key, as (flags, value): a whole value or tombstone and the pieces that continue it.
    #[pyo3(signature = (key_group, key, *, state = 0, aux = false))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key_group: u32,
        key: &[u8],
        state: u32,
        aux: bool,
    ) -> PyResult<Vec<(u8, Bound<'py, PyBytes>)>> {
        let found = py.detach(|| guarded("segment.get", || self.reader.get(key_group, identity(state, aux)?, key)));
        let found = found.map_err(|error| raise(py, &error))?;
        Ok(found.into_iter().map(|(flags, value)| (flags, PyBytes::new(py, &value))).collect())
    }
}

struct Owned {
    key_group: u32,
    identity: u32,
    flags: u8,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Iterator over a file's entries.
#[pyclass(frozen, module = "headrace.state._slimbase")]
pub struct Entries {
    reader: Arc<SegmentReader>,
    state: Mutex<(Cursor, VecDeque<Owned>)>,
}

impl Entries {
    fn next_owned(&self) -> slimbase::Result<Option<Owned>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (cursor, ready) = &mut *state;
        while ready.is_empty() {
            for _ in 0..READ_AHEAD {
                let Some(entry) = cursor.next(&self.reader)? else { break };
                let (key, value) = (entry.key.to_vec(), entry.value.to_vec());
                let (key_group, identity, flags) = (entry.key_group, entry.identity, entry.flags);
                ready.push_back(Owned { key_group, identity, flags, key, value });
            }
            if ready.is_empty() {
                return Ok(None);
            }
        }
        Ok(ready.pop_front())
    }
}

#[pymethods]
impl Entries {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let ready = self.state.try_lock().ok().and_then(|mut state| state.1.pop_front());
        let next = match ready {
            Some(entry) => Some(entry),
            None => {
                py.detach(|| guarded("segment.entries", || self.next_owned())).map_err(|error| raise(py, &error))?
            }
        };
        let Some(entry) = next else { return Ok(None) };
        let (key, value) = (PyBytes::new(py, &entry.key), PyBytes::new(py, &entry.value));
        let aux = entry.identity & 1 == 1;
        (entry.key_group, entry.identity >> 1, aux, entry.flags, key, value).into_pyobject(py).map(Some)
    }
}
