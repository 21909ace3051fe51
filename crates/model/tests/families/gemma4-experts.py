"""Gemma 4 26B-A4B: experts beside the dense block."""
import gemma4
from gemma4 import F, S, randomise  # noqa: F401

FAMILY = "gemma4"


def model():
    return gemma4.model(
        num_hidden_layers=2, layer_types=[S, F], hidden_size_per_layer_input=0, num_kv_shared_layers=0,
        use_double_wide_mlp=False, attention_k_eq_v=True, num_global_key_value_heads=1, enable_moe_block=True,
        num_experts=5, top_k_experts=2, moe_intermediate_size=20, experts_implementation="eager")


def keys(c):
    return gemma4.keys(c) | {"expert_count": c.num_experts, "expert_used_count": c.top_k_experts,
                             "expert_feed_forward_length": c.moe_intermediate_size}


def names(c):
    out = gemma4.names(c)
    for i in range(c.num_hidden_layers):
        layer = f"model.layers.{i}"
        out |= {f"blk.{i}.{ours}": f"{layer}.{theirs}" for ours, theirs in {
            "post_ffw_norm_1.weight": "post_feedforward_layernorm_1.weight",
            "pre_ffw_norm_2.weight": "pre_feedforward_layernorm_2.weight",
            "post_ffw_norm_2.weight": "post_feedforward_layernorm_2.weight",
            "ffn_gate_inp.weight": "router.proj.weight", "ffn_gate_inp.scale": "router.scale",
            "ffn_gate_up_exps.weight": "experts.gate_up_proj", "ffn_down_exps.weight": "experts.down_proj",
            "ffn_down_exps.scale": "router.per_expert_scale"}.items()}
    return out
