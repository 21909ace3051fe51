"""Checks a GGUF of the demo model against arithmetic and tokenising that share nothing with the trainer.

  verify.py GGUF GOLDEN-DIR

The decoder is numpy in float64; each golden continuation must be its greedy choice at every step (a choice by less than
0.01 may go either way), and torch's f32 logits must be within 0.01 of its own. The tokenizer is rebuilt from the file's tokens and merges,
by the textbook loop, and must give every golden row of ids.
"""
import json
import sys

import gguf
import numpy as np
import regex
import torch

from evaluate import load
from tokenizer import PATTERN, SPECIAL


def logits(get, weights, ids):
    dim, n_layers, n_heads, n_kv = (get(f"llama.{k}") for k in (
        "embedding_length", "block_count", "attention.head_count", "attention.head_count_kv"))
    hd, eps = dim // n_heads, get("llama.attention.layer_norm_rms_epsilon")
    turn = np.arange(len(ids))[:, None] * get("llama.rope.freq_base") ** (-2.0 * np.arange(hd // 2) / hd)
    spin = np.exp(1j * turn)[:, None]
    norm = lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w

    def rotated(x):
        pairs = x.reshape(len(ids), -1, hd // 2, 2)
        z = (pairs[..., 0] + 1j * pairs[..., 1]) * spin
        return np.stack((z.real, z.imag), -1).reshape(len(ids), -1, hd)

    x = weights["token_embd.weight"][ids]
    for layer in range(n_layers):
        w = lambda name: weights[f"blk.{layer}.{name}.weight"]
        h = norm(x, w("attn_norm"))
        q, k = rotated(h @ w("attn_q").T), rotated(h @ w("attn_k").T)
        v = (h @ w("attn_v").T).reshape(len(ids), n_kv, hd)
        heads = []
        for head in range(n_heads):
            shared = head // (n_heads // n_kv)
            s = q[:, head] @ k[:, shared].T / np.sqrt(hd)
            s[np.triu_indices(len(ids), 1)] = -np.inf
            e = np.exp(s - s.max(-1, keepdims=True))
            heads.append(e / e.sum(-1, keepdims=True) @ v[:, shared])
        x = x + np.concatenate(heads, -1) @ w("attn_output").T
        h = norm(x, w("ffn_norm"))
        gate = h @ w("ffn_gate").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("ffn_up").T)) @ w("ffn_down").T
    return norm(x, weights["output_norm.weight"]) @ weights["token_embd.weight"].T


def encoder(get):
    tokens, merges = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.merges")
    ids, rank = {t: i for i, t in enumerate(tokens)}, {tuple(m.split(" ")): i for i, m in enumerate(merges)}
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in plain)}

    def encode(text):
        out = []
        for part in regex.split("(" + "|".join(map(regex.escape, SPECIAL)) + ")", text):
            if part in SPECIAL:
                out.append(ids[part])
                continue
            for piece in regex.findall(PATTERN, part):
                word = [byte[b] for b in piece.encode()]
                while len(word) > 1:
                    best = min(range(len(word) - 1), key=lambda i: rank.get((word[i], word[i + 1]), 1 << 30))
                    if (word[best], word[best + 1]) not in rank:
                        break
                    word[best:best + 2] = [word[best] + word[best + 1]]
                out += [ids[w] for w in word]
        return out

    return encode


def main():
    path, golden = sys.argv[1:]
    reader = gguf.GGUFReader(path)
    get = lambda key: reader.fields[key].contents()
    weights = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
    encode = encoder(get)
    texts = json.load(open(f"{golden}/tokens.json"))
    for row in texts:
        assert encode(row["text"]) == row["ids"], row
    model, worst = load(path), 0.0
    rows = json.load(open(f"{golden}/greedy.json"))
    for row in rows:
        ids, n = row["prompt"] + row["made"], len(row["prompt"])
        exact = logits(get, weights, ids)
        with torch.inference_mode():
            worst = max(worst, np.abs(exact - model.logits(torch.tensor([ids]))[0].numpy()).max())
        stop = get("tokenizer.ggml.eos_token_id")
        for at, token in enumerate(row["made"] + [stop]):
            choice = exact[n - 1 + at]
            assert choice.max() - choice[token] < 0.01, (row["text"], at)
    assert worst < 0.01, worst
    print(f"{len(texts)} token rows agree; {len(rows)} continuations agree; torch is within {worst:.2e} of float64")


if __name__ == "__main__":
    main()
