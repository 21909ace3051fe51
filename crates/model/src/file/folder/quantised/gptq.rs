//! GPTQ's folders: `qweight`, `qzeros`, `scales` and `g_idx` for each matrix.
//!
//! Codes stand in columns, of 2, 3, 4 or 8 bits in words of 32; zeros stand in rows, in version 1 of the format one less than they
//! are. `g_idx` says which group a column has, in another order where columns were quantised in the order of activations. Some
//! writers give every matrix a bias of zeros, which is left out. Marlin's order of codes is refused.
//! Sources: the AutoGPTQ and GPTQModel libraries' `qlinear` modules.

use super::grid::{Codes, Grid, Groups, Scales};
use super::{Entries, Method, group_size, int, number, stems, take_matrix, words, wrong_shape};
use crate::error::{Error, Result};
use crate::file::folder::fields::Fields;

pub static METHOD: Method = Method { name: "gptq", unpack };

const BITS: [u64; 4] = [2, 3, 4, 8];
/// Rows whose words lie in one line of the cache.
const TILE: usize = 16;

fn unpack(config: &Fields<'_>, entries: &mut Entries) -> Result<()> {
    for field in ["checkpoint_format", "format"] {
        config.expect(field, &["\"gptq\"", "\"gptq_v2\""])?;
    }
    config.expect("is_marlin_format", &["false"])?;
    let format = config.str("checkpoint_format")?.or(config.str("format")?);
    let less = i16::from(format != Some("gptq_v2"));
    let bits = config.need_uint("bits")?;
    if !BITS.contains(&bits) {
        return Err(Error::unsupported(config.of("bits"), bits, ["2", "3", "4", "8"]));
    }
    let (bits, size) = (bits as usize, int(config, "group_size")?);
    for stem in stems(entries, ".qweight") {
        let grid = grid(entries, &stem, bits, less, size)?;
        let bias = format!("{stem}.bias");
        if entries.get(&bias).is_some_and(|bias| bias.bytes().iter().all(|&byte| byte == 0)) {
            entries.remove(&bias);
        }
        let name = format!("{stem}.weight");
        if let Some(other) = entries.insert(name.clone(), grid.entry(name)) {
            return Err(Error::malformed(other.part(), "weights beside quantised ones", "one of them"));
        }
    }
    Ok(())
}

fn grid(entries: &mut Entries, stem: &str, bits: usize, less: i16, size: Option<i64>) -> Result<Grid> {
    let (packed, [n_words, rows]) = take_matrix(entries, stem, ".qweight", &["I32"])?;
    let (zeros, zeros_shape) = take_matrix(entries, stem, ".qzeros", &["I32"])?;
    let (scales, [n_groups, scale_rows]) = take_matrix(entries, stem, ".scales", &["F16", "BF16", "F32"])?;
    if n_words * 32 % bits != 0 || !(rows * bits).is_multiple_of(32) {
        return Err(wrong_shape(
            &packed,
            format!("whole words of numbers of {bits} bits in both dimensions"),
        ));
    }
    let cols = n_words * 32 / bits;
    if scale_rows != rows {
        return Err(wrong_shape(&scales, format!("groups of {rows} rows, as {}", packed.name)));
    }
    let group = group_size(cols, n_groups, size);
    let group =
        group.ok_or_else(|| wrong_shape(&scales, format!("a scale for each group of {cols} columns")))?;
    if zeros_shape != [n_groups, rows * bits / 32] {
        return Err(wrong_shape(&zeros, format!("{:?}", [n_groups, rows * bits / 32])));
    }
    let groups = match entries.remove(&format!("{stem}.g_idx")) {
        Some(list) => Groups::listed(&list, cols, group)?,
        None => Groups::Of(group),
    };
    let codes: Codes = Box::new(move |first, codes| {
        let bytes = packed.bytes();
        let words = bytes.as_chunks::<4>().0;
        for (i, row) in codes.chunks_exact_mut(cols).enumerate() {
            let word = |j: usize| u32::from_le_bytes(words[j * rows + first + i]);
            row.iter_mut().enumerate().for_each(|(col, code)| *code = number(word, bits, col) as i16);
        }
    });
    let zeros = move || {
        let (words, per_group) = (words(&zeros), rows * bits / 32);
        let zero = |i: usize| {
            let (row, group) = (i / n_groups, i % n_groups);
            number(|j| words[group * per_group + j], bits, row) as i16 + less
        };
        (0..rows * n_groups).map(zero).collect()
    };
    Ok(Grid {
        rows,
        cols,
        range: (0, (1 << bits) - 1),
        codes,
        tile: TILE,
        scales: Scales::new(scales, true)?,
        zeros: Some(Box::new(zeros)),
        groups,
    })
}
