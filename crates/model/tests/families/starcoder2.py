"""StarCoder2: windows, layer norms and biases everywhere; the head is the embedding, as in the 3B model."""
from make import common_keys, layer_names
from transformers import Starcoder2Config, Starcoder2ForCausalLM


def model():
    config = Starcoder2Config(
        vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, norm_epsilon=1e-5, sliding_window=11,
        tie_word_embeddings=True, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0})
    return Starcoder2ForCausalLM(config)


def keys(c):
    return common_keys(c) | {"attention.layer_norm_epsilon": c.norm_epsilon, "attention.sliding_window": c.sliding_window}


def names(c):
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output_norm.bias": "model.norm.bias"}
    return layer_names(c.num_hidden_layers, parts, ("weight", "bias"), top)
