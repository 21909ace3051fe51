"""Phi with Llama 3's scaling over the rotated half of each head only."""
import phi2
from make import llama3_divisors
from transformers import PhiConfig, PhiForCausalLM

FAMILY = "phi2"
ROPE = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32, "partial_rotary_factor": 0.5}
N_ROT = 8


def model():
    config = PhiConfig(
        vocab_size=97, hidden_size=32, intermediate_size=40, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, layer_norm_eps=1e-5, attn_implementation="eager",
        rope_parameters=dict(ROPE))
    return PhiForCausalLM(config)


def keys(c):
    return phi2.keys(c) | {"rope.dimension_count": N_ROT}


def names(c):
    return phi2.names(c) | {"rope_freqs.weight": lambda w: llama3_divisors(ROPE, N_ROT)}
