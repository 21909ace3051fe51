#!/usr/bin/env python3
"""Makes the tiny models of this folder and their expected logits, with another library's arithmetic.

  make.py [NAME ...]      (needs torch, transformers, gguf and numpy from PyPI; without names: every family)

Each NAME.py beside this file builds a tiny random model of one family in the transformers library and says how its weights
and settings are called in a GGUF file. This script gives the weights values that exercise the arithmetic (norms away from
1, biases away from 0), runs tokens.txt through the model in float64, and writes NAME.gguf and NAME.f32: one row of
logits per token, little-endian f32. Files are small: f16 matrices where the model's weights were rounded to f16 first, so that
both sides compute with the same numbers.

A NAME.py has
  model() -> a transformers model on the CPU (eval mode, eager attention)
  keys(config) -> {GGUF key without the family's prefix: value}; a key behind a slash has no prefix
  names(config) -> {GGUF tensor name: parameter name, or a function of the state dict that returns a tensor}
  FAMILY, if general.architecture is not NAME
"""
import importlib.util
import math
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from torch.overrides import TorchFunctionMode

HERE = Path(__file__).parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def randomise(model):
    """Values of the size training leaves, exact in f16, drawn by one generator in the order of the names."""
    rng = torch.Generator().manual_seed(2026)
    for name, p in sorted(model.named_parameters()):
        if p.ndim >= 2:
            value = torch.randn(p.shape, generator=rng) * (1.5 / p.shape[-1] ** 0.5)
        elif "norm" in name and "bias" not in name:
            value = 1 + 0.2 * torch.randn(p.shape, generator=rng)
        else:
            value = 0.2 * torch.randn(p.shape, generator=rng)
        p.data = value.half().to(p.dtype)


def common_keys(c, **more):
    """What all families' metadata has, from a config of the transformers library."""
    return {
        "context_length": c.max_position_embeddings, "embedding_length": c.hidden_size,
        "block_count": c.num_hidden_layers, "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads, "attention.head_count_kv": c.num_key_value_heads,
        "rope.freq_base": float(c.rope_parameters["rope_theta"]),
    } | more


def layer_names(n, parts, ends=("weight",), top=None):
    """Names of `n` layers: {ours: theirs}, theirs behind `model.layers.N.`; `top` are those of the whole model."""
    out = dict(top or {})
    for i in range(n):
        out |= {f"blk.{i}.{ours}.{end}": f"model.layers.{i}.{theirs}.{end}"
                for ours, theirs in parts.items() for end in ends}
    return out


def llama3_divisors(rope, n_rot):
    """What converters make of Llama 3's scaling `rope` of heads with `n_rot` values rotated."""
    frequencies = 1 / rope["rope_theta"] ** (torch.arange(0, n_rot, 2).double() / n_rot)
    waves = 2 * math.pi / frequencies
    original, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = (original / waves - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    return torch.where(waves < original / high, 1.0, torch.where(waves > original / low, factor, between))


class InFloat64(TorchFunctionMode):
    """Makes every cast to float32 inside a model's code one to float64: some of them go down on purpose."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def wide(value):
            return torch.float64 if value is torch.float32 else value

        if func is torch.Tensor.float:
            func = torch.Tensor.double
        args = [wide(value) for value in args]
        return func(*args, **{key: wide(value) for key, value in (kwargs or {}).items()})


def add(writer, key, value):
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, list(value))


def make(name):
    module = load(name)
    torch.manual_seed(1)
    model = module.model().float().eval()
    if hasattr(module, "randomise"):
        module.randomise(model)
    else:
        randomise(model)
    family = getattr(module, "FAMILY", name)
    weights = model.state_dict()
    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", family)
    for key, value in module.keys(model.config).items():
        add(writer, key[1:] if key.startswith("/") else f"{family}.{key}", value)
    for tensor, source in module.names(model.config).items():
        value = source(weights) if callable(source) else weights[source]
        value = value.detach().float().numpy()
        with np.errstate(over="ignore"):
            exact = np.array_equal(value.astype(np.float16).astype(np.float32), value)
        small = value.ndim > 1 and exact and not tensor.endswith(getattr(module, "F32", ()))
        writer.add_tensor(tensor, np.ascontiguousarray(value.astype(np.float16 if small else np.float32)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tokens = [int(t) for t in (HERE / "tokens.txt").read_text().split()]
    with torch.no_grad(), InFloat64():
        logits = model.double()(torch.tensor([tokens]), use_cache=False).logits[0]
    logits.float().numpy().astype("<f4").tofile(HERE / f"{name}.f32")
    size = (HERE / f"{name}.gguf").stat().st_size
    print(f"{name}: {size} bytes, spread of the logits {logits.std():.3f}")


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(p.stem for p in HERE.glob("*.py") if p.stem != "make")
    for name in names:
        make(name)
