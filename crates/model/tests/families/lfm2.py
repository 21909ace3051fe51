"""LFM2: two short convolutions, one attention."""
from transformers import Lfm2Config, Lfm2ForCausalLM

LAYERS = ["conv", "full_attention", "conv"]


def model():
    config = Lfm2Config(
        vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, conv_L_cache=3, conv_bias=False,
        block_auto_adjust_ff_dim=False, layer_types=LAYERS, norm_eps=1e-5, tie_word_embeddings=True,
        attn_implementation="eager", rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
    return Lfm2ForCausalLM(config)


def keys(c):
    return {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size,
        "block_count": c.num_hidden_layers, "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": [c.num_key_value_heads if kind != "conv" else 0 for kind in LAYERS],
        "attention.layer_norm_rms_epsilon": c.norm_eps, "rope.freq_base": 1000000.0, "shortconv.l_cache": c.conv_L_cache,
    }


def names(c):
    out = {"token_embd.weight": "model.embed_tokens.weight", "token_embd_norm.weight": "model.embedding_norm.weight"}
    for i, kind in enumerate(LAYERS):
        parts = {"attn_norm": "operator_norm", "ffn_norm": "ffn_norm", "ffn_gate": "feed_forward.w1",
                 "ffn_down": "feed_forward.w2", "ffn_up": "feed_forward.w3"}
        if kind == "conv":
            parts |= {"shortconv.in_proj": "conv.in_proj", "shortconv.out_proj": "conv.out_proj"}
            out[f"blk.{i}.shortconv.conv.weight"] = lambda w, i=i: w[f"model.layers.{i}.conv.conv.weight"][:, 0]
        else:
            parts |= {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
                      "attn_output": "self_attn.out_proj", "attn_q_norm": "self_attn.q_layernorm",
                      "attn_k_norm": "self_attn.k_layernorm"}
        out |= {f"blk.{i}.{ours}.weight": f"model.layers.{i}.{theirs}.weight" for ours, theirs in parts.items()}
    return out
