"""Writes quantised folders of other libraries: python make.py

A folder for each way: a Llama of one layer whose matrices are random codes, scales and zeros, packed as the libraries pack them,
and expected.json: the format that each weight becomes, and the SHA-256 of its values in f32, dequantised here with numpy. The
packing is written from the formats' descriptions; check.py reads the same folders with the libraries' own code where they have
some that runs without a GPU. Needs numpy."""
import hashlib
import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
DIM, FFN, VOCAB = 32, 64, 4
SHAPES = {"self_attn.q_proj": (DIM, DIM), "self_attn.k_proj": (DIM, DIM), "self_attn.v_proj": (DIM, DIM), "self_attn.o_proj": (DIM, DIM),
          "mlp.gate_proj": (FFN, DIM), "mlp.up_proj": (FFN, DIM), "mlp.down_proj": (DIM, FFN)}
DENSE = {"input_layernorm": (DIM,), "post_attention_layernorm": (DIM,)}
CONFIG = {"model_type": "llama", "hidden_size": DIM, "intermediate_size": FFN, "num_hidden_layers": 1, "num_attention_heads": 1,
          "num_key_value_heads": 1, "vocab_size": VOCAB, "max_position_embeddings": 64, "tie_word_embeddings": True}
OURS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def interleave(w):
    """Rows i and i + n / 2 of the one head become neighbours, as in GGUF."""
    return w.reshape(2, -1, w.shape[1]).swapaxes(0, 1).reshape(w.shape)


def pack(values, bits):
    """Numbers along the last dimension, one behind the other in words of 32 bits."""
    *lead, n = values.shape
    ones = (values[..., None].astype(np.uint32) >> np.arange(bits, dtype=np.uint32)) & 1
    ones = ones.reshape(*lead, n * bits).astype(np.uint8)
    ones = np.concatenate([ones, np.zeros((*lead, -n * bits % 32), np.uint8)], -1)
    return np.ascontiguousarray(np.packbits(ones, -1, "little")).view("<i4")


def bf16(values):
    """Rounded to bfloat16, in f32."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


ROUND = {"f16": lambda v: np.asarray(v, np.float16).astype(np.float32), "bf16": bf16, "f32": lambda v: np.asarray(v, np.float32)}


class BF16(np.ndarray):
    """Marks values that are to be written as bfloat16."""


def store(values, of):
    return {"f16": lambda v: v.astype(np.float16), "f32": lambda v: v.astype(np.float32),
            "bf16": lambda v: bf16(v).view(BF16)}[of](np.ascontiguousarray(values))


def write(path, tensors):
    """A file of safetensors; numpy has no bfloat16."""
    header, data = {}, b""
    for name, w in sorted(tensors.items()):
        kinds = {"float32": "F32", "float16": "F16", "int32": "I32", "int64": "I64", "int8": "I8"}
        raw = (np.asarray(w).view(np.uint32) >> 16).astype("<u2").tobytes() if isinstance(w, BF16) else np.ascontiguousarray(w).tobytes()
        kind = "BF16" if isinstance(w, BF16) else kinds[str(w.dtype)]
        header[name] = {"dtype": kind, "shape": list(w.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


def groups_of(cols, size, rng, ordered=False):
    """The group of each column: neighbours, or in another order."""
    index = np.arange(cols) // (cols if size < 0 else size)
    return rng.permutation(index) if ordered else index


def gptq(rng, rows, cols, bits=4, size=32, sym=True, ordered=False, v2=False, scale="f16", bias=False):
    index = groups_of(cols, size, rng, ordered)
    n = index.max() + 1
    q = rng.integers(0, 1 << bits, (rows, cols))
    z = np.full((rows, n), 1 << (bits - 1)) if sym else rng.integers(1, 1 << bits, (rows, n))
    s = ROUND[scale](rng.uniform(0.001, 0.02, (rows, n)))
    out = {"qweight": np.ascontiguousarray(pack(q, bits).T), "qzeros": pack((z if v2 else z - 1).T, bits), "scales": store(s.T, scale),
           "g_idx": index.astype(np.int32)}
    if bias:
        out["bias"] = np.zeros(rows, np.float16)
    return out, s[:, index] * (q - z[:, index]).astype(np.float32), scale


def awq(rng, rows, cols, size=32, sym=False):
    index = groups_of(cols, size, rng)
    n = index.max() + 1
    q, z = rng.integers(0, 16, (rows, cols)), np.full((rows, n), 8) if sym else rng.integers(0, 16, (rows, n))
    s = ROUND["f16"](rng.uniform(0.001, 0.02, (rows, n)))

    def packed(m):  # (x, rows), eight rows to a word, those of even numbers first
        eights = m.reshape(m.shape[0], -1, 8)[..., [0, 2, 4, 6, 1, 3, 5, 7]]
        return pack(eights.reshape(m.shape[0], -1), 4)

    return {"qweight": packed(q.T), "qzeros": packed(z.T), "scales": s.T.astype(np.float16)}, s[:, index] * (q - z[:, index]).astype(np.float32), "f16"


def compressed(rng, rows, cols, bits=4, size=32, sym=True, ordered=False, scale="bf16", strategy="group", bytes_=False):
    size = cols if strategy != "group" else size
    index = groups_of(cols, size, rng, ordered)
    n, half = index.max() + 1, 1 << (bits - 1)
    q = rng.integers(-half, half, (rows, cols))
    z = np.zeros((rows, n), int) if sym else rng.integers(-half, half, (rows, n))
    s = ROUND[scale](rng.uniform(0.001, 0.02, (rows, n)))
    if strategy == "tensor":
        s, z = np.full_like(s, s[0, 0]), np.full_like(z, z[0, 0])
    out = {"weight": q.astype(np.int8)} if bytes_ else {"weight_packed": pack(q + half, bits), "weight_shape": np.array([rows, cols])}
    out["weight_scale"] = store(s[:1, 0] if strategy == "tensor" else s, scale)
    if not sym:
        packed = z.astype(np.int8) if bytes_ else np.ascontiguousarray(pack((z + half).T, bits).T)
        out["weight_zero_point"] = z[0, :1].astype(np.int8) if strategy == "tensor" else packed
    if ordered:
        out["weight_g_idx"] = index.astype(np.int32)
    return out, s[:, index] * (q - z[:, index]).astype(np.float32), scale


def gptq_config(bits, size, sym=True, ordered=False, v2=False, **more):
    return {"quant_method": "gptq", "bits": bits, "group_size": size, "sym": sym, "desc_act": ordered, "damp_percent": 0.01,
            "checkpoint_format": "gptq_v2" if v2 else "gptq"}


def ct_config(bits=4, size=32, sym=True, ordered=False, strategy="group", bytes_=False, **more):
    weights = {"num_bits": bits, "type": "int", "symmetric": sym, "strategy": strategy, "dynamic": False,
               "group_size": size if strategy == "group" else None, "actorder": "group" if ordered else None}
    form = "int-quantized" if bytes_ else "pack-quantized"
    return {"quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed", "ignore": ["lm_head"],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None, "output_activations": None}}}


def cases():
    g = lambda expected, bits=4, size=32, **k: (gptq, dict(bits=bits, size=size, **k), gptq_config(bits, size, **k), expected)
    a = lambda expected, version="gemm", **k: (awq, k, {"quant_method": "awq", "bits": 4, "group_size": k.get("size", 32),
                                              "zero_point": True, "version": version}, expected)
    c = lambda expected, **k: (compressed, k, ct_config(**k), expected)
    return {
        "gptq": g("q4_0", bias=True), "gptq-asym": g("q5_0", sym=False), "gptq-v2": g("q4_0", v2=True),
        "gptq-all": g("q4_0", size=-1), "gptq-order": g("f16", ordered=True, size=16), "gptq-small-groups": g("f16", size=16),
        "gptq-2": g("q4_0", 2, sym=False), "gptq-3": g("q4_0", 3), "gptq-3-v2-asym": g("q4_0", 3, sym=False, v2=True),
        "gptq-8": g("q8_0", 8), "gptq-8-asym": g("f16", 8, sym=False), "gptq-bf16": g("q4_0", scale="bf16"),
        "awq": a("q5_0"), "awq-sym": a("q4_0", sym=True, size=-1),
        "ct-pack": c("q4_0"), "ct-pack-asym": c("q5_0", sym=False), "ct-pack-8": c("q8_0", bits=8, strategy="channel"),
        "ct-pack-8-asym": c("bf16", bits=8, strategy="channel", sym=False), "ct-pack-3": c("q4_0", bits=3, scale="f16"),
        "ct-pack-tensor": c("q4_0", strategy="tensor"), "ct-pack-f32": c("f32", scale="f32"),
        "ct-pack-order": c("bf16", ordered=True, size=16), "ct-int": c("q8_0", bits=8, strategy="channel", bytes_=True),
        "ct-int-asym": c("f32", bits=8, strategy="group", bytes_=True, sym=False, scale="f32"),
    }


def main():
    expected = {}
    for i, (name, (make, kind, config, becomes)) in enumerate(cases().items()):
        rng = np.random.default_rng(i)
        tensors, meaning = {}, {}
        for stem, (rows, cols) in SHAPES.items():
            parts, w, scale = make(rng, rows, cols, **kind)
            tensors |= {f"model.layers.0.{stem}.{end}": part for end, part in parts.items()}
            # Floats have the scales' type, as the libraries' have.
            w = ROUND[becomes](w) if becomes in ROUND else w.astype(np.float32)
            w = interleave(w) if OURS[stem] in ("attn_q", "attn_k") else w
            # Adding zero makes one of both zeros.
            meaning[f"blk.0.{OURS[stem]}.weight"] = [becomes, hashlib.sha256((w + 0).astype("<f4").tobytes()).hexdigest()]
        for stem, shape in DENSE.items():
            tensors[f"model.layers.0.{stem}.weight"] = rng.uniform(-1, 1, shape).astype(np.float16)
        tensors |= {"model.embed_tokens.weight": rng.uniform(-1, 1, (VOCAB, DIM)).astype(np.float16), "model.norm.weight": np.ones(DIM, np.float16)}
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        write(folder / "model.safetensors", tensors)
        (folder / "config.json").write_text(json.dumps(CONFIG | {"quantization_config": config}) + "\n")
        expected[name] = meaning
    (HERE / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")
    print(sum(f.stat().st_size for f in HERE.rglob("*") if f.is_file()), "bytes")


if __name__ == "__main__":
    main()
