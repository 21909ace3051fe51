//! Files of safetensors and the index that says which there are: parsed, written again, imported as a model and run.
//!
//! An input is a file as it is, or lines: the index (an empty line for none), then the header of each file, before which
//! its length and behind which its data are put here. So a change in a header needs no other to be a file.
// libFuzzer: -max_len=2200
#![no_main]

use std::collections::BTreeSet;

use ingle_fuzz::{DATA, assert_same_again, assert_sentence, run};
use ingle_kernel::bytes::Bytes;
use ingle_model::Result;
use ingle_model::file::folder::{self, Folder};
use ingle_model::file::folder::weights::SAFETENSORS;
use ingle_model::file::entry::Entry;
use ingle_model::file::safetensors;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, json};

const CONFIG: &[u8] = br#"{"model_type":"llama","hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,
"num_attention_heads":2,"num_key_value_heads":1,"vocab_size":4,"max_position_embeddings":64,
"quantization_config":{"quant_method":"fp8","weight_block_size":[4,4]}}"#;

/// Length, header and data: as much of it as the header's last range says, within reason.
fn file_of(header: &[u8]) -> Bytes {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let text = String::from_utf8_lossy(header);
    let ends = text.split("data_offsets").skip(1).filter_map(|rest| number(rest.split([',', ']']).nth(1)?));
    let n = ends.max().unwrap_or(0).min(DATA.len());
    Bytes::new([&(header.len() as u64).to_le_bytes(), header, &DATA[..n]].concat())
}

/// What was read, written by other code and read again.
fn assert_same(entries: &[Entry]) {
    let (mut header, mut bytes) = (Map::new(), Vec::new());
    for e in entries {
        let start = bytes.len();
        bytes.extend_from_slice(&e.bytes());
        let range = [start, bytes.len()];
        header.insert(e.name.clone(), json!({"dtype": e.dtype, "shape": e.shape, "data_offsets": range}));
    }
    let header = serde_json::to_vec(&header).expect("plain JSON");
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes].concat();
    let again = safetensors::parse("again", &Bytes::new(file)).expect("what was written can be read");
    assert_eq!(entries.len(), again.len());
    for (a, b) in entries.iter().zip(&again) {
        assert_eq!((&a.name, &a.dtype, &a.shape), (&b.name, &b.dtype, &b.shape));
        assert!(*a.bytes() == *b.bytes(), "{}", a.name);
    }
}

fn read(input: &[u8]) -> Result<()> {
    let mut folder = Folder { config: CONFIG.into(), ..Folder::default() };
    if input.get(7) == Some(&0) {
        folder.shards.push((SAFETENSORS.one.into(), Bytes::new(input.to_vec())));
    } else {
        let mut lines = input.split(|&byte| byte == b'\n');
        folder.index = lines.next().filter(|line| !line.is_empty()).map(<[u8]>::to_vec);
        let names = match &folder.index {
            Some(index) => SAFETENSORS.shards(index)?,
            None => vec![SAFETENSORS.one.into()],
        };
        assert!(!names.is_empty() && names.iter().collect::<BTreeSet<_>>().len() == names.len());
        folder.shards = names.into_iter().zip(lines.map(file_of)).collect();
    }
    for (name, bytes) in &folder.shards {
        assert_same(&safetensors::parse(name, bytes)?);
    }
    let file = folder::import(&folder)?;
    for t in file.tensors() {
        assert_eq!(t.bytes().len(), t.n_bytes(), "{}", t.name);
    }
    if file.tensors().iter().all(|t| t.shape.len() <= 4) {
        assert_same_again(&file);
    }
    run(&file)
}

fuzz_target!(|input: &[u8]| assert_sentence(read(input)));
