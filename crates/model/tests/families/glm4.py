"""GLM-4 0414: norms on both sides, half of each head rotated by neighbours, biases on q, k and v, gate and up in one."""
from make import common_keys, layer_names
from transformers import Glm4Config, Glm4ForCausalLM


def model():
    config = Glm4Config(
        vocab_size=97, hidden_size=40, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, head_dim=12,
        num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, attention_bias=True,
        pad_token_id=0, eos_token_id=2, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5})
    return Glm4ForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim, "rope.dimension_count": 6,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps}


def names(c):
    parts = {"attn_norm": "input_layernorm", "post_attention_norm": "post_self_attn_layernorm",
             "ffn_norm": "post_attention_layernorm", "post_ffw_norm": "post_mlp_layernorm",
             "attn_output": "self_attn.o_proj", "ffn_up": "mlp.gate_up_proj", "ffn_down": "mlp.down_proj"}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
    n = c.num_hidden_layers
    qkv = layer_names(n, {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"}, ("weight", "bias"), top)
    return layer_names(n, parts, top=qkv)
