"""Gemma 4 31B: no embeddings per layer, nothing shared; layers that see everything have fewer key heads, and values are keys."""
import gemma4
from gemma4 import F, S, keys, names, randomise  # noqa: F401

FAMILY = "gemma4"


def model():
    return gemma4.model(
        num_hidden_layers=4, layer_types=[S, S, F, F], hidden_size_per_layer_input=0, num_kv_shared_layers=0,
        use_double_wide_mlp=False, attention_k_eq_v=True, num_global_key_value_heads=1)
