//! What is read and written again is the same file.

use std::path::{Path, PathBuf};

use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf;
use ingle_model::file::gguf_write::{Header, Meta, Writer};
use ingle_model::file::value::ValueType;

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("demo/demo.gguf"), root.join("crates/cli/tests/malicious/base.gguf")];
    for folder in ["../shared/golden/families", "../shared/models"] {
        match std::fs::read_dir(root.join(folder)) {
            Ok(entries) => files.extend(entries.map(|e| e.unwrap().path())),
            Err(_) => println!("{folder} is not beside the checkout: its files are skipped"),
        }
    }
    files.retain(|f| f.extension().is_some_and(|e| e == "gguf"));
    files
}

#[test]
fn a_file_read_and_written_is_the_same_to_the_byte() {
    for path in files() {
        let bytes = std::fs::read(&path).unwrap();
        let file = gguf::parse(Bytes::new(bytes.clone())).unwrap();
        let mut header = Header::like(&file);
        for t in file.tensors() {
            header.add(&t.name, &t.shape, t.format).unwrap();
        }
        let mut writer = Writer::begin(Vec::new(), &header).unwrap();
        for t in file.tensors() {
            writer.write(&t.bytes()).unwrap();
        }
        let again = writer.finish().unwrap();
        assert_eq!(again.len(), bytes.len(), "{}", path.display());
        assert!(again == bytes, "{}", path.display());
    }
}

#[test]
fn version_1s_nested_arrays_are_written_with_the_lengths_of_version_3() {
    let string = |text: &[u8]| [&(text.len() as u32).to_le_bytes(), text].concat();
    let array = |of: ValueType, elements: &[Vec<u8>]| {
        [&of.id().to_le_bytes()[..], &(elements.len() as u32).to_le_bytes(), &elements.concat()].concat()
    };
    let words = array(ValueType::String, &[string(b"a"), string(b""), string(b"bcd")]);
    let numbers = array(ValueType::I32, &[7i32.to_le_bytes().to_vec()]);
    let deeper = array(ValueType::Array, std::slice::from_ref(&words));
    let mut bytes = [&b"GGUF"[..], &1u32.to_le_bytes(), &0u32.to_le_bytes(), &1u32.to_le_bytes()].concat();
    bytes.extend(string(b"nested"));
    bytes.extend(ValueType::Array.id().to_le_bytes());
    bytes.extend(array(ValueType::Array, &[words, numbers, deeper]));

    let words = Meta::array(ValueType::String, ["a", "", "bcd"].map(Meta::from));
    let numbers = Meta::array(ValueType::I32, [Meta::from(7i32)]);
    let deeper = Meta::array(ValueType::Array, [words.clone()]);
    let expected = Meta::array(ValueType::Array, [words, numbers, deeper]);
    let file = gguf::parse(Bytes::new(bytes)).unwrap();
    assert_eq!(Meta::read(&file, "nested"), Some(expected.clone()));
    let written = Writer::begin(Vec::new(), &Header::like(&file)).unwrap().finish().unwrap();
    let again = gguf::parse(Bytes::new(written)).unwrap();
    assert_eq!(again.container, "GGUF 3");
    assert_eq!(Meta::read(&again, "nested"), Some(expected));
}
