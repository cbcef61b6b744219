//! `headrace.state._slimbase`: the engine embedded in Python, and a reader of its files.
//!
//! Errors are `headrace.core.errors`' kinds. Long calls release the interpreter's lock; one engine serves one call at a time,
//! from whatever thread. A panic becomes `Internal`, and the engine it happened in refuses further calls.

mod engine;
mod segment;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use slimbase::{Error, Kind};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// The Python exception for an error of ours.
fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let kinds = py.import("headrace.core.errors")?.getattr("KINDS")?;
        let context = PyDict::new(py);
        error.context().iter().try_for_each(|(name, value)| context.set_item(name, value))?;
        let named = PyDict::new(py);
        named.set_item("hint", error.hint_text())?;
        named.set_item("operation", error.operation())?;
        named.set_item("context", context)?;
        let exception = kinds.get_item(error.kind().name())?.call((error.summary(),), Some(&named))?;
        Ok(PyErr::from_value(exception))
    };
    // Outside the platform's package there are no kinds.
    made().unwrap_or_else(|_| PyRuntimeError::new_err(format!("{}: {error}", error.kind().name())))
}

/// The one wrapper around native work: a panic becomes an error of kind `Internal`.
fn guarded<T>(operation: &str, work: impl FnOnce() -> slimbase::Result<T>) -> slimbase::Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::new(Kind::Internal, "native code panicked").with("panic", text).hint("this is a bug: report it"))
    });
    outcome.map_err(|error| error.during(operation))
}

/// State id * 2 + AUX.
fn identity(state: u32, aux: bool) -> slimbase::Result<u32> {
    if state > slimbase::engine::MAX_STATE_ID {
        return Err(Error::new(Kind::Invalid, "state id is over 1023").with("state", state));
    }
    Ok(state * 2 + u32::from(aux))
}

/// Hash of key bytes as the index and the files order them.
#[pyfunction]
#[pyo3(signature = (key, *, state = 0, aux = false))]
fn key_hash(py: Python<'_>, key: &[u8], state: u32, aux: bool) -> PyResult<u64> {
    let identity = identity(state, aux).map_err(|error| raise(py, &error))?;
    Ok(slimbase::hash::hash(identity, key))
}

/// The key group that an embedded engine gives a key.
#[pyfunction]
#[pyo3(signature = (key, *, key_groups = 128))]
fn key_group(key: &[u8], key_groups: u32) -> u32 {
    slimbase::hash::key_group(key, key_groups)
}

/// Panics within the wrapper, so that a test sees the exception.
#[pyfunction]
fn panic_for_test(py: Python<'_>) -> PyResult<()> {
    guarded("panic_for_test", || -> slimbase::Result<()> { panic!("on purpose") }).map_err(|error| raise(py, &error))
}

/// The module.
#[pymodule]
fn _slimbase(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<engine::Engine>()?;
    module.add_class::<engine::Items>()?;
    module.add_class::<segment::SegmentFile>()?;
    module.add_class::<segment::Entries>()?;
    module.add_function(wrap_pyfunction!(key_hash, module)?)?;
    module.add_function(wrap_pyfunction!(key_group, module)?)?;
    module.add_function(wrap_pyfunction!(panic_for_test, module)?)?;
    module.add("KINDS", Kind::ALL.map(Kind::name).to_vec())
}
