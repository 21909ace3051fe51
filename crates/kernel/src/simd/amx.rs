//! AMX: x86 servers from Sapphire Rapids on, whose tile instruction multiplies 16 rows of bytes with 16 others.
//!
//! `tdpbssd` adds 16384 products of 64 columns of 16 tokens with 16 rows of weights onto 256 sums in sixteen cycles, in which two
//! units of `vpdpbusd` add 2048. What is left to do decides: sums leave the tile registers by way of memory. A scale per 32
//! columns would want them so often that nothing is gained, so formats with one stay with AVX-512. A superblock's integer
//! scales are multiplied into the weights instead. The products have up to 16 bits and are two tiles of bytes; their sums,
//! whole numbers as before, stay in registers for all of its 256 columns.
//!
//! Expanding is AVX-512's, whose panels lie as the instruction takes them: four columns of each of 16 rows to a register. So are
//! products of few tokens, small operations and attention.
//!
//! The system must be asked for the registers ([`permitted`]). Their shapes are told to each thread before use, and they are given
//! back after, so that a switch of threads does not save them. Rust has no stable names for the instructions.

use std::arch::asm;
use std::arch::x86_64::*;
use std::hint::black_box;
use std::mem::MaybeUninit;

use super::avx512::lanes::Avx512;
use super::expand::Kind;
use super::panel::Product;
use super::{RowKernel, Tier, avx512, peak};
use crate::acts::{Act, Group};

/// Reached only through this table, whose fields are private to [`super`], which hands them out after `detect` returned true.
pub static TIER: Tier = Tier {
    name: "amx",
    detect: || (avx512::TIER.detect)() && has_tiles() && permitted(),
    ops: avx512::TIER.ops,
    dense: avx512::DENSE,
    caches: avx512::TIER.caches,
    floats: avx512::TIER.floats,
    tiles: &by_tiles::<{ avx512::TILES.len() }>(avx512::TILES),
    peaks: peak::AMX,
};

/// Tokens of a tile.
const TOKENS: usize = 16;
/// Columns of a tile.
const COLUMNS: usize = 64;

/// AVX-512's kernels, which find by the size of a group that [`multiply`] is wanted: many tokens of superblocks come in groups
/// of 16. Fewer would not make up for what a panel costs here.
const fn by_tiles<const N: usize>(tiles: &[(&'static str, RowKernel)]) -> [(&'static str, RowKernel); N] {
    let mut all = [tiles[0]; N];
    let mut i = 0;
    while i < N {
        all[i] = tiles[i];
        let form = &mut all[i].1.form;
        if matches!(form.act, Act::Q8x256) {
            form.group_of_many = TOKENS;
        }
        i += 1;
    }
    all
}

/// Whether the CPU has tiles, and products of bytes on them.
fn has_tiles() -> bool {
    const TILES_AND_BYTES: u32 = 0b11 << 24;
    __cpuid_count(7, 0).edx & TILES_AND_BYTES == TILES_AND_BYTES
}

/// Asks Linux for the registers, for all threads of the process.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const REQUEST_PERMISSION: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let failed: u64;
    // SAFETY: the call takes two numbers, writes no memory of ours and changes these registers only.
    unsafe {
        asm!(
            "syscall",
            inout("rax") ARCH_PRCTL => failed, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
            out("rcx") _, out("r11") _, options(nostack)
        );
    }
    failed == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The shapes of the tile registers, as the CPU reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// That this thread has tile registers.
struct Tiles(());

impl Tiles {
    /// Registers 0 to 3 for sums of `n` tokens, 4 for their activations, 5 to 7 for weights.
    fn of(n: usize) -> Self {
        let mut tiles = Self(());
        tiles.shape(n);
        tiles
    }

    /// The same registers for another number of tokens.
    fn shape(&mut self, n: usize) {
        let mut shapes =
            Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        shapes.row_bytes[..8].fill(COLUMNS as u16);
        shapes.rows[..5].fill(n as u8);
        shapes.rows[5..8].fill(COLUMNS as u8 / 4);
        // SAFETY: 64 bytes are read; the tier was detected, so there are tiles, and the system knows that they are used.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly, preserves_flags));
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: as above; no register holds anything that is needed.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// Bytes of 32 rows as a panel has them: columns `4 i..4 i + 4` in entry `i`.
type Bytes = [[MaybeUninit<__m512i>; 2]; 64];

/// A tile as memory has it.
type Tile = [MaybeUninit<__m512i>; TOKENS];

/// What tiles are loaded from and stored to.
#[repr(C, align(64))]
struct Room {
    /// The weights of a panel times the scales of their runs: the lower bytes, without a sign, and the upper, with one.
    low: Bytes,
    high: Bytes,
    /// Activations of a group: 64 columns of token after token.
    q: [Tile; 256 / COLUMNS],
    /// Sums of products with the lower bytes and the upper of the first 16 rows, and of the others, for each token.
    sums: [Tile; 4],
}

impl Room {
    const EMPTY: Self = Self {
        low: [[MaybeUninit::uninit(); 2]; 64],
        high: [[MaybeUninit::uninit(); 2]; 64],
        q: [[MaybeUninit::uninit(); TOKENS]; 256 / COLUMNS],
        sums: [[MaybeUninit::uninit(); TOKENS]; 4],
    };
}

/// The product of a panel of superblocks with any number of tokens, groups of 16 at the most.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
pub(super) fn multiply(product: &Product<'_, Avx512>, sums: &mut [[__m512; 2]]) {
    let Kind::Supers { run, offset, minima } = product.kind else { unreachable!("multiplied by `vpdpbusd`") };
    let mut room = Room::EMPTY;
    scale(Avx512::new(), product, run, offset, &mut room);
    let mut n = product.groups[0].n;
    let mut tiles = Tiles::of(n);
    let mut rest = sums;
    for group in product.groups {
        if n != group.n {
            n = group.n;
            tiles.shape(n);
        }
        let (sums, behind) = rest.split_at_mut(n);
        rest = behind;
        if minima {
            add::<true>(product, &mut room, group, sums);
        } else {
            add::<false>(product, &mut room, group, sums);
        }
    }
}

/// Weights times scales: no format's products have more than 16 bits. Asks for what is needed next, which the products have no loop
/// for.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline(never)]
fn scale(l: Avx512, product: &Product<'_, Avx512>, run: usize, offset: Option<u32>, to: &mut Room) {
    let panel = product.panel;
    let n_ask = product.groups.len() * product.n_ask * run / 32;
    let above = _mm512_set1_epi16(offset.map_or(0, |by| 1 << by));
    let byte = _mm512_set1_epi16(0xff);
    let n = run / 4;
    let to = to.low.chunks_exact_mut(n).zip(to.high.chunks_exact_mut(n));
    for ((w, scale), (low, high)) in black_box(&panel.w[..]).chunks_exact(n).zip(&panel.scales).zip(to) {
        product.ahead.ask(l, n_ask);
        let scale = scale.map(|scale| {
            let lower = _mm512_and_si512(scale, _mm512_set1_epi32(0xffff));
            _mm512_or_si512(lower, _mm512_slli_epi32::<16>(scale))
        });
        for ((w, low), high) in w.iter().zip(low).zip(high) {
            for half in 0..2 {
                let times = |w| _mm512_mullo_epi16(_mm512_sub_epi16(w, above), scale[half]);
                let even = times(_mm512_and_si512(w[half], byte));
                let odd = times(_mm512_srli_epi16::<8>(w[half]));
                low[half].write(_mm512_or_si512(_mm512_and_si512(even, byte), _mm512_slli_epi16::<8>(odd)));
                high[half]
                    .write(_mm512_or_si512(_mm512_srli_epi16::<8>(even), _mm512_andnot_si512(byte, odd)));
            }
        }
    }
}

/// Adds the products with a group to its sums, as [`super::panel::supers`] does.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn add<const MINIMA: bool>(
    product: &Product<'_, Avx512>,
    room: &mut Room,
    group: &Group<'_>,
    sums: &mut [[__m512; 2]],
) {
    let (n, panel) = (group.n, product.panel);
    let there = 8 * n * product.at..8 * n * (product.at + 1);
    let d_a = &group.d[n * product.at..][..n];
    let sums_a = &group.sums[there.clone()];
    side_by_side(&group.q.as_chunks().0[there], n, &mut room.q);
    add_products(room);
    for (t, (sum, d_a)) in sums.iter_mut().zip(d_a).enumerate() {
        let d_a = _mm512_set1_ps(*d_a);
        let mut taken = [_mm512_setzero_si512(); 2];
        if MINIMA {
            for (factors, sums_a) in panel.second.iter().zip(sums_a.chunks_exact(n)) {
                let sum = _mm512_set1_epi32(sums_a[t]);
                for half in 0..2 {
                    taken[half] = _mm512_dpwssd_epi32(taken[half], factors[half], sum);
                }
            }
        }
        for half in 0..2 {
            // SAFETY: the sums of every token of the group were stored.
            let low = unsafe { room.sums[2 * half][t].assume_init() };
            // SAFETY: the same.
            let high = unsafe { room.sums[2 * half + 1][t].assume_init() };
            let isum = _mm512_add_epi32(low, _mm512_slli_epi32::<8>(high));
            let term = _mm512_mul_ps(_mm512_cvtepi32_ps(isum), panel.d[0][half]);
            sum[half] = _mm512_fmadd_ps(term, d_a, sum[half]);
            if MINIMA {
                let taken = _mm512_sub_epi32(_mm512_setzero_si512(), taken[half]);
                let term = _mm512_mul_ps(_mm512_cvtepi32_ps(taken), panel.m[0][half]);
                sum[half] = _mm512_fmadd_ps(term, d_a, sum[half]);
            }
        }
    }
}

/// 64 columns of token after token, where 32 of `n` tokens lay beside each other.
#[target_feature(enable = "avx512f")]
#[inline]
fn side_by_side(q: &[[i8; 32]], n: usize, to: &mut [Tile; 256 / COLUMNS]) {
    for (to, q) in to.iter_mut().zip(q.chunks_exact(2 * n)) {
        let (first, second) = q.split_at(n);
        for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
            // SAFETY: the array has the 32 bytes that are read.
            let first = unsafe { _mm256_loadu_si256(first.as_ptr().cast()) };
            // SAFETY: the same.
            let second = unsafe { _mm256_loadu_si256(second.as_ptr().cast()) };
            to.write(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second));
        }
    }
}

/// Multiplies all weights with all activations.
#[inline(always)]
fn add_products(room: &mut Room) {
    // SAFETY: this thread's registers have their shapes: 256 columns of 32 rows of weights and of up to 16 tokens are read, and
    // up to four tiles written.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{q} + {line}]",
            "tileloadd tmm5, [{low} + {entry}]",
            "tdpbsud tmm0, tmm4, tmm5",
            "tileloadd tmm6, [{high} + {entry}]",
            "tdpbssd tmm1, tmm4, tmm6",
            "tileloadd tmm7, [{low} + {entry} + 64]",
            "tdpbsud tmm2, tmm4, tmm7",
            "tileloadd tmm5, [{high} + {entry} + 64]",
            "tdpbssd tmm3, tmm4, tmm5",
            "add {q}, 1024",
            "add {low}, 2048",
            "add {high}, 2048",
            "dec {n:e}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + 1024], tmm1",
            "tilestored [{sums} + {line} + 2048], tmm2",
            "tilestored [{sums} + {line} + 3072], tmm3",
            q = inout(reg) &raw const room.q => _,
            low = inout(reg) &raw const room.low => _,
            high = inout(reg) &raw const room.high => _,
            n = inout(reg) 256 / COLUMNS as u32 => _,
            sums = in(reg) &raw mut room.sums,
            line = in(reg) 64u64,
            entry = in(reg) 128u64,
            options(nostack)
        );
    }
}

/// Goes `turns` times through four products of 64 columns, for [`super::peak`].
#[target_feature(enable = "avx512f")]
pub(super) fn tdpbssd(turns: u64) {
    let _tiles = Tiles::of(TOKENS);
    // SAFETY: shapes are set.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            "test {n}, {n}",
            "jz 3f",
            "2:",
            "tdpbssd tmm0, tmm4, tmm5",
            "tdpbssd tmm1, tmm4, tmm5",
            "tdpbssd tmm2, tmm4, tmm5",
            "tdpbssd tmm3, tmm4, tmm5",
            "dec {n}",
            "jnz 2b",
            "3:",
            n = inout(reg) turns => _,
            options(nostack, nomem)
        );
    }
}
