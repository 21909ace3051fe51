//! GPTQ: each weight is rounded to its block's grid, and those of its row that come after make good what that cost.
//!
//! Minimises `tr(D H D')` over the codes of a matrix whose scales stand already (Frantar et al., arXiv 2210.17323, with act-order
//! and static groups); the recursion and its cost are in [`super::feedback`]. The grid is any [`Grid`]. For the block formats of
//! GGUF files, [`encode`] lets the format choose scales first, with the diagonal of `H` as importances, and then chooses all
//! codes against the values that the block will really decode to: scales rounded to six bits and all. So there is no second
//! rounding, and the bytes are an ordinary file's. Where scales are codes too, [`super::descent`] then fits both to each other.
//!
//! Importances matter for the scales as much as feedback does for the codes: at two bits, feedback on a grid from minimum to
//! maximum loses to a good search for scales alone.

use ingle_kernel::par::Pool;
use ingle_kernel::quant::Format;
use ingle_kernel::quant::grid::{self, GROUP, Levels, Step};

use super::descent::descend;
use super::feedback::{Columns, Factor, Place, Rule, feedback};
use super::rounding::encode_by_importance;
use super::{Encoder, Needs, Zeros};

/// Error feedback; by importances alone where a format has no grid or nothing is known of the input.
pub static GPTQ: Encoder = Encoder {
    name: "gptq",
    about: "scales as search chooses them, codes that make good each other's error, then both by descent",
    source: "arXiv 2210.17323, 2309.01885",
    needs: Needs::Products,
    encode: |task, pool| {
        let squares = task.known.map(|known| &known.squares[..]);
        let mut bytes = encode_by_importance(task.values, task.cols, task.format, squares, pool);
        let (Some(known), Some(grid)) = (task.known, &task.format.grid) else { return bytes };
        if let Some(factor) = &known.factor {
            choose_codes(task.values, task.format, factor, task.zeros, &mut bytes, pool);
        }
        if let (Some(products), Some(_)) = (&known.products, &grid.scaling) {
            descend(task.values, task.format, products, task.zeros, &mut bytes, pool);
        }
        bytes
    },
};

/// The values that each weight of a matrix may take.
pub trait Grid: Sync {
    /// The allowed value nearest to `value` in `row` and column `col`.
    fn nearest(&self, row: usize, col: usize, value: f64) -> f32;
}

/// Rounding to a grid, as a rule.
struct Nearest<'a, G>(&'a G);

impl<G: Grid> Rule for Nearest<'_, G> {
    type Memory = ();
    const TOGETHER: usize = 1;

    fn begin(&self, (): &mut (), _: &Columns<'_>) {}

    #[inline(always)]
    fn choose(&self, (): &(), place: Place, value: f64) -> f32 {
        self.0.nearest(place.row, place.col, value)
    }
}

/// Replaces `weights` `(rows, factor.cols())` by values of `grid`.
pub fn round_to<G: Grid>(weights: &mut [f32], factor: &Factor, grid: &G, pool: &Pool) {
    feedback(weights, factor, &Nearest(grid), pool);
}

/// The grid of a matrix in blocks.
struct Blocks<'a> {
    levels: Levels,
    /// `(rows, cols / GROUP)`
    steps: &'a [Step],
    /// Steps of a row.
    width: usize,
    /// The weights, where those that are 0 stay so. `(rows, cols)`
    staying: Option<&'a [f32]>,
}

impl Grid for Blocks<'_> {
    #[inline(always)]
    fn nearest(&self, row: usize, col: usize, value: f64) -> f32 {
        let step = self.steps[row * self.width + col / GROUP];
        let stays = self.staying.is_some_and(|weights| weights[row * self.width * GROUP + col] == 0.0);
        let value = if stays { 0.0 } else { value };
        step.value(step.nearest(self.levels, value as f32))
    }
}

/// Rows that a thread encodes at once.
const ROWS: usize = 16;

/// Encodes `values` `(rows, cols)` in blocks of `format`: scales by its own search under `importance`, one per column such as the
/// diagonal of `H`, then codes by error feedback. Values are not looked at; one that is not finite spoils its row.
///
/// # Panics
/// When `format` is not encoded on a grid, `cols` are not the factor's and whole blocks, or `importance` is not one per column.
pub fn encode(values: &[f32], format: &Format, importance: &[f32], factor: &Factor, pool: &Pool) -> Vec<u8> {
    let cols = factor.cols();
    let mut bytes = encode_by_importance(values, cols, format, Some(importance), pool);
    choose_codes(values, format, factor, Zeros::Change, &mut bytes, pool);
    bytes
}

/// Chooses the codes of `blocks` anew by error feedback, `values` `(rows, factor.cols())` being what they should decode to; scales
/// stay.
///
/// # Panics
/// As [`encode`].
pub fn choose_codes(
    values: &[f32],
    format: &Format,
    factor: &Factor,
    zeros: Zeros,
    blocks: &mut [u8],
    pool: &Pool,
) {
    let grid = format.grid.as_ref().expect("a format with a grid");
    let (cols, row_bytes) = (factor.cols(), format.row_bytes(factor.cols()));
    assert!(cols.is_multiple_of(format.block), "{cols} columns in blocks of {}", format.block);
    assert_eq!(values.len() / cols * row_bytes, blocks.len(), "bytes of all rows");
    let width = cols / GROUP;
    let mut steps = vec![Step::default(); values.len() / GROUP];
    let rows = blocks.chunks(ROWS * row_bytes).zip(steps.chunks_mut(ROWS * width));
    let mut tasks: Vec<(&[u8], &mut [Step])> = rows.collect();
    pool.for_rows(&mut tasks, 1, |_, task| {
        let (blocks, steps) = &mut task[0];
        // What was encoded is not needed, only where.
        (grid.read)(blocks, steps, &mut vec![0; steps.len() * GROUP]);
    });
    let mut chosen = values.to_vec();
    let staying = (zeros == Zeros::Stay).then_some(values);
    round_to(&mut chosen, factor, &Blocks { levels: grid.levels, steps: &steps, width, staying }, pool);
    let rows = chosen.chunks(ROWS * cols).zip(steps.chunks(ROWS * width));
    let mut tasks: Vec<_> = rows.zip(blocks.chunks_mut(ROWS * row_bytes)).collect();
    pool.for_rows(&mut tasks, 1, |_, task| {
        let ((chosen, steps), blocks) = &mut task[0];
        (grid.write)(&levels_of(chosen, steps, grid), blocks);
    });
}

/// The levels of values on a grid.
fn levels_of(values: &[f32], steps: &[Step], grid: &grid::Grid) -> Vec<i8> {
    let mut levels = Vec::with_capacity(values.len());
    for (values, step) in values.chunks_exact(GROUP).zip(steps) {
        levels.extend(values.iter().map(|&v| step.nearest(grid.levels, v)));
    }
    levels
}

#[cfg(test)]
mod tests {
    use ingle_kernel::quant::{FORMATS, by_name};

    use super::super::descent::Products;
    use super::super::error::Measure;
    use super::super::feedback::Order;
    use super::super::prune::{Sparsity, magnitude};
    use super::super::{Known, Task};
    use super::*;
    use crate::linalg;
    use crate::noise::noise;

    const COLS: usize = 512;
    const ROWS: usize = 40;

    /// Weights, and the products of inputs whose columns differ in size and move together.
    fn matrix(pool: &Pool) -> (Vec<f32>, Vec<f64>) {
        let (mut state, n_tokens) = (1, 3000);
        let mut x: Vec<f32> = (0..n_tokens * COLS).map(|_| noise(&mut state)).collect();
        let sizes: Vec<f32> = (0..COLS).map(|_| noise(&mut state).powi(2) + 0.05).collect();
        for row in x.chunks_exact_mut(COLS) {
            for i in 1..COLS {
                row[i] = 0.6 * row[i] + 0.6 * row[i - 1];
            }
            row.iter_mut().zip(&sizes).for_each(|(x, size)| *x *= size);
        }
        let mut h = vec![0.0; COLS * COLS];
        linalg::gram(&mut h, &x, COLS, pool);
        h.iter_mut().for_each(|v| *v *= 2.0 / n_tokens as f64);
        // About normally distributed.
        let weights = (0..ROWS * COLS).map(|_| (0..4).map(|_| noise(&mut state)).sum::<f32>() * 0.02);
        (weights.collect(), h)
    }

    fn decode(format: &Format, bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / format.bytes * format.block];
        (format.dequantize)(bytes, &mut values);
        values
    }

    #[test]
    fn feedback_lowers_the_error_in_every_format_and_leaves_scales() {
        let pool = Pool::new(2);
        let (w, h) = matrix(&pool);
        let importance: Vec<f32> = (0..COLS).map(|j| h[j * COLS + j] as f32).collect();
        let factor = Factor::new(&h, COLS, Order::Descending, &pool).unwrap();
        let measure = Measure::new(&h, COLS, &pool);
        for format in FORMATS.iter().filter(|f| f.grid.is_some()) {
            let before = encode_by_importance(&w, COLS, format, Some(&importance), &pool);
            let after = encode(&w, format, &importance, &factor, &pool);
            let error = |bytes: &[u8]| measure.of(&w, &decode(format, bytes), &pool);
            let ratio = error(&after) / error(&before);
            eprintln!("{}: {ratio:.3}", format.name);
            assert!(ratio < 0.8, "{}: {ratio}", format.name);
            let grid = format.grid.as_ref().unwrap();
            let steps = |bytes: &[u8]| {
                let mut steps = vec![Step::default(); w.len() / GROUP];
                (grid.read)(bytes, &mut steps, &mut vec![0; w.len()]);
                steps
            };
            assert_eq!(steps(&before), steps(&after), "{}", format.name);
        }
    }

    #[test]
    fn pruned_weights_stay_as_near_to_0_as_their_block_has_a_value() {
        let pool = Pool::new(2);
        let (mut w, h) = matrix(&pool);
        magnitude(&mut w, COLS, Sparsity::Part(0.5));
        let factor = Factor::new(&h, COLS, Order::Descending, &pool).unwrap();
        let products = Some(Products::new(&h, COLS, factor.damping(), &pool));
        let squares = (0..COLS).map(|j| h[j * COLS + j] as f32).collect();
        let known = Known { squares, factor: Some(factor), products, correction: None };
        for format in FORMATS.iter().filter(|f| f.grid.is_some()) {
            let grid = format.grid.as_ref().unwrap();
            let encoded = |zeros| {
                let task = Task { values: &w, cols: COLS, format, known: Some(&known), zeros };
                (GPTQ.encode)(&task, &pool)
            };
            let bytes = encoded(Zeros::Stay);
            let (mut steps, mut levels) = (vec![Step::default(); w.len() / GROUP], vec![0; w.len()]);
            (grid.read)(&bytes, &mut steps, &mut levels);
            for (i, _) in w.iter().enumerate().filter(|(_, w)| **w == 0.0) {
                let step = steps[i / GROUP];
                let (value, least) = (step.value(levels[i]), step.value(step.nearest(grid.levels, 0.0)));
                assert_eq!(value.abs(), least.abs(), "{}: weight {i}", format.name);
            }
            // What makes good less costs more.
            let measure = Measure::new(&h, COLS, &pool);
            let error = |bytes: &[u8]| measure.of(&w, &decode(format, bytes), &pool);
            assert!(error(&bytes) > error(&encoded(Zeros::Change)), "{}", format.name);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_byte() {
        let format = by_name("q4_K").unwrap();
        let all = [1, 3].map(|n_threads| {
            let pool = Pool::new(n_threads);
            let (w, h) = matrix(&pool);
            let factor = Factor::new(&h, COLS, Order::Descending, &pool).unwrap();
            encode(&w, format, &vec![1.0; COLS], &factor, &pool)
        });
        assert!(all[0] == all[1]);
    }
}
