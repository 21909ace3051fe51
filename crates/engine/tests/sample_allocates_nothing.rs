//! Choosing a token allocates nothing, whatever the parameters.

mod counting;

use counting::n_allocations;
use ingle_engine::sample::{Bias, BiasToken, Params, Rng, Room, Sampler};

#[test]
fn choosing_a_token_allocates_nothing() {
    let mut rng = Rng::new(1);
    let row: Vec<f32> = (0..5000).map(|_| rng.below(1000) as f32 / 100.0).collect();
    let all = Params {
        temperature: 0.8,
        top_k: 200,
        top_p: 0.9,
        min_p: 0.01,
        repeat_penalty: 1.1,
        presence_penalty: 0.1,
        frequency_penalty: 0.1,
        ..Params::GREEDY
    };
    let open = Params { temperature: 1.0, ..Params::GREEDY };
    for params in [
        Params { repeat_penalty: 1.1, ..Params::GREEDY },
        Params { dry_multiplier: 0.8, dry_sequence_breakers: vec!["xy".into()], ..Params::GREEDY },
        Params { logit_bias: vec![Bias { token: BiasToken::Id(3), bias: 1.0 }], ..open.clone() },
        Params { top_n_sigma: 1.0, xtc_probability: 0.5, ..open.clone() },
        Params { typical_p: 0.9, dynatemp_range: 0.5, ..open.clone() },
        Params { mirostat: 1, ..open.clone() },
        Params { mirostat: 2, ..open },
        Params { top_k: 0, ..all.clone() },
        all,
    ] {
        let mut sampler = Sampler::new(params, &Room::plain(row.len())).unwrap();
        let mut copy = row.clone();
        let before = n_allocations();
        for _ in 0..200 {
            copy.copy_from_slice(&row);
            let id = sampler.sample(&mut copy).unwrap();
            sampler.accept(id, b"x");
        }
        assert_eq!(n_allocations() - before, 0);
    }
}
