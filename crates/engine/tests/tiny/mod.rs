//! The tiny models of `model/tests/families`, each with a vocabulary put in.

use std::path::Path;
use std::sync::Arc;

use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf;
use ingle_model::file::gguf_write::{Header, Meta, Writer};
use ingle_model::file::value::ValueType;

/// Every tiny model, with a vocabulary that ends no answer.
pub fn models() -> Vec<Arc<Loaded>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/families");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "gguf")).collect();
    paths.sort();
    paths.iter().map(|path| with_vocabulary(path)).collect()
}

fn with_vocabulary(path: &Path) -> Arc<Loaded> {
    let file = gguf::parse(Bytes::new(std::fs::read(path).unwrap())).unwrap();
    let n_vocab = file.tensor("token_embd.weight").unwrap().shape[1];
    let tokens = (0..n_vocab).map(|id| Meta::text(format!("token{id}").as_bytes()));
    let mut header = Header::like(&file);
    header.set("tokenizer.ggml.model", Meta::text(b"llama")).unwrap();
    header.set("tokenizer.ggml.tokens", Meta::array(ValueType::String, tokens)).unwrap();
    let scores = (0..n_vocab).map(|_| Meta::from(0f32));
    header.set("tokenizer.ggml.scores", Meta::array(ValueType::F32, scores)).unwrap();
    for tensor in file.tensors() {
        header.add(&tensor.name, &tensor.shape, tensor.format).unwrap();
    }
    let mut writer = Writer::begin(Vec::new(), &header).unwrap();
    for tensor in file.tensors() {
        writer.write(&tensor.bytes()).unwrap();
    }
    let name = path.file_stem().unwrap().to_string_lossy();
    let file = ModelFile::from_bytes(&name, Bytes::new(writer.finish().unwrap())).unwrap();
    Arc::new(Loaded::load(file, &LoadOptions { tier: None, n_threads: 1, pack: Pack::Auto }).unwrap())
}
