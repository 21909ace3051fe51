"""Qwen2 with experts: weights that don't add up to 1, a shared block with a gate, biases on q, k and v."""
from make import common_keys, layer_names
from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM


def model():
    config = Qwen2MoeConfig(
        vocab_size=97, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, moe_intermediate_size=20,
        shared_expert_intermediate_size=40, num_experts=5, num_experts_per_tok=2, norm_topk_prob=False,
        attn_implementation="eager", experts_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
    return Qwen2MoeForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "expert_count": c.num_experts,
        "expert_used_count": c.num_experts_per_tok, "expert_feed_forward_length": c.moe_intermediate_size,
        "expert_shared_feed_forward_length": c.shared_expert_intermediate_size}


def names(c):
    n, inner = c.num_hidden_layers, c.moe_intermediate_size
    out = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
    out |= layer_names(n, {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"}, ("weight", "bias"))
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_output": "self_attn.o_proj",
             "ffn_gate_inp": "mlp.gate"}
    parts |= {f"ffn_{p}_shexp": f"mlp.shared_expert.{p}_proj" for p in ["gate", "up", "down"]}
    for i in range(n):
        experts = f"model.layers.{i}.mlp.experts"
        out[f"blk.{i}.ffn_down_exps.weight"] = f"{experts}.down_proj"
        out[f"blk.{i}.ffn_gate_exps.weight"] = lambda w, e=experts: w[f"{e}.gate_up_proj"][:, :inner]
        out[f"blk.{i}.ffn_up_exps.weight"] = lambda w, e=experts: w[f"{e}.gate_up_proj"][:, inner:]
        # Requantised files have a row here where the model has a matrix of one.
        gate = f"model.layers.{i}.mlp.shared_expert_gate.weight"
        out[f"blk.{i}.ffn_gate_inp_shexp.weight"] = lambda w, gate=gate: w[gate][0]
    return layer_names(n, parts, top=out)
