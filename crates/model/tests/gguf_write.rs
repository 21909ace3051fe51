//! What is read and written again is the same file.

use std::path::{Path, PathBuf};

use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf::Gguf;
use ingle_model::file::gguf_write::{Header, Writer};

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
        let file = Gguf::parse(Bytes::new(bytes.clone())).unwrap();
        let mut header = Header::like(&file);
        for t in file.tensors() {
            header.add(&t.name, &t.shape, t.format).unwrap();
        }
        let mut writer = Writer::begin(Vec::new(), &header).unwrap();
        for t in file.tensors() {
            writer.write(&t.bytes).unwrap();
        }
        let again = writer.finish().unwrap();
        assert_eq!(again.len(), bytes.len(), "{}", path.display());
        assert!(again == bytes, "{}", path.display());
    }
}
