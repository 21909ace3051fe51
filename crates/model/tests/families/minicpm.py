"""MiniCPM: the transformers library has no such model, but Granite is the same Llama with the same three factors: what the
original modelling file (modeling_minicpm.py of openbmb/MiniCPM-2B) computes from scale_emb, scale_depth and dim_model_base."""
from make import common_keys, layer_names
from transformers import GraniteConfig, GraniteForCausalLM

SCALE_EMB, SCALE_DEPTH, DIM_MODEL_BASE = 12.0, 1.4, 16


def model(rope=None):
    n_layers, dim = 2, 48
    config = GraniteConfig(
        vocab_size=97, hidden_size=dim, intermediate_size=80, num_hidden_layers=n_layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=True,
        embedding_multiplier=SCALE_EMB, residual_multiplier=SCALE_DEPTH / n_layers ** 0.5,
        logits_scaling=dim / DIM_MODEL_BASE, attention_multiplier=12 ** -0.5, attn_implementation="eager",
        bos_token_id=1, eos_token_id=2, rope_parameters=rope or {"rope_type": "default", "rope_theta": 10000.0})
    return GraniteForCausalLM(config)


def keys(c):
    return common_keys(c) | {
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps, "rope.dimension_count": 12,
        "embedding_scale": c.embedding_multiplier, "residual_scale": c.residual_multiplier,
        "logit_scale": c.logits_scaling}


def neighbours(weight, n_heads):
    """Rows of each head from halves to neighbours, as converters store them."""
    rows, cols = weight.shape
    return weight.reshape(n_heads, 2, rows // n_heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def names(c):
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj"}
    parts |= {f"ffn_{p}": f"mlp.{p}_proj" for p in ["gate", "up", "down"]}
    out = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for i in range(c.num_hidden_layers):
        for part, n in [("q", c.num_attention_heads), ("k", c.num_key_value_heads)]:
            theirs = f"model.layers.{i}.self_attn.{part}_proj.weight"
            out[f"blk.{i}.attn_{part}.weight"] = lambda w, theirs=theirs, n=n: neighbours(w[theirs], n)
    return layer_names(c.num_hidden_layers, parts, top=out)
