//! `options`: how tokens are chosen, how many, and in how much room.

use ingle_engine::sample::TOKENS_MAX;
use serde_json::json;

use crate::fields::Fields;
use crate::ids;
use crate::refusal::Refusal;
use crate::sampling::{self, Sampling};

/// Where and how fast things are computed is the server's affair: these change no answer.
pub const OF_THE_SERVER: &[&str] = &[
    "numa",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "low_vram",
    "f16_kv",
    "use_mmap",
    "use_mlock",
    "num_thread",
];

/// What options say.
#[derive(Debug)]
pub struct Options {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens of an answer; `None` for as many as there is room for.
    pub max_tokens: Option<usize>,
    /// Of the prompt, the tokens that stay when others are dropped.
    pub keep: Option<usize>,
}

/// Takes them, for a model with a context of `ctx` tokens.
pub fn take(fields: &mut Fields, ctx: usize) -> Result<Options, Refusal> {
    let mut options = fields.object("options")?.unwrap_or_else(Fields::none);
    let num_predict = whole(&mut options, "num_predict")?;
    let max_tokens = num_predict.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    if let Some(n) = options.count("num_ctx", usize::MAX)?.filter(|&n| n > ctx) {
        let why = format!("{n} tokens, but the contexts of this model have {ctx}; --ctx sets that");
        return Err(options.refused("num_ctx", why));
    }
    let keep = options.count("num_keep", usize::MAX)?;
    // A negative seed is as good as none.
    let seed = whole(&mut options, "seed")?.and_then(|seed| u64::try_from(seed).ok());
    options.rename("mirostat_tau", "mirostat_ent");
    options.rename("mirostat_eta", "mirostat_lr");
    if options.get("repeat_last_n") == Some(&json!(-1)) {
        options.put("repeat_last_n", TOKENS_MAX.into());
    }
    options.unsupported("tfs_z", &[json!(1), json!(1.0)])?;
    options.unsupported("penalize_newline", &[json!(true)])?;
    for name in ["vocab_only", "logits_all", "embedding_only"] {
        options.unsupported(name, &[json!(false)])?;
    }
    options.harmless(OF_THE_SERVER);
    let sampling = sampling::take(&mut options, seed.unwrap_or_else(ids::seed))?;
    options.end()?;
    Ok(Options { sampling, max_tokens, keep })
}

/// Takes a whole number, which may be negative.
fn whole(options: &mut Fields, name: &str) -> Result<Option<i64>, Refusal> {
    let Some(value) = options.take(name) else { return Ok(None) };
    value.as_i64().map(Some).ok_or_else(|| options.refused(name, "expected a whole number"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    fn taken(options: &Json) -> Result<Options, Refusal> {
        take(&mut Fields::parse(json!({ "options": options }).to_string().as_bytes()).unwrap(), 512)
    }

    #[test]
    fn ollamas_names_reach_the_shelf() {
        let options = taken(&json!({
            "num_predict": 7, "num_ctx": 256, "num_keep": 3, "seed": 5, "temperature": 0.5, "mirostat_tau": 3.0,
            "mirostat_eta": 0.2, "repeat_penalty": 1.2, "repeat_last_n": -1, "stop": ["x"], "num_gpu": 0,
        }));
        let Options { sampling, max_tokens, keep } = options.unwrap();
        let params = sampling.params;
        assert_eq!((max_tokens, keep, params.seed, params.temperature), (Some(7), Some(3), 5, 0.5));
        assert_eq!((params.mirostat_tau, params.mirostat_eta, params.repeat_penalty), (3.0, 0.2, 1.2));
        assert_eq!((params.penalty_last_n, sampling.stop.len()), (TOKENS_MAX, 1));
        assert_eq!(taken(&json!({ "num_predict": -1, "seed": -1 })).unwrap().max_tokens, None);
    }

    #[test]
    fn what_is_not_known_or_has_no_room_is_named() {
        for (options, word) in [
            (json!({ "num_ctx": 513 }), "num_ctx"),
            (json!({ "tfs_z": 0.5 }), "tfs_z"),
            (json!({ "num_predict": "many" }), "num_predict"),
            (json!({ "tempreature": 1 }), "tempreature"),
            (json!({ "temperature": -1 }), "temperature"),
            (json!([]), "options"),
        ] {
            let error = taken(&options).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
