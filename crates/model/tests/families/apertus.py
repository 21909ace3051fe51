"""Apertus: xIELU with numbers of its own in every layer, norms on the heads of q and k, Llama 3's scaling of the rotation."""
import make
from make import common_keys, layer_names, llama3_divisors
from transformers import ApertusConfig, ApertusForCausalLM

ALPHA_P, ALPHA_N = [-0.5, 0.75], [1.5, -1.0]
# About the library's, exact in f16.
EPS = -2.0 ** -20
ROPE = {"rope_type": "llama3", "rope_theta": 12000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}


def model():
    config = ApertusConfig(
        vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, attn_implementation="eager",
        dtype="float32", rope_parameters=dict(ROPE))
    return ApertusForCausalLM(config)


def randomise(model):
    make.randomise(model)
    for layer, p, n in zip(model.model.layers, ALPHA_P, ALPHA_N):
        layer.mlp.act_fn.alpha_p.data.fill_(p)
        layer.mlp.act_fn.alpha_n.data.fill_(n)
        layer.mlp.act_fn.eps.fill_(EPS)


def keys(c):
    return common_keys(c) | {
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "/xielu.alpha_p": ALPHA_P, "/xielu.alpha_n": ALPHA_N,
        "/xielu.beta": [0.5, 0.5], "/xielu.eps": EPS}


def names(c):
    parts = {"attn_norm": "attention_layernorm", "ffn_norm": "feedforward_layernorm",
             "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
             "attn_output": "self_attn.o_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    parts |= {f"attn_{p}": f"self_attn.{p}_proj" for p in "qkv"}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight", "rope_freqs.weight": lambda w: llama3_divisors(ROPE, 12)}
    return layer_names(c.num_hidden_layers, parts, top=top)
