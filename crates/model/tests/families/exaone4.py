"""EXAONE 4.0 32B: windows and rotation in three layers of four, norms behind the blocks, Llama 3's scaling of the rotation."""
from make import common_keys, layer_names, llama3_divisors
from transformers import Exaone4Config, Exaone4ForCausalLM

ROPE = {"rope_type": "llama3", "rope_theta": 1000000.0, "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}


def model(**more):
    config = Exaone4Config(**dict(
        vocab_size=97, hidden_size=32, intermediate_size=36, num_hidden_layers=5, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, max_position_embeddings=512, sliding_window=11, sliding_window_pattern=4,
        rms_norm_eps=1e-5, attn_implementation="eager", rope_parameters=dict(ROPE)) | more)
    return Exaone4ForCausalLM(config)


def keys(c):
    windows = {"attention.sliding_window": c.sliding_window,
               "attention.sliding_window_pattern": [kind == "sliding_attention" for kind in c.layer_types]}
    return common_keys(c) | {
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps} | (windows if c.sliding_window else {})


def names(c):
    parts = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
             "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "attn_output": "self_attn.o_proj"}
    parts |= {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"}
    parts |= {f"ffn_{p}": f"mlp.{p}_proj" for p in ["gate", "up", "down"]}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight", "rope_freqs.weight": lambda w: llama3_divisors(ROPE, c.head_dim)}
    return layer_names(c.num_hidden_layers, parts, top=top)
