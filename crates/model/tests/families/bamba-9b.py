"""Bamba itself: dense blocks, and attention of whose heads half is rotated."""
import mamba2
from transformers import BambaConfig, BambaForCausalLM

FAMILY = "granitehybrid"


def model():
    config = BambaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, attn_layer_indices=[1], mamba_n_heads=4, mamba_n_groups=2,
        mamba_d_state=8, mamba_d_conv=4, mamba_expand=2, mamba_chunk_size=16, tie_word_embeddings=False,
        attn_implementation="eager", rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    return BambaForCausalLM(config)


def keys(c):
    return {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size,
        "block_count": c.num_hidden_layers, "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads, "attention.head_count_kv": [0, c.num_key_value_heads],
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "rope.freq_base": 10000.0, "rope.dimension_count": 4,
        "ssm.conv_kernel": c.mamba_d_conv, "ssm.inner_size": c.mamba_expand * c.hidden_size,
        "ssm.state_size": c.mamba_d_state, "ssm.time_step_rank": c.mamba_n_heads, "ssm.group_count": c.mamba_n_groups,
    }


def pairs(name):
    """The rotated half of each head of 8 with its pairs side by side; the family's files have them so."""
    order = [0, 2, 1, 3, 4, 5, 6, 7]
    return lambda w: w[name].reshape(-1, 8, w[name].shape[-1])[:, order].reshape(w[name].shape)


def names(c):
    out = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.final_layernorm.weight",
           "output.weight": "lm_head.weight"}
    for i in range(c.num_hidden_layers):
        ours, theirs = f"blk.{i}", f"model.layers.{i}"
        out |= {f"{ours}.attn_norm.weight": f"{theirs}.input_layernorm.weight",
                f"{ours}.ffn_norm.weight": f"{theirs}.pre_ff_layernorm.weight"}
        out |= {f"{ours}.ffn_{p}.weight": f"{theirs}.feed_forward.{p}_proj.weight" for p in ["gate", "up", "down"]}
    attention = "model.layers.1.self_attn"
    out |= {f"blk.1.attn_{p}.weight": pairs(f"{attention}.{p}_proj.weight") for p in "qk"}
    out |= {"blk.1.attn_v.weight": f"{attention}.v_proj.weight", "blk.1.attn_output.weight": f"{attention}.o_proj.weight"}
    return out | mamba2.mixer("blk.0", "model.layers.0.mamba", c.mamba_n_groups)
