//! Writes a sealed file from front to back.

use std::io::{self, Write};

use zeroize::Zeroizing;

use super::{FRAME_BYTES, Frames, Head, Key, PREFIX_BYTES, TAG_BYTES, refused};

/// Seals what is written to it. What was not [`Writer::finish`]ed is no sealed file: it can't be read.
pub struct Writer<W> {
    out: W,
    frames: Frames,
    /// The frame that is filled; it is sealed when more comes, or as the last.
    frame: Zeroizing<Vec<u8>>,
    idx: u32,
}

impl<W: Write> Writer<W> {
    /// Begins a file of `key` for what `label` says; a reader says the same label. `random` must never have been used before: 19 bytes of
    /// the system's source of randomness.
    ///
    /// # Errors
    /// When the head can't be written.
    pub fn new(mut out: W, key: &Key, label: &str, random: [u8; PREFIX_BYTES]) -> io::Result<Self> {
        let head = Head { key: key.id(), frame_bytes: FRAME_BYTES, prefix: random };
        out.write_all(&head.to_bytes())?;
        let frame = Zeroizing::new(Vec::with_capacity(FRAME_BYTES + TAG_BYTES));
        Ok(Self { out, frames: Frames::new(key, &head, label), frame, idx: 0 })
    }

    /// Writes the last frame, and gives back what it was written to. Nothing was synced.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.frames.seal(self.idx, true, &mut self.frame)?;
        self.out.write_all(&self.frame)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.frame.len() == FRAME_BYTES && !bytes.is_empty() {
            let next = self.idx.checked_add(1).ok_or_else(|| refused("more frames than a file may have"))?;
            self.frames.seal(self.idx, false, &mut self.frame)?;
            self.idx = next;
            // Were it written in part, a second try would write another frame under the same number.
            let written = self.out.write_all(&self.frame);
            self.frame.clear();
            written?;
        }
        let n = bytes.len().min(FRAME_BYTES - self.frame.len());
        self.frame.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// Gives on whole frames only: a frame can't be sealed twice.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("idx", &self.idx).finish_non_exhaustive()
    }
}
