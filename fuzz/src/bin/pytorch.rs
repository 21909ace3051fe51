//! PyTorch's files: parsed, every tensor's values made, imported as a model and run.
//!
//! An input is an archive as it is, or a pickle, which is put into an archive beside four storages: so a change in it needs no
//! other to be a file.
// libFuzzer: -max_len=2200
#![no_main]

use ingle_fuzz::{DATA, assert_same_again, assert_sentence, run};
use ingle_kernel::bytes::Bytes;
use ingle_model::Result;
use ingle_model::file::entry::DTYPES;
use ingle_model::file::folder::weights::PYTORCH;
use ingle_model::file::folder::{self, Folder};
use ingle_model::file::pytorch;
use libfuzzer_sys::fuzz_target;

const CONFIG: &[u8] = br#"{"model_type":"llama","hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,
"num_attention_heads":2,"num_key_value_heads":1,"vocab_size":4,"max_position_embeddings":64}"#;

/// The storages beside a pickle, and their bytes.
const STORAGES: [(&str, usize); 4] = [("0", 16), ("1", 64), ("2", 128), ("3", 256)];

/// An archive of stored members.
fn archive(members: &[(String, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let (at, len) = (file.len() as u32, content.len() as u32);
        let sizes = [[0; 4], len.to_le_bytes(), len.to_le_bytes()].concat();
        let names = [(name.len() as u16).to_le_bytes(), [0; 2]].concat();
        let head = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &sizes, &names].concat();
        file.extend([&b"PK\x03\x04"[..], &head, name.as_bytes(), content].concat());
        directory.extend([&b"PK\x01\x02\0\0"[..], &head, &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat());
    }
    let n = (members.len() as u16).to_le_bytes();
    let [len, at] = [directory.len(), file.len()].map(|n| (n as u32).to_le_bytes());
    let end = [&b"PK\x05\x06\0\0\0\0"[..], &n, &n, &len, &at, &[0; 2]].concat();
    [file, directory, end].concat()
}

fn file_of(input: &[u8]) -> Vec<u8> {
    if input.starts_with(b"PK") {
        return input.to_vec();
    }
    let mut members = vec![("a/data.pkl".to_owned(), input)];
    members.extend(STORAGES.map(|(key, len)| (format!("a/data/{key}"), &DATA[..len])));
    archive(&members)
}

fn read(input: &[u8]) -> Result<()> {
    let bytes = Bytes::new(file_of(input));
    for entry in pytorch::parse(PYTORCH.one, &bytes)? {
        let bits = DTYPES.iter().find(|(name, _)| *name == entry.dtype).expect("a type of the list").1;
        assert_eq!(entry.bytes().len(), entry.shape.iter().product::<usize>() * bits / 8, "{}", entry.name);
    }
    let shards = vec![(PYTORCH.one.to_owned(), bytes)];
    let file = folder::import(&Folder { config: CONFIG.into(), weights: &PYTORCH, shards, ..Folder::default() })?;
    if file.tensors().iter().all(|t| t.shape.len() <= 4) {
        assert_same_again(&file);
    }
    run(&file)
}

fuzz_target!(|input: &[u8]| assert_sentence(read(input)));
