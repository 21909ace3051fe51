"""Nemotron-H with experts: chosen by a bias, weighed by the sigmoid, beside a block that every token takes."""
import make
import nemotron_h
import torch


def model():
    return nemotron_h.model(
        layers=["linear_attention", "moe", "full_attention", "moe"], n_routed_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=24, moe_shared_expert_intermediate_size=40, n_shared_experts=1,
        routed_scaling_factor=2.5, norm_topk_prob=True, n_group=1, topk_group=1, experts_implementation="eager")


def randomise(model):
    """As for every family, and the bias that chooses, which the library does not count as a parameter."""
    make.randomise(model)
    rng = torch.Generator().manual_seed(7)
    for name, value in model.named_buffers():
        if name.endswith("bias"):
            value.copy_((0.3 * torch.randn(value.shape, generator=rng)).half())


def keys(c):
    kinds = c.layers_block_type
    return nemotron_h.keys(c) | {
        "feed_forward_length": [c.moe_intermediate_size if kind == "moe" else 0 for kind in kinds],
        "expert_count": c.n_routed_experts, "expert_used_count": c.num_experts_per_tok,
        "expert_feed_forward_length": c.moe_intermediate_size, "expert_shared_count": c.n_shared_experts,
        "expert_shared_feed_forward_length": c.moe_shared_expert_intermediate_size, "expert_weights_norm": True,
        "expert_weights_scale": c.routed_scaling_factor, "expert_group_count": 1,
    }


def names(c):
    out = nemotron_h.names(c)
    for i, kind in enumerate(c.layers_block_type):
        ours, theirs = f"blk.{i}", f"model.layers.{i}.mixer"
        if kind == "moe":
            out |= {f"{ours}.ffn_gate_inp.weight": f"{theirs}.gate.weight",
                    f"{ours}.exp_probs_b.bias": f"{theirs}.gate.e_score_correction_bias"}
            for part in ["up", "down"]:
                out |= {f"{ours}.ffn_{part}_exps.weight": f"{theirs}.experts.{part}_proj",
                        f"{ours}.ffn_{part}_shexp.weight": f"{theirs}.shared_experts.{part}_proj.weight"}
    return out
