"""Nemotron-H: layers of one block each: Mamba-2, feed-forward without a gate, attention without rotation."""
import mamba2
from transformers import NemotronHConfig, NemotronHForCausalLM

LAYERS = ["linear_attention", "mlp", "full_attention", "mlp", "linear_attention"]


def model(layers=LAYERS, **experts):
    # Files don't tell the smallest time step that the library's code asks for and other code does not.
    config = NemotronHConfig(
        vocab_size=97, hidden_size=32, layers_block_type=layers, intermediate_size=48, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, layer_norm_epsilon=1e-5, ssm_state_size=8,
        mamba_num_heads=4, mamba_head_dim=12, n_groups=2, conv_kernel=4, use_conv_bias=True, chunk_size=16,
        time_step_min=1e-12, tie_word_embeddings=False, attn_implementation="eager", **experts)
    return NemotronHForCausalLM(config)


def keys(c):
    kinds = c.layers_block_type
    return {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size, "block_count": len(kinds),
        "feed_forward_length": [c.intermediate_size if kind == "mlp" else 0 for kind in kinds],
        "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": [c.num_key_value_heads if kind == "full_attention" else 0 for kind in kinds],
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": c.layer_norm_epsilon, "ssm.conv_kernel": c.conv_kernel,
        "ssm.inner_size": c.mamba_num_heads * c.mamba_head_dim, "ssm.state_size": c.ssm_state_size,
        "ssm.time_step_rank": c.mamba_num_heads, "ssm.group_count": c.n_groups,
    }


def names(c):
    out = {"token_embd.weight": "model.embeddings.weight", "output_norm.weight": "model.norm_f.weight",
           "output.weight": "lm_head.weight"}
    for i, kind in enumerate(c.layers_block_type):
        ours, theirs = f"blk.{i}", f"model.layers.{i}.mixer"
        out[f"{ours}.attn_norm.weight"] = f"model.layers.{i}.norm.weight"
        if kind == "linear_attention":
            out |= mamba2.mixer(ours, theirs, c.n_groups)
        elif kind == "full_attention":
            out |= {f"{ours}.attn_{a}.weight": f"{theirs}.{b}_proj.weight"
                    for a, b in [("q", "q"), ("k", "k"), ("v", "v"), ("output", "o")]}
        elif kind == "mlp":
            out |= {f"{ours}.ffn_{a}.weight": f"{theirs}.{a}_proj.weight" for a in ["up", "down"]}
    return out
