"""Command R+: parallel halves, layer norms without bias, norms of their own for every head of q and k."""
from make import common_keys, layer_names
from transformers import CohereConfig, CohereForCausalLM


def model():
    config = CohereConfig(
        vocab_size=97, hidden_size=48, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, layer_norm_eps=1e-5, use_qk_norm=True, logit_scale=0.25,
        eos_token_id=2, attn_implementation="eager", rope_parameters={"rope_type": "default", "rope_theta": 8000000.0})
    return CohereForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.layer_norm_epsilon": c.layer_norm_eps, "logit_scale": c.logit_scale, "rope.scaling.type": "none"}


def names(c):
    parts = {"attn_norm": "input_layernorm", "attn_output": "self_attn.o_proj"}
    parts |= {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"}
    parts |= {f"ffn_{p}": f"mlp.{p}_proj" for p in ["gate", "up", "down"]}
    if getattr(c, "use_qk_norm", False):
        parts |= {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    return layer_names(c.num_hidden_layers, parts, top=top)
