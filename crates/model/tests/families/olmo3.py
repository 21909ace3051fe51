"""OLMo 3: OLMo 2 with windows in three layers of four, which rotate unscaled."""
from make import common_keys, layer_names
from transformers import Olmo3Config, Olmo3ForCausalLM

FAMILY = "olmo2"
BASE = 500000.0


def model():
    config = Olmo3Config(
        vocab_size=97, hidden_size=32, intermediate_size=40, num_hidden_layers=5, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, sliding_window=11, eos_token_id=2,
        attn_implementation="eager", rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": BASE},
            "full_attention": {"rope_type": "yarn", "rope_theta": BASE, "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0,
                               "original_max_position_embeddings": 64}})
    return Olmo3ForCausalLM(config)


def keys(c):
    c.rope_parameters["rope_theta"] = BASE
    return common_keys(c) | {
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "attention.sliding_window": c.sliding_window,
        "attention.sliding_window_pattern": [kind == "sliding_attention" for kind in c.layer_types],
        "rope.scaling.type": "yarn", "rope.scaling.factor": 8.0, "rope.scaling.original_context_length": 64}


def names(c):
    parts = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
             "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "attn_output": "self_attn.o_proj"}
    parts |= {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"}
    parts |= {f"ffn_{p}": f"mlp.{p}_proj" for p in ["gate", "up", "down"]}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
    return layer_names(c.num_hidden_layers, parts, top=top)
