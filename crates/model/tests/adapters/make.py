#!/usr/bin/env python3
"""Makes two LoRA adapters of the tiny LFM2 in ../families and the logits of the model with them.

  make.py                 (needs torch, transformers, gguf and numpy from PyPI)

a.gguf adapts every matrix, b.gguf some of them and names its base by hash; c.gguf is for the valid base of the program's
hostile files. a.f32 has the logits with a, ab.f32 those with
half of a and twice b: float64, with the products added to the weights, which inference never does.
"""
import hashlib
import importlib.util
import struct
from pathlib import Path

import gguf
import numpy as np
import torch

HERE = Path(__file__).parent
BASE = HERE.parent / "families"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def base_hash(path):
    hash = hashlib.sha256()
    for t in sorted(gguf.GGUFReader(path).tensors, key=lambda t: t.name):
        shape = b"".join(struct.pack("<Q", int(n)) for n in t.shape)
        for part in (t.name.encode(), t.tensor_type.name.lower().encode(), shape, t.data.tobytes()):
            hash.update(struct.pack("<Q", len(part)) + part)
    return hash.hexdigest()


def adapter(name, rank, alpha, targets, dtype, rng, extra, family="lfm2"):
    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", family)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for key, value in extra.items():
        writer.add_string(key, value)
    products = {}
    for weight, (rows, cols) in targets.items():
        a = (rng.standard_normal((rank, cols)) / cols**0.5).astype(dtype)
        b = (rng.standard_normal((rows, rank)) / rank**0.5 / 4).astype(dtype)
        writer.add_tensor(f"{weight}.lora_a", a)
        writer.add_tensor(f"{weight}.lora_b", b)
        products[weight] = alpha / rank * (b.astype(np.float64) @ a.astype(np.float64))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return products


def main():
    make, family = load(BASE / "make.py"), load(BASE / "lfm2.py")
    torch.manual_seed(1)
    model = family.model().float().eval()
    make.randomise(model)
    model = model.double()
    parameters = {ours: theirs for ours, theirs in family.names(model.config).items() if isinstance(theirs, str)}
    weights = model.state_dict()
    matrices = {n: tuple(weights[p].shape) for n, p in parameters.items() if weights[p].ndim == 2}
    matrices.pop("token_embd.weight")
    rng = np.random.default_rng(7)
    a = adapter("a", 4, 8.0, matrices, np.float32, rng, {})
    some = {n: s for n, s in matrices.items() if "attn_q" in n or "shortconv.in" in n or "ffn_down" in n}
    b = adapter("b", 3, 3.0, some, np.float16, rng, {"adapter.base.sha256": base_hash(BASE / "lfm2.gguf")})
    hostile = HERE.parents[2] / "cli/tests/malicious/base.gguf"
    queries = {t.name: (int(t.shape[1]), int(t.shape[0])) for t in gguf.GGUFReader(hostile).tensors if "attn_q" in t.name}
    adapter("c", 2, 16.0, queries, np.float32, rng, {"adapter.base.sha256": base_hash(hostile)}, "llama")
    tokens = torch.tensor([[int(t) for t in (BASE / "tokens.txt").read_text().split()]])
    original = {n: weights[parameters[n]].clone() for n in matrices}
    for name, parts in {"a": [(a, 1)], "ab": [(a, 0.5), (b, 2)]}.items():
        for n, p in parameters.items():
            if n in original:
                delta = sum(factor * products[n] for products, factor in parts if n in products)
                weights[p].copy_(original[n] + torch.as_tensor(delta))
        with torch.no_grad():
            logits = model(tokens, use_cache=False).logits[0]
        logits.float().numpy().astype("<f4").tofile(HERE / f"{name}.f32")


if __name__ == "__main__":
    main()
