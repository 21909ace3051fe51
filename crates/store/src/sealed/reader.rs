//! Reads a sealed file from front to back.

use std::io::{self, Read};

use zeroize::Zeroizing;

use super::{Frames, HEAD_BYTES, Head, Key, TAG_BYTES, refused};

/// Gives what was sealed, a frame at a time; every byte was authenticated before it is given.
pub struct Reader<R> {
    from: R,
    frames: Frames,
    n_bytes: u64,
    n_frames: u32,
    /// Bytes of a whole frame and of the last, tags included.
    sizes: [usize; 2],
    /// The frame that is being read: what it holds, then where in it we are.
    frame: Zeroizing<Vec<u8>>,
    at: usize,
    /// Frames that were opened.
    idx: u32,
}

impl<R: Read> Reader<R> {
    /// Begins to read a file of `n_bytes` that was sealed with `key` for what `label` says.
    ///
    /// # Errors
    /// When it can't be read; [`io::ErrorKind::InvalidData`] where it is not such a file or has another key.
    pub fn new(mut from: R, n_bytes: u64, key: &Key, label: &str) -> io::Result<Self> {
        let mut head = [0; HEAD_BYTES];
        if n_bytes < (HEAD_BYTES + TAG_BYTES) as u64 {
            return Err(refused("it is too short to be sealed"));
        }
        from.read_exact(&mut head)?;
        let head = Head::parse(&head)?;
        if head.key != key.id() {
            let (found, expected) = (head.key, key.id());
            return Err(refused(&format!("it was sealed with the key {found}, expected {expected}")));
        }
        let whole = head.frame_bytes + TAG_BYTES;
        let body = n_bytes - HEAD_BYTES as u64;
        let (before, last) = ((body - 1) / whole as u64, (body - 1) % whole as u64 + 1);
        let n_frames = u32::try_from(before + 1).map_err(|_| refused("more frames than a file may have"))?;
        let last = last as usize;
        if last < TAG_BYTES || (last == TAG_BYTES && n_frames > 1) {
            return Err(refused("it ends within a frame"));
        }
        Ok(Self {
            from,
            frames: Frames::new(key, &head, label),
            n_bytes: body - u64::from(n_frames) * TAG_BYTES as u64,
            n_frames,
            sizes: [whole, last],
            frame: Zeroizing::new(Vec::new()),
            at: 0,
            idx: 0,
        })
    }

    /// Bytes that it gives in all.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    fn next_frame(&mut self) -> io::Result<()> {
        let is_last = self.idx + 1 == self.n_frames;
        let size = self.sizes[usize::from(is_last)];
        self.at = 0;
        self.frame.resize(size, 0);
        let read = self.from.read_exact(&mut self.frame);
        let opened = read.and_then(|()| self.frames.open(self.idx, is_last, &mut self.frame));
        // Nothing of a frame that was refused is given.
        self.frame.truncate(*opened.as_ref().unwrap_or(&0));
        self.idx += u32::from(opened.is_ok());
        opened.map(drop)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // The only frame of an empty file is opened too.
        while self.at == self.frame.len() && self.idx < self.n_frames && !out.is_empty() {
            self.next_frame()?;
        }
        let n = out.len().min(self.frame.len() - self.at);
        out[..n].copy_from_slice(&self.frame[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("n_bytes", &self.n_bytes)
            .field("idx", &self.idx)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FRAME_BYTES, Key, Writer};
    use super::*;

    /// A reader asks for a frame's memory, whatever the file's length claims to be.
    #[test]
    fn a_length_that_lies_takes_no_memory() {
        let key = Key::new(Zeroizing::new([1; 32]));
        let sealed = Writer::new(Vec::new(), &key, "test", [0; 19]).unwrap().finish().unwrap();
        let mut reader = Reader::new(&sealed[..], 1 << 40, &key, "test").unwrap();
        assert!(reader.read(&mut [0; 5]).is_err());
        assert!(reader.frame.capacity() <= FRAME_BYTES + TAG_BYTES);
        assert!(Reader::new(&sealed[..], u64::MAX, &key, "test").is_err());
    }
}
