"""The text of GLM-4.1V: the same arithmetic, with the rows of q and k permuted to halves."""
import glm4
import torch
from glm4 import model  # noqa: F401

FAMILY = "glm4"


def keys(c):
    return glm4.keys(c) | {"rope.dimension_sections": [1, 1, 1, 0]}


def halves(value, head=12, n_rot=6):
    heads = value.reshape(-1, head, *value.shape[1:])
    order = [*range(0, n_rot, 2), *range(1, n_rot, 2), *range(n_rot, head)]
    return heads[:, torch.tensor(order)].reshape(value.shape)


def names(c):
    out = glm4.names(c)
    for name, theirs in out.items():
        if "attn_q." in name or "attn_k." in name:
            out[name] = lambda w, theirs=theirs: halves(w[theirs])
    return out
