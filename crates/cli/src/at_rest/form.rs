//! The engine's files as sealed ones.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ingle_engine::at_rest::{Content, Form};
use ingle_store::sealed::{Key, Reader, Writer};

use super::{is_sealed_at, random};

/// Files sealed with one key.
#[derive(Debug)]
pub struct Sealed {
    key: Key,
}

impl Sealed {
    /// With this key.
    pub fn new(key: Key) -> Self {
        Self { key }
    }
}

impl Form for Sealed {
    fn read(&self, file: File, n_bytes: u64, label: &str) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let reader = Reader::new(file, n_bytes, &self.key, label)?;
        let n_plain = reader.n_bytes();
        Ok((Box::new(reader), n_plain))
    }

    fn write(&self, file: File, label: &str, content: Content<'_>) -> io::Result<File> {
        let mut writer = Writer::new(file, &self.key, label, random()?)?;
        content(&mut writer)?;
        writer.finish()
    }

    fn is_own(&self, path: &Path) -> bool {
        is_sealed_at(path)
    }
}
