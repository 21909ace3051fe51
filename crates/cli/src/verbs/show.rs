//! `ingle show MODEL`: what a model is and what it needs.

use std::collections::BTreeMap;
use std::io::Write;

use clap::ArgMatches;
use ingle_engine::model_file::ModelFile;
use ingle_engine::residency::need::{Need, Wish};
use ingle_engine::session::CTX_DEFAULT;
use ingle_model::config::Config;
use ingle_model::file::Contents;
use serde::Serialize;

use super::{Verb, human_bytes, json_arg, model_arg, model_name, print_json};
use crate::env::Env;
use crate::exit::{Exit, Failure};
use crate::{model_ref, settings};

pub static VERB: Verb = Verb {
    name: "show",
    about: "Show what a model is and how much memory it needs",
    examples: &[
        "ingle show demo",
        "ingle show model.gguf --ctx 32768 --kv q8_0",
        "ingle show model.gguf --json",
    ],
    args: |command| settings::args(command.arg(model_arg()).arg(json_arg()), &["ctx", "kv"]),
    run,
};

#[derive(Serialize)]
struct Report {
    name: String,
    file_bytes: u64,
    /// The format of the files: `GGUF 3`, `safetensors in 2 files`.
    container: String,
    family: Option<String>,
    title: Option<String>,
    license: Option<String>,
    n_params: u64,
    weight_bytes: u64,
    formats: Vec<FormatOfKind>,
    shape: Option<Shape>,
    /// Why the model can't be run, where it can't.
    unsupported: Option<String>,
    tokenizer: Option<TokenizerReport>,
    chat_template_bytes: Option<usize>,
    memory: Option<Memory>,
}

/// The block formats of the tensors of one kind, `attn_q` of all layers, say.
#[derive(Serialize)]
struct FormatOfKind {
    tensors: String,
    formats: Vec<String>,
    n_tensors: usize,
    bytes: u64,
}

#[derive(Serialize)]
struct Shape {
    dim: usize,
    n_layers: usize,
    /// Layers of each kind, by the name of their mixer.
    mixers: BTreeMap<&'static str, usize>,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    /// Of one expert where there are several.
    ffn_dim: usize,
    n_experts: usize,
    n_experts_used: usize,
    /// The shortest window of a layer that has one.
    window: Option<usize>,
    vocab: usize,
    ctx_train: usize,
}

impl Shape {
    fn of(config: &Config) -> Self {
        let heads = config.heads();
        let mut mixers = BTreeMap::new();
        for layer in &config.layers {
            *mixers.entry(layer.mixer.name()).or_insert(0) += 1;
        }
        let experts = config.layers.iter().find_map(|layer| layer.ffn.experts());
        let windows = config.layers.iter().filter_map(|layer| layer.attention()?.shape.window);
        Self {
            dim: config.dim,
            n_layers: config.layers.len(),
            mixers,
            n_heads: heads.map_or(0, |h| h.n_heads),
            n_kv_heads: heads.map_or(0, |h| h.n_kv_heads),
            head_dim: heads.map_or(0, |h| h.head_dim),
            ffn_dim: config.layers.iter().map(|layer| layer.ffn.dim()).max().unwrap_or(0),
            n_experts: experts.map_or(0, |e| e.n_experts),
            n_experts_used: experts.map_or(0, |e| e.n_used),
            window: windows.min(),
            vocab: config.vocab,
            ctx_train: config.ctx_train,
        }
    }
}

#[derive(Serialize)]
struct TokenizerReport {
    model: &'static str,
    pre: Option<String>,
    n_vocab: usize,
    adds_bos: bool,
}

#[derive(Serialize)]
struct Memory {
    ctx: usize,
    kv: String,
    weight_bytes: u64,
    /// Of those, the bytes that are made when the weights are read; the others stay in the files.
    made_bytes: u64,
    /// Tables of the vocabulary, as estimated.
    vocabulary_bytes: u64,
    kv_bytes: u64,
    /// Buffers of a step of [`STEP_TOKENS`] tokens.
    scratch_bytes: u64,
    total_bytes: u64,
}

/// Tokens per step that the memory need is stated for.
const STEP_TOKENS: usize = 512;

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let file = model_ref::open(model_name(matches), env)?;
    let report = report(&file, env)?;
    if matches.get_flag("json") {
        print_json(&report)?;
    } else {
        print(&report, &mut std::io::stdout().lock())?;
    }
    Ok(Exit::OK)
}

fn report(file: &ModelFile, env: &Env) -> Result<Report, Failure> {
    let contents = file.contents();
    let text = |key: &str| contents.str(key).ok().flatten().map(str::to_owned);
    let n_params = contents.tensors().iter().map(|t| t.n_values() as u64).sum();
    let weight_bytes = contents.tensors().iter().map(|t| t.n_bytes() as u64).sum();
    // Vocabulary files and families we don't run are shown too, as far as they go.
    let (config, unsupported) = match Config::read(contents) {
        Ok(config) => (Some(config), None),
        Err(e) => (None, Some(e.to_string())),
    };
    let memory = match &config {
        None => None,
        Some(config) => Some(memory(config, file, env).map_err(|e| file.model_error(e))?),
    };
    let tokenizer = file.tokenizer().ok().map(|t| TokenizerReport {
        model: t.model_name(),
        pre: t.pre_name().map(str::to_owned),
        n_vocab: t.n_vocab(),
        adds_bos: t.adds_bos(),
    });
    Ok(Report {
        name: file.name().to_owned(),
        file_bytes: file.n_bytes(),
        container: contents.container.clone(),
        family: text("general.architecture"),
        title: text("general.name"),
        license: text("general.license"),
        n_params,
        weight_bytes,
        formats: formats(contents),
        shape: config.as_ref().map(Shape::of),
        unsupported,
        tokenizer,
        chat_template_bytes: text("tokenizer.chat_template").map(|t| t.len()),
        memory,
    })
}

/// The bytes of memory that the model of `file` needs by the settings, and for how many positions; `None` for what can't be run.
pub fn memory_of(file: &ModelFile, env: &Env) -> Option<(u64, usize)> {
    let config = Config::read(file.contents()).ok()?;
    let memory = memory(&config, file, env).ok()?;
    Some((memory.total_bytes, memory.ctx))
}

fn memory(config: &Config, file: &ModelFile, env: &Env) -> ingle_model::Result<Memory> {
    let ctx = env.settings.count("ctx").unwrap_or(config.ctx_train.min(CTX_DEFAULT));
    let kv = env.settings.text("kv").expect("it has a default").to_lowercase();
    let chunk = Some(ctx.min(STEP_TOKENS));
    let need = Need::of(file);
    let wish = Wish { ctx, kv, n_lanes: 1, chunk, prefix_bytes: Some(0), packs: false };
    let ledger = need.ledger(&wish)?;
    Ok(Memory {
        ctx,
        weight_bytes: need.mapped().saturating_add(need.made()),
        made_bytes: need.made(),
        vocabulary_bytes: need.vocabulary(),
        kv_bytes: ledger.kv,
        scratch_bytes: ledger.scratch,
        total_bytes: ledger.total(),
        kv: wish.kv,
    })
}

/// Tensors by kind: the name without `blk.N.` and `.weight`.
fn formats(contents: &Contents) -> Vec<FormatOfKind> {
    let mut order = Vec::new();
    let mut kinds: BTreeMap<String, FormatOfKind> = BTreeMap::new();
    for tensor in contents.tensors() {
        let kind = kind_of(&tensor.name);
        let entry = kinds.entry(kind.clone()).or_insert_with(|| {
            order.push(kind.clone());
            FormatOfKind { tensors: kind, formats: Vec::new(), n_tensors: 0, bytes: 0 }
        });
        entry.n_tensors += 1;
        entry.bytes += tensor.n_bytes() as u64;
        if !entry.formats.iter().any(|f| f == tensor.format.name) {
            entry.formats.push(tensor.format.name.to_owned());
        }
    }
    order.iter().map(|kind| kinds.remove(kind).expect("listed once")).collect()
}

fn kind_of(name: &str) -> String {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let in_block = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    in_block.map_or(name, |(_, rest)| rest).to_owned()
}

fn print(r: &Report, out: &mut impl Write) -> Result<(), Failure> {
    let mut line = |name: &str, value: String| writeln!(out, "{name:14} {value}");
    line("file", format!("{} ({}, {})", r.name, r.container, human_bytes(r.file_bytes)))?;
    if let Some(title) = &r.title {
        line("name", title.clone())?;
    }
    line("family", r.family.clone().unwrap_or_else(|| "(none)".into()))?;
    line("licence", r.license.clone().unwrap_or_else(|| "(not stated)".into()))?;
    if !r.formats.is_empty() {
        line("parameters", format!("{} in {}", human_count(r.n_params), human_bytes(r.weight_bytes)))?;
    }
    match (&r.shape, &r.unsupported) {
        (Some(s), _) => {
            let heads =
                format!("{} heads of {} ({} for keys and values)", s.n_heads, s.head_dim, s.n_kv_heads);
            line("shape", format!("{} layers, dim {}, ffn {}, {heads}", s.n_layers, s.dim, s.ffn_dim))?;
            if s.mixers.len() > 1 || s.window.is_some() {
                let kinds = s.mixers.iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>();
                let window = s.window.map(|n| format!("; window {n}")).unwrap_or_default();
                line("layers", kinds.join(", ") + &window)?;
            }
            if s.n_experts > 0 {
                line("experts", format!("{}, {} for each token", s.n_experts, s.n_experts_used))?;
            }
            line("context", format!("{} tokens, vocabulary {}", s.ctx_train, s.vocab))?;
        }
        (None, Some(why)) if !r.formats.is_empty() => line("can't run", why.clone())?,
        _ => line("weights", "none: a vocabulary file".into())?,
    }
    if let Some(t) = &r.tokenizer {
        let pre = t.pre.as_deref().map(|p| format!(" ({p})")).unwrap_or_default();
        let bos = if t.adds_bos { ", begins with BOS" } else { "" };
        line("tokenizer", format!("{}{pre}, {} tokens{bos}", t.model, t.n_vocab))?;
    }
    let template =
        r.chat_template_bytes.map_or("none".into(), |n| format!("in the file, {}", human_bytes(n as u64)));
    line("chat template", template)?;
    if let Some(m) = &r.memory {
        let made = match m.made_bytes {
            0 => String::new(),
            n => format!(" ({} of them made when loading)", human_bytes(n)),
        };
        line(
            "memory",
            format!(
                "{} for a context of {}: weights {}{made}, vocabulary {}, {} cache {}, buffers {}",
                human_bytes(m.total_bytes),
                m.ctx,
                human_bytes(m.weight_bytes),
                human_bytes(m.vocabulary_bytes),
                m.kv,
                human_bytes(m.kv_bytes),
                human_bytes(m.scratch_bytes)
            ),
        )?;
    }
    if !r.formats.is_empty() {
        writeln!(out, "\n{:24} {:>7}  {:>10}  format", "tensors", "number", "size")?;
    }
    for f in &r.formats {
        let size = human_bytes(f.bytes);
        writeln!(out, "{:24} {:>7}  {size:>10}  {}", f.tensors, f.n_tensors, f.formats.join(", "))?;
    }
    Ok(())
}

fn human_count(n: u64) -> String {
    match n {
        0..1_000_000 => format!("{:.0}K", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", n as f64 / 1e6),
        _ => format!("{:.2}B", n as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_forget_the_layer() {
        assert_eq!(kind_of("blk.12.attn_q.weight"), "attn_q");
        assert_eq!(kind_of("blk.0.attn_q.bias"), "attn_q.bias");
        assert_eq!(kind_of("token_embd.weight"), "token_embd");
    }
}
