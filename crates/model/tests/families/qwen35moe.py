"""Qwen3.5 with experts beside a gated block, gate and up of all experts in one tensor."""
import qwen35
import qwen3next
from qwen35 import keys  # noqa: F401
from qwen3next import randomise  # noqa: F401
from transformers import Qwen3_5MoeForCausalLM, Qwen3_5MoeTextConfig


def model():
    return Qwen3_5MoeForCausalLM(Qwen3_5MoeTextConfig(**qwen35.SIZES, **qwen3next.EXPERTS))


def names(c):
    out = qwen35.names(c)
    for i in range(c.num_hidden_layers):
        del out[f"blk.{i}.ffn_gate_exps.weight"], out[f"blk.{i}.ffn_up_exps.weight"]
        out[f"blk.{i}.ffn_gate_up_exps.weight"] = f"model.layers.{i}.mlp.experts.gate_up_proj"
        gate = f"model.layers.{i}.mlp.shared_expert_gate.weight"
        out[f"blk.{i}.ffn_gate_inp_shexp.weight"] = lambda w, gate=gate: w[gate][0]
    return out
