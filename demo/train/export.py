"""Writes a checkpoint as GGUF, once in f16 and once in q8_0 (norms in f32 in both).

  export.py CHECKPOINT.pt TOKENIZER.json OUT-F16.gguf OUT-Q8_0.gguf
"""
import json
import sys

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type

from tokenizer import SPECIAL

TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>'"
            " + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def write(path, config, tensors, tokenizer, kind, file_type):
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("Ingle demo")
    w.add_description("A very small chat model trained from scratch on generated text.")
    w.add_license("MIT OR Apache-2.0")
    w.add_languages(["en"])
    w.add_file_type(file_type)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_context_length(config["context"])
    w.add_embedding_length(config["dim"])
    w.add_block_count(config["n_layers"])
    w.add_feed_forward_length(config["ffn_dim"])
    w.add_head_count(config["n_heads"])
    w.add_head_count_kv(config["n_kv_heads"])
    w.add_key_length(config["head_dim"])
    w.add_value_length(config["head_dim"])
    w.add_layer_norm_rms_eps(config["eps"])
    w.add_rope_freq_base(config["rope_base"])
    w.add_rope_dimension_count(config["head_dim"])
    w.add_vocab_size(config["vocab"])

    ids = tokenizer["model"]["vocab"]
    tokens = sorted(ids, key=ids.get)
    assert [ids[t] for t in tokens] == list(range(config["vocab"])), "ids have gaps"
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types([control if t in SPECIAL else normal for t in tokens])
    w.add_token_merges(merges)
    w.add_bos_token_id(ids["<|endoftext|>"])
    w.add_eos_token_id(ids["<|im_end|>"])
    w.add_eot_token_id(ids["<|im_end|>"])
    w.add_pad_token_id(ids["<|endoftext|>"])
    w.add_uint32("tokenizer.ggml.fim_pre_token_id", ids["<|fim_prefix|>"])
    w.add_uint32("tokenizer.ggml.fim_suf_token_id", ids["<|fim_suffix|>"])
    w.add_uint32("tokenizer.ggml.fim_mid_token_id", ids["<|fim_middle|>"])
    w.add_add_bos_token(False)
    w.add_add_eos_token(False)
    w.add_chat_template(TEMPLATE)

    for name, data in tensors:
        if data.ndim == 1:
            w.add_tensor(name, data.astype(np.float32))
        elif kind == Type.F16:
            w.add_tensor(name, data.astype(np.float16))
        else:
            w.add_tensor(name, gguf.quants.quantize(data.astype(np.float32), kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def named(weights):
    """The checkpoint's tensors under GGUF's names. Interleaved rotary pairs are GGUF's own for llama: nothing is permuted."""
    yield "token_embd.weight", weights["embd"].numpy()
    yield "output_norm.weight", weights["norm"].numpy()
    for key, value in weights.items():
        if key.startswith("layers."):
            _, layer, name = key.split(".")
            yield f"blk.{layer}.{name}.weight", value.numpy()


def main():
    checkpoint, tokenizer_path, f16, q8 = sys.argv[1:]
    saved = torch.load(checkpoint)
    with open(tokenizer_path) as file:
        tokenizer = json.load(file)
    tensors = list(named(saved["model"]))
    write(f16, saved["config"], tensors, tokenizer, Type.F16, gguf.LlamaFileType.MOSTLY_F16)
    write(q8, saved["config"], tensors, tokenizer, Type.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0)
    print(f"step {saved['step']}, {saved['tokens']} tokens")


if __name__ == "__main__":
    main()
