//! A tensor as a container of other people's has it, before it gets its name and place among ours.

use ingle_kernel::bytes::Bytes;

use super::contents::Piece;

/// One tensor of a file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name there.
    pub name: String,
    /// The type's name in safetensors files: `F32`, `BF16`, `F8_E4M3`, ...; of values that were made in a block format of
    /// ours, that format's.
    pub dtype: String,
    /// Sizes, outermost first: a matrix of `rows` rows of `cols` values is `[rows, cols]`.
    pub shape: Vec<usize>,
    /// Its values.
    pub piece: Piece,
}

impl Entry {
    /// Its values: a window into the file, or made now.
    pub fn bytes(&self) -> Bytes {
        self.piece.bytes()
    }

    /// What an error names.
    pub fn part(&self) -> String {
        format!("tensor {}", self.name)
    }
}

/// Types and the bits of a value.
pub const DTYPES: &[(&str, usize)] = &[
    ("F32", 32),
    ("F16", 16),
    ("BF16", 16),
    ("F8_E4M3", 8),
    ("F8_E5M2", 8),
    ("F8_E8M0", 8),
    ("F64", 64),
    ("I64", 64),
    ("I32", 32),
    ("I16", 16),
    ("I8", 8),
    ("U64", 64),
    ("U32", 32),
    ("U16", 16),
    ("U8", 8),
    ("BOOL", 8),
];

/// Dimensions of a tensor at most.
pub const DIMS_MAX: usize = 8;
