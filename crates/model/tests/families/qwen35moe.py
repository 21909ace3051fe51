"""Qwen3.5 with experts beside a gated block, gate and up of all experts in one tensor, and a layer that only drafts."""
import qwen35
import qwen3next
import torch
from qwen3next import randomise  # noqa: F401
from transformers import Qwen3_5MoeForCausalLM, Qwen3_5MoeTextConfig


def model():
    return Qwen3_5MoeForCausalLM(Qwen3_5MoeTextConfig(**qwen35.SIZES, **qwen3next.EXPERTS))


def keys(c):
    return qwen35.keys(c) | {
        "block_count": c.num_hidden_layers + 1, "nextn_predict_layers": 1,
        "attention.recurrent_layers": [kind == "linear_attention" for kind in qwen3next.LAYERS] + [False]}


def names(c):
    out = qwen35.names(c) | {f"blk.{c.num_hidden_layers}.nextn.enorm.weight": lambda w: torch.ones(c.hidden_size)}
    for i in range(c.num_hidden_layers):
        del out[f"blk.{i}.ffn_gate_exps.weight"], out[f"blk.{i}.ffn_up_exps.weight"]
        out[f"blk.{i}.ffn_gate_up_exps.weight"] = f"model.layers.{i}.mlp.experts.gate_up_proj"
        gate = f"model.layers.{i}.mlp.shared_expert_gate.weight"
        out[f"blk.{i}.ffn_gate_inp_shexp.weight"] = lambda w, gate=gate: w[gate][0]
    return out
