"""StableLM 2 1.6B: halves one after the other, a quarter of each head rotated, biases on q, k and v."""
import torch
from make import common_keys, layer_names
from transformers import StableLmConfig, StableLmForCausalLM


def model(parallel=False):
    config = StableLmConfig(
        vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, layer_norm_eps=1e-5, use_qkv_bias=not parallel,
        qk_layernorm=parallel, use_parallel_residual=parallel, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.34})
    return StableLmForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.layer_norm_epsilon": c.layer_norm_eps, "rope.dimension_count": 4,
        "use_parallel_residual": c.use_parallel_residual}


def names(c):
    norms = {"attn_norm": "input_layernorm"}
    parts = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj"}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output_norm.bias": "model.norm.bias", "output.weight": "lm_head.weight"}
    n = c.num_hidden_layers
    if c.use_parallel_residual:
        for i in range(n):
            for part, heads in [("q", c.num_attention_heads), ("k", c.num_key_value_heads)]:
                top[f"blk.{i}.attn_{part}_norm.weight"] = lambda w, i=i, part=part, heads=heads: torch.stack(
                    [w[f"model.layers.{i}.self_attn.{part}_layernorm.norms.{h}.weight"] for h in range(heads)])
    else:
        norms["ffn_norm"] = "post_attention_layernorm"
        top |= layer_names(n, {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"}, ("bias",))
    return layer_names(n, norms, ("weight", "bias"), top) | layer_names(n, parts)
