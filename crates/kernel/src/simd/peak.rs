//! How fast this CPU could multiply and read: the product instruction of each tier, over and over, on registers alone, and
//! a sum over memory that does nothing but read it.
//!
//! A loop keeps enough sums in registers that none waits for itself, and reads nothing from memory, so what is measured is
//! the rate at which the instruction is taken: the roof over every kernel of the tier ([`super::Tier`] names its own). A tier
//! may have none, and none is made up for it: plain Rust (`scalar`) is whatever the
//! compiler makes of it, and NEON without `sdot` has several ways to multiply bytes.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::hint::black_box;

use super::Kernels;
#[cfg(target_arch = "x86_64")]
use super::amx::tdpbssd;
#[cfg(target_arch = "aarch64")]
use super::neon::{lanes::sdot, pairs::smmla};
use crate::acts::Act;

/// Sums of a loop that has 32 registers: more than a fused product's latency times the most that start in a cycle.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const MANY: usize = 16;
/// Sums of a loop that has 16, two of them taken by what is multiplied.
#[cfg(target_arch = "x86_64")]
const FEW: usize = 12;

/// Sums of tiles: a product takes sixteen cycles, and another onto the same sums waits for 52.
#[cfg(target_arch = "x86_64")]
const TILES: usize = 4;

/// A product instruction of a tier.
#[derive(Debug)]
pub struct Peak {
    /// The instruction, or instructions where a product takes several, as an assembler writes them.
    pub instruction: &'static str,
    /// The activations it multiplies.
    pub acts: &'static [Act],
    /// Multiplications and additions of one turn of the loop.
    ops_per_turn: u64,
    /// So many turns.
    turns: fn(u64),
}

const BYTES: &[Act] = &[Act::Q8x32, Act::Q8x256];
const FLOATS: &[Act] = &[Act::F32];

/// A loop of `$turns` that keeps `$sums` sums of `$products` products each, with activations of the kinds `$acts`.
macro_rules! peak {
    ($instruction:literal, $acts:expr, $products:literal x $sums:ident, $turns:ident) => {
        Peak {
            instruction: $instruction,
            acts: $acts,
            ops_per_turn: 2 * $products * $sums as u64,
            // SAFETY: a tier's peak is handed out with its kernels, after `detect` found the features.
            turns: |n| unsafe { $turns(n) },
        }
    };
}

#[cfg(target_arch = "x86_64")]
const FMA_256: Peak = peak!("vfmadd231ps, 256 bits", FLOATS, 8 x FEW, fma_256);
#[cfg(target_arch = "x86_64")]
pub(super) static AVX2: &[Peak] =
    &[peak!("vpmaddubsw + vpaddw, 256 bits", BYTES, 32 x FEW, maddubs_256), FMA_256];
#[cfg(target_arch = "x86_64")]
pub(super) static AVXVNNI: &[Peak] = &[peak!("vpdpbusd, 256 bits", BYTES, 32 x FEW, dpbusd_256), FMA_256];
#[cfg(target_arch = "x86_64")]
const FMA_512: Peak = peak!("vfmadd231ps, 512 bits", FLOATS, 16 x MANY, fma_512);
#[cfg(target_arch = "x86_64")]
pub(super) static AVX512: &[Peak] = &[peak!("vpdpbusd, 512 bits", BYTES, 64 x MANY, dpbusd_512), FMA_512];
#[cfg(target_arch = "x86_64")]
pub(super) static AMX: &[Peak] = &[
    peak!("vpdpbusd, 512 bits", &[Act::Q8x32], 64 x MANY, dpbusd_512),
    peak!("tdpbssd, 16 x 16 x 64", &[Act::Q8x256], 0x4000 x TILES, tdpbssd),
    FMA_512,
];
#[cfg(target_arch = "aarch64")]
const FMLA: Peak = peak!("fmla, 128 bits", FLOATS, 4 x MANY, fmla);
#[cfg(target_arch = "aarch64")]
pub(super) static NEON: &[Peak] = &[FMLA];
#[cfg(target_arch = "aarch64")]
pub(super) static DOTPROD: &[Peak] = &[peak!("sdot, 128 bits", BYTES, 16 x MANY, sdot_128), FMLA];
#[cfg(target_arch = "aarch64")]
pub(super) static I8MM: &[Peak] = &[peak!("smmla, 128 bits", BYTES, 32 x MANY, smmla_128), FMLA];

impl Kernels {
    /// The instruction that bounds products with activations in the form `act`; `None` where there is none to measure.
    pub fn peak(&self, act: Act) -> Option<&'static Peak> {
        self.tier.peaks.iter().find(|peak| peak.acts.contains(&act))
    }
}

impl Peak {
    /// Goes `turns` times through the loop, on the calling thread.
    pub fn run(&self, turns: u64) {
        (self.turns)(turns);
    }

    /// Operations of so many turns; a multiplication counts as one and an addition as another.
    pub fn ops(&self, turns: u64) -> u64 {
        turns * self.ops_per_turn
    }
}

/// The sum of the words in `bytes`, for its reading: in registers of 256 bits where there are some, since with those of
/// 128 a core asks for a tenth less than its memory gives. 512 bits gain nothing more.
pub fn read(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if (super::avx2::TIER.detect)() {
        // SAFETY: the tier's `detect` found the features.
        return unsafe { read_256(bytes) };
    }
    sum_words(bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn read_256(bytes: &[u8]) -> u64 {
    sum_words(bytes)
}

/// In so many sums that none waits for itself; bytes behind the last 128 are left out.
#[inline(always)]
fn sum_words(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for line in bytes.as_chunks::<128>().0 {
        for (sum, &word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(word));
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

/// `$n` sums, each made anew from itself `turns` times by `$step`. Where they begin is hidden from the compiler, which could
/// otherwise see that all are the same.
macro_rules! sums {
    ($turns:ident, [$zero:expr; $n:ident], $sum:ident => $step:expr) => {{
        let mut sums = black_box([$zero; $n]);
        for _ in 0..$turns {
            for $sum in &mut sums {
                *$sum = $step;
            }
        }
        black_box(sums);
    }};
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn maddubs_256(turns: u64) {
    let (mut w, a) = black_box((_mm256_set1_epi8(3), _mm256_set1_epi8(5)));
    sums!(turns, [_mm256_setzero_si256(); FEW], sum => {
        // The product does not depend on the sum: unless its input might change it would be made once.
        // SAFETY: nothing is done; the register is only said to have changed.
        unsafe { std::arch::asm!("/* {} */", inout(ymm_reg) w, options(nomem, nostack, preserves_flags)) };
        _mm256_add_epi16(*sum, _mm256_maddubs_epi16(w, a))
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn fma_256(turns: u64) {
    let (w, a) = black_box((_mm256_set1_ps(0.5), _mm256_set1_ps(0.25)));
    sums!(turns, [_mm256_setzero_ps(); FEW], sum => _mm256_fmadd_ps(w, a, *sum));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn dpbusd_256(turns: u64) {
    let (w, a) = black_box((_mm256_set1_epi8(3), _mm256_set1_epi8(5)));
    sums!(turns, [_mm256_setzero_si256(); FEW], sum => _mm256_dpbusd_avx_epi32(*sum, w, a));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
fn dpbusd_512(turns: u64) {
    let (w, a) = black_box((_mm512_set1_epi8(3), _mm512_set1_epi8(5)));
    sums!(turns, [_mm512_setzero_si512(); MANY], sum => _mm512_dpbusd_epi32(*sum, w, a));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
fn fma_512(turns: u64) {
    let (w, a) = black_box((_mm512_set1_ps(0.5), _mm512_set1_ps(0.25)));
    sums!(turns, [_mm512_setzero_ps(); MANY], sum => _mm512_fmadd_ps(w, a, *sum));
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn fmla(turns: u64) {
    let (w, a) = black_box((vdupq_n_f32(0.5), vdupq_n_f32(0.25)));
    sums!(turns, [vdupq_n_f32(0.0); MANY], sum => vfmaq_f32(*sum, w, a));
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
fn sdot_128(turns: u64) {
    let w = black_box(vdupq_n_s32(0x0303_0303));
    sums!(turns, [vdupq_n_s32(0); MANY], sum => sdot(*sum, w, w));
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,i8mm")]
fn smmla_128(turns: u64) {
    let w = black_box(vdupq_n_s32(0x0303_0303));
    sums!(turns, [vdupq_n_s32(0); MANY], sum => smmla(*sum, w, w));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::simd::TIERS;

    #[test]
    fn a_tier_has_at_most_one_peak_for_activations() {
        for tier in TIERS {
            for act in [Act::F32, Act::Q8x32, Act::Q8x256] {
                let n = tier.peaks.iter().filter(|peak| peak.acts.contains(&act)).count();
                assert!(n <= 1, "{} has {n}", tier.name);
            }
        }
        let scalar = Kernels::named("scalar").unwrap();
        assert!(scalar.peak(Act::Q8x32).is_none() && scalar.peak(Act::F32).is_none());
    }

    #[test]
    fn what_is_read_is_what_lies_there() {
        let bytes: Vec<u8> = (0..1024).map(|i| (i * 7) as u8).collect();
        let words = bytes.as_chunks::<8>().0.iter().map(|&w| u64::from_le_bytes(w));
        assert_eq!(read(&bytes), words.fold(0, u64::wrapping_add));
    }

    /// A loop that the compiler saw through would take no time, however many turns it had: some ten nanoseconds for the call.
    /// What else the machine does can only lengthen the shortest of some runs, so this holds on a busy one too.
    #[test]
    fn every_turn_takes_time() {
        const TURNS: u32 = 400_000;
        // A dozen products a turn: no CPU starts as many in a tenth of a nanosecond.
        let least = TURNS * Duration::from_nanos(1) / 10;
        for kernels in Kernels::names().filter_map(Kernels::named) {
            for peak in [Act::Q8x32, Act::Q8x256, Act::F32].into_iter().filter_map(|act| kernels.peak(act)) {
                let times = (0..7).map(|_| {
                    let start = Instant::now();
                    peak.run(TURNS.into());
                    start.elapsed()
                });
                let shortest = times.min().expect("seven runs");
                assert!(shortest >= least, "{peak:?}: {TURNS} turns in {shortest:?}");
            }
        }
    }
}
