"""Gemma 1: one key head for all, heads wider than their part of the stream, norms stored as the factor less one."""
from make import common_keys, layer_names
from transformers import GemmaConfig, GemmaForCausalLM


def model():
    config = GemmaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=256, rms_norm_eps=1e-6,
        attn_implementation="eager", rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    return GemmaForCausalLM(config)


def keys(c):
    return common_keys(c, **{
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps})


def names(c):
    out = layer_names(c.num_hidden_layers, {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj"}, top={"token_embd.weight": "model.embed_tokens.weight"})
    norms = layer_names(c.num_hidden_layers, {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"},
        top={"output_norm.weight": "model.norm.weight"})
    # Files add the 1 that the library adds when it runs.
    return out | {ours: lambda w, theirs=theirs: 1 + w[theirs] for ours, theirs in norms.items()}
