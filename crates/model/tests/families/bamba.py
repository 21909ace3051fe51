"""Bamba, and Granite 4.0 H without experts: dense blocks, attention with rotation."""
import granitehybrid
from granitehybrid import keys, names  # noqa: F401

FAMILY = "granitehybrid"


def model():
    return granitehybrid.model(n_experts=0, width=24, position="rope")
