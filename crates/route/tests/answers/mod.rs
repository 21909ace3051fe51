//! The built-in model at work, for the measurements of confidence: its own greedy answers to held-out tasks, what every token's
//! margin was, and whether the judge took the answer. Weaker models are the same weights in coarser formats.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_compress::mixture;
use ingle_compress::plan::{ModelInfo, Options, plan};
use ingle_compress::quantize::{NotFinite, Request as Asked, header, infos, quantize};
use ingle_demo::{Item, KINDS, Kind, held_out};
use ingle_engine::generate::{Event, Finish, Overflow, Request};
use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_engine::sample::Params;
use ingle_engine::session::{Session, SessionOptions};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_model::token::Parse;
use ingle_route::confidence::{Ending, Margins, Row};

const TOKENS_MAX: usize = 320;
const CTX: usize = 1024;

/// A task that training has never seen.
pub struct Task {
    pub kind: &'static Kind,
    pub item: Item,
}

/// `n` held-out tasks of each kind in the stream of `seed`, none with a content in `seen`, to which theirs are added.
pub fn tasks(seed: u64, n: usize, seen: &mut HashSet<String>) -> Vec<Task> {
    let mut out = Vec::new();
    for kind in KINDS {
        let fresh = held_out(kind, seed, n).into_iter().filter(|item| !seen.contains(&item.contents[0]));
        out.extend(fresh.map(|item| Task { kind, item }));
    }
    seen.extend(out.iter().map(|task| task.item.contents[0].clone()));
    out
}

/// What a model made of a task.
pub struct Answered {
    /// By how much each token stood above the best other one, in nats.
    pub margins: Vec<f32>,
    pub ending: Ending,
    pub right: bool,
}

impl Answered {
    /// As a row to learn from.
    pub fn row(&self) -> Row {
        let mut margins = Margins::default();
        self.margins.iter().for_each(|&m| margins.push(m));
        Row { features: margins.features(self.ending), right: self.right, weight: 1.0 }
    }
}

/// The built-in model as it is.
pub fn built_in() -> Arc<Loaded> {
    loaded(ModelFile::from_bytes("demo", Bytes::new(ingle_demo::GGUF)).unwrap())
}

fn loaded(file: ModelFile) -> Arc<Loaded> {
    Arc::new(Loaded::load(file, &LoadOptions { tier: None, n_threads: 2, pack: Pack::Auto }).unwrap())
}

/// The built-in model's floats in a mixture; all of them in its format if `pure`.
pub fn coarse(mixture: &str, pure: bool) -> Arc<Loaded> {
    let floats = include_bytes!("../../../../demo/demo-f16.gguf");
    let file = ModelFile::from_bytes("demo-f16", Bytes::new(floats)).unwrap();
    let (contents, mixture) = (file.contents(), mixture::by_name(mixture).unwrap());
    let model = ModelInfo::read(contents).unwrap();
    let plan = plan(&infos(contents), &model, mixture, &Options { pure, ..Options::default() }).unwrap();
    let asked = Asked { plan: &plan, imatrix: None, not_finite: NotFinite::Refuse };
    let mut coarse = Vec::new();
    let header = header(contents, mixture, None).unwrap();
    quantize(contents, header, &asked, &Pool::new(2), &mut coarse, |_| true).unwrap();
    loaded(ModelFile::from_bytes(mixture.name, Bytes::new(coarse)).unwrap())
}

/// Answers the tasks at temperature 0.
pub fn answer(loaded: &Arc<Loaded>, tasks: &[Task]) -> Vec<Answered> {
    let options = SessionOptions { ctx: Some(CTX), kv: "f16", chunk: Some(256) };
    let mut session = Session::new(loaded.clone(), &options).unwrap();
    tasks.iter().map(|task| answer_one(&mut session, task)).collect()
}

fn answer_one(session: &mut Session, task: &Task) -> Answered {
    let mut prompt = Vec::new();
    let loaded = session.loaded().clone();
    loaded.tokenizer().unwrap().encode(&task.item.prompt.render(), Parse::Special, &mut prompt).unwrap();
    let request = Request {
        prompt: &prompt,
        params: &Params::GREEDY,
        stop: &[],
        max_tokens: TOKENS_MAX,
        overflow: Overflow::Error,
        keep: 0,
        logprobs: Some(2),
        constraint: None,
    };
    let (mut text, mut margins) = (String::new(), Vec::new());
    let outcome = session.generate(&request, &AtomicBool::new(false), |event| match event {
        Event::Text(more) => text.push_str(more),
        Event::Logprobs(of) => margins.push(of.margin().unwrap() as f32),
        _ => {}
    });
    let itself = outcome.unwrap().finish == Finish::EndOfText;
    let right = itself && (task.kind.judge)(&task.item, &text);
    Answered { margins, ending: if itself { Ending::Itself } else { Ending::Cut }, right }
}
