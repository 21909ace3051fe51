"""Falcon-H1: every factor away from 1 (powers of 2, exact in f16), a norm per group behind the gate."""
import make
import mamba2
import torch
from transformers import FalconH1Config, FalconH1ForCausalLM

SIZES = dict(
    vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, mamba_d_ssm=48, mamba_n_heads=4,
    mamba_d_head=12, mamba_n_groups=2, mamba_d_state=8, mamba_d_conv=4, mamba_chunk_size=16, mamba_conv_bias=True,
    mamba_norm_before_gate=False, mamba_rms_norm=True, lm_head_multiplier=0.5, embedding_multiplier=4.0,
    mlp_multipliers=[0.5, 2.0], key_multiplier=0.5, attention_out_multiplier=2.0, attention_in_multiplier=0.5,
    ssm_multipliers=[0.5, 2.0, 0.5, 2.0, 0.25], ssm_in_multiplier=2.0, ssm_out_multiplier=0.25,
    attn_implementation="eager", rope_parameters={"rope_type": "default", "rope_theta": 100000.0})


def model(**changes):
    config = FalconH1Config(**SIZES | changes)
    config.head_dim = 8
    return FalconH1ForCausalLM(config)


def randomise(model):
    """As for every family, but for values so near to 0 that f16 could not hold them times a factor."""
    make.randomise(model)
    for p in model.parameters():
        p.data[p.data.abs() < 2.0 ** -11] = 0


def keys(c):
    return {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size,
        "block_count": c.num_hidden_layers, "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads, "attention.head_count_kv": c.num_key_value_heads,
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "rope.freq_base": 100000.0,
        "ssm.conv_kernel": c.mamba_d_conv, "ssm.inner_size": c.mamba_d_ssm, "ssm.state_size": c.mamba_d_state,
        "ssm.time_step_rank": c.mamba_n_heads, "ssm.group_count": c.mamba_n_groups,
    }


def names(c):
    def scaled(name, factor):
        return lambda w: w[name] * factor

    def in_proj(name):
        inner, rows = c.mamba_d_ssm, c.mamba_n_groups * c.mamba_d_state
        parts = [inner, inner, rows, rows, c.mamba_n_heads]

        def value(w):
            split = (w[name] * c.ssm_in_multiplier).split(parts)
            return torch.cat([part * factor for part, factor in zip(split, c.ssm_multipliers)])
        return value

    out = {"token_embd.weight": scaled("model.embed_tokens.weight", c.embedding_multiplier),
           "output.weight": scaled("lm_head.weight", c.lm_head_multiplier),
           "output_norm.weight": "model.final_layernorm.weight"}
    for i in range(c.num_hidden_layers):
        ours, theirs = f"blk.{i}", f"model.layers.{i}"
        into, attention = c.attention_in_multiplier, f"{theirs}.self_attn"
        out |= mamba2.mixer(ours, f"{theirs}.mamba", c.mamba_n_groups)
        out |= {
            f"{ours}.ssm_in.weight": in_proj(f"{theirs}.mamba.in_proj.weight"),
            f"{ours}.ssm_out.weight": scaled(f"{theirs}.mamba.out_proj.weight", c.ssm_out_multiplier),
            f"{ours}.attn_norm.weight": f"{theirs}.input_layernorm.weight",
            # Files have this one without an ending.
            f"{ours}.ffn_norm": f"{theirs}.pre_ff_layernorm.weight",
            f"{ours}.attn_q.weight": scaled(f"{attention}.q_proj.weight", into),
            f"{ours}.attn_k.weight": scaled(f"{attention}.k_proj.weight", into * c.key_multiplier),
            f"{ours}.attn_v.weight": scaled(f"{attention}.v_proj.weight", into),
            f"{ours}.attn_output.weight": scaled(f"{attention}.o_proj.weight", c.attention_out_multiplier),
            f"{ours}.ffn_gate.weight": scaled(f"{theirs}.feed_forward.gate_proj.weight", c.mlp_multipliers[0]),
            f"{ours}.ffn_up.weight": f"{theirs}.feed_forward.up_proj.weight",
            f"{ours}.ffn_down.weight": scaled(f"{theirs}.feed_forward.down_proj.weight", c.mlp_multipliers[1]),
        }
    return out
