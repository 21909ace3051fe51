//! How a request says how tokens are chosen: OpenAI's fields, and every setting of the engine's shelf under its own name.

use ingle_engine::generate::Overflow;
use ingle_engine::sample::{Bias, BiasToken, Params, settings};
use serde_json::Value as Json;

use crate::fields::Fields;
use crate::refusal::Refusal;

/// Texts that may end an answer; OpenAI has four.
const STOPS_MAX: usize = 16;

/// How to answer, as far as all routes have it in common.
#[derive(Debug, Clone)]
pub struct Sampling {
    /// How tokens are chosen.
    pub params: Params,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// What to do when the context is full.
    pub overflow: Overflow,
}

/// Takes what shapes the choice of tokens; `seed` is for who gives none.
pub fn take(fields: &mut Fields, seed: u64) -> Result<Sampling, Refusal> {
    let mut params = Params { seed, ..Params::usual() };
    if let Some(biases) = fields.take("logit_bias") {
        params.logit_bias = biases_of(&biases)?;
    }
    for name in fields.names() {
        let flag = name.replace('_', "-");
        let Some(setting) = settings().find(|setting| setting.name == flag) else { continue };
        let Some(value) = fields.take(&name) else { continue };
        let values = texts_of(&value).ok_or_else(|| {
            Refusal::field(&name, format!("{name}: expected a number, a text or an array of texts"))
        })?;
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        setting.set(&mut params, &values).map_err(|e| Refusal::field(&name, e.to_string()))?;
    }
    params.check().map_err(|e| Refusal::request(e.to_string()))?;
    let stop = take_stops(fields, "stop")?;
    let overflow = match fields.text("overflow")?.as_deref() {
        None | Some("error") => Overflow::Error,
        Some("drop-oldest") => Overflow::DropOldest,
        Some(_) => return Err(Refusal::field("overflow", "overflow: expected \"error\" or \"drop-oldest\"")),
    };
    Ok(Sampling { params, stop, overflow })
}

/// Takes the texts that end an answer, under the name that an API has for them.
pub fn take_stops(fields: &mut Fields, name: &str) -> Result<Vec<String>, Refusal> {
    let stops = fields.texts(name)?;
    if stops.len() > STOPS_MAX || stops.iter().any(String::is_empty) {
        return Err(Refusal::field(name, format!("{name}: expected up to {STOPS_MAX} texts, none empty")));
    }
    Ok(stops)
}

/// A value as the settings read it.
fn texts_of(value: &Json) -> Option<Vec<String>> {
    match value {
        Json::String(text) => Some(vec![text.clone()]),
        Json::Number(n) => Some(vec![n.to_string()]),
        Json::Array(values) => values.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// `{"id": bias}`, -100 to 100, where -100 rules a token out as OpenAI's does.
fn biases_of(value: &Json) -> Result<Vec<Bias>, Refusal> {
    let wrong = || {
        Refusal::field(
            "logit_bias",
            "logit_bias: expected an object of token ids with numbers from -100 to 100",
        )
    };
    let one = |(id, bias): (&String, &Json)| {
        let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias))? as f32;
        let bias = if bias == -100.0 { f32::NEG_INFINITY } else { bias };
        Some(Bias { token: BiasToken::Id(id.parse().ok()?), bias })
    };
    value.as_object().ok_or_else(wrong)?.iter().map(|entry| one(entry).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &str) -> Result<Sampling, Refusal> {
        let mut fields = Fields::parse(body.as_bytes()).unwrap();
        let sampling = take(&mut fields, 7)?;
        fields.end().map(|()| sampling)
    }

    #[test]
    fn openais_fields_and_the_shelfs_are_both_known() {
        let s = taken(r#"{"temperature": 0.5, "top_p": 0.9, "top_k": 3, "dry_multiplier": 0.8, "stop": "x", "logit_bias": {"5": -100}}"#).unwrap();
        assert_eq!((s.params.temperature, s.params.top_p, s.params.top_k, s.params.seed), (0.5, 0.9, 3, 7));
        assert_eq!((s.params.dry_multiplier, s.stop.len()), (0.8, 1));
        assert_eq!(s.params.logit_bias[0].bias, f32::NEG_INFINITY);
    }

    #[test]
    fn values_out_of_range_and_unknown_fields_are_named() {
        for (body, name) in [
            (r#"{"temperature": -1}"#, "temperature"),
            (r#"{"top_k": 1.5}"#, "top"),
            (r#"{"stop": [""]}"#, "stop"),
            (r#"{"logit_bias": {"a": 1}}"#, "logit_bias"),
            (r#"{"overflow": "x"}"#, "overflow"),
            (r#"{"tempreature": 1}"#, "tempreature"),
        ] {
            let error = taken(body).unwrap_err().to_string();
            assert!(error.contains(name), "{body}: {error}");
        }
    }
}
