"""Trains the demo model on the generator's text, on the CPU, until a wall-clock time.

  train.py --corpus BIN --tokenizer TOKENIZER.json --out DIR --until HH:MM [--resume]

Text comes in shards that the generator makes on the fly (shard n has seed n), so no text is seen twice and a rebuilt
generator takes effect at the next shard. Documents of like length share a batch; each begins at position 0. The loss is on
all answer tokens and on a quarter of the others. Muon for the matrices, Adam for embeddings and norms; warm-up, constant
rate, and from 60 % of the time on a linear decay to zero.
"""
import argparse
import datetime
import json
import math
import os
import random
import subprocess
import time

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from model import Config, Model

LENGTHS = [48, 64, 96, 128, 160, 192, 224, 256, 320, 448, 640, 1024]
SHARD = 40_000


def shard(args, tokenizer, seed, tokens_per_batch):
    """Batches (ids, target weights) of one shard in random order, and the shard's token count per kind."""
    lines = subprocess.run([args.corpus, str(seed), str(SHARD), "train"], check=True, capture_output=True, text=True)
    documents = [json.loads(line) for line in lines.stdout.splitlines()]
    spans = [text for d in documents for text, _ in d["s"]]
    encoded = iter(tokenizer.encode_batch_fast(spans, add_special_tokens=False))
    buckets = {n: [] for n in LENGTHS}
    for d in documents:
        ids, weight = [], []
        for _, answer in d["s"]:
            part = next(encoded).ids
            ids += part
            weight += [1 if answer else 0] * len(part)
        # Right padding with token 0, which is never a target here: its weight is -1.
        n = next((n for n in LENGTHS if len(ids) <= n + 1), None)
        if n is None:
            ids, weight, n = ids[:1025], weight[:1025], LENGTHS[-1]
        gap = n + 1 - len(ids)
        buckets[n].append((np.array(ids + [0] * gap, np.int32), np.array(weight + [-1] * gap, np.int8)))
    rng = random.Random(seed)
    batches = []
    for n, rows in buckets.items():
        rng.shuffle(rows)
        size = max(1, tokens_per_batch // n)
        batches += [rows[i:i + size] for i in range(0, len(rows) - size + 1, size)]
    rng.shuffle(batches)
    return batches


def orthogonal(g, steps=5):
    """The Newton-Schulz iteration of Muon (Jordan, 2024) on a stack of matrices."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return (x.mT if tall else x).float()


class Muon:
    def __init__(self, parameters):
        self.groups = {}
        for p in parameters:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.momentum = {shape: torch.zeros(len(ps), *shape) for shape, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, lr, beta=0.95, decay=0.02):
        for shape, ps in self.groups.items():
            g = torch.stack([p.grad for p in ps])
            m = self.momentum[shape].lerp_(g, 1 - beta)
            update = orthogonal(g.lerp(m, beta)) * max(1, shape[0] / shape[1]) ** 0.5
            for p, u in zip(ps, update):
                p.mul_(1 - lr * decay).sub_(lr * u)
                p.grad = None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--until", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--ffn", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--adam-lr", type=float, default=0.003)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", help="weights to start from: another run's latest.pt or final.pt")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    os.makedirs(args.out, exist_ok=True)
    tokenizer = Tokenizer.from_file(args.tokenizer)
    config = Config(n_layers=args.layers, ffn_dim=args.ffn, vocab=tokenizer.get_vocab_size())
    model = Model(config)
    before = {"step": 0, "tokens": 0}
    if args.resume:
        before = torch.load(args.resume)
        model.load_state_dict(before["model"])
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    matrices = [p for layer in model.layers for p in layer.values() if p.ndim == 2]
    rest = [p for p in model.parameters() if all(p is not m for m in matrices)]
    muon = Muon(matrices)
    adam = torch.optim.Adam(rest, lr=args.adam_lr, betas=(0.9, 0.95), eps=1e-10, fused=True)
    trunk = torch.compile(model.trunk, dynamic=False) if args.compile else model.trunk
    if args.compile:
        torch._dynamo.config.cache_size_limit = 64

    def loss_of(ids, weight):
        keep = (weight == 1) | ((weight == 0) & (torch.rand(weight.shape) < 0.25))
        h = trunk(ids[:, :-1])[keep]
        logits = F.linear(h.bfloat16(), model.embd.bfloat16())
        return F.cross_entropy(logits.float(), ids[:, 1:][keep])

    until = datetime.datetime.combine(datetime.date.today(), datetime.time.fromisoformat(args.until)).timestamp()
    start, saved, step, tokens, seed = time.time(), time.time(), 0, before["tokens"], args.seed * 1000
    shown, busy, mean = 0, 0.0, None
    log = open(f"{args.out}/log.tsv", "a")
    while True:
        for rows in shard(args, tokenizer, seed, args.batch_tokens):
            now = time.time()
            part = (now - start) / (until - start)
            if part >= 1 or step >= args.steps:
                torch.save({"config": vars(config), "model": model.state_dict(), "step": before["step"] + step, "tokens": tokens},
                           f"{args.out}/final.pt")
                print(f"done: {step} steps, {tokens} tokens, {now - start:.0f} s, loss {mean:.4f}", flush=True)
                return
            rate = min(1.0, (step + 1) / 100, (1 - part) / 0.4)
            ids = torch.from_numpy(np.stack([r[0] for r in rows])).long()
            weight = torch.from_numpy(np.stack([r[1] for r in rows]))[:, 1:]
            loss = loss_of(ids, weight)
            loss.backward()
            muon.step(args.muon_lr * rate)
            adam.param_groups[0]["lr"] = args.adam_lr * rate
            adam.step()
            adam.zero_grad()
            step += 1
            real = int((weight >= 0).sum())
            tokens += real
            shown += real
            busy += time.time() - now
            mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
            if step % 50 == 0:
                line = f"{step}\t{tokens}\t{time.time() - start:.0f}\t{mean:.4f}\t{shown / busy:.0f}\t{rate:.3f}\t{seed}"
                print(line, file=log, flush=True)
                print(line, flush=True)
                shown, busy = 0, 0.0
            if time.time() - saved > 240:
                saved = time.time()
                torch.save({"config": vars(config), "model": model.state_dict(), "step": before["step"] + step, "tokens": tokens},
                           f"{args.out}/latest.tmp")
                os.replace(f"{args.out}/latest.tmp", f"{args.out}/latest.pt")
        seed += 1


if __name__ == "__main__":
    main()
