//! llama2.c's checkpoints: a Llama in f32, read in place.
//!
//! A header of seven i32 (dim, ffn dim, layers, heads, key-value heads, vocabulary, context) and all values in one order,
//! without names: version 0 has no magic number and keeps room for rotary tables; version 1 begins with `ak42` and a header
//! of 256 bytes, norms first. Rows of q and k are in the order GGUF has. The quantised version 2 is not read. The vocabulary is
//! a file beside it, SentencePiece's pieces and scores; its spaces are written as such.
//! Source: export.py, tokenizer.py and run.c of karpathy/llama2.c.

use ingle_kernel::bytes::Bytes;
use ingle_kernel::quant;

use super::contents::{Contents, Piece, Tensor};
use super::value::{Value, fixed};
use crate::error::{Error, Result};

/// How files of version 1 and 2 begin.
pub const MAGIC: [u8; 4] = *b"24ka";
/// What the container is called, before the version.
pub const NAME: &str = "llama2.c";
/// The file of the vocabulary.
pub const VOCABULARY: &str = "tokenizer.bin";
const HEADER_BYTES_1: usize = 256;
/// More than any such model has, and small enough that no product of two overflows.
const SIZE_MAX: i32 = 1 << 24;
const LAYERS_MAX: usize = 1 << 12;
/// What run.c adds in norms.
const EPSILON: f64 = 1e-5;

/// The numbers of the header.
struct Header {
    dim: usize,
    ffn_dim: usize,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: usize,
    vocab: usize,
    ctx: usize,
    /// Whether the head is the embedding.
    tied: bool,
}

impl Header {
    /// Reads seven numbers; a vocabulary below zero says that there is a head of its own.
    fn read(bytes: &[u8]) -> Result<Self> {
        let (words, _) = bytes.as_chunks::<4>();
        let names = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"];
        let mut sizes = [0; 7];
        for ((size, name), &word) in sizes.iter_mut().zip(names).zip(words) {
            let value = i32::from_le_bytes(word);
            let magnitude = if name == "vocab_size" { value.saturating_abs() } else { value };
            if !(1..=SIZE_MAX).contains(&magnitude) {
                let expected = format!("1 to {SIZE_MAX} (is this a checkpoint of llama2.c?)");
                return Err(Error::malformed(format!("header {name}"), value, expected));
            }
            *size = magnitude as usize;
        }
        let [dim, ffn_dim, n_layers, n_heads, n_kv_heads, vocab, ctx] = sizes;
        if n_layers > LAYERS_MAX {
            return Err(Error::malformed("header n_layers", n_layers, format!("at most {LAYERS_MAX}")));
        }
        if dim % n_heads != 0 || n_heads % n_kv_heads != 0 {
            let found = format!("{n_heads} heads, {n_kv_heads} for keys and values");
            return Err(Error::malformed(
                "header",
                found,
                format!("divisors of dim {dim} and of each other"),
            ));
        }
        let tied = words.get(5).is_some_and(|&word| i32::from_le_bytes(word) > 0);
        Ok(Self { dim, ffn_dim, n_layers, n_heads, n_kv_heads, vocab, ctx, tied })
    }
}

/// Parses a checkpoint.
///
/// # Errors
/// [`Error::Malformed`] when the header's numbers are impossible or ask for other bytes than there are;
/// [`Error::Unsupported`] for version 2.
pub fn parse(bytes: Bytes) -> Result<Contents> {
    let short = || Error::malformed("header", format!("{} bytes", bytes.len()), "a header");
    if !bytes.starts_with(&MAGIC) {
        let header = Header::read(bytes[..].get(..28).ok_or_else(short)?)?;
        return tensors(&bytes, 28, &header, 0);
    }
    let head = bytes[..].get(..HEADER_BYTES_1).ok_or_else(short)?;
    let version = u32::from_le_bytes(fixed(&head[4..8]));
    if version != 1 {
        return Err(Error::unsupported("header", format!("llama2.c version {version}"), ["0", "1"]));
    }
    let header = Header { tied: head[36] != 0, ..Header::read(&head[8..36])? };
    tensors(&bytes, HEADER_BYTES_1, &header, 1)
}

/// What a file holds in its order: GGUF name without ending, shape, whether there is one for each layer.
fn layout(h: &Header, version: u32) -> Vec<(&'static str, Vec<usize>, bool)> {
    let kv_dim = h.dim / h.n_heads * h.n_kv_heads;
    let embed = ("token_embd", vec![h.dim, h.vocab], false);
    let attn_norm = ("attn_norm", vec![h.dim], true);
    let ffn_norm = ("ffn_norm", vec![h.dim], true);
    let out_norm = ("output_norm", vec![h.dim], false);
    let attention = [
        ("attn_q", vec![h.dim, h.dim], true),
        ("attn_k", vec![h.dim, kv_dim], true),
        ("attn_v", vec![h.dim, kv_dim], true),
        ("attn_output", vec![h.dim, h.dim], true),
    ];
    let ffn = [
        ("ffn_gate", vec![h.dim, h.ffn_dim], true),
        ("ffn_down", vec![h.ffn_dim, h.dim], true),
        ("ffn_up", vec![h.dim, h.ffn_dim], true),
    ];
    let mut all = Vec::new();
    if version == 0 {
        all.extend([embed, attn_norm]);
        all.extend(attention);
        all.push(ffn_norm);
        all.extend(ffn);
        // Rotary tables, cosines and sines, that nothing reads any more.
        all.extend([out_norm, ("", vec![h.dim / h.n_heads, h.ctx], false)]);
    } else {
        all.extend([attn_norm, ffn_norm, out_norm, embed]);
        all.extend(attention);
        all.extend(ffn);
    }
    if !h.tied {
        all.push(("output", vec![h.dim, h.vocab], false));
    }
    all
}

fn tensors(bytes: &Bytes, start: usize, h: &Header, version: u32) -> Result<Contents> {
    let layout = layout(h, version);
    let each = |shape: &[usize], per_layer| {
        shape.iter().map(|&n| n as u128).product::<u128>()
            * if per_layer { h.n_layers as u128 } else { 1 }
            * 4
    };
    let n_bytes = layout.iter().map(|(_, shape, per_layer)| each(shape, *per_layer)).sum::<u128>();
    if n_bytes != (bytes.len() - start) as u128 {
        return Err(Error::malformed(
            "header",
            format!("{} bytes behind it", bytes.len() - start),
            format!("{n_bytes} for its numbers (is the file truncated?)"),
        ));
    }
    let mut file = Contents::new(format!("{NAME} version {version}"));
    keys(h, &mut file)?;
    let mut at = start;
    for (name, shape, per_layer) in layout {
        for i in 0..if per_layer { h.n_layers } else { 1 } {
            let end = at + each(&shape, false) as usize;
            let window = bytes.get(at..end).expect("the sum of all is the file");
            at = end;
            let layer = if per_layer { format!("blk.{i}.") } else { String::new() };
            if !name.is_empty() {
                let name = format!("{layer}{name}.weight");
                file.add(Tensor::new(name, shape.clone(), &quant::F32, vec![Piece::InPlace(window)]))?;
            }
        }
    }
    Ok(file)
}

fn keys(h: &Header, file: &mut Contents) -> Result<()> {
    file.set("general.architecture", Value::text("llama"))?;
    for (key, value) in [
        ("context_length", h.ctx),
        ("embedding_length", h.dim),
        ("block_count", h.n_layers),
        ("feed_forward_length", h.ffn_dim),
        ("attention.head_count", h.n_heads),
        ("attention.head_count_kv", h.n_kv_heads),
        ("rope.dimension_count", h.dim / h.n_heads),
    ] {
        file.set(format!("llama.{key}"), Value::Uint(value as u64))?;
    }
    file.set("llama.attention.layer_norm_rms_epsilon", Value::Float(EPSILON))
}

/// Adds the vocabulary of `bytes`, llama2.c's `tokenizer.bin`, to a checkpoint: a token for each row of the embedding.
///
/// # Errors
/// [`Error::Malformed`] when it has fewer tokens or a length in it is not that of what follows.
pub fn add_vocabulary(file: &mut Contents, bytes: &[u8]) -> Result<()> {
    const UNKNOWN: usize = 0;
    const SPECIAL: [usize; 2] = [1, 2];
    let vocab = file.tensor("token_embd.weight").and_then(|embed| embed.shape.get(1).copied()).unwrap_or(0);
    let part = |id: usize| format!("tokenizer.bin token {id}");
    // The longest token's length comes first; nothing needs it.
    let mut rest = bytes.get(4..).unwrap_or_default();
    let (mut texts, mut scores, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for id in 0..vocab {
        let truncated = || Error::malformed(part(id), format!("{} bytes left", rest.len()), "a token");
        let (head, tail) = rest.split_at_checked(8).ok_or_else(truncated)?;
        let len = u32::from_le_bytes(fixed(&head[4..])) as usize;
        let (text, tail) = tail.split_at_checked(len).ok_or_else(truncated)?;
        let text = std::str::from_utf8(text);
        let text = text.map_err(|_| Error::malformed(part(id), "invalid UTF-8", "a text in UTF-8"))?;
        let is_byte = text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
        kinds.push(match id {
            UNKNOWN => 2,
            _ if SPECIAL.contains(&id) => 3,
            _ if is_byte => 6,
            _ => 1,
        });
        texts.push(if kinds[id] == 1 { text.replace(' ', "\u{2581}") } else { text.trim().to_owned() });
        scores.push(f32::from_le_bytes(fixed(&head[..4])));
        rest = tail;
    }
    file.set("tokenizer.ggml.model", Value::text("llama"))?;
    file.set("tokenizer.ggml.tokens", Value::strings(texts.iter().map(String::as_bytes)))?;
    file.set("tokenizer.ggml.scores", Value::floats(&scores))?;
    file.set("tokenizer.ggml.token_type", Value::ints(&kinds))?;
    file.set("tokenizer.ggml.unknown_token_id", Value::Uint(UNKNOWN as u64))?;
    file.set("tokenizer.ggml.bos_token_id", Value::Uint(SPECIAL[0] as u64))?;
    file.set("tokenizer.ggml.eos_token_id", Value::Uint(SPECIAL[1] as u64))
}
