"""Qwen3.5: as Qwen3-Next with dense blocks; files reorder the value heads so that they take turns at the key heads."""
import qwen3next
import torch
from qwen3next import randomise  # noqa: F401
from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

SIZES = qwen3next.SIZES | {
    "rope_parameters": qwen3next.SIZES["rope_parameters"] | {"mrope_section": [2, 1, 1], "mrope_interleaved": True}}


def model():
    return Qwen3_5ForCausalLM(Qwen3_5TextConfig(intermediate_size=32, **SIZES))


def keys(c):
    return qwen3next.keys(c) | {
        "rope.dimension_sections": [2, 1, 1, 0], "full_attention_interval": 4,
        "attention.recurrent_layers": [kind == "linear_attention" for kind in qwen3next.LAYERS]}


def names(c):
    out = qwen3next.common(c)
    n_key, value = c.linear_num_key_heads, c.linear_value_head_dim
    keys = 2 * n_key * c.linear_key_head_dim

    def turns(rows, width):
        by_head = rows.reshape(n_key, -1, width, *rows.shape[1:])
        return by_head.swapaxes(0, 1).reshape(rows.shape)

    def behind_keys(rows):
        return torch.cat([rows[:keys], turns(rows[keys:], value)])

    for i, kind in enumerate(qwen3next.LAYERS):
        if kind == "full_attention":
            continue
        ours, theirs = f"blk.{i}", f"model.layers.{i}.linear_attn"
        out |= {
            f"{ours}.attn_qkv.weight": lambda w, t=theirs: behind_keys(w[f"{t}.in_proj_qkv.weight"]),
            f"{ours}.attn_gate.weight": lambda w, t=theirs: turns(w[f"{t}.in_proj_z.weight"], value),
            f"{ours}.ssm_beta.weight": lambda w, t=theirs: turns(w[f"{t}.in_proj_b.weight"], 1),
            f"{ours}.ssm_alpha.weight": lambda w, t=theirs: turns(w[f"{t}.in_proj_a.weight"], 1),
            f"{ours}.ssm_conv1d.weight": lambda w, t=theirs: behind_keys(w[f"{t}.conv1d.weight"][:, 0]),
            f"{ours}.ssm_dt.bias": lambda w, t=theirs: turns(w[f"{t}.dt_bias"], 1),
            f"{ours}.ssm_a": lambda w, t=theirs: turns(-w[f"{t}.A_log"].double().exp(), 1),
            f"{ours}.ssm_norm.weight": f"{theirs}.norm.weight",
            f"{ours}.ssm_out.weight": lambda w, t=theirs: turns(w[f"{t}.out_proj.weight"].T, value).T,
        }
    return out
