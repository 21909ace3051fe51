"""Nemotron: layer norms of one plus their weight, half of each head rotated, squared ReLU without a gate."""
from make import common_keys, layer_names
from transformers import NemotronConfig, NemotronForCausalLM


def model():
    config = NemotronConfig(
        vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4, head_dim=16,
        num_key_value_heads=2, max_position_embeddings=256, norm_eps=1e-5, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5})
    return NemotronForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim, "rope.dimension_count": 8,
        "attention.layer_norm_epsilon": c.norm_eps, "rope.scaling.type": "none"}


def names(c):
    norms = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    parts = {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"} | {"attn_output": "self_attn.o_proj"}
    parts |= {"ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output_norm.bias": "model.norm.bias", "output.weight": "lm_head.weight"}
    n = c.num_hidden_layers
    out = layer_names(n, norms, ("weight", "bias"), top)
    for name, theirs in out.items():
        if name.endswith("norm.weight"):
            out[name] = lambda w, theirs=theirs: w[theirs] + 1
    return out | layer_names(n, parts)
