//! The rows a tensor has in a file that is written, where that is more than it has in what it is read from.
//!
//! Gemma 3n's embeddings per layer (`per_layer_token_embd`) are for texts alone: published folders have 262144 rows of them for
//! a vocabulary of 262400, and the ids behind, which images and sounds take, look up row 0. So does the models' own library, and
//! so does our decoder, which therefore uses such a table where it lies. Other readers of GGUF refuse it: they expect a row
//! for each id. The table is written with the copies of row 0 that this means. Every id then says what it said, to every
//! reader, and the file computes the same bits as the folder. (llama.cpp's own converter writes zeros there.)

use std::io::{Result as IoResult, Write};

use ingle_model::file::gguf_write::Writer;
use ingle_model::file::{Contents, Tensor};

/// Rows to be written behind those of `tensor`, each a copy of its first.
pub fn n_repeats(file: &Contents, tensor: &Tensor) -> usize {
    let rows = |tensor: &Tensor| match tensor.shape[..] {
        [_, rows] => Some(rows),
        _ => None,
    };
    if tensor.name != "per_layer_token_embd.weight" {
        return 0;
    }
    let ids = file.tensor("token_embd.weight").and_then(rows);
    ids.zip(rows(tensor)).map_or(0, |(ids, has)| ids.saturating_sub(has))
}

/// The shape of `tensor` with them.
pub fn shape(file: &Contents, tensor: &Tensor) -> Vec<usize> {
    let mut shape = tensor.shape.clone();
    if let Some(rows) = shape.get_mut(1) {
        *rows += n_repeats(file, tensor);
    }
    shape
}

/// Writes `tensor` with them as it is.
pub fn copy(file: &Contents, tensor: &Tensor, writer: &mut Writer<impl Write>) -> IoResult<()> {
    let bytes = tensor.bytes();
    writer.write(&bytes)?;
    let first = &bytes[..tensor.format.row_bytes(tensor.shape[0])];
    (0..n_repeats(file, tensor)).try_for_each(|_| writer.write(first))
}
