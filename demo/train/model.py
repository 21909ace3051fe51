"""The demo model in PyTorch: llama with tied embeddings and GGUF's interleaved rotary pairs. Parameter names are GGUF's."""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    dim: int = 256
    n_layers: int = 6
    n_heads: int = 4
    n_kv_heads: int = 2
    head_dim: int = 64
    ffn_dim: int = 512
    vocab: int = 4096
    context: int = 1024
    rope_base: float = 10000.0
    eps: float = 1e-5


def angles(config):
    """cos and sin of the rotations: (context, head_dim / 2)."""
    freq = config.rope_base ** (-torch.arange(0, config.head_dim, 2).double() / config.head_dim)
    turn = torch.outer(torch.arange(config.context).double(), freq)
    return turn.cos().float(), turn.sin().float()


def rope(x, cos, sin):
    """Rotates the pairs (even, odd) of x (batch, pos, heads, head_dim) by cos, sin (batch or 1, pos, 1, head_dim / 2)."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


def rms(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = config
        std = c.dim ** -0.5
        new = lambda rows, cols, scale=1.0: nn.Parameter(torch.randn(rows, cols) * std * scale)
        self.embd = nn.Parameter(torch.randn(c.vocab, c.dim) * 0.05)
        self.layers = nn.ModuleList()
        for _ in range(c.n_layers):
            layer = nn.ParameterDict()
            layer["attn_norm"] = nn.Parameter(torch.ones(c.dim))
            layer["attn_q"] = new(c.n_heads * c.head_dim, c.dim)
            layer["attn_k"] = new(c.n_kv_heads * c.head_dim, c.dim)
            layer["attn_v"] = new(c.n_kv_heads * c.head_dim, c.dim)
            layer["attn_output"] = new(c.dim, c.n_heads * c.head_dim, 0.2)
            layer["ffn_norm"] = nn.Parameter(torch.ones(c.dim))
            layer["ffn_gate"] = new(c.ffn_dim, c.dim)
            layer["ffn_up"] = new(c.ffn_dim, c.dim)
            layer["ffn_down"] = new(c.dim, c.ffn_dim, 0.2)
            self.layers.append(layer)
        self.norm = nn.Parameter(torch.ones(c.dim))
        cos, sin = angles(c)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def layer(self, w, x, cos, sin, attend, low):
        """One layer; `attend(q, k, v)` is the attention and `low` the type that matrices multiply in."""
        c = self.config
        lin = lambda name, y: F.linear(y, w[name].to(low))
        h = rms(x, w["attn_norm"], c.eps).to(low)
        q = lin("attn_q", h).unflatten(-1, (c.n_heads, c.head_dim))
        k = lin("attn_k", h).unflatten(-1, (c.n_kv_heads, c.head_dim))
        v = lin("attn_v", h).unflatten(-1, (c.n_kv_heads, c.head_dim))
        y = attend(rope(q, cos, sin), rope(k, cos, sin), v)
        x = x + lin("attn_output", y).float()
        h = rms(x, w["ffn_norm"], c.eps).to(low)
        return x + lin("ffn_down", F.silu(lin("ffn_gate", h)) * lin("ffn_up", h)).float()

    def trunk(self, ids, low=torch.bfloat16):
        """Hidden states after the last norm for whole sequences: (batch, pos, dim)."""
        c, n = self.config, ids.shape[1]
        cos, sin = self.cos[None, :n, None], self.sin[None, :n, None]
        group = c.n_heads // c.n_kv_heads

        # Written out, with a group's query heads side by side: on a CPU the fused kernel's backward pass costs more than
        # the rest of the step, and short sequences have little to fuse.
        future = torch.full((n, n), float("-inf")).triu(1).repeat(group, 1)

        def attend(q, k, v):
            rows = len(q) * c.n_kv_heads
            q = q.unflatten(2, (c.n_kv_heads, group)).permute(0, 2, 3, 1, 4).reshape(rows, group * n, c.head_dim)
            k, v = (t.transpose(1, 2).reshape(rows, n, c.head_dim) for t in (k, v))
            scores = torch.bmm(q * c.head_dim ** -0.5, k.mT).float() + future
            y = torch.bmm(scores.softmax(-1).to(v.dtype), v)
            return y.unflatten(0, (-1, c.n_kv_heads)).unflatten(2, (group, n)).permute(0, 3, 1, 2, 4).flatten(2)

        x = F.embedding(ids, self.embd)
        for w in self.layers:
            x = self.layer(w, x, cos, sin, attend, low)
        return rms(x, self.norm, c.eps)

    def logits(self, ids):
        """Logits in f32 arithmetic: (batch, pos, vocab)."""
        return self.trunk(ids, torch.float32) @ self.embd.T

    @torch.inference_mode()
    def greedy(self, prompts, n_max, stop):
        """Greedy continuations of prompts (lists of ids), each up to and without `stop`, or None where n_max came first."""
        c = self.config
        n, group = max(map(len, prompts)), c.n_heads // c.n_kv_heads
        total = n + n_max
        pad = torch.tensor([n - len(p) for p in prompts])
        ids = torch.tensor([[0] * (n - len(p)) + p for p in prompts])
        out = [[] for _ in prompts]
        done = [False] * len(prompts)
        cache = [[torch.zeros(len(prompts), total, c.n_kv_heads, c.head_dim) for _ in "kv"] for _ in self.layers]
        at = 0
        while True:
            rows = torch.arange(at, at + ids.shape[1])
            pos = (rows[None] - pad[:, None]).clamp(min=0)
            cos, sin = self.cos[pos][:, :, None], self.sin[pos][:, :, None]
            cols = torch.arange(at + ids.shape[1])
            mask = (cols[None, None] <= rows[None, :, None]) & (cols[None, None] >= pad[:, None, None])
            mask = (mask | (cols[None, None] == rows[None, :, None]))[:, None]
            x = F.embedding(ids, self.embd)
            for w, (keys, values) in zip(self.layers, cache):
                def attend(q, k, v):
                    keys[:, rows], values[:, rows] = k, v
                    k, v = (t[:, :len(cols)].repeat_interleave(group, 2).transpose(1, 2) for t in (keys, values))
                    y = F.scaled_dot_product_attention(q.transpose(1, 2), k, v, attn_mask=mask)
                    return y.transpose(1, 2).flatten(2)
                x = self.layer(w, x, cos, sin, attend, torch.float32)
            best = (rms(x[:, -1], self.norm, c.eps) @ self.embd.T).argmax(-1).tolist()
            for row, token in enumerate(best):
                if token == stop:
                    done[row] = True
                if not done[row]:
                    out[row].append(token)
            at += ids.shape[1]
            if all(done) or at >= total:
                return [o if d else None for o, d in zip(out, done)]
            ids = torch.tensor(best)[:, None]
