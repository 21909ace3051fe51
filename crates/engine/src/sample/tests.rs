//! What holds for the sampler as a whole and for every stage; what one stage does is tested in its file.

use super::*;

use pool::tests::after;

/// Deterministic logits, roughly normal, spread 3.
pub(super) fn logits(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let mut unit = || rng.below(1 << 20) as f32 / (1 << 20) as f32 - 0.5;
    (0..n).map(|_| (0..12).map(|_| unit()).sum::<f32>() * 3.0).collect()
}

fn open(seed: u64) -> Params {
    Params { temperature: 1.0, seed, ..Params::GREEDY }
}

#[test]
fn greedy_takes_the_lowest_id_among_equals() {
    let mut s = Sampler::new(Params::GREEDY, &Room::plain(4)).unwrap();
    assert_eq!(s.sample(&mut [1.0, 3.0, 3.0, -1.0]), Ok(1));
    assert_eq!(s.sample(&mut [-0.0, 0.0, 0.0, -1.0]), Ok(0));
    assert_eq!(s.sample(&mut [f32::NEG_INFINITY, f32::NEG_INFINITY, -5.0, f32::NEG_INFINITY]), Ok(2));
}

#[test]
fn broken_rows_are_errors_and_name_the_token() {
    for temperature in [0.0, 1.0] {
        let mut s = Sampler::new(Params { temperature, ..Params::GREEDY }, &Room::plain(3)).unwrap();
        let nan = s.sample(&mut [0.0, f32::NAN, 1.0]).unwrap_err();
        assert_eq!(nan.to_string(), "the logit of token 1 is NaN: the model's weights may be damaged");
        assert!(matches!(
            s.sample(&mut [0.0, 1.0, f32::INFINITY]),
            Err(SampleError::NotFinite { id: 2, .. })
        ));
        assert_eq!(s.sample(&mut [f32::NEG_INFINITY; 3]), Err(SampleError::NothingLeft));
        assert_eq!(s.sample(&mut [0.0]), Err(SampleError::Length { found: 1, expected: 3 }));
    }
}

#[test]
fn ruled_out_tokens_are_never_drawn() {
    let mut s = Sampler::new(open(3), &Room::plain(4)).unwrap();
    for _ in 0..2000 {
        let id = s.sample(&mut [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 0.5]).unwrap();
        assert!(id == 1 || id == 3);
    }
}

#[test]
fn the_same_seed_gives_the_same_tokens_and_another_seed_others() {
    let row = logits(500, 1);
    let run = |seed| {
        let p = Params { top_k: 100, top_p: 0.9, min_p: 0.01, ..open(seed) };
        let mut s = Sampler::new(p, &Room::plain(row.len())).unwrap();
        (0..20).map(|_| s.sample(&mut row.clone()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

/// Frozen: if this fails, a release would change what a seed gives.
#[test]
fn what_a_seed_gives_never_changes() {
    let row = logits(1000, 42);
    let run = |p: Params| {
        let mut s = Sampler::new(p, &Room::plain(row.len())).unwrap();
        let ids = (0..8).map(|_| {
            let id = s.sample(&mut row.clone()).unwrap();
            s.accept(id, b"");
            id
        });
        ids.collect::<Vec<_>>()
    };
    let got = [
        run(open(1)),
        run(Params { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, ..open(2) }),
        run(Params { repeat_penalty: 1.3, presence_penalty: 0.5, frequency_penalty: 0.5, ..Params::GREEDY }),
    ];
    assert_eq!(got, FROZEN);
}

const FROZEN: [[u32; 8]; 3] = [
    [680, 641, 882, 807, 680, 205, 205, 751],
    [641, 882, 644, 680, 205, 205, 644, 773],
    [773, 680, 96, 641, 882, 205, 103, 644],
];

/// A chi-squared test of 100,000 draws against the probabilities computed in f64.
#[test]
fn draws_follow_the_distribution() {
    let row = logits(30, 5);
    for (params, t) in [(open(11), 1.0f64), (Params { temperature: 0.5, ..open(12) }, 0.5)] {
        let mut s = Sampler::new(params, &Room::plain(row.len())).unwrap();
        let n = 100_000;
        let mut counts = vec![0u32; row.len()];
        for _ in 0..n {
            counts[s.sample(&mut row.clone()).unwrap() as usize] += 1;
        }
        let p: Vec<f64> = row.iter().map(|&l| (f64::from(l) / t).exp()).collect();
        let sum: f64 = p.iter().sum();
        let (mut chi2, mut cells) = (0.0, 0);
        for (&c, p) in counts.iter().zip(&p) {
            let expected = p / sum * f64::from(n);
            if expected >= 5.0 {
                chi2 += (f64::from(c) - expected).powi(2) / expected;
                cells += 1;
            }
        }
        // Mean `cells`, variance `2 cells`: four standard deviations. The seed is fixed, so it can't flake.
        assert!(chi2 < f64::from(cells) + 4.0 * f64::from(2 * cells).sqrt(), "chi2 {chi2} of {cells}");
    }
}

/// Parameters that switch each stage on.
fn on() -> Vec<(&'static str, Params)> {
    let base = open(5);
    vec![
        (
            "logit-bias",
            Params { logit_bias: vec![Bias { token: BiasToken::Id(3), bias: -2.0 }], ..base.clone() },
        ),
        ("penalties", Params { repeat_penalty: 1.2, frequency_penalty: 0.1, ..base.clone() }),
        ("dry", Params { dry_multiplier: 0.8, ..base.clone() }),
        ("top-n-sigma", Params { top_n_sigma: 1.0, ..base.clone() }),
        ("top-k", Params { top_k: 40, ..base.clone() }),
        ("typical", Params { typical_p: 0.9, ..base.clone() }),
        ("top-p", Params { top_p: 0.95, ..base.clone() }),
        ("min-p", Params { min_p: 0.05, ..base.clone() }),
        ("xtc", Params { xtc_probability: 1.0, xtc_threshold: 0.05, ..base.clone() }),
        ("temperature", Params { temperature: 0.8, dynatemp_range: 0.3, ..base.clone() }),
        ("mirostat", Params { mirostat: 2, ..base }),
    ]
}

#[test]
fn every_stage_is_off_until_asked_for() {
    let names: Vec<&str> = on().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, STAGES.iter().map(|s| s.name).collect::<Vec<_>>(), "list the new stage in `on`");
    for (name, params) in on() {
        for stage in STAGES {
            assert_eq!((stage.wants)(&params), stage.name == name, "{} under {name}", stage.name);
        }
        assert_eq!(Sampler::new(params, &Room::plain(4)).unwrap().steps.len(), 1, "{name}");
    }
    assert!(Sampler::new(open(0), &Room::plain(4)).unwrap().steps.is_empty());
}

/// Whatever the row, a stage leaves a candidate that can be drawn, in order of id, and only some of those there were.
#[test]
fn no_stage_drops_every_candidate() {
    let mut rows = vec![vec![0.0f32; 50], (0..50).map(|i| i as f32 * 1e30).collect(), logits(50, 3)];
    let mut one = vec![f32::NEG_INFINITY; 50];
    one[17] = -3.0;
    rows.push(one);
    rows.push(vec![4.0]);
    rows.push(vec![f32::MAX, f32::MIN, -0.0, 0.0]);
    for (name, params) in on() {
        for row in rows.iter().filter(|row| row.len() > 3) {
            let stage = STAGES.iter().find(|s| s.name == name).unwrap();
            let mut step = (stage.make)(&params, &Room::plain(row.len())).unwrap();
            let mut rng = Rng::new(2);
            for said in 0..20u32 {
                let left = after(row, |pool| step.apply(pool, &mut rng));
                assert!(left.iter().any(|c| c.logit > f32::NEG_INFINITY), "{name}: {row:?}");
                assert!(left.iter().all(|c| !c.logit.is_nan()), "{name}: {row:?}");
                assert!(left.windows(2).all(|w| w[0].id < w[1].id), "{name}: {row:?}");
                step.accept(said % 3, b"x");
                step.drawn(0.5);
            }
        }
    }
}

/// Filters keep the best token, all but the two whose purpose is another.
#[test]
fn filters_keep_the_best_token() {
    for (name, params) in on() {
        let stage = STAGES.iter().find(|s| s.name == name).unwrap();
        if !matches!(stage.role, Role::Filter | Role::Last) || ["typical", "xtc"].contains(&name) {
            continue;
        }
        for seed in 0..30 {
            let row = logits(200, seed);
            let best = pool::best(&row).unwrap().0 as u32;
            let mut step = (stage.make)(&params, &Room::plain(200)).unwrap();
            let left = after(&row, |pool| step.apply(pool, &mut Rng::new(0)));
            assert!(left.len() < 200 && left.iter().any(|c| c.id == best), "{name}, seed {seed}");
        }
    }
}

#[test]
fn any_order_of_all_stages_runs_and_repeats() {
    let mut rng = Rng::new(8);
    let mut all: Vec<&'static Stage> = listable().filter(|s| s.role != Role::Last).collect();
    for round in 0..50 {
        for i in (1..all.len()).rev() {
            all.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let mut params = open(round);
        (params.repeat_penalty, params.dry_multiplier, params.xtc_probability) = (1.1, 0.8, 0.5);
        (params.top_k, params.top_p, params.typical_p, params.min_p) = (50, 0.9, 0.95, 0.01);
        (params.top_n_sigma, params.temperature, params.dynatemp_range) = (2.0, 0.9, 0.4);
        params.samplers = all.clone();
        let run = || {
            let mut s = Sampler::new(params.clone(), &Room::plain(300)).unwrap();
            let ids = (0..20).map(|i| {
                let id = s.sample(&mut logits(300, i)).unwrap();
                s.accept(id, b"x");
                id
            });
            ids.collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}

#[test]
fn the_order_matters_and_is_the_one_given() {
    let row = [0.5f32, 0.3, 0.15, 0.05].map(f32::ln);
    let kept = |names: [&str; 2]| {
        let mut params = Params { temperature: 3.0, top_p: 0.7, ..Params::GREEDY };
        params.samplers = names.iter().map(|n| *STAGES.iter().find(|s| s.name == *n).unwrap()).collect();
        let mut s = Sampler::new(params, &Room::plain(4)).unwrap();
        let drawn: std::collections::BTreeSet<u32> =
            (0..500).map(|_| s.sample(&mut row.clone()).unwrap()).collect();
        drawn.len()
    };
    assert_eq!((kept(["top-p", "temperature"]), kept(["temperature", "top-p"])), (2, 3));
}

#[test]
fn the_default_order_is_the_documented_one() {
    let names = |p: &Params| p.order().unwrap().iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(
        names(&Params::usual()),
        [
            "logit-bias",
            "penalties",
            "dry",
            "top-n-sigma",
            "top-k",
            "typical",
            "top-p",
            "min-p",
            "xtc",
            "temperature",
            "mirostat"
        ]
    );
    let miro = Params { mirostat: 1, ..Params::usual() };
    assert_eq!(names(&miro), ["logit-bias", "penalties", "dry", "temperature", "mirostat"]);
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let said = |params: Params| params.check().unwrap_err().to_string();
    let listed = |names: &[&str]| -> Vec<&'static Stage> {
        names.iter().map(|n| *STAGES.iter().find(|s| s.name == *n).unwrap()).collect()
    };
    let twice = Params { samplers: listed(&["top-k", "min-p", "top-k"]), ..Params::GREEDY };
    assert_eq!(said(twice), "samplers is top-k;min-p;top-k, expected top-k once");
    let early = Params { samplers: listed(&["mirostat", "top-k"]), mirostat: 1, ..Params::GREEDY };
    assert!(said(early).contains("mirostat at the end"));
    let missing = Params { samplers: listed(&["top-k"]), xtc_probability: 0.5, ..Params::GREEDY };
    assert!(said(missing).contains("xtc among them"));
    // Stages that run by default may be left out.
    Params { samplers: listed(&["top-k"]), ..Params::usual() }.check().unwrap();
}

#[test]
fn values_outside_their_range_are_refused() {
    let bad = [
        Params { temperature: -1.0, ..Params::GREEDY },
        Params { temperature: f32::NAN, ..Params::GREEDY },
        Params { top_p: 0.0, ..Params::GREEDY },
        Params { top_p: 1.5, ..Params::GREEDY },
        Params { typical_p: 0.0, ..Params::GREEDY },
        Params { min_p: -0.1, ..Params::GREEDY },
        Params { top_n_sigma: -1.0, ..Params::GREEDY },
        Params { repeat_penalty: 0.0, ..Params::GREEDY },
        Params { presence_penalty: f32::INFINITY, ..Params::GREEDY },
        Params { dry_base: 0.5, ..Params::GREEDY },
        Params { dry_allowed_length: 0, ..Params::GREEDY },
        Params { dynatemp_exponent: 0.0, ..Params::GREEDY },
        Params { mirostat_eta: f32::NAN, ..Params::GREEDY },
    ];
    for params in bad {
        assert!(matches!(params.check(), Err(SampleError::Param { .. })), "{params:?}");
    }
}

#[test]
fn greedy_runs_what_changes_logits_and_nothing_that_draws() {
    let params = Params { temperature: 0.0, xtc_probability: 1.0, mirostat: 2, ..Params::usual() };
    let mut s = Sampler::new(params, &Room::plain(3)).unwrap();
    assert!(s.steps.is_empty());
    assert_eq!(s.sample(&mut [1.0, 3.0, 2.9]), Ok(1));
}

/// XTC's number comes before the draw's: with it on but nothing to drop, the second number of each pair draws.
#[test]
fn the_stages_draw_from_one_generator_in_the_stated_way() {
    let row = logits(50, 1);
    let flat = vec![0.0f32; 50];
    let params = Params { xtc_probability: 1.0, xtc_threshold: 0.5, ..open(6) };
    let mut with = Sampler::new(params, &Room::plain(50)).unwrap();
    let mut rng = Rng::new(6);
    for _ in 0..20 {
        let got = with.sample(&mut flat.clone()).unwrap();
        rng.next_u64();
        let (first, _) = race::first(&flat, 0.0, |place| place as u32, rng.next_u64());
        assert_eq!(got as usize, first.place);
    }
    let miro = Params { mirostat: 2, mirostat_tau: 50.0, ..open(6) };
    let mut s = Sampler::new(miro, &Room::plain(50)).unwrap();
    let mut plain = Sampler::new(open(6), &Room::plain(50)).unwrap();
    for _ in 0..20 {
        assert_eq!(s.sample(&mut row.clone()), plain.sample(&mut row.clone()), "one number per token");
    }
}
