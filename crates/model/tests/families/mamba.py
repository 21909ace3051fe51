"""Mamba: a bias on the convolution."""
from transformers import MambaConfig, MambaForCausalLM

SIZES = dict(
    vocab_size=97, hidden_size=36, num_hidden_layers=2, expand=2, state_size=8, conv_kernel=4, time_step_rank=6,
    use_conv_bias=True, use_bias=False, layer_norm_epsilon=1e-5, residual_in_fp32=False, tie_word_embeddings=True)


def model():
    return MambaForCausalLM(MambaConfig(**SIZES))


def keys(c):
    return {
        "context_length": 1 << 20, "embedding_length": c.hidden_size, "block_count": c.num_hidden_layers,
        "feed_forward_length": 0, "attention.head_count": 0, "attention.layer_norm_rms_epsilon": c.layer_norm_epsilon,
        "ssm.conv_kernel": c.conv_kernel, "ssm.inner_size": c.intermediate_size, "ssm.state_size": c.state_size,
        "ssm.time_step_rank": c.time_step_rank, "ssm.dt_b_c_rms": c.model_type == "falcon_mamba",
    }


def mixer(ours, theirs):
    """The tensors of one state space mixer, as files have them."""
    return {f"{ours}.ssm_{a}.weight": f"{theirs}.{b}_proj.weight"
            for a, b in [("in", "in"), ("x", "x"), ("dt", "dt"), ("out", "out")]} | {
        f"{ours}.ssm_conv1d.weight": lambda w: w[f"{theirs}.conv1d.weight"][:, 0],
        f"{ours}.ssm_conv1d.bias": f"{theirs}.conv1d.bias", f"{ours}.ssm_dt.bias": f"{theirs}.dt_proj.bias",
        f"{ours}.ssm_a": lambda w: -w[f"{theirs}.A_log"].double().exp(), f"{ours}.ssm_d": f"{theirs}.D",
    }


def names(c):
    out = {"token_embd.weight": "backbone.embeddings.weight", "output_norm.weight": "backbone.norm_f.weight"}
    for i in range(c.num_hidden_layers):
        out[f"blk.{i}.attn_norm.weight"] = f"backbone.layers.{i}.norm.weight"
        out |= mixer(f"blk.{i}", f"backbone.layers.{i}.mixer")
    return out
