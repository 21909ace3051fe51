//! Logit bias: add a constant to the logits of single tokens, as OpenAI's `logit_bias` does; minus infinity rules one out.

use super::params::BiasToken;
use super::{Kind, Params, Pool, Rng, Role, Room, SampleError, Setting, Stage, Step};

pub static STAGE: Stage = Stage {
    name: "logit-bias",
    aliases: &[],
    about: "add to the logits of single tokens",
    source: "OpenAI API, logit_bias",
    role: Role::First,
    settings: &[Setting {
        name: "logit-bias",
        kind: Kind::Biases(|p| &mut p.logit_bias),
        default: &[],
        about: "ID=BIAS or TEXT=BIAS: add to a token's logit, -inf bans it; TEXT is one token's; several times",
    }],
    wants: |p| !p.logit_bias.is_empty(),
    make,
};

/// Ids and what to add.
#[derive(Debug)]
struct LogitBias(Vec<(u32, f32)>);

fn make(p: &Params, room: &Room<'_>) -> Result<Box<dyn Step>, SampleError> {
    let resolved = p.logit_bias.iter().map(|bias| {
        let id = match &bias.token {
            BiasToken::Id(id) => Some(*id).filter(|&id| (id as usize) < room.n_vocab),
            BiasToken::Text(text) => (room.id_of)(text),
        };
        id.map(|id| (id, bias.bias)).ok_or_else(|| SampleError::Param {
            name: "logit-bias",
            value: bias.to_string(),
            expected: format!("an id below {} or the text of exactly one token", room.n_vocab),
        })
    });
    Ok(Box::new(LogitBias(resolved.collect::<Result<_, _>>()?)))
}

impl Step for LogitBias {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        for &(id, bias) in &self.0 {
            pool.adjust(id, |logit| (logit + bias).min(f32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bias, Sampler};
    use super::*;

    fn bias(token: BiasToken, bias: f32) -> Bias {
        Bias { token, bias }
    }

    #[test]
    fn a_bias_is_added_by_id_and_by_text_and_minus_infinity_bans() {
        let logit_bias = vec![
            bias(BiasToken::Id(1), f32::NEG_INFINITY),
            bias(BiasToken::Text("c".into()), 1.5),
            bias(BiasToken::Text("c".into()), 1.0),
        ];
        let id_of = |text: &str| (text == "c").then_some(2);
        let room = Room { id_of: &id_of, ..Room::plain(4) };
        let mut s = Sampler::new(Params { logit_bias, ..Params::GREEDY }, &room).unwrap();
        assert_eq!(s.sample(&mut [0.0, 9.0, 1.0, 3.0]), Ok(2));
        assert_eq!(s.sample(&mut [0.0, 9.0, 1.0, 3.6]), Ok(3));
        assert_eq!(
            s.sample(&mut [f32::NEG_INFINITY, 9.0, f32::NEG_INFINITY, f32::NEG_INFINITY]),
            Err(SampleError::NothingLeft)
        );
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for token in [BiasToken::Id(4), BiasToken::Text("two tokens".into())] {
            let params = Params { logit_bias: vec![bias(token, 1.0)], ..Params::GREEDY };
            let said = Sampler::new(params, &Room::plain(4)).unwrap_err().to_string();
            assert!(said.contains("an id below 4 or the text of exactly one token"), "{said}");
        }
        for wrong in [f32::NAN, f32::INFINITY] {
            let params = Params { logit_bias: vec![bias(BiasToken::Id(0), wrong)], ..Params::GREEDY };
            assert!(params.check().is_err());
        }
    }
}
