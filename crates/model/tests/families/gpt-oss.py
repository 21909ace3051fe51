"""gpt-oss: sinks, windows in every second layer, YaRN with an exact ramp, experts whose gates and ups reach the clamp."""
import make
from make import common_keys, layer_names
from transformers import GptOssConfig, GptOssForCausalLM

ROPE = {"rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
        "truncate": False, "original_max_position_embeddings": 64}


def model():
    config = GptOssConfig(
        vocab_size=97, hidden_size=32, intermediate_size=16, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=2048, num_local_experts=4, num_experts_per_tok=2,
        sliding_window=11, rms_norm_eps=1e-5, attn_implementation="eager", experts_implementation="eager",
        rope_parameters=ROPE, bos_token_id=1, eos_token_id=2)
    return GptOssForCausalLM(config)


def randomise(model):
    make.randomise(model)
    for name, p in model.named_parameters():
        if name.endswith(("gate_up_proj", "sinks")):
            p.data *= 4


def keys(c):
    return common_keys(c) | {
        "attention.key_length": c.head_dim, "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "attention.sliding_window": c.sliding_window,
        "expert_count": c.num_local_experts, "expert_used_count": c.num_experts_per_tok,
        "expert_feed_forward_length": c.intermediate_size, "rope.scaling.type": "yarn", "rope.scaling.factor": 32.0,
        "rope.scaling.original_context_length": 64, "rope.scaling.yarn_beta_fast": 32.0,
        "rope.scaling.yarn_beta_slow": 1.0}


def names(c):
    n = c.num_hidden_layers
    out = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
    out |= layer_names(n, {"attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm"})
    parts = {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"} | {"attn_output": "self_attn.o_proj",
                                                                    "ffn_gate_inp": "mlp.router"}
    out |= layer_names(n, parts, ("weight", "bias"))
    for i in range(n):
        layer = f"model.layers.{i}"
        out[f"blk.{i}.attn_sinks.weight"] = f"{layer}.self_attn.sinks"
        experts = f"{layer}.mlp.experts"
        out[f"blk.{i}.ffn_down_exps.weight"] = lambda w, e=experts: w[f"{e}.down_proj"].transpose(1, 2)
        out[f"blk.{i}.ffn_down_exps.bias"] = f"{experts}.down_proj_bias"
        for first, ours in enumerate(["gate", "up"]):
            out[f"blk.{i}.ffn_{ours}_exps.weight"] = lambda w, e=experts, f=first: (
                w[f"{e}.gate_up_proj"][:, :, f::2].transpose(1, 2))
            out[f"blk.{i}.ffn_{ours}_exps.bias"] = lambda w, e=experts, f=first: w[f"{e}.gate_up_proj_bias"][:, f::2]
    return out
