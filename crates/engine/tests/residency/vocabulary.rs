//! The measurement of what vocabularies take, against what is counted for them: `cargo test --release -p ingle-engine --test residency
//! -- --ignored --nocapture vocabularies`. Real vocabularies lie in `../shared`.

use std::path::Path;

use ingle_engine::constrain::Vocabulary;
use ingle_engine::memory::resident_bytes;
use ingle_engine::mmap::give_back_freed;
use ingle_engine::model_file::ModelFile;
use ingle_engine::residency::need::Need;
use ingle_model::token::Parse;

#[test]
#[ignore = "a measurement, in release and alone"]
fn vocabularies_take_no_more_than_is_counted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/tokenizers");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("no vocabularies in ../shared: nothing was measured");
        return;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "gguf"));
    paths.sort();
    let text = include_str!("vocabulary.rs").repeat(20);
    let mut too_much = Vec::new();
    for path in paths {
        let before = resident_bytes().unwrap();
        let file = ModelFile::open(&path).unwrap();
        let tokenizer = file.tokenizer().unwrap();
        let mut ids = Vec::new();
        tokenizer.encode(&text, Parse::Text, &mut ids).unwrap();
        drop(ids);
        let vocabulary = Vocabulary::new(&tokenizer);
        give_back_freed();
        let taken = resident_bytes().unwrap().saturating_sub(before);
        let counted = Need::of(&file).vocabulary();
        let (n, name) = (tokenizer.n_vocab(), path.file_stem().unwrap().to_string_lossy().into_owned());
        println!("{name}: {n} tokens, {taken} bytes taken, {} a token, {counted} counted", taken / n as u64);
        too_much.extend((taken > counted + (2 << 20)).then_some(name));
        drop((vocabulary, tokenizer, file));
        give_back_freed();
    }
    assert!(too_much.is_empty(), "{too_much:?} take more than is counted");
}
