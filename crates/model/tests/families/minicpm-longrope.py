"""MiniCPM4: LongRoPE past its original context."""
import minicpm
import torch

FAMILY = "minicpm"
LONG = [1.0, 1.25, 2.0, 5.5, 12.0, 31.0]
SHORT = [1.0, 1.0, 1.25, 1.5, 2.0, 2.5]


def model():
    return minicpm.model({"rope_type": "longrope", "rope_theta": 10000.0, "long_factor": LONG, "short_factor": SHORT,
                          "factor": 1.0, "attention_factor": 1.0, "original_max_position_embeddings": 32})


def keys(c):
    return minicpm.keys(c) | {"rope.scaling.type": "longrope", "rope.scaling.original_context_length": 32}


def names(c):
    return minicpm.names(c) | {"rope_factors_long.weight": lambda _: torch.tensor(LONG),
                               "rope_factors_short.weight": lambda _: torch.tensor(SHORT)}
