"""Qwen3-Next: a gated delta net with two value heads per key head, then gated attention; experts beside a gated block."""
import make
import torch
from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

LAYERS = ["linear_attention", "full_attention", "linear_attention"]
SIZES = dict(
    vocab_size=97, hidden_size=32, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
    num_hidden_layers=3, max_position_embeddings=256, rms_norm_eps=1e-5, linear_conv_kernel_dim=4,
    linear_key_head_dim=16, linear_value_head_dim=16, linear_num_key_heads=2, linear_num_value_heads=4,
    layer_types=LAYERS, tie_word_embeddings=True, attn_implementation="eager",
    rope_parameters={"rope_type": "default", "rope_theta": 10000000.0, "partial_rotary_factor": 0.5})
EXPERTS = dict(moe_intermediate_size=8, shared_expert_intermediate_size=16, num_experts=4, num_experts_per_tok=2,
               experts_implementation="eager")


def model():
    return Qwen3NextForCausalLM(Qwen3NextConfig(intermediate_size=64, norm_topk_prob=True, **SIZES, **EXPERTS))


def randomise(model):
    """As for every family, but for norms whose weights are stored without the 1 that is added to them."""
    make.randomise(model)
    for name, p in model.named_parameters():
        if "norm" in name and "linear_attn" not in name:
            p.data = (p.data - 1).half().to(p.dtype)


def keys(c):
    return {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size,
        "block_count": c.num_hidden_layers, "full_attention_interval": 2,
        "attention.head_count": c.num_attention_heads, "attention.head_count_kv": c.num_key_value_heads,
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "rope.freq_base": 10000000.0,
        "rope.dimension_count": c.head_dim // 2, "ssm.conv_kernel": c.linear_conv_kernel_dim,
        "ssm.state_size": c.linear_key_head_dim, "ssm.group_count": c.linear_num_key_heads,
        "ssm.time_step_rank": c.linear_num_value_heads,
        "ssm.inner_size": c.linear_value_head_dim * c.linear_num_value_heads,
    } | ({
        "expert_count": c.num_experts, "expert_used_count": c.num_experts_per_tok,
        "expert_feed_forward_length": c.moe_intermediate_size,
        "expert_shared_feed_forward_length": c.shared_expert_intermediate_size,
    } if hasattr(c, "num_experts") else {"feed_forward_length": c.intermediate_size})


def plus_1(name):
    return lambda w: w[name] + 1


def common(c, prefix="model"):
    """What this family and its successors have in common: all but the projections of the delta nets."""
    out = {"token_embd.weight": f"{prefix}.embed_tokens.weight", "output_norm.weight": plus_1(f"{prefix}.norm.weight")}
    for i, kind in enumerate(LAYERS):
        ours, theirs = f"blk.{i}", f"{prefix}.layers.{i}"
        out |= {f"{ours}.attn_norm.weight": plus_1(f"{theirs}.input_layernorm.weight"),
                f"{ours}.post_attention_norm.weight": plus_1(f"{theirs}.post_attention_layernorm.weight")}
        if kind == "full_attention":
            out |= {f"{ours}.attn_{a}.weight": f"{theirs}.self_attn.{b}_proj.weight"
                    for a, b in [("q", "q"), ("k", "k"), ("v", "v"), ("output", "o")]}
            out |= {f"{ours}.attn_{a}_norm.weight": plus_1(f"{theirs}.self_attn.{a}_norm.weight") for a in "qk"}
        out |= experts(ours, f"{theirs}.mlp", c) if hasattr(c, "num_experts") else {
            f"{ours}.ffn_{a}.weight": f"{theirs}.mlp.{a}_proj.weight" for a in ["gate", "up", "down"]}
    return out


def experts(ours, theirs, c):
    n, both = c.moe_intermediate_size, f"{theirs}.experts.gate_up_proj"
    return {
        f"{ours}.ffn_gate_exps.weight": lambda w: w[both][:, :n], f"{ours}.ffn_up_exps.weight": lambda w: w[both][:, n:],
        f"{ours}.ffn_down_exps.weight": f"{theirs}.experts.down_proj",
        f"{ours}.ffn_gate_inp.weight": f"{theirs}.gate.weight",
        f"{ours}.ffn_gate_inp_shexp.weight": f"{theirs}.shared_expert_gate.weight",
    } | {f"{ours}.ffn_{a}_shexp.weight": f"{theirs}.shared_expert.{a}_proj.weight" for a in ["gate", "up", "down"]}


def names(c):
    out = common(c)
    n_key, key, value = c.linear_num_key_heads, c.linear_key_head_dim, c.linear_value_head_dim
    shared = c.linear_num_value_heads // n_key * value
    for i, kind in enumerate(LAYERS):
        if kind == "full_attention":
            continue
        ours, theirs = f"blk.{i}", f"model.layers.{i}.linear_attn"

        def qkvz(w, name=f"{theirs}.in_proj_qkvz.weight"):
            by_head = w[name].reshape(n_key, -1, c.hidden_size)
            return [part.reshape(-1, c.hidden_size) for part in by_head.split([key, key, shared, shared], 1)]
        out |= {
            f"{ours}.attn_qkv.weight": lambda w, qkvz=qkvz: torch.cat(qkvz(w)[:3]),
            f"{ours}.attn_gate.weight": lambda w, qkvz=qkvz: qkvz(w)[3],
            f"{ours}.ssm_ba.weight": f"{theirs}.in_proj_ba.weight",
            f"{ours}.ssm_conv1d.weight": lambda w, t=theirs: w[f"{t}.conv1d.weight"][:, 0],
            f"{ours}.ssm_dt.bias": f"{theirs}.dt_bias", f"{ours}.ssm_a": lambda w, t=theirs: -w[f"{t}.A_log"].double().exp(),
            f"{ours}.ssm_norm.weight": f"{theirs}.norm.weight", f"{ours}.ssm_out.weight": f"{theirs}.out_proj.weight",
        }
    return out
