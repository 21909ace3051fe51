"""Phi-2: parallel halves, half of each head rotated, biases everywhere."""
from make import common_keys, layer_names
from transformers import PhiConfig, PhiForCausalLM


def model():
    config = PhiConfig(
        vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, layer_norm_eps=1e-5, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5})
    return PhiForCausalLM(config)


def keys(c):
    return common_keys(c) | {"attention.layer_norm_epsilon": c.layer_norm_eps, "rope.dimension_count": 6}


def names(c):
    parts = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.dense", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.final_layernorm.weight",
           "output_norm.bias": "model.final_layernorm.bias", "output.weight": "lm_head.weight",
           "output.bias": "lm_head.bias"}
    return layer_names(c.num_hidden_layers, parts, ("weight", "bias"), top)
