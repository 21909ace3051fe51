"""Gemma 4 E2B: two widths of heads, the last layers read earlier ones' keys and values and have wider blocks, embeddings per
layer, a factor behind each layer."""
import make
import torch
from make import layer_names
from transformers import Gemma4ForCausalLM, Gemma4TextConfig

S, F = "sliding_attention", "full_attention"


def model(**more):
    config = Gemma4TextConfig(**dict(
        vocab_size=97, vocab_size_per_layer_input=97, hidden_size=32, intermediate_size=24, num_hidden_layers=5,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, global_head_dim=16, max_position_embeddings=256,
        sliding_window=11, layer_types=[S, F, S, S, F], hidden_size_per_layer_input=6, num_kv_shared_layers=2,
        use_double_wide_mlp=True, final_logit_softcapping=3.0, rms_norm_eps=1e-6, attn_implementation="eager",
        rope_parameters={
            S: {"rope_type": "default", "rope_theta": 10000.0},
            F: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0}}) | more)
    return Gemma4ForCausalLM(config)


def randomise(model):
    make.randomise(model)
    for i, layer in enumerate(model.model.layers):
        layer.layer_scalar.fill_(0.75 + 0.125 * i)


def keys(c):
    n, first_shared = c.num_hidden_layers, c.num_hidden_layers - c.num_kv_shared_layers
    wide = [i >= first_shared and c.use_double_wide_mlp for i in range(n)]
    window = [kind == S for kind in c.layer_types]
    globally = c.per_layer_config[c.layer_types.index(F)]
    return {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size, "block_count": n,
        "feed_forward_length": [c.intermediate_size * (1 + w) for w in wide],
        "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": [c.per_layer_config[i].num_key_value_heads for i in range(n)],
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "attention.key_length": globally.head_dim,
        "attention.value_length": globally.head_dim, "attention.key_length_swa": 8, "attention.value_length_swa": 8,
        "attention.sliding_window": c.sliding_window, "attention.sliding_window_pattern": window,
        "attention.shared_kv_layers": c.num_kv_shared_layers, "rope.dimension_count": globally.head_dim,
        "rope.dimension_count_swa": 8, "rope.freq_base": 1000000.0, "rope.freq_base_swa": 10000.0,
        "embedding_length_per_layer_input": c.hidden_size_per_layer_input,
        "final_logit_softcapping": c.final_logit_softcapping}


def names(c):
    n, first_shared = c.num_hidden_layers, c.num_hidden_layers - c.num_kv_shared_layers
    out = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           # Two of the eight pairs of a wide head rotate.
           "rope_freqs.weight": lambda _: torch.tensor([1.0] * 2 + [1e30] * 6)}
    parts = {"attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
             "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
             "attn_q": "self_attn.q_proj", "attn_q_norm": "self_attn.q_norm", "attn_output": "self_attn.o_proj"}
    parts |= {f"ffn_{p}": f"mlp.{p}_proj" for p in ["gate", "up", "down"]}
    if c.hidden_size_per_layer_input:
        parts |= {"inp_gate": "per_layer_input_gate", "proj": "per_layer_projection",
                  "post_norm": "post_per_layer_input_norm"}
        out |= {"per_layer_token_embd.weight": "model.embed_tokens_per_layer.weight",
                "per_layer_model_proj.weight": "model.per_layer_model_projection.weight",
                "per_layer_proj_norm.weight": "model.per_layer_projection_norm.weight"}
    for i in range(n):
        layer = f"model.layers.{i}"
        out[f"blk.{i}.layer_output_scale.weight"] = f"{layer}.layer_scalar"
        if i < first_shared:
            out[f"blk.{i}.attn_k.weight"] = f"{layer}.self_attn.k_proj.weight"
            out[f"blk.{i}.attn_k_norm.weight"] = f"{layer}.self_attn.k_norm.weight"
            if not (c.attention_k_eq_v and c.layer_types[i] == F):
                out[f"blk.{i}.attn_v.weight"] = f"{layer}.self_attn.v_proj.weight"
    return layer_names(n, parts, top=out)
