"""Hunyuan dense: norms on the heads of q and k behind the rotation, whose base alpha stretches."""
from make import common_keys, layer_names
from transformers import HunYuanDenseV1Config, HunYuanDenseV1ForCausalLM

HEAD, ALPHA, BASE = 12, 50.0, 10000.0


def model():
    config = HunYuanDenseV1Config(
        vocab_size=97, hidden_size=40, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=HEAD, max_position_embeddings=256, rms_norm_eps=1e-5, attention_bias=False,
        tie_word_embeddings=True, attn_implementation="eager",
        rope_parameters={"rope_type": "dynamic", "rope_theta": BASE, "alpha": ALPHA, "factor": 1.0})
    return HunYuanDenseV1ForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.key_length": HEAD, "attention.value_length": HEAD,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "rope.scaling.type": "none", "rope.scaling.factor": 1.0,
        "rope.freq_base": BASE * ALPHA ** (HEAD / (HEAD - 2))}


def names(c):
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
             "attn_q_norm": "self_attn.query_layernorm", "attn_k_norm": "self_attn.key_layernorm",
             "attn_output": "self_attn.o_proj"}
    parts |= {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"}
    parts |= {f"ffn_{p}": f"mlp.{p}_proj" for p in ["gate", "up", "down"]}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    return layer_names(c.num_hidden_layers, parts, top=top)
