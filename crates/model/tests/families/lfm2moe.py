"""LFM2 with experts behind a dense first layer; a bias chooses them."""
import lfm2
from nemotron_h_moe import randomise  # noqa: F401
from transformers import Lfm2MoeConfig, Lfm2MoeForCausalLM


def model():
    config = Lfm2MoeConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, conv_L_cache=3, conv_bias=False,
        num_dense_layers=1, num_experts=4, num_experts_per_tok=2, use_expert_bias=True, norm_topk_prob=True,
        layer_types=lfm2.LAYERS, norm_eps=1e-5, tie_word_embeddings=True, attn_implementation="eager",
        experts_implementation="eager", rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
    return Lfm2MoeForCausalLM(config)


def keys(c):
    return lfm2.keys(c) | {
        "leading_dense_block_count": c.num_dense_layers, "expert_count": c.num_experts,
        "expert_used_count": c.num_experts_per_tok, "expert_feed_forward_length": c.moe_intermediate_size,
        "expert_gating_func": 2,
    }


def names(c):
    out, n = lfm2.names(c), c.moe_intermediate_size
    for i in range(c.num_dense_layers, c.num_hidden_layers):
        ours, theirs = f"blk.{i}", f"model.layers.{i}.feed_forward"
        for part in ["gate", "up", "down"]:
            del out[f"{ours}.ffn_{part}.weight"]
        both = f"{theirs}.experts.gate_up_proj"
        out |= {f"{ours}.ffn_gate_inp.weight": f"{theirs}.gate.weight",
                f"{ours}.exp_probs_b.bias": f"{theirs}.expert_bias",
                f"{ours}.ffn_gate_exps.weight": lambda w, both=both: w[both][:, :n],
                f"{ours}.ffn_up_exps.weight": lambda w, both=both: w[both][:, n:],
                f"{ours}.ffn_down_exps.weight": f"{theirs}.experts.down_proj"}
    return out
