"""Gemma 3n whose active stream is the second of three; every layer has keys and values of its own and no gate is sparse."""
import gemma3n
from gemma3n import F, S, keys, names, randomise  # noqa: F401

FAMILY = "gemma3n"


def model():
    return gemma3n.model(
        vocab_size_per_layer_input=97, intermediate_size=24, num_hidden_layers=3, layer_types=[S, F, S], altup_num_inputs=3,
        altup_active_idx=1, num_kv_shared_layers=0, activation_sparsity_pattern=[0.0, 0.0, 0.0])
