//! Folders of the compressed-tensors library: integers packed to words (`weight_packed`) or a byte each, and FP8.
//!
//! Codes of 2 to 8 bits stand one behind the other in a row's words, above their lowest value; zero points likewise, along
//! rows. A byte a code and FP8 keep the name `weight`, and FP8 goes the way of other FP8 weights. Scales are one for all, for
//! each row, or for each group of columns. Matrices that are left alone are not touched. Refused: floats of 4 bits, sparse
//! weights, and weights that are turned before or behind them (`transform_config`). How activations are to be quantised says
//! nothing about weights and is not looked at. Source: the library's `compressors` and `quantization` modules.

use super::grid::{Codes, Grid, Groups, Scales, Zeros};
use super::{Entries, Method, group_size, int, number, stems, take_matrix, words, wrong_shape};
use crate::error::{Error, Result};
use crate::file::entry::Entry;
use crate::file::folder::fields::Fields;

pub static METHOD: Method = Method { name: "compressed-tensors", unpack };

const FORMATS: &[&str] = &[
    "\"pack-quantized\"",
    "\"int-quantized\"",
    "\"float-quantized\"",
    "\"naive-quantized\"",
    "\"mixed-precision\"",
    "\"dense\"",
];
/// Rows asked for at once.
const TILE: usize = 16;

fn unpack(config: &Fields<'_>, entries: &mut Entries) -> Result<()> {
    config.expect("format", FORMATS)?;
    if let Some(sparsity) = config.object("sparsity_config")? {
        sparsity.expect("format", &["\"dense\""])?;
    }
    if config.object("transform_config")?.is_some_and(|transform| !transform.map.is_empty()) {
        return Err(Error::unsupported(
            config.of("transform_config"),
            "a transformation of weights",
            ["none"],
        ));
    }
    let said = said(config)?;
    for stem in stems(entries, ".weight_packed") {
        let (codes, [rows, n_words]) = take_matrix(entries, &stem, ".weight_packed", &["I32"])?;
        let cols = cols(entries, &stem, rows)?;
        let bits = said.iter().map(|weights| weights.bits).find(|bits| (cols * bits).div_ceil(32) == n_words);
        let bits = bits.ok_or_else(|| {
            let sizes: Vec<String> = said.iter().map(|weights| weights.bits.to_string()).collect();
            wrong_shape(&codes, format!("{cols} numbers of {} bits in a row's words", sizes.join(" or ")))
        })?;
        let half = 1 << (bits - 1);
        let fill: Codes = Box::new(move |first, to| {
            let bytes = codes.bytes();
            let words = bytes.as_chunks::<4>().0;
            for (row, to) in words.chunks_exact(n_words).skip(first).zip(to.chunks_exact_mut(cols)) {
                let word = |j: usize| u32::from_le_bytes(row[j]);
                to.iter_mut().enumerate().for_each(|(i, code)| *code = number(word, bits, i) as i16 - half);
            }
        });
        let matrix = Matrix { rows, cols, bits };
        put(entries, &stem, |entries| matrix.grid(entries, &stem, &said, fill))?;
    }
    for stem in stems(entries, ".weight") {
        if entries.get(&format!("{stem}.weight")).is_none_or(|weights| weights.dtype != "I8") {
            continue;
        }
        let (codes, [rows, cols]) = take_matrix(entries, &stem, ".weight", &["I8"])?;
        let fill: Codes = Box::new(move |first, to| {
            let from = &codes.bytes()[first * cols..];
            to.iter_mut().zip(from).for_each(|(to, &code)| *to = i16::from(code as i8));
        });
        let matrix = Matrix { rows, cols, bits: 8 };
        put(entries, &stem, |entries| matrix.grid(entries, &stem, &said, fill))?;
    }
    Ok(())
}

fn put(entries: &mut Entries, stem: &str, grid: impl FnOnce(&mut Entries) -> Result<Grid>) -> Result<()> {
    let name = format!("{stem}.weight");
    let weights = grid(entries)?.entry(name.clone());
    match entries.insert(name, weights) {
        Some(other) => Err(Error::malformed(other.part(), "weights beside quantised ones", "one of them")),
        None => Ok(()),
    }
}

/// What the configuration says of some matrices.
struct Weights {
    bits: usize,
    group_size: Option<i64>,
}

/// What it says of all, in its order. Which are whose follows from their shapes.
fn said(config: &Fields<'_>) -> Result<Vec<Weights>> {
    let Some(groups) = config.object("config_groups")? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (name, group) in groups.map {
        let part = || format!("{} {name}", config.of("config_groups"));
        let Some(weights) = group.get("weights").filter(|weights| !weights.is_null()) else { continue };
        let map = weights.as_object();
        let map = map.ok_or_else(|| Error::malformed(part(), "weights that are no object", "an object"))?;
        let (part, within) = (part(), Some("weights"));
        let weights = Fields { within, ..Fields::of_file(&part, map) };
        weights.expect("type", &["\"int\"", "\"float\""])?;
        let bits = weights.need_uint("num_bits")?;
        if !(2..=8).contains(&bits) {
            return Err(Error::unsupported(weights.of("num_bits"), bits, ["2 to 8"]));
        }
        all.push(Weights { bits: bits as usize, group_size: int(&weights, "group_size")? });
    }
    Ok(all)
}

/// Columns of the packed matrix `stem`, by its tensor of sizes.
fn cols(entries: &mut Entries, stem: &str, rows: usize) -> Result<usize> {
    let name = format!("{stem}.weight_shape");
    let shape =
        entries.remove(&name).ok_or_else(|| Error::missing(format!("tensor {name}"), "rows and columns"))?;
    let bytes = shape.bytes();
    let sizes: Vec<i64> = match shape.dtype.as_str() {
        "I64" => bytes.as_chunks::<8>().0.iter().map(|&size| i64::from_le_bytes(size)).collect(),
        "I32" => bytes.as_chunks::<4>().0.iter().map(|&size| i32::from_le_bytes(size).into()).collect(),
        other => return Err(Error::unsupported(shape.part(), format!("type {other}"), ["I64", "I32"])),
    };
    match sizes[..] {
        [n, cols] if n == rows as i64 && (1..1 << 32).contains(&cols) => Ok(cols as usize),
        _ => {
            let found = format!("sizes {:?}", sizes.iter().take(4).collect::<Vec<_>>());
            Err(Error::malformed(shape.part(), found, format!("{rows} rows and their columns")))
        }
    }
}

/// The numbers of a matrix, and the bits of its codes.
struct Matrix {
    rows: usize,
    cols: usize,
    bits: usize,
}

impl Matrix {
    fn grid(self, entries: &mut Entries, stem: &str, said: &[Weights], codes: Codes) -> Result<Grid> {
        let Self { rows, cols, bits } = self;
        let mut take = |end: &str| entries.remove(&format!("{stem}{end}"));
        let (scales, zeros, order) =
            (take(".weight_scale"), take(".weight_zero_point"), take(".weight_g_idx"));
        let scales = scales.ok_or_else(|| {
            Error::missing(format!("tensor {stem}.weight_scale"), "what the weight needs beside it")
        })?;
        let n_groups = match scales.shape[..] {
            [] | [1] | [1, 1] => 1,
            [n] if n == rows => 1,
            [n, groups] if n == rows => groups,
            _ => return Err(wrong_shape(&scales, format!("one, or some for each of {rows} rows"))),
        };
        let sizes = said.iter().filter(|weights| weights.bits == bits).map(|weights| weights.group_size);
        let size = sizes.chain([None]).find_map(|size| group_size(cols, n_groups, size));
        let size =
            size.ok_or_else(|| wrong_shape(&scales, format!("a scale for each group of {cols} columns")))?;
        let groups = match order {
            Some(list) => Groups::listed(&list, cols, size)?,
            None => Groups::Of(size),
        };
        let half = 1 << (bits - 1);
        Ok(Grid {
            rows,
            cols,
            range: (-half, half - 1),
            codes,
            tile: TILE,
            scales: Scales::new(scales, false)?,
            zeros: zeros.map(|zeros| self.zeros(zeros, n_groups)).transpose()?,
            groups,
        })
    }

    /// The zero points in `entry`: packed along rows, or a byte each.
    fn zeros(&self, entry: Entry, n_groups: usize) -> Result<Zeros> {
        let (rows, bits) = (self.rows, self.bits);
        let half = 1i16 << (bits - 1);
        let n: usize = entry.shape.iter().product();
        match entry.dtype.as_str() {
            "I32" if entry.shape == [(rows * bits).div_ceil(32), n_groups] => Ok(Box::new(move || {
                let words = words(&entry);
                let zero = |i: usize| {
                    let (row, group) = (i / n_groups, i % n_groups);
                    number(|j| words[j * n_groups + group], bits, row) as i16 - half
                };
                (0..rows * n_groups).map(zero).collect()
            })),
            "I8" if n == 1 || n == rows * n_groups => Ok(Box::new(move || {
                let bytes = entry.bytes();
                (0..rows * n_groups).map(|i| i16::from(bytes[i % n] as i8)).collect()
            })),
            "I32" | "I8" => Err(wrong_shape(&entry, format!("zeros of {n_groups} groups of {rows} rows"))),
            other => Err(Error::unsupported(entry.part(), format!("type {other}"), ["I8", "I32"])),
        }
    }
}
