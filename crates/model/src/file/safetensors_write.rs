//! The front of a safetensors file: what stands before the tensors' bytes, which follow in the same order without gaps.
//!
//! Nothing here writes; whoever has the bytes does. Source: the format's description in the safetensors library's README.

use serde_json::{Map, json};

/// A tensor to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// The type's name: `BF16`, `I32`, ...
    pub dtype: &'static str,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Its bytes, as many as type and shape ask for.
    pub n_bytes: usize,
}

/// The length and the header of a file with these tensors.
pub fn front(records: &[Record]) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut end = 0;
    for record in records {
        let start = end;
        end += record.n_bytes;
        let value = json!({"dtype": record.dtype, "shape": record.shape, "data_offsets": [start, end]});
        header.insert(record.name.clone(), value);
    }
    let mut text = serde_json::to_vec(&header).expect("names and numbers");
    // Readers want the bytes aligned.
    text.resize(text.len().next_multiple_of(8), b' ');
    [&(text.len() as u64).to_le_bytes(), &text[..]].concat()
}
