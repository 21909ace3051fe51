//! The forward pass of encoders: each token of a text sees all of them, and nothing is kept for later.
//!
//! A step takes several texts and sends all their tokens through the layers together; a token's numbers do not depend on the
//! texts beside it, since matrices sum every row alone and each text attends to itself alone. Layers are norm-behind-the-sum:
//! `x = norm(x + attention(x))`, `x = norm(x + ffn(x))`. Feed-forward blocks, matrices and norms are the decoder's own.
//!
//! Attention is the decoder's kernel too, which lets a token see what stands before it. Asked for the text's last position it
//! sees the whole text, and so every token asks from there: a tile of tokens goes in as so many heads of one token.
//!
//! Left out: encoders with norms before the blocks, windows or biases by distance; heads with more than one label.

use ingle_kernel::attn::{BLOCK, Cache, Pages, Queries, Shape, Table, attend, page_bytes, store};
use ingle_kernel::mat::Mat;
use ingle_kernel::ops;
use ingle_kernel::quant;
use ingle_kernel::simd::Kernels;

use crate::arch;
use crate::config::{Config, LayerPlan};
use crate::decoder::{Runtime, Step};
use crate::error::{Error, Result};
use crate::ffn::Ffn;
use crate::file::Contents;
use crate::linear::{Linear, project};
use crate::norm::Norm;
use crate::pooling;
use crate::scratch::{self, split};
use crate::source::Source;

/// Rows that attend at once, a query head of a token each.
const TILE_ROWS: usize = 64;
/// Types of segments a model may have; real ones have one or two.
const TYPES_MAX: usize = 64;

/// One text, or a pair of texts to be compared, with the special tokens the model wants around it.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// At least one id.
    pub ids: &'a [u32],
    /// How many of them belong to the first text of a pair; all of a text that is alone.
    pub n_first: usize,
}

/// A model that reads texts as a whole, ready to run.
#[derive(Debug)]
pub struct Encoder {
    /// The numbers.
    pub config: Config,
    /// What the file says about embeddings.
    pub plan: pooling::Plan,
    /// `(vocab, dim)`
    embed: Mat,
    /// Of types of segments. `(n_types, dim)`
    types: Vec<f32>,
    /// Of positions, where they are learned. `(ctx, dim)`
    positions: Option<Mat>,
    embed_norm: Norm,
    layers: Vec<Layer>,
    head: Option<Head>,
}

#[derive(Debug)]
struct Layer {
    shape: Shape,
    rope: Option<usize>,
    /// Each `(n_heads * head_dim, dim)`; k and v of their own number of heads.
    q: Linear,
    k: Linear,
    v: Linear,
    /// `(dim, n_heads * head_dim)`
    o: Linear,
    attn_norm: Norm,
    ffn: Box<dyn Ffn>,
    ffn_norm: Norm,
}

/// What makes a score of the first token: `out(tanh(dense(x)))`.
#[derive(Debug)]
struct Head {
    /// `(dim, dim)`
    dense: Option<Linear>,
    /// `(1, dim)`
    out: Linear,
}

/// Buffers of a step, made once for the largest.
#[derive(Debug)]
pub struct Scratch {
    rows: scratch::Scratch,
    /// Where each text of the last step begins, and the end of the last.
    starts: Vec<usize>,
    /// Keys and values of one text.
    kv: Table,
    /// Queries and results of a tile. `(n_heads, tokens of the tile, head_dim)`
    tile: [Vec<f32>; 2],
    /// What [`attend`] needs.
    threads: Vec<f32>,
}

impl Encoder {
    /// Reads configuration and weights of `file` for the kernels of one tier; matrices stay where they lie.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a family that is none of encoders, or a head of several labels; [`Error::Malformed`] for what is
    /// missing or misshapen.
    pub fn read(file: &Contents, kernels: &Kernels) -> Result<Self> {
        let config = Config::read_of(file, arch::ENCODERS)?;
        let mut plan = pooling::Plan::read(file)?;
        let mut source = Source::new(file, &config, kernels);
        let dim = config.dim;
        let embed = source.mat("token_embd.weight", config.vocab, dim)?;
        let types = types(file, &mut source, dim)?;
        let positions = match source.has("position_embd.weight") {
            true => Some(source.mat("position_embd.weight", config.ctx_train, dim)?),
            false if config.ropes.is_empty() => {
                return Err(Error::missing("tensor position_embd.weight", "the embeddings of positions"));
            }
            false => None,
        };
        let embed_norm = source.norm("token_embd_norm", dim)?;
        let layers = config.layers.iter().enumerate().map(|(i, plan)| {
            source.enter(Some(i));
            Layer::read(&mut source, plan, i, dim)
        });
        let layers = layers.collect::<Result<_>>()?;
        source.enter(None);
        let head = Head::read(file, &mut source, dim)?;
        if head.is_some() {
            plan.pooling = Some(pooling::Pooling::Rank);
        }
        source.finish()?;
        Ok(Self { plan, embed, types, positions, embed_norm, layers, head, config })
    }

    /// Whether it scores pairs of texts.
    pub fn is_ranker(&self) -> bool {
        self.head.is_some()
    }

    /// One step: leaves the hidden states of every text's tokens in `s`, for [`Self::hidden`] and [`Self::scores`].
    ///
    /// # Errors
    /// [`Error::Input`] for an empty or too long text, too many tokens for `s`, or an id outside the vocabulary.
    pub fn forward(&self, run: &Runtime<'_>, texts: &[Text<'_>], s: &mut Scratch) -> Result<()> {
        let n_tokens = self.check(texts, s)?;
        s.starts.clear();
        s.starts.push(0);
        s.starts.extend(texts.iter().scan(0, |end, text| {
            *end += text.ids.len();
            Some(*end)
        }));
        self.embed(run, texts, s);
        let mut step = Step { run, config: &self.config, layer: 0, spans: &mut [], n_tokens };
        for (i, layer) in self.layers.iter().enumerate() {
            run.pool.offer_turn();
            step.layer = i;
            layer.attend(&step, s);
            add_and_norm(&step, &layer.attn_norm, &mut s.rows);
            layer.ffn.forward(&step, &mut s.rows);
            add_and_norm(&step, &layer.ffn_norm, &mut s.rows);
        }
        Ok(())
    }

    /// Hidden states of the tokens of text `i` of the last step. `(n_tokens, dim)`
    pub fn hidden<'s>(&self, i: usize, s: &'s Scratch) -> &'s [f32] {
        &s.rows.normed[s.starts[i] * self.config.dim..s.starts[i + 1] * self.config.dim]
    }

    /// The score of every text, a pair, of the last step: what the head gives, without bounds.
    ///
    /// # Errors
    /// [`Error::Input`] for a model without such a head.
    pub fn scores(&self, run: &Runtime<'_>, s: &mut Scratch) -> Result<Vec<f32>> {
        let Some(head) = &self.head else {
            let text =
                "the model has no head that scores pairs of texts; expected a cross-encoder with one label";
            return Err(Error::Input(text.into()));
        };
        let (dim, n_texts) = (self.config.dim, s.starts.len() - 1);
        let rows = &mut s.rows;
        for (i, start) in s.starts[..n_texts].iter().enumerate() {
            rows.x[i * dim..(i + 1) * dim].copy_from_slice(&rows.normed[start * dim..(start + 1) * dim]);
        }
        let (first, dense) = (&rows.x[..n_texts * dim], &mut rows.delta[..n_texts * dim]);
        match &head.dense {
            Some(linear) => {
                project(run, &mut rows.inputs, first, [(linear, &mut *dense)]);
                (run.kernels.ops().softcap)(dense, 1.0);
            }
            None => dense.copy_from_slice(first),
        }
        let mut scores = vec![0.0; n_texts];
        project(run, &mut rows.inputs, dense, [(&head.out, &mut scores)]);
        Ok(scores)
    }

    fn check(&self, texts: &[Text<'_>], s: &Scratch) -> Result<usize> {
        let ctx = self.config.ctx_train;
        for Text { ids, n_first } in texts {
            if ids.is_empty() || ids.len() > ctx || *n_first > ids.len() {
                return Err(Error::Input(format!(
                    "a text of {} tokens; this model reads 1 to {ctx}",
                    ids.len()
                )));
            }
            if let Some(id) = ids.iter().find(|&&id| id as usize >= self.config.vocab) {
                let last = self.config.vocab - 1;
                return Err(Error::Input(format!("token id {id}: this model's ids end at {last}")));
            }
        }
        let n_tokens = texts.iter().map(|text| text.ids.len()).sum();
        if n_tokens > s.rows.tokens_max() {
            let room = s.rows.tokens_max();
            return Err(Error::Input(format!("{n_tokens} tokens in a step; expected at most {room}")));
        }
        Ok(n_tokens)
    }

    /// Sums of the embeddings of token, type and position, normed.
    fn embed(&self, run: &Runtime<'_>, texts: &[Text<'_>], s: &mut Scratch) {
        let (dim, rows) = (self.config.dim, &mut s.rows);
        let tokens = texts.iter().flat_map(|text| {
            let types = std::iter::repeat_n(0, text.n_first).chain(std::iter::repeat(1));
            text.ids.iter().zip(types).enumerate().map(|(pos, (&id, kind))| (pos, id, kind, text.ids.len()))
        });
        let mut position = vec![0.0; dim];
        let n_types = self.types.len() / dim;
        for (t, (pos, id, kind, len)) in tokens.enumerate() {
            let row = &mut rows.x[t * dim..(t + 1) * dim];
            self.embed.dequantize_row(id as usize, row);
            // Models with one type have it for both texts.
            let kind = kind.min(n_types.saturating_sub(1));
            if let Some(of_type) = self.types.get(kind * dim..(kind + 1) * dim) {
                ops::add(row, of_type);
            }
            if let Some(positions) = &self.positions {
                positions.dequantize_row(pos, &mut position);
                ops::add(row, &position);
            }
            rows.angles.set(&self.config.ropes, t, pos, len);
        }
        rows.n_tokens = s.starts[texts.len()];
        rows.norm(run, rows.n_tokens, &self.embed_norm);
    }
}

/// The embeddings of types of segments, none where the file has none.
fn types(file: &Contents, source: &mut Source<'_>, dim: usize) -> Result<Vec<f32>> {
    const NAME: &str = "token_types.weight";
    let Some(tensor) = file.tensor(NAME) else { return Ok(Vec::new()) };
    let n_types = tensor.shape.get(1).copied().unwrap_or(1);
    if !(1..=TYPES_MAX).contains(&n_types) {
        return Err(Error::malformed(format!("tensor {NAME}"), n_types, format!("1 to {TYPES_MAX} types")));
    }
    source.matrix_values(NAME, n_types, dim)
}

/// `normed = norm(normed + delta)`, row by row.
fn add_and_norm(step: &Step<'_, '_>, norm: &Norm, rows: &mut scratch::Scratch) {
    let (dim, delta) = (step.config.dim, &rows.delta);
    step.run.pool.for_rows(&mut rows.normed[..step.n_tokens * dim], dim, |t, row| {
        ops::add(row, &delta[t * dim..(t + 1) * dim]);
        norm.apply_in_place(step.run, row);
    });
}

impl Layer {
    fn read(source: &mut Source<'_>, plan: &LayerPlan, i: usize, dim: usize) -> Result<Self> {
        let missing = |what: &str| Error::missing(format!("layer {i}"), what);
        let attention = plan.attention().ok_or_else(|| missing("heads that attend"))?;
        let (shape, q_dim, kv_dim) = (attention.shape, attention.q_dim(), attention.kv_dim());
        let [q, k, v] = match source.has("attn_qkv.weight") {
            true => source.fused("attn_qkv", [q_dim, kv_dim, kv_dim], dim)?,
            false => [
                source.linear("attn_q", q_dim, dim)?,
                source.linear("attn_k", kv_dim, dim)?,
                source.linear("attn_v", kv_dim, dim)?,
            ],
        };
        Ok(Self {
            shape,
            rope: attention.rope,
            q,
            k,
            v,
            o: source.linear("attn_output", dim, q_dim)?,
            attn_norm: source.norm("attn_output_norm", dim)?,
            ffn: plan.ffn.read(source, dim)?.ok_or_else(|| missing("a feed-forward block"))?,
            ffn_norm: source.norm("layer_output_norm", dim)?,
        })
    }

    /// Attention of every text's tokens to all of that text: from `normed` to `delta`.
    fn attend(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, dim) = (step.run, step.n_tokens, step.config.dim);
        let Shape { n_heads, n_kv_heads, head_dim, .. } = self.shape;
        let (q_dim, kv_dim) = (n_heads * head_dim, n_kv_heads * head_dim);
        let scratch::Scratch { arena, inputs, normed, delta, angles, .. } = &mut s.rows;
        let [q, k, v, heads] = split(arena, n_tokens, [q_dim, kv_dim, kv_dim, q_dim]);
        let to = [(&self.q, &mut *q), (&self.k, &mut *k), (&self.v, &mut *v)];
        project(run, inputs, &normed[..n_tokens * dim], to);
        if let Some(i) = self.rope {
            let rope = &step.config.ropes[i];
            run.pool.for_rows(q, q_dim, |t, row| rope.rotate(run, row, head_dim, angles.of(i, t)));
            run.pool.for_rows(k, kv_dim, |t, row| rope.rotate(run, row, head_dim, angles.of(i, t)));
        }
        for ends in s.starts.windows(2) {
            let (first, n) = (ends[0], ends[1] - ends[0]);
            let rows = first * kv_dim..(first + n) * kv_dim;
            let given = [&k[rows.clone()], &v[rows]];
            store(run.pool, run.kernels, &quant::F32, (n_kv_heads, head_dim), 0, given, &mut s.kv);
            let cache = Cache { format: &quant::F32, pages: &s.kv };
            let rows = first * q_dim..(first + n) * q_dim;
            let tile = tile_tokens(self.shape) * q_dim;
            for (q, out) in q[rows.clone()].chunks(tile).zip(heads[rows].chunks_mut(tile)) {
                self.attend_tile(run, cache, n, q, out, &mut s.tile, &mut s.threads);
            }
        }
        project(run, inputs, heads, [(&self.o, &mut delta[..n_tokens * dim])]);
    }

    /// Attention of some tokens, `(tokens, n_heads * head_dim)`, to the `n` positions of their text.
    #[expect(clippy::too_many_arguments, reason = "a leaf; each is a buffer of its own")]
    fn attend_tile(
        &self,
        run: &Runtime<'_>,
        cache: Cache<'_>,
        n: usize,
        q: &[f32],
        out: &mut [f32],
        [queries, found]: &mut [Vec<f32>; 2],
        threads: &mut [f32],
    ) {
        let Shape { n_heads, head_dim, .. } = self.shape;
        let tokens = q.len() / (n_heads * head_dim);
        let (queries, found) = (&mut queries[..q.len()], &mut found[..q.len()]);
        // A head's tokens beside each other, as heads that share the head's keys.
        for (i, values) in q.chunks_exact(head_dim).enumerate() {
            let to = (i % n_heads * tokens + i / n_heads) * head_dim;
            queries[to..to + head_dim].copy_from_slice(values);
        }
        let asked = Queries { first_pos: n - 1, q: queries, sinks: None };
        attend(run.pool, run.kernels, tiled(self.shape, tokens), cache, asked, threads, found);
        for (i, values) in out.chunks_exact_mut(head_dim).enumerate() {
            let from = (i % n_heads * tokens + i / n_heads) * head_dim;
            values.copy_from_slice(&found[from..from + head_dim]);
        }
    }
}

/// Tokens that attend at once.
fn tile_tokens(shape: Shape) -> usize {
    (TILE_ROWS / (shape.n_heads / shape.n_kv_heads)).max(1)
}

/// The heads of so many tokens as those of one.
fn tiled(shape: Shape, tokens: usize) -> Shape {
    Shape { n_heads: shape.n_heads * tokens, ..shape }
}

impl Head {
    /// `cls` and `cls.output`, or one of them, as files have it.
    fn read(file: &Contents, source: &mut Source<'_>, dim: usize) -> Result<Option<Self>> {
        const OUT: &str = "cls.output";
        let rows = |name: &str| {
            let tensor = file.tensor(&format!("{name}.weight"))?;
            Some(tensor.shape.get(1).copied().unwrap_or(1))
        };
        let (name, n_labels) = match (rows("cls"), rows(OUT)) {
            (None, None) => return Ok(None),
            (_, Some(n)) => (OUT, n),
            (Some(n), None) => ("cls", n),
        };
        if n_labels != 1 {
            let found = format!("a head of {n_labels} labels");
            return Err(Error::unsupported(format!("tensor {name}.weight"), found, ["a score, one label"]));
        }
        let has_both = name == OUT && source.has("cls.weight");
        let dense = has_both.then(|| source.linear("cls", dim, dim)).transpose()?;
        Ok(Some(Self { dense, out: source.linear(name, 1, dim)? }))
    }
}

impl Scratch {
    /// Buffers for steps of up to `tokens_max` tokens on `n_threads` threads.
    pub fn new(encoder: &Encoder, tokens_max: usize, n_threads: usize) -> Self {
        let config = &encoder.config;
        let shapes = || encoder.layers.iter().map(|layer| layer.shape);
        let most = |of: fn(Shape) -> usize| shapes().map(of).max().unwrap_or(0);
        let n_blocks = tokens_max.min(config.ctx_train).div_ceil(BLOCK);
        let pages = Pages::new(n_blocks, most(|s| page_bytes(&quant::F32, s.n_kv_heads, s.head_dim)));
        let tile = most(|s| tile_tokens(s) * s.n_heads * s.head_dim);
        let thread = most(|s| tiled(s, tile_tokens(s)).scratch_len());
        Self {
            rows: scratch::Scratch::new(config, tokens_max, n_threads),
            starts: vec![0],
            kv: Table::new(pages, n_blocks),
            tile: [vec![0.0; tile], vec![0.0; tile]],
            threads: vec![0.0; n_threads * thread],
        }
    }

    /// Bytes that [`Scratch::new`] takes per token of its largest step.
    pub fn bytes_per_token(config: &Config) -> usize {
        let kv = config.layers.iter().filter_map(LayerPlan::attention).map(|plan| 2 * plan.kv_dim()).max();
        scratch::Scratch::bytes_per_token(config) + 4 * kv.unwrap_or(0)
    }

    /// The most tokens a step may have.
    pub fn tokens_max(&self) -> usize {
        self.rows.tokens_max()
    }
}
