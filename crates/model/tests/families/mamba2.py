"""Mamba-2: groups of heads, a bias on the convolution."""
from transformers import Mamba2Config, Mamba2ForCausalLM


def model():
    config = Mamba2Config(
        vocab_size=97, hidden_size=32, num_hidden_layers=2, num_heads=4, head_dim=16, expand=2, state_size=8, n_groups=2,
        conv_kernel=4, use_conv_bias=True, use_bias=False, layer_norm_epsilon=1e-5, chunk_size=16,
        residual_in_fp32=False, tie_word_embeddings=True)
    return Mamba2ForCausalLM(config)


def keys(c):
    return {
        "context_length": 1 << 20, "embedding_length": c.hidden_size, "block_count": c.num_hidden_layers,
        "feed_forward_length": 0, "attention.head_count": 0, "attention.layer_norm_rms_epsilon": c.layer_norm_epsilon,
        "ssm.conv_kernel": c.conv_kernel, "ssm.inner_size": c.expand * c.hidden_size, "ssm.state_size": c.state_size,
        "ssm.time_step_rank": c.num_heads, "ssm.group_count": c.n_groups,
    }


def mixer(ours, theirs, n_groups):
    """The tensors of one state space mixer, as files have them."""
    return {
        f"{ours}.ssm_in.weight": f"{theirs}.in_proj.weight", f"{ours}.ssm_out.weight": f"{theirs}.out_proj.weight",
        f"{ours}.ssm_conv1d.weight": lambda w: w[f"{theirs}.conv1d.weight"][:, 0],
        f"{ours}.ssm_conv1d.bias": f"{theirs}.conv1d.bias", f"{ours}.ssm_dt.bias": f"{theirs}.dt_bias",
        f"{ours}.ssm_a": lambda w: -w[f"{theirs}.A_log"].double().exp()[:, None],
        f"{ours}.ssm_d": lambda w: w[f"{theirs}.D"][:, None],
        f"{ours}.ssm_norm.weight": lambda w: w[f"{theirs}.norm.weight"].reshape(n_groups, -1),
    }


def names(c):
    out = {"token_embd.weight": "backbone.embeddings.weight", "output_norm.weight": "backbone.norm_f.weight"}
    for i in range(c.num_hidden_layers):
        out[f"blk.{i}.attn_norm.weight"] = f"backbone.layers.{i}.norm.weight"
        out |= mixer(f"blk.{i}", f"backbone.layers.{i}.mixer", c.n_groups)
    return out
