"""Phi with Llama 3's scaling over the rotated half of each head only."""
import math

import phi2
import torch
from phi2 import names as phi2_names
from transformers import PhiConfig, PhiForCausalLM

FAMILY = "phi2"
BASE, FACTOR, LOW, HIGH, ORIGINAL, N_ROT = 10000.0, 8.0, 1.0, 4.0, 32, 8


def model():
    config = PhiConfig(
        vocab_size=97, hidden_size=32, intermediate_size=40, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, layer_norm_eps=1e-5, attn_implementation="eager",
        rope_parameters={
            "rope_type": "llama3", "rope_theta": BASE, "factor": FACTOR, "low_freq_factor": LOW, "high_freq_factor": HIGH,
            "original_max_position_embeddings": ORIGINAL, "partial_rotary_factor": 0.5})
    return PhiForCausalLM(config)


def keys(c):
    return phi2.keys(c) | {"rope.dimension_count": N_ROT}


def divisors(_):
    waves = 2 * math.pi * BASE ** (torch.arange(0, N_ROT, 2).double() / N_ROT)
    smooth = (ORIGINAL / waves - LOW) / (HIGH - LOW)
    between = 1 / ((1 - smooth) / FACTOR + smooth)
    return torch.where(waves < ORIGINAL / HIGH, 1.0, torch.where(waves > ORIGINAL / LOW, FACTOR, between))


def names(c):
    return phi2_names(c) | {"rope_freqs.weight": divisors}
