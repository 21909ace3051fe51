//! Integers as the compressed-tensors library packs them: symmetric, with a scale for each group of columns or each row.
//!
//! A matrix that is q4_0 already keeps its codes and scales where the scheme is that of its blocks, so that what was fitted
//! there stays fitted. Others are rounded: of some scales around the one that the largest magnitude asks for, that with the least
//! squared error is taken. Scales are binary16. Codes stand one behind the other in a row's words of 32 bits, above their lowest
//! value.

use ingle_kernel::half::{f16_to_f32, f32_to_f16};
use ingle_model::Error as ModelError;
use ingle_model::file::folder::export::Out;
use ingle_model::file::safetensors_write::Record;
use serde_json::{Value, json};

use super::Source;
use crate::error::Result;

/// Bits of a code, and the columns that share a scale.
#[derive(Debug)]
pub struct Scheme {
    pub bits: usize,
    /// None for a whole row.
    pub group: Option<usize>,
}

/// Scales tried, each an eighth of a step wider than the one before.
const TRIES: usize = 13;
/// Columns of a block of q4_0, and its bytes.
const Q4_0: [usize; 2] = [32, 18];

impl Scheme {
    fn group(&self, cols: usize) -> usize {
        self.group.unwrap_or(cols)
    }

    /// The tensors that `out` becomes: codes, scales, sizes.
    pub fn records(&self, out: &Out) -> Result<Vec<Record>> {
        let [rows, cols] = out.shape[..] else { unreachable!("a matrix") };
        if cols % self.group(cols) != 0 {
            let found = format!("{cols} columns");
            let expected = format!("a multiple of the {} that share a scale", self.group(cols));
            return Err(ModelError::malformed(format!("tensor {}", out.name), found, expected).into());
        }
        let (n_words, n_groups) = ((cols * self.bits).div_ceil(32), cols / self.group(cols));
        let stem = out.name.trim_end_matches(".weight");
        let record = |end: &str, dtype, shape: Vec<usize>, size| {
            let n_bytes = shape.iter().product::<usize>() * size;
            Record { name: format!("{stem}.{end}"), dtype, shape, n_bytes }
        };
        Ok(vec![
            record("weight_packed", "I32", vec![rows, n_words], 4),
            record("weight_scale", "F16", vec![rows, n_groups], 2),
            record("weight_shape", "I64", vec![2], 8),
        ])
    }

    /// The bytes of codes and of scales.
    pub fn encode(&self, rows: &Source<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
        let (cols, group) = (rows.cols(), self.group(rows.cols()));
        let keeps = rows.job.tensor.format.name == "q4_0" && self.bits == 4 && group == Q4_0[0];
        let (mut packed, mut scales) = (Vec::new(), Vec::new());
        let (mut values, mut codes) = (vec![0.0; cols], vec![0i8; cols]);
        for i in 0..rows.n() {
            rows.read(i, &mut values)?;
            if keeps {
                for (block, codes) in rows.row(i).chunks_exact(Q4_0[1]).zip(codes.chunks_exact_mut(group)) {
                    scales.extend_from_slice(&block[..2]);
                    for (j, code) in codes.iter_mut().enumerate() {
                        *code = (block[2 + j % 16] >> (4 * (j / 16)) & 15) as i8 - 8;
                    }
                }
            } else {
                for (values, codes) in values.chunks_exact(group).zip(codes.chunks_exact_mut(group)) {
                    let scale = self.fit(values).ok_or_else(|| {
                        let most = values.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
                        let expected = format!("what {} bits and a scale in binary16 can hold", self.bits);
                        rows.refused(i, most.unwrap_or_default(), expected)
                    })?;
                    scales.extend_from_slice(&f32_to_f16(scale).to_le_bytes());
                    codes
                        .iter_mut()
                        .zip(values)
                        .for_each(|(code, &value)| *code = self.nearest(value, scale));
                }
            }
            self.pack(&codes, &mut packed);
        }
        Ok((packed, scales))
    }

    /// The code of `value`.
    fn nearest(&self, value: f32, scale: f32) -> i8 {
        let half = (1 << (self.bits - 1)) as f32;
        if scale == 0.0 { 0 } else { (value / scale).round().clamp(-half, half - 1.0) as i8 }
    }

    /// The scale for these values, one that binary16 holds; `None` where it holds none that is tried.
    fn fit(&self, values: &[f32]) -> Option<f32> {
        let most = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let top = ((1 << (self.bits - 1)) - 1) as f32;
        let error = |scale: f32| {
            let one = |&value: &f32| f64::from(value - scale * f32::from(self.nearest(value, scale))).powi(2);
            values.iter().map(one).sum::<f64>()
        };
        let tries = (0..TRIES).map(|i| f16_to_f32(f32_to_f16(most / (top + (i as f32 - 4.0) / 8.0))));
        let tries = tries.filter(|scale| scale.is_finite()).map(|scale| (error(scale), scale));
        tries.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, scale)| scale)
    }

    fn pack(&self, codes: &[i8], to: &mut Vec<u8>) {
        let half = 1 << (self.bits - 1);
        let (mut word, mut n) = (0u64, 0);
        for &code in codes {
            word |= ((i32::from(code) + half) as u64) << n;
            n += self.bits;
            if n >= 32 {
                to.extend_from_slice(&(word as u32).to_le_bytes());
                (word, n) = (word >> 32, n - 32);
            }
        }
        if n > 0 {
            to.extend_from_slice(&(word as u32).to_le_bytes());
        }
    }

    /// What the configuration says; modules called `left` stay floats.
    pub fn config(&self, left: &[&str]) -> Value {
        let strategy = if self.group.is_some() { "group" } else { "channel" };
        let weights = json!({"num_bits": self.bits, "type": "int", "symmetric": true, "strategy": strategy,
            "group_size": self.group, "dynamic": false, "actorder": null, "block_structure": null, "observer": "minmax",
            "observer_kwargs": {}});
        json!({"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
            "global_compression_ratio": null, "kv_cache_scheme": null, "ignore": left,
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": null, "output_activations": null}}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_no_scale_reaches_have_none() {
        let scheme = Scheme { bits: 4, group: Some(4) };
        assert_eq!(scheme.fit(&[0.0; 4]), Some(0.0));
        assert_eq!(scheme.fit(&[7.0, -7.0, 3.0, 0.0]), Some(1.0));
        // 65504 is the most that binary16 has.
        assert!(scheme.fit(&[4e5, 0.0, 0.0, 0.0]).is_some_and(|scale| scale > 5e4));
        assert_eq!(scheme.fit(&[1e6, 0.0, 0.0, 0.0]), None);
    }
}
