"""EXAONE 4.0 1.2B: every layer sees everything and rotates."""
import exaone4
from exaone4 import keys, names  # noqa: F401

FAMILY = "exaone4"


def model():
    return exaone4.model(num_hidden_layers=2, sliding_window=None, layer_types=["full_attention"] * 2)
