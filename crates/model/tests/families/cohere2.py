"""Command R7B: windows and rotation in three layers of four."""
from importlib import import_module

from make import common_keys
from transformers import Cohere2Config, Cohere2ForCausalLM

names = import_module("command-r").names


def model():
    config = Cohere2Config(
        vocab_size=97, hidden_size=32, intermediate_size=56, num_hidden_layers=5, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, layer_norm_eps=1e-5, logit_scale=0.25, sliding_window=11,
        eos_token_id=2, attn_implementation="eager", rope_parameters={"rope_type": "default", "rope_theta": 50000.0})
    return Cohere2ForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.layer_norm_epsilon": c.layer_norm_eps, "logit_scale": c.logit_scale, "rope.scaling.type": "none",
        "attention.sliding_window": c.sliding_window, "rope.dimension_count": 8}
