//! The grid of an encoded block: the values its weights may take once its scales stand.
//!
//! In most formats a weight is `scale * level - min`, where scale and minimum belong to a group of neighbours and the level is the
//! weight's own code. A [`Grid`] takes a block apart into those numbers, exactly as the format decodes them (`scale * level - min`
//! in f32 is what `dequantize` gives, to the bit), and writes other levels beside the same scales. So a method that
//! wants to choose codes itself, because it knows more than a block's own error, needs to know no format: it lets the format
//! choose scales, reads the grid, chooses levels and writes them back. Whatever the format, steps are given for groups of
//! [`GROUP`] values; a format with larger groups gives the same step several times.
//!
//! Superblocks' scales are codes too; [`Scaling`] reads and writes those, for methods that fit them to levels that stand.
//!
//! Formats whose codes stand for several weights at once (iq1 to iq3), and floats, have no grid. What is left out: changing the
//! scales of formats of one scale a block.

use super::fit::round;
use super::ints::{Block, Super};

/// Values that a [`Step`] is given for.
pub const GROUP: usize = 16;

/// Where the levels of a group lie: level `l` stands for `scale * l - min`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Step {
    /// What a level counts; of either sign, 0 where all levels are one.
    pub scale: f32,
    /// What is subtracted.
    pub min: f32,
}

/// The grid of a format's blocks; see [`super::Format::grid`].
#[derive(Debug)]
pub struct Grid {
    /// The levels that codes stand for.
    pub levels: Levels,
    /// Reads whole blocks: `(blocks, steps, levels)`, a step per [`GROUP`] values and a level per value.
    pub read: fn(&[u8], &mut [Step], &mut [i8]),
    /// Writes the levels of whole blocks, `(levels, blocks)`, and leaves their scales alone. All must be among `levels`.
    pub write: fn(&[i8], &mut [u8]),
    /// How a superblock's scales are changed; `None` for formats of one scale a block.
    pub scaling: Option<Scaling>,
}

/// The scales of a superblock, for groups of [`GROUP`] values: the step of group `j` is `d * sc[j]` and `dmin * m[j]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scales {
    /// The scale of the scales, a number that f16 has.
    pub d: f32,
    /// The scale of the minima, a number that f16 has; 0 without minima.
    pub dmin: f32,
    /// Codes of scales.
    pub sc: [i16; 16],
    /// Codes of minima.
    pub m: [u8; 16],
}

/// How a superblock's scales are changed.
#[derive(Debug)]
pub struct Scaling {
    /// Neighbouring values with the same codes of scale and minimum, one [`GROUP`] or several.
    pub group: usize,
    /// The smallest and the largest code of a scale.
    pub sc: (i16, i16),
    /// The largest code of a minimum; 0 without minima.
    pub m: u8,
    /// Reads those of one block.
    pub read: fn(&[u8]) -> Scales,
    /// Writes those of one block and leaves its levels alone. `d` and `dmin` are rounded to f16.
    pub write: fn(&Scales, &mut [u8]),
}

/// The levels of a format.
#[derive(Debug, Clone, Copy)]
pub enum Levels {
    /// All whole numbers from the first to the last.
    Uniform(i8, i8),
    /// These, in rising order.
    Table(&'static [i8]),
}

impl Levels {
    /// The level nearest to `v`, in units of the scale; the nearest end for what lies beyond.
    #[inline(always)]
    pub fn nearest(self, v: f32) -> i8 {
        match self {
            // In this order a NaN becomes the first level.
            Self::Uniform(lo, hi) => round(v.max(f32::from(lo)).min(f32::from(hi))) as i8,
            Self::Table(levels) => {
                let upper = levels.partition_point(|&l| f32::from(l) < v).min(levels.len() - 1);
                let lower = upper.saturating_sub(1);
                let below = v - f32::from(levels[lower]) <= f32::from(levels[upper]) - v;
                if below { levels[lower] } else { levels[upper] }
            }
        }
    }

    /// The first and the last level.
    pub fn ends(self) -> (i8, i8) {
        match self {
            Self::Uniform(lo, hi) => (lo, hi),
            Self::Table(levels) => (levels[0], levels[levels.len() - 1]),
        }
    }
}

impl Step {
    /// The level whose value is nearest to `v`.
    #[inline(always)]
    pub fn nearest(self, levels: Levels, v: f32) -> i8 {
        // Where the scale is 0 all levels are one value.
        levels.nearest(if self.scale == 0.0 { 0.0 } else { (v + self.min) / self.scale })
    }

    /// What `level` stands for, as the format decodes it.
    #[inline(always)]
    pub fn value(self, level: i8) -> f32 {
        self.scale * f32::from(level) - self.min
    }
}

impl Scales {
    /// Those of an unpacked block.
    pub(super) fn of(b: &Super) -> Self {
        Self { d: b.d, dmin: b.dmin, sc: b.sc, m: b.m }
    }

    /// Codes of groups of 32.
    pub(super) fn of_32(&self) -> ([i16; 8], [u8; 8]) {
        (std::array::from_fn(|j| self.sc[2 * j]), std::array::from_fn(|j| self.m[2 * j]))
    }
}

/// The one block that `bytes` are.
pub(super) fn block<const B: usize>(bytes: &[u8]) -> &[u8; B] {
    bytes.try_into().expect("one block")
}

/// The one block that `bytes` are, to be changed.
pub(super) fn block_mut<const B: usize>(bytes: &mut [u8]) -> &mut [u8; B] {
    bytes.try_into().expect("one block")
}

/// Reads blocks of one scale.
pub(super) fn read<const B: usize, const N: usize>(
    blocks: &[u8],
    steps: &mut [Step],
    levels: &mut [i8],
    unpack: impl Fn(&[u8; B]) -> Block<N>,
) {
    read_blocks(blocks, steps, levels, |block| {
        let b = unpack(block);
        (Step { scale: b.d, min: 0.0 }, b.q)
    });
}

/// Reads blocks of one scale and one offset.
pub(super) fn read_offset<const B: usize, const N: usize>(
    blocks: &[u8],
    steps: &mut [Step],
    levels: &mut [i8],
    unpack: impl Fn(&[u8; B]) -> Block<N>,
) {
    read_blocks(blocks, steps, levels, |block| {
        let b = unpack(block);
        (Step { scale: b.d, min: -b.m }, b.q)
    });
}

fn read_blocks<const B: usize, const N: usize>(
    blocks: &[u8],
    steps: &mut [Step],
    levels: &mut [i8],
    part: impl Fn(&[u8; B]) -> (Step, [i8; N]),
) {
    let out = steps.chunks_exact_mut(N / GROUP).zip(levels.as_chunks_mut().0);
    for (block, (steps, levels)) in blocks.as_chunks().0.iter().zip(out) {
        let (step, q) = part(block);
        steps.fill(step);
        *levels = q;
    }
}

/// Reads superblocks.
pub(super) fn read_super<const B: usize>(
    blocks: &[u8],
    steps: &mut [Step],
    levels: &mut [i8],
    unpack: impl Fn(&[u8; B]) -> Super,
) {
    let out = steps.as_chunks_mut::<16>().0.iter_mut().zip(levels.as_chunks_mut().0);
    for (block, (steps, levels)) in blocks.as_chunks().0.iter().zip(out) {
        let b = unpack(block);
        *steps = std::array::from_fn(|j| Step {
            scale: b.d * f32::from(b.sc[j]),
            min: b.dmin * f32::from(b.m[j]),
        });
        *levels = b.q;
    }
}

/// Writes the levels of blocks with `put`, which leaves the rest of a block alone.
pub(super) fn write<const B: usize, const N: usize>(
    levels: &[i8],
    blocks: &mut [u8],
    put: impl Fn(&[i8; N], &mut [u8; B]),
) {
    for (levels, block) in levels.as_chunks().0.iter().zip(blocks.as_chunks_mut().0) {
        put(levels, block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_level_is_the_nearest() {
        let tables = [Levels::Uniform(-4, 3), Levels::Table(&[-127, -3, 0, 1, 9]), Levels::Table(&[-1, 1])];
        for levels in tables {
            let (lo, hi) = levels.ends();
            let all: Vec<i8> = match levels {
                Levels::Uniform(..) => (lo..=hi).collect(),
                Levels::Table(levels) => levels.to_vec(),
            };
            for i in -1400..1400 {
                let v = i as f32 * 0.1 + 0.01;
                let least = all.iter().map(|&l| (f32::from(l) - v).abs()).fold(f32::INFINITY, f32::min);
                let found = levels.nearest(v);
                assert!(all.contains(&found) && (f32::from(found) - v).abs() <= least, "{v}: {found}");
            }
            assert_eq!((levels.nearest(f32::NEG_INFINITY), levels.nearest(f32::INFINITY)), (lo, hi));
            assert!(all.contains(&levels.nearest(f32::NAN)));
        }
    }

    #[test]
    fn scales_are_read_and_written_and_levels_stay() {
        for format in super::super::FORMATS {
            let Some((grid, scaling)) = format.grid.as_ref().and_then(|g| Some((g, g.scaling.as_ref()?)))
            else {
                continue;
            };
            let mut block: Vec<u8> = (0..format.bytes).map(|i| (i * 89 + 7) as u8).collect();
            let read = |block: &[u8]| {
                let (mut steps, mut levels) = ([Step::default(); 16], [0; 256]);
                (grid.read)(block, &mut steps, &mut levels);
                (steps, levels)
            };
            let (_, levels) = read(&block);
            let (lo, hi) = scaling.sc;
            let code = |j: usize| j / (scaling.group / GROUP);
            let scales = Scales {
                d: 0.25,
                dmin: if scaling.m > 0 { 0.5 } else { 0.0 },
                sc: std::array::from_fn(|j| [lo, hi, 3, 1][code(j) % 4]),
                m: std::array::from_fn(|j| [0, scaling.m, scaling.m / 2][code(j) % 3]),
            };
            (scaling.write)(&scales, &mut block);
            assert_eq!((scaling.read)(&block), scales, "{}", format.name);
            let (steps, after) = read(&block);
            assert!(levels == after, "{}", format.name);
            for (j, step) in steps.iter().enumerate() {
                let expected = (0.25 * f32::from(scales.sc[j]), scales.dmin * f32::from(scales.m[j]));
                assert_eq!((step.scale, step.min), expected, "{}", format.name);
            }
        }
    }

    #[test]
    fn a_step_without_a_scale_gives_its_minimum() {
        let step = Step { scale: 0.0, min: 0.5 };
        assert_eq!(step.value(step.nearest(Levels::Uniform(0, 15), 7.0)), -0.5);
    }
}
