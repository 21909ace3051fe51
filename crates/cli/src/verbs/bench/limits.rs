//! What the machine can do at this moment: how fast its memory is read, how fast a tier's instructions multiply.
//!
//! Both are measured on the pool of threads that a test will use, right before it, because a shared machine changes by the
//! minute. Memory is read from a buffer larger than the caches, in whole, one stretch after the other, each by one thread.
//! What can't be measured is left out: memory where there is no room for the buffer, products on a tier without an
//! instruction of its own.

use std::hint::black_box;
use std::time::Instant;

use ingle_engine::memory::available_bytes;
use ingle_kernel::acts::Act;
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_kernel::simd::peak::{self, Peak};
use memmap2::MmapMut;

/// Size of the buffer: eight times a large desktop's last cache.
pub const MEMORY_BYTES: usize = 256 << 20;
/// What a thread reads at once, as it reads a tile of a matrix.
const STRETCH: usize = 1 << 20;
/// Turns of a peak's loop: about a millisecond.
const TURNS: u64 = 1 << 19;
/// Samples of a limit, of which the best counts.
const SAMPLES: usize = 5;

/// The limits around one test.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Bytes read per second.
    pub read: Option<f64>,
    /// Operations per second on bytes.
    pub int8: Option<f64>,
    /// Operations per second on floats.
    pub f32: Option<f64>,
}

impl Limits {
    /// Measures all, some 0.2 s. The buffer is gone afterwards.
    pub fn measure(pool: &Pool, kernels: &Kernels) -> Self {
        let products = |act: Act| kernels.peak(act).map(|peak| best(|| multiplied(pool, peak)));
        // Where kinds of activations have instructions of their own, the faster one is the machine's limit.
        let int8 = [Act::Q8x32, Act::Q8x256].into_iter().filter_map(products).reduce(f64::max);
        Self { read: Self::read(pool), int8, f32: products(Act::F32) }
    }

    /// Measures how fast memory is read.
    pub fn read(pool: &Pool) -> Option<f64> {
        let memory = Memory::new(pool)?;
        Some(best(|| memory.read(pool)))
    }
}

fn best(mut sample: impl FnMut() -> f64) -> f64 {
    (0..SAMPLES).map(|_| sample()).fold(0.0, f64::max)
}

/// Operations per second of all threads in the loop of `peak`.
pub fn multiplied(pool: &Pool, peak: &Peak) -> f64 {
    let start = Instant::now();
    pool.run(pool.n_threads(), |_, _| peak.run(TURNS));
    peak.ops(TURNS) as f64 * pool.n_threads() as f64 / start.elapsed().as_secs_f64()
}

/// Memory to be read that no cache holds.
#[derive(Debug)]
pub struct Memory(Bytes);

impl Memory {
    /// A buffer of [`MEMORY_BYTES`], every byte 0x11; `None` where that is more than half of what there is to have.
    ///
    /// It lies in huge pages where the system has them, so that the limit is the memory's and not that of its tables.
    pub fn new(pool: &Pool) -> Option<Self> {
        if available_bytes().is_some_and(|bytes| bytes < 2 * MEMORY_BYTES as u64) {
            return None;
        }
        let mut map = MmapMut::map_anon(MEMORY_BYTES).ok()?;
        #[cfg(target_os = "linux")]
        // Without huge pages it is measured all the same.
        let _ = map.advise(memmap2::Advice::HugePage);
        pool.for_rows(&mut map[..], STRETCH, |_, row| row.fill(0x11));
        Some(Self(Bytes::new(map)))
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Reads all of it once; bytes per second.
    pub fn read(&self, pool: &Pool) -> f64 {
        let bytes: &[u8] = &self.0;
        let start = Instant::now();
        pool.run(bytes.len() / STRETCH, |i, _| {
            black_box(peak::read(&bytes[i * STRETCH..(i + 1) * STRETCH]));
        });
        bytes.len() as f64 / start.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_there_where_they_can_be_measured() {
        let pool = Pool::new(2);
        let limits = Limits::measure(&pool, &Kernels::named("scalar").unwrap());
        assert!(limits.int8.is_none() && limits.f32.is_none(), "plain code has no instruction of its own");
        assert!(limits.read.is_none_or(|rate| rate > 1e8), "{limits:?}");
        let kernels = Kernels::detect();
        let limits = Limits::measure(&pool, &kernels);
        assert_eq!(limits.int8.is_some(), kernels.peak(Act::Q8x32).is_some());
        assert!(limits.int8.is_none_or(|rate| rate > 1e8), "{limits:?}");
    }
}
