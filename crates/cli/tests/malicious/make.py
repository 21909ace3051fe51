#!/usr/bin/env python3
"""Writes the hostile model files of this folder: a tiny valid model, and one copy of it per way of lying.

  make.py    (needs nothing but Python; the files are committed, run it again only to add one)

Each file is the base model with one thing wrong. What `ingle run` must say about each stands in ../malicious.rs.
"""
import os
import random
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
U32, I32, F32, BOOL, STR, ARR, U64 = 4, 5, 6, 7, 8, 9, 10
DIM, FFN, VOCAB = 8, 8, 16


def text(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def value(kind, v):
    if kind == ARR:
        of, items = v
        return struct.pack("<IQ", of, len(items)) + b"".join(value(of, i) for i in items)
    if kind == STR:
        return text(v)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<B", U64: "<Q"}[kind], v)


def keys():
    """Metadata as a dict of key to (type, value)."""
    tokens = ["<|end|>"] + [chr(c) for c in range(ord("a"), ord("a") + VOCAB - 1)]
    return {
        "general.architecture": (STR, "llama"),
        "llama.context_length": (U32, 64),
        "llama.embedding_length": (U32, DIM),
        "llama.block_count": (U32, 1),
        "llama.feed_forward_length": (U32, FFN),
        "llama.attention.head_count": (U32, 1),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "tokenizer.ggml.model": (STR, "gpt2"),
        "tokenizer.ggml.pre": (STR, "gpt-2"),
        "tokenizer.ggml.tokens": (ARR, (STR, tokens)),
        "tokenizer.ggml.token_type": (ARR, (I32, [3] + [1] * (VOCAB - 1))),
        "tokenizer.ggml.merges": (ARR, (STR, [])),
        "tokenizer.ggml.eos_token_id": (U32, 0),
    }


def tensors():
    """Tensors as a dict of name to [shape (innermost first), type, bytes]."""
    rng = random.Random(1)
    def new(*shape):
        n = 1
        for s in shape:
            n *= s
        return [list(shape), 0, struct.pack(f"<{n}f", *(rng.gauss(0, 0.3) for _ in range(n)))]
    out = {"token_embd.weight": new(DIM, VOCAB), "output_norm.weight": new(DIM)}
    for name, shape in [("attn_norm", (DIM,)), ("attn_q", (DIM, DIM)), ("attn_k", (DIM, DIM)), ("attn_v", (DIM, DIM)),
                        ("attn_output", (DIM, DIM)), ("ffn_norm", (DIM,)), ("ffn_gate", (DIM, FFN)),
                        ("ffn_up", (DIM, FFN)), ("ffn_down", (FFN, DIM))]:
        out[f"blk.0.{name}.weight"] = new(*shape)
    return out


def build(k=None, t=None, version=3, n_keys=None, n_tensors=None, magic=b"GGUF", offsets=None):
    k, t = keys() if k is None else k, tensors() if t is None else t
    head = magic + struct.pack("<IQQ", version, len(t) if n_tensors is None else n_tensors,
                               len(k) if n_keys is None else n_keys)
    for key, (kind, v) in k.items():
        head += text(key) + struct.pack("<I", kind) + value(kind, v)
    at, data = 0, b""
    for name, (shape, kind, content) in t.items():
        offset = (offsets or {}).get(name, at)
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", s) for s in shape)
        head += struct.pack("<IQ", kind, offset)
        data += content + b"\0" * (-len(content) % 32)
        at = len(data)
    return head + b"\0" * (-len(head) % 32) + data


def write(name, content):
    with open(os.path.join(HERE, name + ".gguf"), "wb") as f:
        f.write(content)


def with_key(key, kind, v):
    k = keys()
    k[key] = (kind, v)
    return build(k)


def without_key(key):
    k = keys()
    del k[key]
    return build(k)


def with_tensor(name, shape=None, kind=None, content=None):
    t = tensors()
    old = t[name]
    t[name] = [shape or old[0], old[1] if kind is None else kind, old[2] if content is None else content]
    return build(t=t)


base = build()
write("base", base)
write("empty", b"")
write("magic", b"GGML" + base[4:])
write("version-9", build(version=9))
write("big-endian", base[:4] + struct.pack(">I", 3) + base[8:])
write("truncated-header", base[:19])
write("truncated-metadata", base[:300])
write("truncated-data", base[:-64])
write("tensor-count-absurd", build(n_tensors=2**60))
write("key-count-absurd", build(n_keys=2**60))
write("key-count-one-more", build(n_keys=len(keys()) + 1))
write("string-length-absurd", base.replace(text("llama") , struct.pack("<Q", 2**63) + b"llama", 1))
write("array-length-absurd", base.replace(struct.pack("<IQ", STR, VOCAB), struct.pack("<IQ", STR, 2**62), 1))
write("array-of-u64-overflow", base.replace(struct.pack("<IQ", I32, VOCAB), struct.pack("<IQ", U64, 2**62), 1))
deep = value(U32, 1)
nested = struct.pack("<IQ", U32, 1) + deep
for _ in range(40):
    nested = struct.pack("<IQ", ARR, 1) + nested
write("array-nested-deep", base.replace(text("llama.context_length"), text("x") + struct.pack("<I", ARR) + nested
                                        + text("llama.context_length"), 1).replace(
    struct.pack("<IQQ", 3, len(tensors()), len(keys())), struct.pack("<IQQ", 3, len(tensors()), len(keys()) + 1), 1))
write("value-type-unknown", base.replace(text("llama.block_count") + struct.pack("<I", U32),
                                         text("llama.block_count") + struct.pack("<I", 77), 1))
write("key-twice", base.replace(text("llama.block_count"), text("llama.embedding_length"), 1))
write("key-not-utf8", base.replace(text("llama.block_count"), text(b"llama.block_coun\xff"), 1))
write("alignment-zero", with_key("general.alignment", U32, 0))
write("family-unknown", with_key("general.architecture", STR, "hal9000"))
write("family-missing", without_key("general.architecture"))
write("layers-missing", without_key("llama.block_count"))
write("layers-as-text", with_key("llama.block_count", STR, "one"))
write("layers-absurd", with_key("llama.block_count", U32, 2**31))
write("layers-one-more", with_key("llama.block_count", U32, 2))
write("heads-zero", with_key("llama.attention.head_count", U32, 0))
write("heads-do-not-divide", with_key("llama.attention.head_count_kv", U32, 3))
write("dim-lies", with_key("llama.embedding_length", U32, 16))
write("context-zero", with_key("llama.context_length", U32, 0))
write("rope-odd", with_key("llama.rope.dimension_count", U32, 3))
write("rope-scaling-unknown", with_key("llama.rope.scaling.type", STR, "wormhole"))
write("epsilon-nan", with_key("llama.attention.layer_norm_rms_epsilon", F32, float("nan")))
write("tensor-missing", build(t={k: v for k, v in tensors().items() if k != "blk.0.ffn_up.weight"}))
write("tensor-unused", build(t=tensors() | {"blk.0.surprise.weight": tensors()["output_norm.weight"]}))
write("tensor-shape-wrong", with_tensor("blk.0.attn_q.weight", shape=[DIM * 2, DIM // 2]))
write("tensor-shape-overflow", with_tensor("blk.0.attn_q.weight", shape=[2**40, 2**40]))
write("tensor-dimension-zero", with_tensor("blk.0.attn_q.weight", shape=[0, 8]))
write("tensor-dimensions-many", with_tensor("blk.0.attn_q.weight", shape=[2] * 9))
write("tensor-format-unknown", with_tensor("blk.0.attn_q.weight", kind=9999))
write("tensor-row-not-whole-blocks", with_tensor("blk.0.attn_q.weight", kind=8))
write("tensor-offset-far", build(offsets={"blk.0.attn_q.weight": 2**40}))
write("tensor-offset-overflow", build(offsets={"blk.0.attn_q.weight": 2**64 - 32}))
write("tensor-offset-unaligned", build(offsets={"blk.0.attn_q.weight": 3}))
write("tensor-twice", base.replace(text("blk.0.attn_k.weight"), text("blk.0.attn_q.weight"), 1))
write("tensors-overlap", build(offsets={"blk.0.attn_q.weight": 0}))
write("weights-nan", with_tensor("blk.0.attn_q.weight", content=struct.pack("<f", float("nan")) * DIM * DIM))
write("norm-nan", with_tensor("output_norm.weight", content=struct.pack("<f", float("nan")) * DIM))
write("tokenizer-missing", without_key("tokenizer.ggml.model"))
write("tokenizer-unknown", with_key("tokenizer.ggml.model", STR, "runes"))
write("pre-tokenizer-unknown", with_key("tokenizer.ggml.pre", STR, "runes"))
write("tokens-missing", without_key("tokenizer.ggml.tokens"))
write("tokens-not-utf8", with_key("tokenizer.ggml.tokens", ARR, (STR, [b"\xff\xfe"] * VOCAB)))
write("tokens-too-few", with_key("tokenizer.ggml.tokens", ARR, (STR, ["a", "b"])))
write("token-types-too-few", with_key("tokenizer.ggml.token_type", ARR, (I32, [1])))
write("template-broken", with_key("tokenizer.chat_template", STR, "{% for m in messages %}"))
write("template-raises", with_key("tokenizer.chat_template", STR, "{{ raise_exception('no chats today') }}"))
write("template-loops", with_key("tokenizer.chat_template", STR,
                                 "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}"
                                 "{% endfor %}{% endfor %}{% endfor %}"))
write("template-grows", with_key("tokenizer.chat_template", STR,
                                 "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
                                 "{% endfor %}{{ ns.s }}"))
write("template-recurses", with_key("tokenizer.chat_template", STR,
                                    "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}"))
