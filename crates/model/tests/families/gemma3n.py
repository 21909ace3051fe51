"""Gemma 3n: four residual streams, a short cut beside attention, sparse gates in the first layers; the last layers read earlier
ones' keys and values, and the last ids have no embeddings per layer."""
import make
import torch
from make import layer_names
from transformers import Gemma3nForCausalLM, Gemma3nTextConfig

S, F = "sliding_attention", "full_attention"


def model(**more):
    config = Gemma3nTextConfig(**dict(
        vocab_size=97, vocab_size_per_layer_input=90, hidden_size=32, intermediate_size=[24, 24, 24, 40, 40],
        num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=256,
        sliding_window=11, layer_types=[S, F, S, S, F], hidden_size_per_layer_input=6, num_kv_shared_layers=2,
        altup_num_inputs=4, altup_active_idx=0, laurel_rank=5, activation_sparsity_pattern=[0.75, 0.375, 0.5, 0.0, 0.0],
        final_logit_softcapping=3.0, rms_norm_eps=1e-6, attn_implementation="eager", rope_parameters={
            S: {"rope_type": "default", "rope_theta": 10000.0},
            F: {"rope_type": "default", "rope_theta": 1000000.0}}) | more)
    return Gemma3nForCausalLM(config)


def randomise(model):
    make.randomise(model)
    for layer in model.model.layers:
        # Its input is divided by the width: make it speak.
        layer.altup.modality_router.weight.data *= 4


def keys(c):
    sparsity = torch.tensor(c.activation_sparsity_pattern, dtype=torch.float64)
    return {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size,
        "block_count": c.num_hidden_layers, "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads, "attention.head_count_kv": c.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "attention.key_length": c.head_dim,
        "attention.value_length": c.head_dim, "attention.sliding_window": c.sliding_window,
        "attention.sliding_window_pattern": [kind == S for kind in c.layer_types],
        "attention.shared_kv_layers": c.num_kv_shared_layers, "rope.freq_base": 1000000.0, "rope.freq_base_swa": 10000.0,
        "embedding_length_per_layer_input": c.hidden_size_per_layer_input, "altup.num_inputs": c.altup_num_inputs,
        "altup.active_idx": c.altup_active_idx,
        "activation_sparsity_scale": torch.special.ndtri(sparsity).tolist(),
        "final_logit_softcapping": c.final_logit_softcapping}


def names(c):
    n, others = c.num_hidden_layers, range(c.altup_num_inputs - 1)

    def stacked(name):
        return lambda w: torch.stack([w[f"model.{name}.{i}.weight"] for i in others])

    out = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "per_layer_token_embd.weight": "model.embed_tokens_per_layer.weight",
           "per_layer_model_proj.weight": "model.per_layer_model_projection.weight",
           "per_layer_proj_norm.weight": "model.per_layer_projection_norm.weight",
           "altup_proj.weight": stacked("altup_projections"),
           "altup_unembd_proj.weight": stacked("altup_unembed_projections")}
    parts = {"attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
             "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
             "attn_q": "self_attn.q_proj", "attn_q_norm": "self_attn.q_norm", "attn_output": "self_attn.o_proj",
             "inp_gate": "per_layer_input_gate", "proj": "per_layer_projection", "post_norm": "post_per_layer_input_norm",
             "altup_router": "altup.modality_router", "altup_router_norm": "altup.router_norm",
             "altup_predict_coef": "altup.prediction_coefs", "altup_correct_coef": "altup.correction_coefs",
             "laurel_l": "laurel.linear_left", "laurel_r": "laurel.linear_right",
             "laurel_post_norm": "laurel.post_laurel_norm"}
    parts |= {f"ffn_{p}": f"mlp.{p}_proj" for p in ["gate", "up", "down"]}
    for i in range(n):
        layer = f"model.layers.{i}"
        out[f"blk.{i}.altup_correct_scale.weight"] = f"{layer}.altup.correct_output_scale"
        if i < n - c.num_kv_shared_layers:
            out |= {f"blk.{i}.attn_{p}.weight": f"{layer}.self_attn.{q}.weight"
                    for p, q in [("k", "k_proj"), ("v", "v_proj"), ("k_norm", "k_norm")]}
    return layer_names(n, parts, top=out)
