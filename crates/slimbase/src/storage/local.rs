//! A folder of the local file system. The one place of the crate that touches files.
#![allow(clippy::disallowed_methods)] // this is what the others are told to use

use super::{short_read, Blob, Sink, Storage};
use crate::error::{kind_of_io, Error, Kind, Result};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A folder.
#[derive(Debug, Clone)]
pub struct LocalStorage {
    folder: PathBuf,
}

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let message = format!("{what} failed");
    let path = path.display().to_string();
    move |cause| Error::new(kind_of_io(&cause), message).with("path", path).caused_by(cause)
}

impl LocalStorage {
    /// Uses a folder, which need not exist as long as nothing is written.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        LocalStorage { folder: folder.into() }
    }

    /// Creates the folder.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when that fails.
    pub fn create_folder(&self) -> Result<()> {
        if self.folder.is_file() {
            return Err(Error::new(Kind::Invalid, "path is a file, not a folder").with("path", self.folder.display()));
        }
        std::fs::create_dir_all(&self.folder).map_err(failed("creating a folder", &self.folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

struct LocalBlob {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Blob for LocalBlob {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|cause| {
            if cause.kind() == std::io::ErrorKind::UnexpectedEof {
                short_read(offset, buffer.len(), self.size).with("file", self.path.display())
            } else {
                failed("reading a file", &self.path)(cause)
            }
        })
    }
}

struct LocalSink {
    file: std::io::BufWriter<File>,
    path: PathBuf,
}

/// Blocks are about this large compressed; one system call for several of them.
const WRITE_BUFFER: usize = 256 << 10;

impl Sink for LocalSink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(failed("writing a file", &self.path))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.flush().map_err(failed("writing a file", &self.path))?;
        self.file.get_ref().sync_all().map_err(failed("syncing a file", &self.path))
    }
}

impl Storage for LocalStorage {
    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        let path = self.path(name);
        let file = File::open(&path).map_err(failed("opening a file", &path))?;
        let size = file.metadata().map_err(failed("opening a file", &path))?.len();
        Ok(Box::new(LocalBlob { file, path, size }))
    }

    fn create(&self, name: &str) -> Result<Box<dyn Sink>> {
        let path = self.path(name);
        let file = File::create(&path).map_err(failed("creating a file", &path))?;
        Ok(Box::new(LocalSink { file: std::io::BufWriter::with_capacity(WRITE_BUFFER, file), path }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        std::fs::rename(&from, to).map_err(failed("renaming a file", &from))
    }

    fn sync(&self) -> Result<()> {
        let folder = File::open(&self.folder).map_err(failed("opening a folder", &self.folder))?;
        folder.sync_all().map_err(failed("syncing a folder", &self.folder))
    }

    fn list(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.folder).map_err(failed("listing a folder", &self.folder))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("listing a folder", &self.folder))?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(failed("removing a file", &path)(cause)),
            _ => Ok(()),
        }
    }
}
