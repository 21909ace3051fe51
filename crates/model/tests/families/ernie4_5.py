"""ERNIE 4.5 0.3B: interleaved rotation, heads wider than their share; with the biases that its code allows."""
from make import common_keys, layer_names
from transformers import Ernie4_5Config, Ernie4_5ForCausalLM


def model():
    config = Ernie4_5Config(
        vocab_size=97, hidden_size=40, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=14, max_position_embeddings=256, rms_norm_eps=1e-5, use_bias=True,
        tie_word_embeddings=True, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0})
    return Ernie4_5ForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps}


def names(c):
    norms = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    parts = {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"} | {"attn_output": "self_attn.o_proj"}
    parts |= {f"ffn_{p}": f"mlp.{p}_proj" for p in ["gate", "up", "down"]}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    n = c.num_hidden_layers
    return layer_names(n, parts, ("weight", "bias"), layer_names(n, norms, top=top))
