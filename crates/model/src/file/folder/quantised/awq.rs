//! AWQ's folders: `qweight`, `qzeros` and `scales` for each matrix, of 4 bits, in the layout that its GEMM kernel takes.
//!
//! A word has eight neighbouring rows of one column, those of even numbers first; zeros lie the same way. Other layouts (GEMV,
//! Marlin) are refused. Source: the AutoAWQ library's `WQLinear_GEMM`.

use super::grid::{Codes, Grid, Groups, Scales};
use super::{Entries, Method, group_size, int, stems, take_matrix, words, wrong_shape};
use crate::error::{Error, Result};
use crate::file::folder::fields::Fields;

pub static METHOD: Method = Method { name: "awq", unpack };

/// The place of each of a word's eight rows.
const PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
/// Rows whose words lie in one line of the cache.
const TILE: usize = 128;

fn unpack(config: &Fields<'_>, entries: &mut Entries) -> Result<()> {
    config.expect("version", &["\"gemm\"", "\"GEMM\""])?;
    config.expect("bits", &["4"])?;
    config.expect("w_bit", &["4"])?;
    let size = match int(config, "group_size")? {
        None => int(config, "q_group_size")?,
        size => size,
    };
    for stem in stems(entries, ".qweight") {
        let (name, grid) = (format!("{stem}.weight"), grid(entries, &stem, size)?);
        if let Some(other) = entries.insert(name.clone(), grid.entry(name)) {
            return Err(Error::malformed(other.part(), "weights beside quantised ones", "one of them"));
        }
    }
    Ok(())
}

fn grid(entries: &mut Entries, stem: &str, size: Option<i64>) -> Result<Grid> {
    let (packed, [cols, per_col]) = take_matrix(entries, stem, ".qweight", &["I32"])?;
    let (zeros, zeros_shape) = take_matrix(entries, stem, ".qzeros", &["I32"])?;
    let (scales, [n_groups, scale_rows]) = take_matrix(entries, stem, ".scales", &["F16", "BF16", "F32"])?;
    let rows = per_col * 8;
    if scale_rows != rows {
        return Err(wrong_shape(&scales, format!("groups of {rows} rows, as {}", packed.name)));
    }
    let group = group_size(cols, n_groups, size);
    let group =
        group.ok_or_else(|| wrong_shape(&scales, format!("a scale for each group of {cols} columns")))?;
    if zeros_shape != [n_groups, per_col] {
        return Err(wrong_shape(&zeros, format!("{:?}", [n_groups, per_col])));
    }
    let number = |word: u32, row: usize| (word >> (4 * PLACES[row % 8]) & 15) as i16;
    let codes: Codes = Box::new(move |first, codes| {
        let bytes = packed.bytes();
        let words = bytes.as_chunks::<4>().0;
        let n = codes.len() / cols;
        for (col, words) in words.chunks_exact(per_col).enumerate() {
            for i in 0..n {
                codes[i * cols + col] = number(u32::from_le_bytes(words[(first + i) / 8]), first + i);
            }
        }
    });
    let zeros = move || {
        let words = words(&zeros);
        let zero = |i: usize| number(words[i % n_groups * per_col + i / n_groups / 8], i / n_groups);
        (0..rows * n_groups).map(zero).collect()
    };
    Ok(Grid {
        rows,
        cols,
        range: (0, 15),
        codes,
        tile: TILE,
        scales: Scales::new(scales, true)?,
        zeros: Some(Box::new(zeros)),
        groups: Groups::Of(group),
    })
}
