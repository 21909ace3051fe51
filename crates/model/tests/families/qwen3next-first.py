"""Qwen3-Next as its first converters wrote it: the projections of a delta net in one tensor, by key heads."""
import qwen3next
from qwen3next import keys, model, randomise  # noqa: F401

FAMILY = "qwen3next"


def names(c):
    out = qwen3next.names(c)
    for i, kind in enumerate(qwen3next.LAYERS):
        if kind == "linear_attention":
            del out[f"blk.{i}.attn_qkv.weight"], out[f"blk.{i}.attn_gate.weight"]
            out[f"blk.{i}.ssm_in.weight"] = f"model.layers.{i}.linear_attn.in_proj_qkvz.weight"
    return out
