//! `ingle perplexity MODEL --file F`: how well a model predicts a text, and how far it is from a base.
//!
//! llama.cpp's protocol, so that numbers can stand side by side: the text is tokenised with BOS where the model adds one and
//! cut into windows of `ctx`; in each window BOS takes the first id's place (where the model adds it), and the tokens of
//! the second half, less the first, are scored. A rest shorter than a window is left out.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::sync::atomic::Ordering::Relaxed;

use clap::{Arg, ArgMatches, Command, value_parser};
use ingle_engine::model_file::Loaded;
use ingle_engine::session::Session;
use ingle_model::token::Parse;
use serde_json::json;

use super::{Verb, json_arg, model_arg, model_name, print_json, text, text_arg};
use crate::env::{Env, Progress};
use crate::exit::{Exit, Failure};
use crate::stats::base_file::{self, Header};
use crate::stats::divergence::{self, Divergence, Report};
use crate::stats::{Estimate, Moments};
use crate::{load, settings};

pub static VERB: Verb = Verb {
    name: "perplexity",
    about: "Measure how well a model predicts a text, and how far it is from a base",
    examples: &[
        "ingle perplexity model.gguf --file text.txt --ctx 512 --chunks 20",
        "ingle perplexity f16.gguf --file text.txt --save-base base.bin",
        "ingle perplexity q4.gguf --base base.bin --json",
    ],
    args,
    run,
};

const CTX: usize = 512;

fn args(command: Command) -> Command {
    let command = command
        .arg(model_arg())
        .arg(load::adapter_arg())
        .arg(text_arg("file", "FILE", "The text").required_unless_present("base"))
        .arg(
            Arg::new("chunks")
                .long("chunks")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Score only the first N windows"),
        )
        .arg(
            text_arg("save-base", "FILE", "Write this model's log-probabilities, to compare others with")
                .conflicts_with("base"),
        )
        .arg(
            text_arg(
                "base",
                "FILE",
                "Compare with a base's log-probabilities; its text and windows are used",
            )
            .conflicts_with("file"),
        )
        .arg(json_arg());
    settings::args(settings::args(command, &["ctx"]), settings::COMPUTE)
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    env.catch_ctrl_c();
    let loaded = load::model(model_name(matches), env)?;
    let mut base = text(matches, "base").map(|path| BaseReader::open(path, &loaded)).transpose()?;
    let (mut windows, window) = match &mut base {
        Some(base) => (std::mem::take(&mut base.header.tokens), base.header.ctx),
        None => {
            let window = env.settings.count("ctx").unwrap_or(CTX);
            (tokens_of(text(matches, "file").expect("clap asks for it"), &loaded, window)?, window)
        }
    };
    let n = windows.len() / window;
    let n = matches.get_one::<u64>("chunks").map_or(n, |&max| n.min(usize::try_from(max).unwrap_or(n)));
    windows.truncate(n * window);

    let mut session = load::session(&loaded, matches, env, Some(window))?;
    let header = Header { ctx: window, n_vocab: loaded.model.config.vocab, tokens: windows };
    let mut save = text(matches, "save-base").map(|path| BaseWriter::create(path, &header)).transpose()?;
    let Some(scores) = score(&mut session, env, &header, &mut base, &mut save)? else {
        return Ok(Exit::INTERRUPTED);
    };
    if let Some(save) = save {
        save.finish()?;
    }
    print(&scores, &header, matches.get_flag("json"))?;
    Ok(Exit::OK)
}

/// The text's ids, at least two windows of them.
fn tokens_of(path: &str, loaded: &Loaded, window: usize) -> Result<Vec<u32>, Failure> {
    if window < 4 {
        return Err(Failure::usage(format!("--ctx {window}: expected at least 4")));
    }
    let text = super::tokenize::read_text(path)?;
    let tokenizer = loaded.tokenizer()?;
    let mut ids = Vec::new();
    ids.extend(tokenizer.bos().filter(|_| tokenizer.adds_bos()));
    tokenizer.encode(&text, Parse::Text, &mut ids).map_err(|e| loaded.file.model_error(e))?;
    if ids.len() < 2 * window {
        return Err(Failure::failed(format!(
            "{path}: {} tokens, expected at least two windows of {window}; a smaller --ctx needs less",
            ids.len()
        )));
    }
    Ok(ids)
}

struct Scores {
    nll: Moments,
    report: Option<Report>,
}

/// Scores every window; `None` when interrupted.
fn score(
    session: &mut Session,
    env: &Env,
    header: &Header,
    base: &mut Option<BaseReader>,
    save: &mut Option<BaseWriter>,
) -> Result<Option<Scores>, Failure> {
    let loaded = session.loaded().clone();
    let tokenizer = loaded.tokenizer()?;
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let (window, n) = (header.ctx, header.n_windows());
    let first = window / 2;
    let mut progress = Progress::new(env);
    let mut nll = Moments::default();
    let mut far = Divergence::default();
    for (i, tokens) in header.tokens.chunks_exact(window).enumerate() {
        session.truncate(0);
        let mut fed = tokens[..window - 1].to_vec();
        if let Some(bos) = bos {
            fed[0] = bos;
        }
        if !session.feed(&fed[..first], &env.interrupted, |_| ())? || env.interrupted.load(Relaxed) {
            return Ok(None);
        }
        let mut failed = None;
        session.feed_for_logits(&fed[first..], |at, row| {
            let next = tokens[first + at + 1];
            nll.push(divergence::nll(row, next));
            let done = match (base.as_mut(), save.as_mut()) {
                (Some(base), _) => base.next_row(next).map(|(base, p)| far.push(row, base, next, p)),
                (_, Some(save)) => save.row(row, next),
                _ => Ok(()),
            };
            failed = failed.take().or(done.err());
        })?;
        if let Some(failure) = failed {
            return Err(failure);
        }
        let divergence =
            if base.is_some() { format!(", divergence {:.6}", far.mean()) } else { String::new() };
        progress.show(format_args!(
            "window {} of {n}: perplexity {:.4}{divergence}",
            i + 1,
            nll.exp_mean().value
        ));
    }
    if !nll.mean().value.is_finite() {
        return Err(Failure::failed(
            "the perplexity is not a number: the model gives NaN or infinite logits, its weights may be damaged",
        ));
    }
    Ok(Some(Scores { nll, report: base.is_some().then(|| far.report()) }))
}

fn print(scores: &Scores, header: &Header, as_json: bool) -> Result<(), Failure> {
    let ppl = scores.nll.exp_mean();
    let (n_tokens, n_chunks, ctx) = (scores.nll.n(), header.n_windows(), header.ctx);
    if as_json {
        let mut document = json!({ "ppl": ppl, "n_tokens": n_tokens, "n_chunks": n_chunks, "ctx": ctx });
        if let Some(report) = &scores.report
            && let serde_json::Value::Object(fields) = serde_json::to_value(report)?
        {
            document.as_object_mut().expect("made above").extend(fields);
        }
        return print_json(&document);
    }
    let mut out = std::io::stdout().lock();
    let mut line = |name: &str, value: &Estimate| writeln!(out, "{name:26} {value}");
    line("perplexity", &ppl)?;
    if let Some(r) = &scores.report {
        line("perplexity of the base", &r.ppl_base)?;
        line("ln of their ratio", &r.ln_ppl_ratio)?;
        line("divergence, mean", &r.kld.mean)?;
        line("divergence, median", &r.kld.median)?;
        line("divergence, 99 %", &r.kld.p99)?;
        line("divergence, 99.9 %", &r.kld.p999)?;
        line("divergence, max", &r.kld.max)?;
        line("same best token", &r.top1)?;
        line("RMS change of p(true)", &r.rms_delta_p)?;
        line("mean change of p(true)", &r.mean_delta_p)?;
    }
    writeln!(out, "{n_tokens} tokens scored in {n_chunks} windows of {ctx}")?;
    Ok(())
}

struct BaseReader {
    path: String,
    header: Header,
    input: BufReader<File>,
    /// Of each position's true token, where the file has them.
    true_tokens: Option<std::vec::IntoIter<f32>>,
    bytes: Vec<u8>,
    row: Vec<f32>,
}

impl BaseReader {
    fn open(path: &str, loaded: &Loaded) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|e| Failure::file(path, &e))?;
        let mut input = BufReader::with_capacity(1 << 20, file);
        let header = Header::read(&mut input)
            .map_err(|e| cut_short(path, &e))?
            .map_err(|said| Failure::invalid(format!("{path}: {said}")))?;
        let vocab = loaded.model.config.vocab;
        if header.n_vocab != vocab {
            return Err(Failure::failed(format!(
                "{path}: made with a vocabulary of {}, this model has {vocab}",
                header.n_vocab
            )));
        }
        let true_tokens = base_file::read_true(&header, &mut input).map_err(|e| Failure::file(path, &e))?;
        Ok(Self {
            path: path.to_owned(),
            header,
            input,
            true_tokens: true_tokens.map(Vec::into_iter),
            bytes: Vec::new(),
            row: vec![0.0; vocab],
        })
    }

    /// The next position's log-probabilities, and that of its true token `id`.
    fn next_row(&mut self, id: u32) -> Result<(&[f32], f32), Failure> {
        base_file::read_row(&mut self.input, &mut self.bytes, &mut self.row)
            .map_err(|e| cut_short(&self.path, &e))?;
        let of_true = self.true_tokens.as_mut().and_then(Iterator::next);
        Ok((&self.row, of_true.unwrap_or(self.row[id as usize])))
    }
}

fn cut_short(path: &str, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            Failure::invalid(format!("{path}: the file ends early, expected more rows (is it truncated?)"))
        }
        _ => Failure::file(path, error),
    }
}

struct BaseWriter {
    path: String,
    out: BufWriter<File>,
    true_tokens: Vec<f32>,
}

impl BaseWriter {
    fn create(path: &str, header: &Header) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|e| Failure::file(path, &e))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        header.write(&mut out).map_err(|e| Failure::file(path, &e))?;
        Ok(Self { path: path.to_owned(), out, true_tokens: Vec::new() })
    }

    fn row(&mut self, logits: &[f32], id: u32) -> Result<(), Failure> {
        self.true_tokens.push(-divergence::nll(logits, id) as f32);
        base_file::write_row(logits, &mut self.out).map_err(|e| Failure::file(&self.path, &e))
    }

    fn finish(mut self) -> Result<(), Failure> {
        let written = base_file::write_true(&self.true_tokens, &mut self.out).and_then(|()| self.out.flush());
        written.map_err(|e| Failure::file(&self.path, &e))
    }
}
