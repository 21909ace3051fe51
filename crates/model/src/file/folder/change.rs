//! What stands in a folder other than in a GGUF file: changes that tables of names ([`super::names`]) ask for.
//!
//! A change takes a tensor and the configuration, and gives the tensor as GGUF has it. It only says how bytes are made: they
//! are when the weights are read, one tensor (of many experts: one expert) at a time. Rows that stay together stay in place.
//! A model type with a peculiarity of its own writes its change in its own file, with the tools of [`Part`].

use std::sync::Arc;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::quant::{self, Format};

use super::fields::Fields;
use crate::error::{Error, Result};
use crate::file::contents::Piece;

/// One change.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// The same.
    AsIs,
    /// Rows of query heads, in halves there.
    QueryRows,
    /// Rows of key heads, in halves there.
    KeyRows,
    /// The upper half of the rows of each matrix.
    FirstHalf,
    /// The lower half of the rows of each matrix.
    SecondHalf,
    /// Rows 0, 2, 4, ... of each matrix.
    EvenRows,
    /// Rows 1, 3, 5, ... of each matrix.
    OddRows,
    /// Another, of values or columns, or one that needs more of the configuration than a base in GGUF tells.
    Other(fn(Part, &Fields<'_>) -> Result<Part>),
}

impl Change {
    /// The tensor as GGUF has it.
    pub fn apply(self, part: Part, config: &Fields<'_>) -> Result<Part> {
        match self {
            Self::AsIs => Ok(part),
            Self::QueryRows => {
                let n_heads = count(config, "num_attention_heads")?.unwrap_or(1);
                interleave(part, config, n_heads)
            }
            Self::KeyRows => {
                let n_heads = count(config, "num_attention_heads")?.unwrap_or(1);
                let n_kv_heads = count(config, "num_key_value_heads")?.unwrap_or(n_heads);
                interleave(part, config, n_kv_heads)
            }
            Self::FirstHalf => part.share(2, |i, _| i),
            Self::SecondHalf => part.share(2, |i, n| n + i),
            Self::EvenRows => part.share(2, |i, _| 2 * i),
            Self::OddRows => part.share(2, |i, _| 2 * i + 1),
            Self::Other(change) => change(part, config),
        }
    }

    /// Whether half of an adapter can go through it, as the rows of the matrix it is beside do.
    pub fn suits_adapters(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

/// A tensor or, of experts that have a tensor each, one of them.
#[derive(Debug)]
pub struct Part {
    /// Its name in the folder, for errors.
    pub name: String,
    /// Sizes, innermost first.
    pub shape: Vec<usize>,
    pub format: &'static Format,
    /// All values, or one piece for each index of the last of three dimensions.
    pub pieces: Vec<Piece>,
}

/// A norm's weights, less one there.
pub fn plus_one(part: Part, _: &Fields<'_>) -> Result<Part> {
    Ok(part.map(|v| v + 1.0))
}

/// The decay of a state space, its logarithm there.
pub fn neg_exp(part: Part, _: &Fields<'_>) -> Result<Part> {
    Ok(part.map(|v| -(f64::from(v).exp() as f32)))
}

/// [`neg_exp`], one value for each head.
pub fn neg_exp_column(part: Part, config: &Fields<'_>) -> Result<Part> {
    column(neg_exp(part, config)?, config)
}

/// A vector, as a matrix of one column.
pub fn column(part: Part, _: &Fields<'_>) -> Result<Part> {
    let part = part.expect_dims(1)?.map(|v| v);
    Ok(Part { shape: vec![1, part.shape[0]], ..part })
}

/// Without dimensions of size 1. What was a row may be a value then, so blocks become floats.
pub fn squeezed(part: Part, _: &Fields<'_>) -> Result<Part> {
    let mut part = part.plain();
    part.shape.retain(|&n| n != 1);
    if part.shape.is_empty() {
        part.shape.push(1);
    }
    Ok(part)
}

/// Each matrix with rows for columns.
pub fn transposed(part: Part, _: &Fields<'_>) -> Result<Part> {
    let mut part = part.expect_dims(3)?.plain();
    let (cols, rows) = (part.shape[0], part.shape[1]);
    part.shape = vec![1, cols * rows, part.shape[2]];
    let mut part = part.with_rows(cols * rows, move |i| i % rows * cols + i / rows);
    part.shape = vec![rows, cols, part.shape[2]];
    Ok(part)
}

/// A field that counts heads.
///
/// # Errors
/// [`Error::Malformed`] when it is none of 1 to 4096.
pub fn count(config: &Fields<'_>, name: &str) -> Result<Option<usize>> {
    let Some(n) = config.uint(name)? else { return Ok(None) };
    let in_range = usize::try_from(n).ok().filter(|n| (1..=1 << 12).contains(n));
    in_range.map(Some).ok_or_else(|| Error::malformed(config.of(name), n, "1 to 4096"))
}

/// Rows `i` and `i + n / 2` of the `n` rotated rows of each head become neighbours.
fn interleave(part: Part, config: &Fields<'_>, n_heads: usize) -> Result<Part> {
    let (rows, _) = part.rows();
    let head_dim = rows / n_heads;
    let rotated = super::rope::rotated_part(config)?;
    let n = rotated.map_or(head_dim, |part| (head_dim as f64 * part) as usize);
    if rows % (2 * n_heads) != 0 || n % 2 != 0 || n > head_dim {
        let expected = format!("pairs of rows in each of {n_heads} heads");
        return Err(Error::malformed(part.part(), format!("{rows} rows"), expected));
    }
    Ok(part.with_rows(rows, move |row| match row % head_dim {
        i if i < n => row - i + i % 2 * (n / 2) + i / 2,
        _ => row,
    }))
}

impl Part {
    /// What an error names.
    pub fn part(&self) -> String {
        format!("tensor {}", self.name)
    }

    /// The same, if it has `n` dimensions.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it has not.
    pub fn expect_dims(self, n: usize) -> Result<Self> {
        if self.shape.len() != n {
            let found = format!("{} dimensions", self.shape.len());
            return Err(Error::malformed(self.part(), found, n));
        }
        Ok(self)
    }

    /// Rows of each matrix, and values of a row. The rows of a vector are its values.
    pub fn rows(&self) -> (usize, usize) {
        match self.shape[..] {
            [n] => (n, 1),
            [cols, rows, ..] => (rows, cols),
            [] => unreachable!("every part has a dimension"),
        }
    }

    /// The same, if its matrices have `n` rows.
    ///
    /// # Errors
    /// [`Error::Malformed`] when they have not.
    pub fn expect_rows(self, n: usize) -> Result<Self> {
        let (rows, _) = self.rows();
        if rows != n {
            return Err(Error::malformed(self.part(), format!("{rows} rows"), n));
        }
        Ok(self)
    }

    /// A vector as a matrix with a row for each of the groups that `field` counts, in f32.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it can't be shared out.
    pub fn grouped(self, config: &Fields<'_>, field: &str) -> Result<Self> {
        let part = self.expect_dims(1)?;
        let (n, groups) = (part.shape[0], count(config, field)?.unwrap_or(1));
        if n % groups != 0 {
            return Err(Error::malformed(
                part.part(),
                format!("{n} values"),
                format!("a multiple of {groups}"),
            ));
        }
        Ok(Self { shape: vec![n / groups, groups], ..part.map(|v| v) })
    }

    /// One of `parts` equal shares of the rows of each matrix: its row `i` of `n` is theirs `from(i, n)`, which must be below
    /// `parts * n`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when they can't be shared out.
    pub fn share(self, parts: usize, from: fn(usize, usize) -> usize) -> Result<Self> {
        let (rows, _) = self.rows();
        if rows % parts != 0 {
            return Err(Error::malformed(
                self.part(),
                format!("{rows} rows"),
                format!("a multiple of {parts}"),
            ));
        }
        let n = rows / parts;
        Ok(self.with_rows(n, move |i| from(i, n)))
    }

    /// Each matrix with `n` rows of which row `i` is theirs `from(i)`, which must be one of theirs.
    ///
    /// Neighbours stay where they lie.
    pub fn with_rows(self, n: usize, from: impl Fn(usize) -> usize + Send + Sync + 'static) -> Self {
        let (rows, cols) = self.rows();
        let mut part = self.matrices();
        let run = part.format.row_bytes(cols);
        let first = from(0);
        let together = (0..n).all(|i| from(i) == first + i);
        let from = Arc::new(from);
        let one = |piece: Piece| match piece {
            Piece::InPlace(bytes) if together && bytes.len() == rows * run => {
                Piece::InPlace(window(&bytes, first * run, n * run))
            }
            piece => gathered(piece, run, rows, n, from.clone()),
        };
        part.pieces = part.pieces.into_iter().map(one).collect();
        let at = usize::from(part.shape.len() > 1);
        part.shape[at] = n;
        part
    }

    /// Each row with its runs of `width` values in another order: run `i` is theirs `from(i)`, which must be one of theirs.
    ///
    /// # Errors
    /// [`Error::Malformed`] when rows are not made of such runs.
    pub fn with_runs(
        self,
        width: usize,
        from: impl Fn(usize) -> usize + Send + Sync + 'static,
    ) -> Result<Self> {
        let (rows, cols) = self.rows();
        if width == 0 || cols % width != 0 || self.shape.len() != 2 {
            let found = format!("shape {:?}", self.shape);
            return Err(Error::malformed(self.part(), found, format!("a matrix of runs of {width} values")));
        }
        let mut part = self.plain();
        let n = cols / width;
        part.shape = vec![width, n * rows];
        let mut part = part.with_rows(n * rows, move |i| i / n * n + from(i % n));
        part.shape = vec![cols, rows];
        Ok(part)
    }

    /// Of each row, the values `first`, `first + 2`, ...
    ///
    /// # Errors
    /// [`Error::Malformed`] when they are not pairs in rows of a matrix.
    pub fn every_second(self, first: usize) -> Result<Self> {
        let mut part = self.expect_dims(2)?.plain();
        let (rows, cols) = part.rows();
        if cols % 2 != 0 {
            return Err(Error::malformed(part.part(), format!("{cols} columns"), "pairs"));
        }
        let n = cols / 2;
        part.shape = vec![1, cols * rows];
        let mut part = part.with_rows(n * rows, move |i| i / n * cols + i % n * 2 + first);
        part.shape = vec![n, rows];
        Ok(part)
    }

    /// The same in f32 if it is in blocks, for what takes rows apart.
    pub fn plain(self) -> Self {
        if self.format.block == 1 { self } else { self.map(|v| v) }
    }

    /// Values as `change` makes them, in f32.
    pub fn map(mut self, change: impl Fn(f32) -> f32 + Send + Sync + 'static) -> Self {
        let (format, change) = (self.format, Arc::new(change));
        let one = |piece: Piece| {
            let change = change.clone();
            Piece::Made(Arc::new(move || {
                values(&piece, format).into_iter().flat_map(|v| change(v).to_le_bytes()).collect()
            }))
        };
        self.pieces = self.pieces.into_iter().map(one).collect();
        self.format = &quant::F32;
        self
    }

    /// Row `i` of a matrix times `factor(i)`, in the same format of floats.
    pub fn times(self, factor: impl Fn(usize) -> f32 + Send + Sync + 'static) -> Self {
        let mut part = self.plain();
        let ((_, cols), format, factor) = (part.rows(), part.format, Arc::new(factor));
        let one = |piece: Piece| {
            let factor = factor.clone();
            Piece::Made(Arc::new(move || {
                let mut values = values(&piece, format);
                for (i, row) in values.chunks_exact_mut(cols).enumerate() {
                    row.iter_mut().for_each(|v| *v *= factor(i));
                }
                let mut bytes = vec![0; format.row_bytes(values.len())];
                let encode = format.quantize.expect("float formats can be written");
                encode(&values, None, &mut bytes);
                bytes
            }))
        };
        part.pieces = part.pieces.into_iter().map(one).collect();
        part
    }

    /// A piece for each of several matrices that lie in one.
    fn matrices(mut self) -> Self {
        if let ([_, _, n], [Piece::InPlace(bytes)]) = (&self.shape[..], &self.pieces[..])
            && *n > 1
        {
            let (n, size) = (*n, bytes.len() / n);
            self.pieces = (0..n).map(|i| Piece::InPlace(window(bytes, i * size, size))).collect();
        }
        self
    }
}

fn window(bytes: &Bytes, from: usize, len: usize) -> Bytes {
    bytes.get(from..from + len).expect("rows of the tensor")
}

fn values(piece: &Piece, format: &Format) -> Vec<f32> {
    let bytes = piece.bytes();
    let mut values = vec![0.0; bytes.len() / format.bytes * format.block];
    (format.dequantize)(&bytes, &mut values);
    values
}

/// Of each matrix of `rows` runs of `run` bytes, `n` runs: run `i` is theirs `from(i)`.
fn gathered(
    piece: Piece,
    run: usize,
    rows: usize,
    n: usize,
    from: Arc<impl Fn(usize) -> usize + Send + Sync + 'static>,
) -> Piece {
    Piece::Made(Arc::new(move || {
        let bytes = piece.bytes();
        let mut to = Vec::with_capacity(bytes.len() / rows * n);
        for matrix in bytes.chunks_exact(rows * run) {
            for i in 0..n {
                to.extend_from_slice(&matrix[from(i) * run..][..run]);
            }
        }
        to
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_blocks_that_is_squeezed_can_be_taken_apart() {
        let format = quant::by_name("q8_0").unwrap();
        let (values, mut bytes) =
            ((0..32).map(|i| i as f32).collect::<Vec<_>>(), vec![0; format.row_bytes(32)]);
        format.quantize.unwrap()(&values, None, &mut bytes);
        let pieces = vec![Piece::InPlace(Bytes::new(bytes))];
        let part = Part { name: "conv".into(), shape: vec![32, 1], format, pieces };
        let map = serde_json::Map::new();
        let part = squeezed(part, &Fields::of_file("config.json", &map)).unwrap();
        let turned = part.with_rows(32, |i| 31 - i);
        let found = super::values(&turned.pieces[0], turned.format);
        assert_eq!(turned.shape, [32]);
        assert!(found.iter().zip(values.iter().rev()).all(|(a, b)| (a - b).abs() < 0.2), "{found:?}");
    }
}
