//! What a step costs, against counts made another way: from the weights as they were read, and by hand.

use std::path::Path;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::quant;
use ingle_kernel::simd::Kernels;
use ingle_model::config::Config;
use ingle_model::cost::{Products, WeightCost, state_bytes};
use ingle_model::file::{Contents, gguf};

/// A family of plain attention and dense blocks.
const PLAIN: &str = "seed_oss.gguf";

/// A family of the tests, and what its weights cost on the plain tier.
fn open(name: &str) -> (Contents, Config, WeightCost) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/families").join(name);
    let file = gguf::parse(Bytes::new(std::fs::read(path).unwrap())).unwrap();
    let config = Config::read(&file).unwrap();
    let cost = WeightCost::of(&file, &config, &Kernels::named("scalar").unwrap());
    (file, config, cost)
}

fn all_bytes(file: &Contents) -> u64 {
    file.tensors().iter().map(|t| t.n_bytes() as u64).sum()
}

#[test]
fn a_model_that_ties_its_head_reads_all_its_tensors() {
    let mut n = 0;
    for name in families() {
        let (file, config, cost) = open(&name);
        let experts = config.layers.iter().any(|layer| layer.ffn.experts().is_some());
        let special =
            ["output.weight", "per_layer_token_embd.weight"].iter().any(|t| file.tensor(t).is_some());
        if experts || special || config.n_draft_layers > 0 {
            continue;
        }
        n += 1;
        assert_eq!(cost.step_bytes(1), Some(all_bytes(&file)), "{name}");
        assert_eq!(cost.step_bytes(8), Some(all_bytes(&file)), "{name}: once for all tokens");
    }
    assert!(n > 0, "some family ties its head");
}

#[test]
fn a_head_of_its_own_leaves_one_row_of_the_embedding_to_each_token() {
    let mut n = 0;
    for name in families() {
        let (file, config, cost) = open(&name);
        let embedding = file.tensor("token_embd.weight").unwrap();
        let plain = config.layers.iter().all(|layer| layer.ffn.experts().is_none());
        if file.tensor("output.weight").is_none() || !plain || config.n_draft_layers > 0 {
            continue;
        }
        if file.tensor("per_layer_token_embd.weight").is_some() {
            continue;
        }
        n += 1;
        let row = embedding.format.row_bytes(embedding.shape[0]) as u64;
        let rest = all_bytes(&file) - embedding.n_bytes() as u64;
        assert_eq!(cost.step_bytes(1), Some(rest + row), "{name}");
        assert_eq!(cost.step_bytes(3), Some(rest + 3 * row), "{name}");
    }
    assert!(n > 0, "some family has a head of its own");
}

#[test]
fn a_token_reads_the_experts_it_takes() {
    let (file, config, cost) = open("qwen2moe.gguf");
    let plan = config.layers.iter().find_map(|layer| layer.ffn.experts()).unwrap();
    assert!(plan.n_used < plan.n_experts);
    let stacked = |name: &str| name.contains("_exps.");
    let experts: u64 = file.tensors().iter().filter(|t| stacked(&t.name)).map(|t| t.n_bytes() as u64).sum();
    assert_eq!(cost.expert_bytes, experts / plan.n_experts as u64 * plan.n_used as u64);
    assert_eq!(cost.shared_bytes + cost.row_bytes + cost.expert_bytes, cost.step_bytes(1).unwrap());
    assert_eq!(cost.step_bytes(2), None, "two tokens may take the same ones or others");
}

#[test]
fn products_are_those_of_the_matrices_and_logits_are_counted_apart() {
    let (file, config, cost) = open(PLAIN);
    let matrices = file.tensors().iter().filter(|t| t.shape.len() > 1);
    let all: u64 = matrices.map(|t| t.n_values() as u64).sum();
    let head = (config.vocab * config.dim) as u64;
    let tied = file.tensor("output.weight").is_none();
    let Products { int8, f32 } = cost.products(1, 1);
    assert_eq!(int8 + f32, if tied { all } else { all - head });
    let Products { int8, f32 } = cost.products(10, 1);
    assert_eq!(int8 + f32, 10 * (all - head * if tied { 1 } else { 2 }) + head);
}

#[test]
fn a_step_reads_what_its_tokens_look_back_to() {
    let f16 = quant::by_name("f16").unwrap();
    let (_, config, _) = open(PLAIN);
    let per_position: u64 = config.layers.iter().map(|l| 4 * l.attention().unwrap().kv_dim() as u64).sum();
    assert_eq!(state_bytes(&config, f16, 0..1), per_position);
    assert_eq!(state_bytes(&config, f16, 99..100), 100 * per_position);
    assert_eq!(
        state_bytes(&config, f16, 92..100),
        100 * per_position,
        "read once for all tokens of the step"
    );

    let (_, mut windowed, _) = open(PLAIN);
    windowed.each_attention(|_, plan| plan.shape.window = Some(16));
    assert_eq!(state_bytes(&windowed, f16, 7..8), 8 * per_position, "before the window is full");
    assert_eq!(state_bytes(&windowed, f16, 99..100), 16 * per_position);
    assert_eq!(state_bytes(&windowed, f16, 92..100), 23 * per_position, "from the first token's window on");

    let (_, recurrent, _) = open("granitehybrid.gguf");
    let states: u64 = recurrent.layers.iter().map(|l| 4 * l.mixer.state().recurrent as u64).sum();
    let at = |n: usize| state_bytes(&recurrent, f16, n - 1..n);
    assert!(states > 0);
    assert_eq!(at(9) - at(8), at(8) - at(7), "a state is read whole, whatever the position");
    assert_eq!(at(1) + at(1) - at(2), states);
}

fn families() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/families");
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".gguf")).collect()
}
