#!/usr/bin/env python3
"""Makes the tiny models of this folder: each as a Hugging Face folder, as a GGUF file, and its expected logits.

  make.py [NAME ...]      (needs torch, transformers, safetensors, gguf and numpy from PyPI; without names: all)

The folder NAME is what the transformers library saves of a random model (its weights rounded to the type they are saved in);
NAME.gguf holds the same weights under GGUF's keys and names, written by the few lines here; NAME.f32 are the library's logits
in float64 for tokens.txt, one row of little-endian f32 per token. Names and keys are written down here a second time, on
purpose: a slip in the importer would not be made again by its own tables.

Most families have their models in ../families, as GGUF files with logits; of those (SHARED) this makes the folder only: the
same weights, which that folder's make.py draws.

`split` has a GGUF file in several parts, as the gguf package writes them. Some folders are then rewritten by hand into what published ones look like: the older generation of config.json, FP8
weights with scales.
"""
import copy
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import gguf
import numpy as np
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
FAMILIES = HERE.parent / "families"
SHAPE = dict(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256, attn_implementation="eager",
             pad_token_id=0, bos_token_id=1, eos_token_id=2)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "long_factor": [1.0, 1.5, 3.0],
        "short_factor": [1.0, 1.1, 1.25], "original_max_position_embeddings": 64}
GEMMA3_ROPE = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
               "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
LFM2_LAYERS = ["conv", "full_attention"]


def shape(**more):
    return SHAPE | more


# ---- what each model is: a function that makes it, the type of its weights, and how it is written as GGUF ----

def base_keys(c, head_dim=None, **more):
    keys = {"vocab_size": c.vocab_size, "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size,
            "block_count": c.num_hidden_layers, "feed_forward_length": c.intermediate_size,
            "attention.head_count": c.num_attention_heads, "attention.head_count_kv": c.num_key_value_heads,
            "attention.layer_norm_rms_epsilon": c.rms_norm_eps}
    if head_dim:
        keys |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    return keys | more


LAYER = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
AROUND = {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}
BOTH = AROUND | {"pre_feedforward_layernorm": "ffn_norm"}
PHI3 = {"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}
EXPERTS = {"mlp.gate": "ffn_gate_inp"}
LFM2 = {"operator_norm": "attn_norm", "ffn_norm": "ffn_norm", "feed_forward.w1": "ffn_gate", "feed_forward.w2": "ffn_down",
        "feed_forward.w3": "ffn_up", "self_attn.out_proj": "attn_output", "self_attn.q_layernorm": "attn_q_norm",
        "self_attn.k_layernorm": "attn_k_norm", "conv.in_proj": "shortconv.in_proj", "conv.out_proj": "shortconv.out_proj",
        "conv.conv": "shortconv.conv"}


def interleave(w, n_heads):
    """Rows i and i + n / 2 of each head become neighbours."""
    return w.reshape(n_heads, 2, w.shape[0] // n_heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def llama3_divisors(c, rope):
    n = c.hidden_size // c.num_attention_heads
    frequency = 1 / rope["rope_theta"] ** (np.arange(0, n, 2) / n)
    turns = rope["original_max_position_embeddings"] * frequency / (2 * np.pi)
    kept = np.clip((turns - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"]), 0, 1)
    return {"rope_freqs.weight": 1 / ((1 - kept) / rope["factor"] + kept)}


def long_attention(c):
    scale = c.max_position_embeddings / LONG["original_max_position_embeddings"]
    return float(np.sqrt(1 + np.log(scale) / np.log(LONG["original_max_position_embeddings"])))


MODELS = {
    "llama": dict(
        make=lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**shape(rope_parameters=LLAMA3, num_key_value_heads=2))),
        dtype=torch.bfloat16, permute=True, untied=True, shards="20KB",
        keys=lambda c: base_keys(c, 8) | {"rope.freq_base": 500000.0},
        extra=lambda c: llama3_divisors(c, LLAMA3)),
    # A window, biases, heads wider than the model, and config.json as it was before `rope_parameters`.
    "mistral": dict(
        make=lambda: hf.MistralForCausalLM(hf.MistralConfig(**shape(
            head_dim=12, sliding_window=16, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
            tie_word_embeddings=True))),
        family="llama", dtype=torch.float16, permute=True, old=True,
        keys=lambda c: base_keys(c, 12) | {"rope.freq_base": 1000000.0, "attention.sliding_window": 16}),
    "llama-bias": dict(
        make=lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**shape(
            attention_bias=True, mlp_bias=True, tie_word_embeddings=True, num_hidden_layers=1,
            rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}))),
        family="llama", dtype=torch.float32, permute=True, old=True,
        keys=lambda c: base_keys(c, 8) | {"rope.freq_base": 10000.0, "rope.scaling.type": "linear",
                                          "rope.scaling.factor": 2.0}),
    "qwen2": dict(
        make=lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**shape(rope_parameters=YARN, num_hidden_layers=1))),
        dtype=torch.float32, untied=True, shards="20KB",
        keys=lambda c: base_keys(c) | {"rope.freq_base": 10000.0, "rope.scaling.type": "yarn",
                                       "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64}),
    "qwen3": dict(
        make=lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**shape(head_dim=16, tie_word_embeddings=True))),
        dtype=torch.bfloat16, keys=lambda c: base_keys(c, 16) | {"rope.freq_base": 10000.0}),
    "qwen3_moe": dict(
        make=lambda: hf.Qwen3MoeForCausalLM(hf.Qwen3MoeConfig(**shape(
            head_dim=8, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True))),
        family="qwen3moe", dtype=torch.bfloat16, untied=True, names=EXPERTS, shards="20KB",
        keys=lambda c: base_keys(c, 8) | {"rope.freq_base": 10000.0, "expert_count": 4, "expert_used_count": 2,
                                          "expert_feed_forward_length": 16, "expert_weights_norm": True}),
    "gemma": dict(
        make=lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**shape(head_dim=12))),
        dtype=torch.bfloat16, plus_one=True, keys=lambda c: base_keys(c, 12) | {"rope.freq_base": 10000.0}),
    "gemma2": dict(
        make=lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**shape(head_dim=8, sliding_window=16, query_pre_attn_scalar=10))),
        dtype=torch.bfloat16, plus_one=True, names=BOTH, old=True,
        keys=lambda c: base_keys(c, 8) | {"rope.freq_base": 10000.0, "attention.sliding_window": 16,
                                          "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
                                          "attention.scale": 10 ** -0.5}),
    "gemma3": dict(
        make=lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**shape(
            head_dim=8, sliding_window=16, query_pre_attn_scalar=8, rope_parameters=GEMMA3_ROPE,
            layer_types=["sliding_attention", "full_attention"]))),
        dtype=torch.bfloat16, plus_one=True, names=BOTH,
        keys=lambda c: base_keys(c, 8) | {"rope.freq_base": 1000000.0, "rope.freq_base_swa": 10000.0,
                                          "rope.scaling.type": "linear", "rope.scaling.factor": 8.0,
                                          "attention.sliding_window": 16, "attention.sliding_window_pattern": 2}),
    "phi3": dict(
        make=lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**shape(
            original_max_position_embeddings=64, sliding_window=16,
            rope_parameters=LONG | {"partial_rotary_factor": 0.75}))),
        dtype=torch.bfloat16, untied=True, names=PHI3, long=True,
        keys=lambda c: base_keys(c) | {"rope.freq_base": 10000.0, "rope.dimension_count": 6,
                                       "rope.scaling.attn_factor": long_attention(c), "attention.sliding_window": 16,
                                       "rope.scaling.original_context_length": 64},
        extra=lambda c: {"rope_factors_long.weight": LONG["long_factor"], "rope_factors_short.weight": LONG["short_factor"]}),
    "smollm3": dict(
        make=lambda: hf.SmolLM3ForCausalLM(hf.SmolLM3Config(**shape(num_hidden_layers=4, intermediate_size=32))),
        dtype=torch.bfloat16, permute=True, keys=lambda c: base_keys(c) | {"rope.freq_base": 2000000.0}),
    "granite": dict(
        make=lambda: hf.GraniteForCausalLM(hf.GraniteConfig(**shape(
            attention_multiplier=0.25, embedding_multiplier=12.0, residual_multiplier=0.22, logits_scaling=8.0,
            tie_word_embeddings=True))),
        dtype=torch.bfloat16, permute=True,
        keys=lambda c: base_keys(c) | {"rope.freq_base": 10000.0, "attention.scale": 0.25, "embedding_scale": 12.0,
                                       "residual_scale": 0.22, "logit_scale": 8.0}),
    "olmo2": dict(
        make=lambda: hf.Olmo2ForCausalLM(hf.Olmo2Config(**shape())),
        dtype=torch.bfloat16, untied=True, names=AROUND, keys=lambda c: base_keys(c) | {"rope.freq_base": 10000.0}),
    "lfm2": dict(
        make=lambda: hf.Lfm2ForCausalLM(hf.Lfm2Config(**shape(
            layer_types=LFM2_LAYERS, block_auto_adjust_ff_dim=True, block_multiple_of=8, block_ffn_dim_multiplier=1.5,
            conv_L_cache=3, norm_eps=1e-5, tie_word_embeddings=True))),
        dtype=torch.bfloat16, names=LFM2, split=7,
        keys=lambda c: {"vocab_size": 61, "context_length": 256, "embedding_length": 32, "block_count": 2,
                        "feed_forward_length": 40, "attention.head_count": 4, "attention.head_count_kv": [0, 2],
                        "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1000000.0, "shortconv.l_cache": 3}),
    # Scales of blocks of rows and columns, in the files of DeepSeek and Qwen; and one for each row.
    "fp8": dict(
        make=lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**shape(head_dim=8, tie_word_embeddings=True))),
        family="qwen3", dtype=torch.bfloat16, fp8=[16, 24], keys=lambda c: base_keys(c, 8) | {"rope.freq_base": 10000.0}),
    "fp8-rows": dict(
        make=lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**shape(tie_word_embeddings=True))),
        family="llama", dtype=torch.bfloat16, permute=True, fp8="rows",
        keys=lambda c: base_keys(c, 8) | {"rope.freq_base": 10000.0}),
}


def randomise(model, spec):
    """Values of the size training leaves, drawn by one generator in the order of the names."""
    rng = torch.Generator().manual_seed(2026)
    for name, p in sorted(model.named_parameters()):
        if p.ndim >= 2:
            value = torch.randn(p.shape, generator=rng) * (1.5 / p.shape[-1] ** 0.5)
        elif "norm" in name:
            value = (0 if spec.get("plus_one") else 1) + 0.2 * torch.randn(p.shape, generator=rng)
        else:
            value = 0.2 * torch.randn(p.shape, generator=rng)
        p.data = value.to(spec["dtype"]).to(p.dtype)


def quantize(w, block):
    """FP8 values and scales of a matrix, and what they stand for in bfloat16."""
    rows, cols = w.shape
    r, c = (1, cols) if block == "rows" else block
    scale = torch.zeros(-(-rows // r), -(-cols // c))
    values = torch.zeros_like(w)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            part = np.s_[i * r:(i + 1) * r, j * c:(j + 1) * c]
            scale[i, j] = w[part].abs().max() / 448
            values[part] = w[part] / scale[i, j]
    values = values.to(torch.float8_e4m3fn)
    wide = scale.repeat_interleave(r, 0)[:rows].repeat_interleave(c, 1)[:, :cols]
    return values, scale, (values.float() * wide).bfloat16().float()


def to_fp8(model, folder, block):
    """Quantises the saved projections and gives the model the values they stand for."""
    tensors, state = load_file(folder / "model.safetensors"), model.state_dict()
    for name in [n for n in tensors if "_proj" in n]:
        values, scale, meaning = quantize(tensors[name].float(), block)
        tensors[name] = values
        tensors[name + ("_scale" if block == "rows" else "_scale_inv")] = scale
        state[name].copy_(meaning)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = (
        {"quant_method": "compressed-tensors", "format": "float-quantized"} if block == "rows"
        else {"quant_method": "fp8", "weight_block_size": block, "activation_scheme": "dynamic"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def make_old(folder):
    """config.json as the library wrote it before its version 5."""
    config = json.loads((folder / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    config["rope_scaling"] = None if kind == "default" else {"type": kind} | rope
    config["torch_dtype"] = config.pop("dtype")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_gguf(path, name, spec, config, state, tensors_per_file=0):
    family = spec.get("family", name)
    names = LAYER | spec.get("names", {})
    writer = gguf.GGUFWriter(path, family, split_max_tensors=tensors_per_file)
    for key, value in spec["keys"](config).items():
        key = f"{family}.{key}"
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, list: writer.add_array,
               str: writer.add_string}
        add[type(value)](key, value)
    out = {"token_embd.weight": state["model.embed_tokens.weight"]}
    lfm2 = "model.embedding_norm.weight" in state
    out["token_embd_norm.weight" if lfm2 else "output_norm.weight"] = \
        state["model.embedding_norm.weight" if lfm2 else "model.norm.weight"]
    if spec.get("untied"):
        out["output.weight"] = state["lm_head.weight"]
    for full, w in state.items():
        if not full.startswith("model.layers."):
            continue
        layer, rest = full.removeprefix("model.layers.").split(".", 1)
        if rest == "mlp.experts.gate_up_proj":
            gate, up = w.chunk(2, dim=1)
            out |= {f"blk.{layer}.ffn_gate_exps.weight": gate, f"blk.{layer}.ffn_up_exps.weight": up}
            continue
        if rest == "mlp.experts.down_proj":
            out[f"blk.{layer}.ffn_down_exps.weight"] = w
            continue
        stem, end = rest.rsplit(".", 1)
        if spec.get("permute") and stem in ("self_attn.q_proj", "self_attn.k_proj"):
            w = interleave(w, config.num_attention_heads if ".q" in stem else config.num_key_value_heads)
        out[f"blk.{layer}.{names[stem]}.{end}"] = w[:, 0] if stem == "conv.conv" else w
    for tensor, w in out.items():
        w = w.float().contiguous()
        if w.ndim == 1:
            w = w + 1 if spec.get("plus_one") else w
            writer.add_tensor(tensor, w.numpy())
        elif spec["dtype"] == torch.bfloat16:
            writer.add_tensor(tensor, w.bfloat16().view(torch.uint16).numpy().view(np.uint8),
                              raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(tensor, w.to(spec["dtype"]).numpy())
    for tensor, values in spec.get("extra", lambda c: {})(config).items():
        writer.add_tensor(tensor, np.asarray(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ---- models of ../families, and what is rewritten in their folders into what published ones look like ----

def edit(change):
    """Changes the configuration: `change` gets it."""
    def rewrite(folder):
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return rewrite


def as_saved(folder):
    """As the library saves it."""


def gemma4_global(config):
    """The heads of layers that see everything, in fields of their own."""
    wide = config.pop("per_layer_config")["2"]
    config |= {"global_head_dim": wide["head_dim"], "num_global_key_value_heads": wide["num_key_value_heads"]}


def minicpm(config):
    """What MiniCPM's own code writes: the script of that family takes Granite for it."""
    config |= {"model_type": "minicpm", "architectures": ["MiniCPMForCausalLM"],
               "scale_emb": config.pop("embedding_multiplier"), "scale_depth": 1.4,
               "dim_model_base": config["hidden_size"] / config.pop("logits_scaling")}
    del config["attention_multiplier"], config["residual_multiplier"]


def nemotron_h(config):
    """A letter for each layer, and infinity as Python writes it."""
    letters = {"linear_attention": "M", "mlp": "-", "full_attention": "*", "moe": "E"}
    kinds = config.pop("layers_block_type")
    config |= {"hybrid_override_pattern": "".join(letters[kind] for kind in kinds), "num_hidden_layers": len(kinds),
               "time_step_limit": [0.0, float("inf")]}


def granite_old(config):
    names = {"linear_attention": "mamba", "full_attention": "attention"}
    config |= {"layer_types": [names[kind] for kind in config["layer_types"]]}


def seeing(folder):
    """The text model inside of one that sees, its experts all together."""
    tensors = load_file(folder / "model.safetensors")
    layers = {name.rsplit(".experts.", 1)[0] for name in tensors if ".experts." in name}
    for layer in layers:
        def stack(part):
            rows = [tensors.pop(f"{layer}.experts.{i}.{part}_proj.weight") for i in range(4)]
            return torch.stack(rows)
        tensors[f"{layer}.experts.gate_up_proj"] = torch.cat([stack("gate"), stack("up")], 1)
        tensors[f"{layer}.experts.down_proj"] = stack("down")
    tensors = {name.replace("model.", "model.language_model.", 1): w.contiguous() for name, w in tensors.items()}
    tensors |= {"model.visual.patch_embed.proj.bias": torch.zeros(1), "mtp.norm.weight": torch.zeros(1)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    edit(lambda c: (text := dict(c), c.clear(), c.update(
        model_type="qwen3_5_moe", tie_word_embeddings=text["tie_word_embeddings"], text_config=text)))(folder)


def hearing(folder):
    """Gemma 3n as published: inside of a model that sees and hears, with the older fields of its two rotations."""
    tensors = load_file(folder / "model.safetensors")
    tensors = {name.replace("model.", "model.language_model.", 1): w for name, w in tensors.items()}
    heads = ["vision_tower", "embed_vision", "audio_tower", "embed_audio"]
    tensors |= {f"model.{head}.norm.weight": torch.zeros(1) for head in heads}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    def change(config):
        text = dict(config)
        rope = text.pop("rope_parameters")
        text |= {"rope_theta": rope["full_attention"]["rope_theta"], "rope_scaling": None,
                 "rope_local_base_freq": rope["sliding_attention"]["rope_theta"]}
        config.clear()
        config |= {"model_type": "gemma3n", "text_config": text, "vision_config": {}, "audio_config": {}}
    edit(change)(folder)


SHARED = {
    "phi2": make_old, "phi2-llama3": make_old, "starcoder2": as_saved, "stablelm": make_old, "stablelm-parallel": as_saved, "gpt-oss": as_saved,
    "exaone4": make_old, "exaone4-global": as_saved, "hunyuan-dense": make_old, "ernie4_5": as_saved,
    "nemotron": make_old, "glm4": as_saved, "command-r": as_saved, "cohere2": as_saved, "qwen2moe": as_saved,
    "seed_oss": as_saved, "apertus": as_saved, "olmo3": as_saved,
    "gemma3n": hearing, "gemma3n-second": as_saved,
    "gemma4": as_saved, "gemma4-experts": as_saved, "gemma4-global": edit(gemma4_global), "mamba": as_saved,
    "falcon-mamba": as_saved, "mamba2": as_saved, "jamba": as_saved, "granitehybrid": edit(granite_old),
    "bamba": as_saved, "bamba-9b": as_saved, "falcon-h1": as_saved, "falcon-h1-plain": as_saved,
    "qwen3next-first": as_saved, "qwen35": as_saved, "qwen35moe": seeing, "nemotron_h": edit(nemotron_h),
    "nemotron_h_moe": as_saved, "lfm2moe": as_saved, "minicpm": edit(minicpm),
}


def families():
    """That folder's make.py, by the name under which its scripts import it."""
    if "make" not in sys.modules:
        sys.path.insert(0, str(FAMILIES))
        spec = importlib.util.spec_from_file_location("make", FAMILIES / "make.py")
        sys.modules["make"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["make"])
    return sys.modules["make"]


def make_shared(name):
    module = families().load(name)
    torch.manual_seed(1)
    model = module.model().float().eval()
    getattr(module, "randomise", families().randomise)(model)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.half().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    SHARED[name](folder)
    print(f"{name}: {sum(f.stat().st_size for f in folder.iterdir())} bytes")


# ---- gpt-oss as published, its experts in MXFP4 ----

MXFP4 = "gpt-oss-mxfp4"
E2M1 = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6])


def mxfp4(w):
    """Codes (..., blocks, 32) and scales (..., blocks) of a matrix, and what they stand for."""
    blocks = w.reshape(*w.shape[:-1], -1, 32)
    exponent = blocks.abs().amax(-1).log2().floor() - 2
    scaled = blocks / 2 ** exponent[..., None]
    magnitude = (scaled.abs()[..., None] - E2M1).abs().argmin(-1)
    value = E2M1[magnitude] * scaled.sign() * 2 ** exponent[..., None]
    codes = (magnitude + 8 * ((scaled < 0) & (magnitude > 0))).to(torch.uint8)
    return codes, (exponent + 127).to(torch.uint8), value.reshape(w.shape)


def make_mxfp4(name):
    module = families().load("gpt-oss")
    whole = module.GptOssConfig
    small = dict(vocab_size=61, intermediate_size=32, num_hidden_layers=2, num_local_experts=2, head_dim=8)
    module.GptOssConfig = lambda **given: whole(**given | small)
    torch.manual_seed(1)
    model = module.model().float().eval()
    randomise(model, {"dtype": torch.bfloat16})
    state, packed = model.state_dict(), {}
    for full in [n for n in state if n.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        # The library's matrices have rows for columns.
        codes, scales, value = mxfp4(state[full].transpose(1, 2) * (4 if "gate_up" in full else 1))
        state[full].copy_(value.transpose(1, 2))
        packed |= {f"{full}_blocks": codes[..., ::2] | codes[..., 1::2] << 4, f"{full}_scales": scales}
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    copy.deepcopy(model).bfloat16().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tensors = {n: w for n, w in load_file(folder / "model.safetensors").items() if f"{n}_blocks" not in packed}
    save_file(tensors | packed, folder / "model.safetensors", metadata={"format": "pt"})
    edit(lambda c: c.update(quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}))(folder)

    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", "gpt-oss")
    for key, value in module.keys(model.config).items():
        families().add(writer, f"gpt-oss.{key}", value)
    for tensor, source in module.names(model.config).items():
        w = (source(state) if callable(source) else state[source]).contiguous()
        if tensor.endswith("_exps.weight"):
            codes, scales, _ = mxfp4(w)
            blocks = torch.cat([scales[..., None], codes[..., :16] | codes[..., 16:] << 4], -1)
            writer.add_tensor(tensor, blocks.flatten(-2).numpy(), raw_dtype=gguf.GGMLQuantizationType.MXFP4)
        elif w.ndim == 1:
            writer.add_tensor(tensor, w.numpy())
        else:
            writer.add_tensor(tensor, w.bfloat16().view(torch.uint16).numpy().view(np.uint8),
                              raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_logits(name, model)


def write_logits(name, model):
    tokens = [int(t) for t in (HERE / "tokens.txt").read_text().split()]
    logits = model.double()(torch.tensor([tokens]), use_cache=False).logits[0]
    logits.float().numpy().astype("<f4").tofile(HERE / f"{name}.f32")
    size = sum(f.stat().st_size for f in (HERE / name).iterdir())
    print(f"{name}: {size} bytes, GGUF {(HERE / f'{name}.gguf').stat().st_size}, spread {logits.std():.3f}, "
          f"files {sorted(f.name for f in (HERE / name).iterdir())}")


@torch.no_grad()
def make(name):
    if name in SHARED:
        return make_shared(name)
    if name == MXFP4:
        return make_mxfp4(name)
    spec = MODELS[name]
    torch.manual_seed(1)
    model = spec["make"]().float().eval()
    model.config._experts_implementation = "eager"
    randomise(model, spec)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    # A copy: its buffers are rounded too.
    copy.deepcopy(model).to(spec["dtype"]).save_pretrained(folder, max_shard_size=spec.get("shards", "5GB"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if "fp8" in spec:
        to_fp8(model, folder, spec["fp8"])
    if spec.get("old"):
        make_old(folder)
    write_gguf(HERE / f"{name}.gguf", name, spec, model.config, model.state_dict())
    if spec.get("split"):
        (HERE / "split").mkdir(exist_ok=True)
        write_gguf(HERE / f"split/{name}.gguf", name, spec, model.config, model.state_dict(), spec["split"])
    write_logits(name, model)


if __name__ == "__main__":
    for name in sys.argv[1:] or [*MODELS, *SHARED, MXFP4]:
        make(name)
