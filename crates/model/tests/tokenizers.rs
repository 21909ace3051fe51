//! Tokenizers against llama.cpp's ids, and the properties that hold for any of them.
//!
//! The reference vocabularies are large and lie outside the repository (`INGLE_GOLDEN`, or ../shared/golden); a small file made
//! here covers the same ground without them.

use std::path::PathBuf;

use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf;
use ingle_model::token::{Parse, Render, Tokenizer};

/// The folder of reference outputs, when it is there.
fn golden(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INGLE_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if !path.is_dir() {
        eprintln!("skipped: no reference outputs at {}", path.display());
        return None;
    }
    Some(path)
}

fn encode(tokenizer: &Tokenizer, text: &str, parse: Parse) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, parse, &mut ids).unwrap();
    ids
}

const REFERENCES: &[&str] =
    &["llama-bpe", "llama-spm", "qwen2", "gpt-2", "phi-3", "deepseek-llm", "gemma-4", "bert-bge"];

/// Every reference vocabulary: its name, the tokenizer, and texts with their ids.
fn references() -> Vec<(&'static str, Tokenizer, Vec<(String, Vec<u32>)>)> {
    let Some(folder) = golden("tokenizers") else { return Vec::new() };
    let read =
        |name: &str, end: &str| std::fs::read(folder.join(format!("ggml-vocab-{name}.gguf{end}"))).unwrap();
    let load = |&name: &&'static str| {
        let file = gguf::parse(Bytes::new(read(name, ""))).unwrap();
        let texts = String::from_utf8(read(name, ".inp")).unwrap();
        let ids = String::from_utf8(read(name, ".out")).unwrap();
        let ids = ids.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect());
        let ids: Vec<Vec<u32>> = ids.collect();
        let mut texts: Vec<_> = texts.split("\n__ggml_vocab_test__\n").map(str::to_owned).collect();
        // In most files the separator stands after the last text too.
        texts.pop_if(|last| last.is_empty());
        assert_eq!(texts.len(), ids.len(), "{name}");
        (name, Tokenizer::from_gguf(&file).unwrap(), texts.into_iter().zip(ids).collect())
    };
    REFERENCES.iter().map(load).collect()
}

#[test]
fn ids_equal_the_reference() {
    for (name, tokenizer, cases) in references() {
        assert!(cases.len() > 40, "{name}: {} cases", cases.len());
        for (text, ids) in cases {
            assert_eq!(encode(&tokenizer, &text, Parse::Text), ids, "{name}: {text:?}");
        }
    }
}

#[test]
fn texts_come_back_as_they_were() {
    // BERT keeps neither case nor spaces.
    for (name, tokenizer, cases) in references().into_iter().filter(|(name, ..)| *name != "bert-bge") {
        for (text, _) in cases {
            let ids = encode(&tokenizer, &text, Parse::Text);
            assert_eq!(tokenizer.decode(&ids, Render::Text), text, "{name}");
        }
    }
}

/// Prints how long a vocabulary takes to be opened, from the file's bytes on, and then to be ready for encoding, and how fast
/// English text becomes ids.
#[test]
#[ignore = "a measurement: cargo test --release -p ingle-model --test tokenizers speed -- --ignored --nocapture"]
fn speed() {
    let Some(folder) = golden("tokenizers") else { return };
    let Ok(text) = std::fs::read_to_string(folder.join("../../data/text/wiki.test.raw")) else { return };
    for name in REFERENCES {
        let bytes = Bytes::new(std::fs::read(folder.join(format!("ggml-vocab-{name}.gguf"))).unwrap());
        let best = |mut work: Box<dyn FnMut() + '_>| {
            let times = (0..7).map(|_| {
                let start = std::time::Instant::now();
                work();
                start.elapsed().as_secs_f64()
            });
            times.fold(f64::INFINITY, f64::min)
        };
        let open = || Tokenizer::from_gguf(&gguf::parse(bytes.clone()).unwrap()).unwrap();
        let opened = best(Box::new(|| drop(open())));
        let ready = best(Box::new(|| open().encode("", Parse::Text, &mut Vec::new()).unwrap()));
        let tokenizer = open();
        let mut ids = Vec::new();
        let encode = best(Box::new(|| {
            ids.clear();
            tokenizer.encode(&text, Parse::Text, &mut ids).unwrap();
        }));
        let mut back = String::new();
        let decode = best(Box::new(|| back = tokenizer.decode(&ids, Render::Text)));
        assert!(*name == "bert-bge" || back == text, "{name}");
        let megabytes = text.len() as f64 / 1e6;
        eprintln!(
            "{name}: open {:.1} ms, ready {:.1} ms, encode {:.1} MB/s ({} ids), decode {:.0} MB/s",
            opened * 1e3,
            ready * 1e3,
            megabytes / encode,
            ids.len(),
            megabytes / decode
        );
    }
}

/// A file of metadata alone.
#[derive(Default)]
struct Metadata {
    n: u64,
    bytes: Vec<u8>,
}

impl Metadata {
    fn key(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.n += 1;
        self.bytes.extend((key.len() as u64).to_le_bytes());
        self.bytes.extend(key.as_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(value);
        self
    }

    fn str(self, key: &str, value: &str) -> Self {
        let value = [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat();
        self.key(key, 8, &value)
    }

    fn uint(self, key: &str, value: u32) -> Self {
        self.key(key, 4, &value.to_le_bytes())
    }

    fn array<const N: usize>(self, key: &str, kind: u32, items: &[[u8; N]]) -> Self {
        let head = [&kind.to_le_bytes()[..], &(items.len() as u64).to_le_bytes()].concat();
        self.key(key, 9, &[head, items.concat()].concat())
    }

    fn strings<T: AsRef<[u8]>>(self, key: &str, items: &[T]) -> Self {
        let mut value = [&8u32.to_le_bytes()[..], &(items.len() as u64).to_le_bytes()].concat();
        for item in items {
            value.extend((item.as_ref().len() as u64).to_le_bytes());
            value.extend(item.as_ref());
        }
        self.key(key, 9, &value)
    }

    fn load(&self) -> Result<Tokenizer, ingle_model::Error> {
        let header = [&b"GGUF"[..], &3u32.to_le_bytes(), &0u64.to_le_bytes(), &self.n.to_le_bytes()].concat();
        Tokenizer::from_gguf(&gguf::parse(Bytes::new([header, self.bytes.clone()].concat()))?)
    }
}

/// GPT-2's character for a byte.
fn printable(byte: u8) -> String {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = if printable(byte) {
        u32::from(byte)
    } else {
        0x100 + (0..byte).filter(|&b| !printable(b)).count() as u32
    };
    char::from_u32(code).unwrap().to_string()
}

/// Byte-level: ids 0 to 255 are the bytes, then five merges, then special tokens.
fn byte_level(pre: &str) -> Metadata {
    let mut tokens: Vec<String> = (0..=255).map(printable).collect();
    tokens.extend(
        ["he", "ll", "hell", "hello", "Ġhello", "<|im_start|>", "<|im_end|>", "<tool>"].map(str::to_owned),
    );
    let mut kinds = vec![1i32; 261];
    kinds.extend([3, 3, 4]);
    Metadata::default()
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", pre)
        .strings("tokenizer.ggml.tokens", &tokens)
        .array("tokenizer.ggml.token_type", 5, &kinds.iter().map(|k| k.to_le_bytes()).collect::<Vec<_>>())
        .strings("tokenizer.ggml.merges", &["h e", "l l", "he ll", "hell o", "Ġ hello"])
        .uint("tokenizer.ggml.eos_token_id", 262)
}

/// SentencePiece: unknown, BOS, EOS, the bytes from id 3 on, then some text.
fn sentence_piece(texts: &[(&str, f32)]) -> Metadata {
    let mut tokens = vec!["<unk>".to_owned(), "<s>".into(), "</s>".into()];
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(texts.iter().map(|(text, _)| (*text).to_owned()));
    let mut kinds = vec![2i32, 3, 3];
    kinds.extend([6; 256]);
    kinds.resize(tokens.len(), 1);
    let mut scores = vec![0f32; 259];
    scores.extend(texts.iter().map(|(_, score)| score));
    Metadata::default()
        .str("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &tokens)
        .array("tokenizer.ggml.token_type", 5, &kinds.iter().map(|k| k.to_le_bytes()).collect::<Vec<_>>())
        .array("tokenizer.ggml.scores", 6, &scores.iter().map(|s| s.to_le_bytes()).collect::<Vec<_>>())
        .uint("tokenizer.ggml.bos_token_id", 1)
        .uint("tokenizer.ggml.eos_token_id", 2)
}

#[test]
fn byte_level_merges_by_rank_and_knows_special_tokens() {
    let tokenizer = byte_level("qwen2").load().unwrap();
    assert_eq!(encode(&tokenizer, "hello hello hel", Parse::Text), [259, 260, 32, 256, 108]);
    assert_eq!(encode(&tokenizer, "a<|im_end|>b<tool>", Parse::Special), [97, 262, 98, 263]);
    let as_text = encode(&tokenizer, "<|im_end|><tool>", Parse::Text);
    assert!(!as_text.contains(&262) && as_text.contains(&263), "{as_text:?}");
    assert_eq!(tokenizer.decode(&[259, 262, 260], Render::Text), "hello hello");
    assert_eq!(tokenizer.decode(&[259, 262], Render::Special), "hello<|im_end|>");
    assert_eq!(tokenizer.id_of(" hello"), Some(260));
    assert_eq!(tokenizer.id_of("<|im_start|>"), Some(261));
    assert_eq!(tokenizer.token_bytes(262), Some(&b""[..]));
    assert_eq!(tokenizer.token_bytes(264), None);
    assert!(tokenizer.is_eog(262) && !tokenizer.is_eog(261));
    assert_eq!((tokenizer.eot(), tokenizer.bos(), tokenizer.adds_bos()), (Some(262), None, false));
}

#[test]
fn sentence_piece_merges_by_score_and_falls_back_to_bytes() {
    let texts = [("▁", -9.0), ("a", -9.0), ("b", -9.0), ("▁a", -2.0), ("ab", -1.0), ("▁ab", -3.0)];
    let tokenizer = sentence_piece(&texts).load().unwrap();
    assert_eq!(encode(&tokenizer, "ab", Parse::Text), [264]);
    assert_eq!(encode(&tokenizer, "aab", Parse::Text), [262, 263]);
    assert_eq!(encode(&tokenizer, "é</s>a", Parse::Special), [259, 3 + 0xc3, 3 + 0xa9, 2, 262]);
    assert!(!encode(&tokenizer, "a</s>", Parse::Text).contains(&2));
    assert_eq!(tokenizer.decode(&encode(&tokenizer, " a é ▁b", Parse::Text), Render::Text), " a é  b");
    assert!(tokenizer.adds_bos());
}

#[test]
fn any_text_comes_back_from_every_pre_tokenizer() {
    const ALPHABET: &[&str] =
        &["hello", " ", "h", "\n", "é", "\u{301}", "日", "🙂", "1", "½", "'s", "<|im_end|>", "\0", "-"];
    let mut state = 11u64;
    use ingle_model::token::splitters::{Symbols, by_name, names};
    for pre in names().filter(|name| by_name(name).unwrap().symbols == Symbols::Bytes) {
        let tokenizer = byte_level(pre).load().unwrap();
        for _ in 0..50 {
            let text: String = (0..30)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    ALPHABET[(state >> 33) as usize % ALPHABET.len()]
                })
                .collect();
            let ids = encode(&tokenizer, &text, Parse::Text);
            assert_eq!(tokenizer.decode(&ids, Render::Text), text, "{pre}");
            assert_eq!(
                encode(&tokenizer, &text, Parse::Text),
                ids,
                "{pre}: remembered pieces change nothing"
            );
            assert_eq!(
                tokenizer.decode(&encode(&tokenizer, &text, Parse::Special), Render::Special),
                text,
                "{pre}"
            );
        }
    }
}

#[test]
fn a_megabyte_without_a_space_takes_moments() {
    let text = "hello".repeat(200_000);
    let start = std::time::Instant::now();
    assert_eq!(encode(&byte_level("gpt-2").load().unwrap(), &text, Parse::Text).len(), 200_000);
    let spm = sentence_piece(&[("hello", -1.0), ("h", -9.0), ("ell", -3.0), ("el", -4.0), ("hell", -2.0)]);
    assert!(encode(&spm.load().unwrap(), &text, Parse::Text).len() >= 200_000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// What is wrong with a vocabulary, be it found when it is opened or when it is first encoded with.
fn fault(file: &Metadata) -> String {
    let encode = |tokenizer: Tokenizer| tokenizer.encode("", Parse::Text, &mut Vec::new());
    file.load().and_then(encode).unwrap_err().to_string()
}

#[test]
fn a_fault_in_the_merges_is_told_to_whoever_encodes_and_nobody_else() {
    let tokenizer = Metadata::default()
        .str("tokenizer.ggml.model", "gpt2")
        .strings("tokenizer.ggml.tokens", &["a", "<|im_end|>"])
        .strings("tokenizer.ggml.merges", &["aa"])
        .load()
        .unwrap();
    assert_eq!(tokenizer.decode(&[0, 0], Render::Text), "aa");
    assert_eq!(tokenizer.eot(), Some(1));
    let mut ids = vec![7];
    for _ in 0..2 {
        let error = tokenizer.encode("a", Parse::Text, &mut ids).unwrap_err().to_string();
        assert!(error.contains("merge 0: \"aa\", expected two tokens with a space between"), "{error}");
    }
    assert_eq!((ids, tokenizer.id_of("a"), tokenizer.id_of("<|im_end|>")), (vec![7], None, Some(1)));
}

#[test]
fn broken_vocabularies_are_refused_in_one_sentence() {
    let gpt2 = || Metadata::default().str("tokenizer.ggml.model", "gpt2");
    let llama = || Metadata::default().str("tokenizer.ggml.model", "llama");
    const TOKENS: &str = "tokenizer.ggml.tokens";
    for (file, says) in [
        (Metadata::default(), "tokenizer.ggml.model: nothing"),
        (
            Metadata::default().str("tokenizer.ggml.model", "rune"),
            "rune is not supported; supported: gpt2, llama, gemma4, t5, bert, rwkv",
        ),
        (gpt2(), "tokenizer.ggml.tokens: nothing"),
        (gpt2().strings(TOKENS, &["a"]), "tokenizer.ggml.merges: nothing"),
        (
            gpt2().strings(TOKENS, &["a"]).str("tokenizer.ggml.pre", "rune"),
            "rune is not supported; supported: gpt-2",
        ),
        (gpt2().strings(TOKENS, &[[b'a', 0xff]]), "token 0: invalid UTF-8"),
        (gpt2().strings(TOKENS, &["a"]).strings("tokenizer.ggml.merges", &["aa"]), "merge 0"),
        (
            gpt2().strings(TOKENS, &["a"]).strings("tokenizer.ggml.merges", &[[b'a', b' ', 0xff]]),
            "merge 0: invalid UTF-8",
        ),
        (gpt2().uint(TOKENS, 1), "an array of texts"),
        (llama().strings(TOKENS, &["a"]), "tokenizer.ggml.scores: nothing"),
        (llama().strings(TOKENS, &["a"]).array("tokenizer.ggml.scores", 6, &[[0u8; 4]; 2]), "2 scores"),
        (
            llama().strings(TOKENS, &["a"]).array("tokenizer.ggml.token_type", 5, &[[0u8; 4]; 3]),
            "3 types, expected 1",
        ),
    ] {
        let message = fault(&file);
        assert!(message.contains(says) && !message.contains('\n'), "{message}");
    }
}

#[test]
fn odd_vocabularies_load_and_encode() {
    // No bytes at all, an empty and a repeated token, merges of what is not there, ids outside.
    let file = Metadata::default()
        .str("tokenizer.ggml.model", "gpt2")
        .strings("tokenizer.ggml.tokens", &["a", "", "a", "<unk>"])
        .strings("tokenizer.ggml.merges", &["a b", "x y", "  "])
        .uint("tokenizer.ggml.bos_token_id", u32::MAX)
        .uint("tokenizer.ggml.unknown_token_id", 3);
    let tokenizer = file.load().unwrap();
    assert_eq!(encode(&tokenizer, "ab", Parse::Text), [0, 3]);
    assert_eq!(tokenizer.bos(), None);
    assert_eq!(tokenizer.decode(&[7, 0], Render::Text), "\u{fffd}a");
    let nothing =
        Metadata::default().str("tokenizer.ggml.model", "gpt2").strings("tokenizer.ggml.merges", &[""; 0]);
    let nothing = nothing.strings("tokenizer.ggml.tokens", &[""; 0]).load().unwrap();
    assert_eq!(encode(&nothing, "ab", Parse::Special), [0u32; 0]);
}

/// A T5 vocabulary: padding, end, unknown, then some text.
fn t5(texts: &[(&str, f32)]) -> Metadata {
    let mut tokens = vec!["<pad>".to_owned(), "</s>".into(), "<unk>".into()];
    tokens.extend(texts.iter().map(|(text, _)| (*text).to_owned()));
    let mut kinds = vec![3i32, 3, 2];
    kinds.resize(tokens.len(), 1);
    let mut scores = vec![0f32; 3];
    scores.extend(texts.iter().map(|(_, score)| score));
    Metadata::default()
        .str("tokenizer.ggml.model", "t5")
        .strings("tokenizer.ggml.tokens", &tokens)
        .array("tokenizer.ggml.token_type", 5, &kinds.iter().map(|k| k.to_le_bytes()).collect::<Vec<_>>())
        .array("tokenizer.ggml.scores", 6, &scores.iter().map(|s| s.to_le_bytes()).collect::<Vec<_>>())
        .uint("tokenizer.ggml.eos_token_id", 1)
}

#[test]
fn t5_takes_the_best_sum_and_ends_with_eos() {
    let texts = [("▁", -2.0), ("a", -3.0), ("b", -3.0), ("▁a", -4.0), ("ab", -3.5), ("▁ab", -9.0)];
    let tokenizer = t5(&texts).load().unwrap();
    assert_eq!(encode(&tokenizer, "ab", Parse::Text), [3, 7]);
    assert_eq!(encode(&tokenizer, "a é日 b", Parse::Text), [6, 3, 2, 3, 5]);
    assert_eq!((tokenizer.before(), tokenizer.after()), (&[][..], &[1][..]));
    assert_eq!(tokenizer.decode(&[6, 3, 5, 1], Render::Text), "a b");
}

#[test]
fn t5_refuses_scores_that_are_no_numbers_and_broken_tables() {
    const MAP: &str = "tokenizer.ggml.precompiled_charsmap";
    for (file, says) in [
        (t5(&[("a", f32::NAN)]), "token 3: the score NaN, expected a finite number"),
        (t5(&[("a", f32::NEG_INFINITY)]), "the score -inf"),
        (t5(&[(&"a".repeat(2000), 0.0)]), "a token of 2000 bytes, expected at most 1024"),
        (t5(&[]).array(MAP, 0, &[[1u8], [0]]), "2 bytes, expected a length and a trie"),
        (t5(&[]).array(MAP, 0, &[[255u8]; 8]), "8 bytes, expected a trie of"),
        (t5(&[]).array(MAP, 0, &[[0u8], [0], [0], [0], [255]]), "texts that are not UTF-8"),
    ] {
        let message = fault(&file);
        assert!(message.contains(says) && !message.contains('\n'), "{message}");
    }
}

#[test]
fn rwkv_takes_the_longest_token_that_begins() {
    let file = Metadata::default()
        .str("tokenizer.ggml.model", "rwkv")
        .strings("tokenizer.ggml.tokens", &["<s>", r"\n", "a", "ab", r"\xe6", r"\x97\xa5", r"\'"])
        .array("tokenizer.ggml.token_type", 5, &[3i32, 1, 1, 1, 1, 1, 1].map(i32::to_le_bytes));
    let tokenizer = file.load().unwrap();
    assert_eq!(encode(&tokenizer, "aab\n日'", Parse::Text), [2, 3, 1, 4, 5, 6]);
    assert_eq!(tokenizer.decode(&[2, 3, 1, 4, 5, 6], Render::Text), "aab\n日'");
}

#[test]
fn bert_begins_words_with_a_mark_and_puts_tokens_around() {
    let file = Metadata::default()
        .str("tokenizer.ggml.model", "bert")
        .strings(
            "tokenizer.ggml.tokens",
            &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁un", "able", "▁able", "▁!", "▁▁"],
        )
        .array("tokenizer.ggml.token_type", 5, &[3i32, 3, 3, 3, 1, 1, 1, 1, 1].map(i32::to_le_bytes))
        .uint("tokenizer.ggml.unknown_token_id", 1)
        .uint("tokenizer.ggml.cls_token_id", 2)
        .uint("tokenizer.ggml.seperator_token_id", 3);
    let tokenizer = file.load().unwrap();
    assert_eq!(encode(&tokenizer, "Unable ÁBLE! x ▁", Parse::Text), [4, 5, 6, 7, 1, 8]);
    assert_eq!((tokenizer.before(), tokenizer.after()), (&[2][..], &[3][..]));
    assert_eq!(tokenizer.decode(&[2, 4, 5, 6, 7, 3], Render::Text), "unable able!");
}
