//! What a tier's vectors can do, as the products of [`super::panel`] and the formats of [`super::expand`] need it.
//!
//! A vector has `N` lanes of 32 bits, and a lane is a row of weights: four consecutive quants of that row as bytes, its scale
//! as a float, its sum as an i32. Nothing runs across lanes, so each row keeps the order of sums of [`crate::quant`], and four
//! activations broadcast to all lanes meet all rows in one multiplication.
//!
//! A value of a type that implements [`Lanes`] is the proof that this CPU has the instructions: tiers make one only inside
//! functions that were compiled for them.

use std::cell::Cell;

/// The vectors of a tier. Methods are compiled into the function that uses them, with that function's instructions.
pub(crate) trait Lanes: Copy {
    /// Rows side by side.
    const N: usize;
    /// How much higher than the weight an eight-bit weight lies in a panel: 128 where bytes are multiplied as unsigned
    /// numbers, 0 where as signed ones.
    const OFFSET8: i32;
    /// Whether products are added onto what [`Lanes::begin`] is given, as they come; otherwise it counts in [`Lanes::end`] only.
    const BEGINS: bool;
    /// `N` lanes of 32 bits: an i32, two i16 or four bytes.
    type V: Copy;
    /// `N` floats.
    type F: Copy;
    /// Sums of products on their way to an i32.
    type P: Copy;

    /// 16 bytes of each row, from byte `at` of `rows`: vector `j` holds bytes `4 j..4 j + 4` of all rows. Asks for
    /// what lies at [`Rows::next`] on the way.
    fn quads(self, rows: Rows<'_>, at: usize) -> [Self::V; 4];

    /// `4 N` bytes to a vector.
    fn load(self, bytes: &[u8]) -> Self::V;
    /// A vector to `4 N` bytes.
    fn store(self, v: Self::V, out: &mut [u8]);
    /// `N` f16 to a vector.
    fn load_halves(self, bytes: &[u8]) -> Self::F;
    /// Asks for the 64 bytes at `address`, which need not be there, to lie in the second-level cache: it waits for more lines at
    /// once than the first, so memory is read by a tenth to a third faster (16 and 48 lines on the Intel server measured).
    fn prefetch(self, address: *const u8);

    fn splat(self, v: i32) -> Self::V;
    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    fn or(self, a: Self::V, b: Self::V) -> Self::V;
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// `v >> by` of each lane, unsigned; `by` is known where this is compiled.
    fn shr(self, v: Self::V, by: u32) -> Self::V;
    /// `v << by` of each lane.
    fn shl(self, v: Self::V, by: u32) -> Self::V;
    /// `v >> by` of each lane, signed.
    fn sar(self, v: Self::V, by: u32) -> Self::V;
    /// `v * by` of each lane.
    fn mul32(self, v: Self::V, by: i32) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `table[byte]` of every byte, all below 16.
    fn lookup(self, table: &[u8; 16], v: Self::V) -> Self::V;
    /// The upper half of `a` and the lower half of `b` in each lane: the four bytes two bytes on.
    fn straddle(self, a: Self::V, b: Self::V) -> Self::V;
    /// The scale of a run in the form [`Lanes::end_scaled`] takes, from i32 that fit an i16.
    fn scale(self, v: Self::V) -> Self::V;
    /// Two i16 per lane, from i32 that fit, in the form [`Lanes::add_pairs`] takes.
    fn pair(self, low: Self::V, high: Self::V) -> Self::V;
    /// `sum + a.low * b.low + a.high * b.high` of pairs of i16; those of `b` are halves of one i32, the same in all lanes.
    fn add_pairs(self, sum: Self::V, a: Self::V, b: Self::V) -> Self::V;

    /// The beginning of sums that go onto `sum`.
    fn begin(self, sum: Self::V) -> Self::P;
    /// Adds four products per lane. `WIDE` weights have eight bits, the form of [`Lanes::OFFSET8`]; others up to seven.
    fn dot<const WIDE: bool>(self, p: Self::P, w: Self::V, a: Self::V) -> Self::P;
    /// `sum` and what was added since it began.
    fn end(self, sum: Self::V, p: Self::P) -> Self::V;
    /// `sum + scale * p`, of products that began with 0.
    fn end_scaled(self, sum: Self::V, p: Self::P, scale: Self::V) -> Self::V;

    fn splat_f32(self, v: f32) -> Self::F;
    fn to_f32(self, v: Self::V) -> Self::F;
    /// The floats whose bits the lanes are.
    fn as_f32(self, v: Self::V) -> Self::F;
    /// The f16 in the lower half of each lane.
    fn low_half(self, v: Self::V) -> Self::F;
    /// The f16 in the upper half of each lane.
    fn high_half(self, v: Self::V) -> Self::F;
    fn add_f32(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul_f32(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c` with one rounding.
    fn fma_f32(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    /// `N` floats to a vector.
    fn load_f32(self, v: &[f32]) -> Self::F;
    /// A vector to `N` floats.
    fn store_f32(self, v: Self::F, out: &mut [f32]);
}

/// Memory that is asked for while a panel of packed weights is worked on: half of it as the panel is expanded, half as it
/// is multiplied. In a burst the requests would wait for each other, and the work for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead<'a> {
    from: *const u8,
    n_asked: &'a Cell<usize>,
}

impl<'a> Ahead<'a> {
    /// What lies at `from` and behind it, which need not be there.
    #[inline(always)]
    pub fn new(from: *const u8, n_asked: &'a Cell<usize>) -> Self {
        n_asked.set(0);
        Self { from, n_asked }
    }

    /// Asks for the next `n` bytes of it.
    #[inline(always)]
    pub fn ask<L: Lanes>(self, l: L, n: usize) {
        let first = self.n_asked.get();
        for at in (0..n).step_by(64) {
            l.prefetch(self.from.wrapping_add(first + at));
        }
        self.n_asked.set(first + n);
    }
}

/// Stretches of equal length, one of each row, at equal distances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
    len: usize,
    n: usize,
    next: *const u8,
}

impl<'a> Rows<'a> {
    /// `n` rows at distances of `stride` bytes from the first of `bytes`, of which `len` bytes are used. What is needed
    /// next lies at `next`.
    #[inline(always)]
    pub fn new(bytes: &'a [u8], stride: usize, len: usize, n: usize, next: *const u8) -> Self {
        assert!(n > 0 && (n - 1) * stride + len <= bytes.len());
        Self { bytes, stride, len, n, next }
    }

    /// Where byte `at` of the first row lies, and the distance from row to row: 16 bytes can be read there in `n` rows.
    #[inline(always)]
    pub fn sixteen(&self, at: usize, n: usize) -> (*const u8, usize) {
        assert!(at + 16 <= self.len && n <= self.n);
        (self.bytes.as_ptr().wrapping_add(at), self.stride)
    }

    /// Where in the rows that come next lies what takes as long to read as the 16 bytes from `at` on of these.
    #[inline(always)]
    pub fn next(&self, at: usize) -> *const u8 {
        self.next.wrapping_add(at * self.n)
    }
}

/// Where a panel's 256 columns of `N` rows are read from: its fields, in the format's order.
pub(crate) trait Source: Copy {
    /// Whether a field of all rows lies together.
    const PACKED: bool;
    /// 16 bytes of each row, from byte `at` on, that are four words: vector `j` holds word `j` of all rows.
    fn quads<L: Lanes>(self, l: L, at: usize) -> [L::V; 4];
    /// The word at byte `at` of each row.
    fn word<L: Lanes>(self, l: L, at: usize) -> L::V;
    /// The f16 at byte `at` of each row.
    fn half<L: Lanes>(self, l: L, at: usize) -> L::F;
    /// Row `r`, which packed weights don't have in one piece. Asks for what comes next as `quads` does.
    fn row<L: Lanes>(&self, l: L, r: usize) -> &[u8];
    /// Byte `at` of row `r`, a field of its own.
    fn byte<L: Lanes>(self, l: L, r: usize, at: usize) -> u8;
}

impl Source for Rows<'_> {
    const PACKED: bool = false;

    #[inline(always)]
    fn quads<L: Lanes>(self, l: L, at: usize) -> [L::V; 4] {
        l.quads(self, at)
    }

    #[inline(always)]
    fn word<L: Lanes>(self, l: L, at: usize) -> L::V {
        if at < 12 { l.quads(self, at)[0] } else { l.quads(self, at - 12)[3] }
    }

    #[inline(always)]
    fn half<L: Lanes>(self, l: L, at: usize) -> L::F {
        if at < 14 { l.low_half(l.quads(self, at)[0]) } else { l.high_half(l.quads(self, at - 14)[3]) }
    }

    #[inline(always)]
    fn row<L: Lanes>(&self, l: L, r: usize) -> &[u8] {
        let next = self.next.wrapping_add(r * self.len);
        for at in (0..self.len).step_by(64) {
            l.prefetch(next.wrapping_add(at));
        }
        &self.bytes[r * self.stride..][..self.len]
    }

    #[inline(always)]
    fn byte<L: Lanes>(self, _: L, r: usize, at: usize) -> u8 {
        self.bytes[r * self.stride + at]
    }
}

/// Defines `multiply(product, steps, sums)`: the product of a panel with any number of tokens, compiled for a tier, `$most`
/// tokens at a time. `steps` maps [`super::expand::Expand::steps`] to those the tier has code for.
macro_rules! multiply {
    ($lanes:ty, $features:literal, tokens [$($t:literal)*] $most:literal, steps { $($from:pat => $steps:literal),* }) => {
        #[target_feature(enable = $features)]
        pub(super) fn multiply(
            product: &$crate::simd::panel::Product<'_, $lanes>,
            steps: usize,
            sums: &mut [<$lanes as $crate::simd::lanes::Lanes>::F],
        ) {
            use $crate::simd::expand::Kind;
            use $crate::simd::panel::halves;
            let mut rest = sums;
            for group in product.groups {
                let (sums, behind) = rest.split_at_mut(group.n);
                rest = behind;
                match (product.kind, group.n) {
                    (Kind::Halves { .. }, _) => halves(<$lanes>::new(), product, group, sums),
                    $((_, $t) => some::<$t>(product, steps, group, sums),)*
                    _ => some::<$most>(product, steps, group, sums),
                }
            }
        }

        /// The most tokens of a group.
        pub(super) const GROUP: usize = $most;

        /// The steps there is code for.
        pub(super) const fn steps(of_format: usize) -> usize {
            match of_format {
                $($from => $steps),*
            }
        }

        #[target_feature(enable = $features)]
        fn some<const T: usize>(
            product: &$crate::simd::panel::Product<'_, $lanes>,
            steps: usize,
            group: &$crate::acts::Group<'_>,
            sums: &mut [<$lanes as $crate::simd::lanes::Lanes>::F],
        ) {
            use $crate::simd::expand::Kind;
            use $crate::simd::panel::{blocks, supers};
            let sums = sums.as_mut_array().expect("sums of T tokens");
            let l = <$lanes>::new();
            match product.kind {
                Kind::Blocks { minima: true, .. } => match steps {
                    $($from => blocks::<$lanes, T, $steps, true>(l, product, group, sums),)*
                },
                Kind::Blocks { .. } => match steps {
                    $($from => blocks::<$lanes, T, $steps, false>(l, product, group, sums),)*
                },
                Kind::Halves { .. } => unreachable!("one function for any number of tokens"),
                Kind::Supers { run: 16, .. } => match steps {
                    $($from => supers::<$lanes, T, $steps, 4>(l, product, group, sums),)*
                },
                Kind::Supers { .. } => match steps {
                    $($from => supers::<$lanes, T, $steps, 8>(l, product, group, sums),)*
                },
            }
        }
    };
}
pub(crate) use multiply;

/// The kernels of all expansions, for a tier's table. Those that unpack row by row are one function, which is not told at
/// compile time for which it works: it would be compiled for each of them.
macro_rules! tiles {
    (
        $lanes:ty, $features:literal, $multiply:path, $group:path, $steps:path;
        $($name:literal $act:ident $expand:ident,)*
        by rows: $($row_name:literal $row_act:ident $rows:ident,)*
    ) => {{
        use std::hint::black_box;

        use $crate::acts::{Act, Acts, Form};
        use $crate::simd::expand::Rowwise;
        use $crate::simd::expand::rows;
        use $crate::simd::lanes::{Lanes, tile};
        use $crate::simd::{Packing, RowKernel};

        #[target_feature(enable = $features)]
        fn by_rows(
            rows: &Rowwise,
            weights: &[u8],
            acts: &Acts,
            groups: std::ops::Range<usize>,
            out: &mut $crate::par::Columns<'_, f32>,
        ) {
            tile!(@ $lanes, $multiply, $steps, rows, false, weights, acts, groups, out);
        }

        &[$(($name, RowKernel {
            form: Form::groups(Act::$act, $group),
            tile: tile!($lanes, $features, $multiply, $steps, $expand, false),
            packing: Some(Packing {
                rows: <$lanes>::N,
                pack: {
                    #[target_feature(enable = $features)]
                    fn build(weights: &[u8], n_rows: usize, out: &mut [u8]) {
                        $crate::simd::pack::pack::<$lanes, $crate::simd::expand::$expand>(
                            <$lanes>::new(), weights, n_rows, out,
                        );
                    }
                    // SAFETY: called only where the tier's `detect` found the features.
                    |weights, n_rows, out| unsafe { build(weights, n_rows, out) }
                },
                tile: tile!($lanes, $features, $multiply, $steps, $expand, true),
            }),
        }),)*
        $(($row_name, RowKernel {
            form: Form::groups(Act::$row_act, $group),
            // SAFETY: called only where the tier's `detect` found the features.
            tile: |_, weights, acts, groups, out| unsafe {
                by_rows(black_box(&rows::$rows), weights, acts, groups, out)
            },
            packing: None,
        }),)*]
    }};
}
pub(crate) use tiles;

/// The kernel of an expansion, of weights as files have them or packed.
macro_rules! tile {
    ($lanes:ty, $features:literal, $multiply:path, $steps:path, $expand:ident, $packed:literal) => {{
        #[target_feature(enable = $features)]
        fn build(
            weights: &[u8],
            acts: &$crate::acts::Acts,
            groups: std::ops::Range<usize>,
            out: &mut $crate::par::Columns<'_, f32>,
        ) {
            use $crate::simd::expand::$expand;
            tile!(@ $lanes, $multiply, $steps, &$expand, $packed, weights, acts, groups, out);
        }
        // SAFETY: called only where the tier's `detect` found the features.
        |_, weights, acts, groups, out| unsafe { build(weights, acts, groups, out) }
    }};
    (@ $lanes:ty, $multiply:path, $steps:path, $expand:expr, $packed:literal, $weights:ident, $($of:ident),*) => {{
        use $crate::simd::expand::Expand;
        let expand = $expand;
        let steps = $steps(expand.steps());
        let weights = $crate::simd::panel::Weights { bytes: $weights, expand, steps };
        $crate::simd::panel::tile::<$lanes, _, $packed>(<$lanes>::new(), weights, $($of,)* |product, sums| {
            $multiply(product, expand.steps(), sums);
        });
    }};
}
pub(crate) use tile;
