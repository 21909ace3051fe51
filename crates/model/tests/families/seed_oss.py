"""Seed-OSS: wide heads, biases on q, k and v."""
from make import common_keys, layer_names
from transformers import SeedOssConfig, SeedOssForCausalLM


def model():
    config = SeedOssConfig(
        vocab_size=97, hidden_size=40, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, head_dim=14,
        num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, attention_bias=True,
        attn_implementation="eager", rope_parameters={"rope_type": "default", "rope_theta": 10000000.0})
    return SeedOssForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps}


def names(c):
    parts = {"attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
             "attn_output": "self_attn.o_proj"}
    parts |= {f"ffn_{p}": f"mlp.{p}_proj" for p in ["gate", "up", "down"]}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
    n = c.num_hidden_layers
    qkv = layer_names(n, {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"}, ("weight", "bias"), top)
    return layer_names(n, parts, top=qkv)
