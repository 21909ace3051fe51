//! Plans against llama.cpp's, tensor by tensor, and what a plan does with odd requests.

use std::path::Path;

use ingle_compress::mixture::{self, MIXTURES};
use ingle_compress::plan::{ModelInfo, Options, Override, Plan, TensorInfo, Why, format_named, plan};
use ingle_compress::role::layer_of;
use ingle_kernel::quant;

/// A model of the golden table: what the planner is told.
struct Golden {
    name: String,
    model: ModelInfo,
    tensors: Vec<TensorInfo>,
    /// Mixture, option, and types in the table's order.
    types: Vec<(String, String, Vec<String>)>,
}

fn golden() -> Vec<Golden> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/llama_cpp_types.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let mut models: Vec<Golden> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words[i].split_once('=').unwrap().1.parse().unwrap();
        match words[0] {
            "model" => models.push(Golden {
                name: words[1].into(),
                model: ModelInfo {
                    family: words[2].into(),
                    n_layers: number(3),
                    n_experts: number(4),
                    n_heads: number(5),
                    n_kv_heads: number(6),
                },
                tensors: Vec::new(),
                types: Vec::new(),
            }),
            "tensor" => {
                let golden = models.last_mut().unwrap();
                let n = if words[1].contains('*') { golden.model.n_layers } else { 1 };
                golden.tensors.extend((0..n).map(|i| TensorInfo {
                    name: words[1].replace('*', &i.to_string()),
                    shape: words[2].split('x').map(|v| v.parse().unwrap()).collect(),
                    format: quant::by_name(words[3]).unwrap(),
                }));
            }
            "types" => {
                let runs = words[3..].iter().flat_map(|run| {
                    let (name, n) = run.split_once('*').unwrap_or((run, "1"));
                    std::iter::repeat_n(name.to_owned(), n.parse().unwrap())
                });
                let types = (words[1].into(), words[2].into(), runs.collect());
                models.last_mut().unwrap().types.push(types);
            }
            _ => assert_eq!(words[0], "#"),
        }
    }
    models
}

fn options(option: &str) -> Options {
    let format = |name| Some(quant::by_name(name).unwrap());
    match option {
        "-" => Options::default(),
        "imatrix" => Options { has_imatrix: true, ..Options::default() },
        "pure" => Options { pure: true, ..Options::default() },
        "leave" => Options { leave_output: true, ..Options::default() },
        "output=q8_0,embedding=q5_K" => {
            Options { output: format("q8_0"), token_embedding: format("q5_K"), ..Options::default() }
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_tensor_gets_the_type_that_llama_cpp_gives_it() {
    let models = golden();
    assert!(models.len() >= 13);
    let mut n = 0;
    for golden in &models {
        let mut order: Vec<usize> = (0..golden.tensors.len()).collect();
        order.sort_by_key(|&i| (layer_of(&golden.tensors[i].name), &golden.tensors[i].name));
        order.retain(|&i| golden.tensors[i].shape.len() > 1);
        for (name, option, types) in &golden.types {
            let mixture = mixture::by_name(name).unwrap();
            let plan = plan(&golden.tensors, &golden.model, mixture, &options(option)).unwrap();
            assert_eq!(order.len(), types.len());
            for (&i, expected) in order.iter().zip(types) {
                let (tensor, choice) = (&golden.tensors[i], &plan.choices[i]);
                let place = format!("{} {name} {option} {}: {}", golden.name, tensor.name, choice.why);
                // llama.cpp gives an embedding the type that was asked for even where its rows hold no whole blocks of it.
                let unfit =
                    quant::by_name(expected).is_some_and(|f| !tensor.shape[0].is_multiple_of(f.block));
                let got = choice.instead_of.filter(|_| unfit).unwrap_or(choice.format).name;
                assert!(got.eq_ignore_ascii_case(expected), "{got} not {expected}: {place}");
                assert!(!unfit || matches!(choice.why, Why::Asked), "{place}");
                n += 1;
            }
        }
    }
    assert!(n > 40_000, "{n}");
    // Every mixture that llama.cpp has is in the table, with importances where they change it.
    let seen = |name: &str| models.iter().any(|m| m.types.iter().any(|t| t.0 == name));
    assert!(MIXTURES.iter().all(|m| m.name == "NVFP4" || seen(m.name)));
    println!("{n} choices compared");
}

fn tensor(name: &str, shape: &[usize]) -> TensorInfo {
    TensorInfo { name: name.into(), shape: shape.into(), format: quant::by_name("f16").unwrap() }
}

fn formats(plan: &Plan) -> Vec<&'static str> {
    plan.choices.iter().map(|c| c.format.name).collect()
}

#[test]
fn what_is_asked_for_comes_first_and_still_has_to_fit() {
    let tensors = [
        tensor("blk.0.attn_q.weight", &[256, 256]),
        tensor("blk.0.attn_k.weight", &[96, 256]),
        tensor("blk.0.attn_norm.weight", &[256]),
        tensor("output.weight", &[256, 64]),
        tensor("token_embd.weight", &[256, 64]),
    ];
    let overrides = ["ATTN_[qk]=q6_k", "attn=q2_K", "norm=q8_0", "ffn_.*=q8_0", "token_embd=q2_K"];
    let options = Options {
        overrides: overrides.map(|o| Override::parse(o).unwrap()).into(),
        output: Some(format_named("q5_0").unwrap()),
        token_embedding: Some(format_named("q8_0").unwrap()),
        ..Options::default()
    };
    for mixture in ["Q4_K_M", "F16"] {
        let mixture = mixture::by_name(mixture).unwrap();
        let plan = plan(&tensors, &ModelInfo::default(), mixture, &options).unwrap();
        assert_eq!(formats(&plan), ["q6_K", "q8_0", "f16", "q5_0", "q8_0"]);
        assert_eq!(plan.choices[1].instead_of.unwrap().name, "q6_K");
        assert!(matches!(plan.choices[2].why, Why::Kept("one row")));
        assert_eq!(
            plan.unused,
            ["attn=q2_K", "norm=q8_0", "ffn_.*=q8_0"].map(|o| o.split('=').next().unwrap())
        );
    }
}

#[test]
fn rows_of_any_length_find_a_format() {
    for mixture in MIXTURES {
        for cols in [1, 31, 32, 64, 96, 128, 172, 256, 288, 512] {
            let tensors =
                [tensor("blk.0.attn_q.weight", &[cols, 8]), tensor("token_embd.weight", &[cols, 8])];
            let plan = plan(&tensors, &ModelInfo::default(), mixture, &Options::default()).unwrap();
            for choice in &plan.choices {
                assert!(
                    cols.is_multiple_of(choice.format.block),
                    "{} {cols}: {}",
                    mixture.name,
                    choice.format.name
                );
                assert!(choice.format.quantize.is_some());
            }
        }
    }
}

#[test]
fn requests_that_make_no_sense_are_sentences() {
    for (text, said) in [
        ("attn_q", "PATTERN=FORMAT"),
        ("=q8_0", "PATTERN=FORMAT"),
        ("attn_q=q9", "q9"),
        ("attn_q=iq2_xs", "read but not written"),
        ("attn_[=q8_0", "regular expression"),
    ] {
        let error = Override::parse(text).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    // Experts are counted by their layer's number, which must be one.
    let model = ModelInfo { n_experts: 4, n_layers: 2, ..ModelInfo::default() };
    for name in ["blk.2.ffn_down_exps.weight", "ffn_down.weight"] {
        let error = plan(&[tensor(name, &[256, 256])], &model, MIXTURES[10], &Options::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(name) && error.contains("below 2"), "{error}");
    }
}
