"""Granite 4.0 H with experts beside a shared block, attention without rotation, every factor away from 1."""
import mamba2
from transformers import GraniteMoeHybridConfig, GraniteMoeHybridForCausalLM

LAYERS = ["linear_attention", "full_attention", "linear_attention"]


def model(n_experts=4, width=16, position=None):
    config = GraniteMoeHybridConfig(
        vocab_size=97, hidden_size=32, intermediate_size=width, shared_intermediate_size=24, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=n_experts, num_experts_per_tok=2,
        max_position_embeddings=256, rms_norm_eps=1e-5, embedding_multiplier=3.0, attention_multiplier=0.2,
        residual_multiplier=0.6, logits_scaling=2.5, layer_types=LAYERS, mamba_n_heads=4, mamba_d_head=16,
        mamba_n_groups=2, mamba_d_state=8, mamba_d_conv=4, mamba_expand=2, mamba_chunk_size=16, mamba_conv_bias=True,
        position_embedding_type=position, tie_word_embeddings=True, attn_implementation="eager",
        experts_implementation="eager")
    return GraniteMoeHybridForCausalLM(config)


def keys(c):
    out = {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size, "block_count": c.num_hidden_layers,
        "feed_forward_length": c.intermediate_size, "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": [c.num_key_value_heads if kind == "full_attention" else 0 for kind in LAYERS],
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "attention.scale": c.attention_multiplier,
        "embedding_scale": c.embedding_multiplier, "residual_scale": c.residual_multiplier,
        "logit_scale": c.logits_scaling, "rope.scaling.finetuned": c.position_embedding_type == "rope", "rope.freq_base": 10000.0,
        "rope.dimension_count": c.hidden_size // c.num_attention_heads, "ssm.conv_kernel": c.mamba_d_conv,
        "ssm.inner_size": c.mamba_n_heads * c.mamba_d_head, "ssm.state_size": c.mamba_d_state,
        "ssm.time_step_rank": c.mamba_n_heads, "ssm.group_count": c.mamba_n_groups,
        "expert_shared_feed_forward_length": c.shared_intermediate_size, "expert_count": c.num_local_experts,
    }
    return out | ({"expert_used_count": c.num_experts_per_tok} if c.num_local_experts else {})


def pairs(name, n_heads):
    """A projection whose rotated pairs lie side by side, as files have them."""
    def rows(w):
        return w[name].reshape(n_heads, 2, -1, w[name].shape[-1]).swapaxes(1, 2).reshape(w[name].shape)
    return rows


def halves(name, gate, up, n):
    """A projection of two parts, taken apart along the rows."""
    return {gate: lambda w: w[name][..., :n, :], up: lambda w: w[name][..., n:, :]}


def names(c):
    out = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for i, kind in enumerate(LAYERS):
        ours, theirs = f"blk.{i}", f"model.layers.{i}"
        out |= {f"{ours}.attn_norm.weight": f"{theirs}.input_layernorm.weight",
                f"{ours}.ffn_norm.weight": f"{theirs}.post_attention_layernorm.weight"}
        if kind == "linear_attention":
            out |= mamba2.mixer(ours, f"{theirs}.mamba", c.mamba_n_groups)
        else:
            out |= {f"{ours}.attn_q.weight": pairs(f"{theirs}.self_attn.q_proj.weight", c.num_attention_heads),
                    f"{ours}.attn_k.weight": pairs(f"{theirs}.self_attn.k_proj.weight", c.num_key_value_heads),
                    f"{ours}.attn_v.weight": f"{theirs}.self_attn.v_proj.weight",
                    f"{ours}.attn_output.weight": f"{theirs}.self_attn.o_proj.weight"}
        shared = "_shexp" if c.num_local_experts else ""
        out |= halves(f"{theirs}.shared_mlp.input_linear.weight", f"{ours}.ffn_gate{shared}.weight",
                      f"{ours}.ffn_up{shared}.weight", c.shared_intermediate_size)
        out[f"{ours}.ffn_down{shared}.weight"] = f"{theirs}.shared_mlp.output_linear.weight"
        if c.num_local_experts:
            experts = f"{theirs}.block_sparse_moe.experts"
            out |= halves(f"{experts}.gate_up_proj", f"{ours}.ffn_gate_exps.weight", f"{ours}.ffn_up_exps.weight",
                          c.intermediate_size)
            out |= {f"{ours}.ffn_down_exps.weight": f"{experts}.down_proj",
                    f"{ours}.ffn_gate_inp.weight": f"{theirs}.block_sparse_moe.router.weight"}
    return out
