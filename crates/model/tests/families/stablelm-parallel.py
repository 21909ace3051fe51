"""StableLM 2 12B: parallel halves, layer norms of their own for every head of q and k."""
import stablelm
from stablelm import keys, names  # noqa: F401

FAMILY = "stablelm"


def model():
    return stablelm.model(parallel=True)
