"""Jamba: Mamba with norms in the mixer, attention without rotation, experts in one layer of two."""
import mamba
from transformers import JambaConfig, JambaForCausalLM


def model():
    config = JambaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-6, num_experts=4, num_experts_per_tok=2,
        expert_layer_period=2, expert_layer_offset=1, attn_layer_period=3, attn_layer_offset=1, mamba_d_state=8,
        mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=4, tie_word_embeddings=False, attn_implementation="eager",
        experts_implementation="eager")
    return JambaForCausalLM(config)


def keys(c):
    return {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size,
        "block_count": c.num_hidden_layers, "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": [c.num_key_value_heads if kind == "attention" else 0 for kind in c.layers_block_type],
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "ssm.conv_kernel": c.mamba_d_conv,
        "ssm.inner_size": c.mamba_expand * c.hidden_size, "ssm.state_size": c.mamba_d_state,
        "ssm.time_step_rank": c.mamba_dt_rank, "expert_count": c.num_experts,
        "expert_used_count": c.num_experts_per_tok,
    }


def names(c):
    out = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.final_layernorm.weight",
           "output.weight": "lm_head.weight"}
    for i, kind in enumerate(c.layers_block_type):
        ours, theirs, n = f"blk.{i}", f"model.layers.{i}", c.intermediate_size
        out |= {f"{ours}.attn_norm.weight": f"{theirs}.input_layernorm.weight",
                f"{ours}.ffn_norm.weight": f"{theirs}.pre_ff_layernorm.weight"}
        if kind == "mamba":
            out |= mamba.mixer(ours, f"{theirs}.mamba")
            out |= {f"{ours}.ssm_{a}_norm.weight": f"{theirs}.mamba.{a}_layernorm.weight" for a in ["dt", "b", "c"]}
        else:
            out |= {f"{ours}.attn_{a}.weight": f"{theirs}.self_attn.{b}_proj.weight"
                    for a, b in [("q", "q"), ("k", "k"), ("v", "v"), ("output", "o")]}
        if c.layers_num_experts[i] > 1:
            both = f"{theirs}.feed_forward.experts.gate_up_proj"
            out |= {f"{ours}.ffn_gate_inp.weight": f"{theirs}.feed_forward.router.weight",
                    f"{ours}.ffn_gate_exps.weight": lambda w, both=both: w[both][:, :n],
                    f"{ours}.ffn_up_exps.weight": lambda w, both=both: w[both][:, n:],
                    f"{ours}.ffn_down_exps.weight": f"{theirs}.feed_forward.experts.down_proj"}
        else:
            out |= {f"{ours}.ffn_{a}.weight": f"{theirs}.feed_forward.{a}_proj.weight" for a in ["gate", "up", "down"]}
    return out
