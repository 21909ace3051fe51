"""FalconMamba: Mamba with norms without weights in the mixer."""
from mamba import SIZES, keys, names  # noqa: F401
from transformers import FalconMambaConfig, FalconMambaForCausalLM

FAMILY = "mamba"


def model():
    return FalconMambaForCausalLM(FalconMambaConfig(mixer_rms_eps=1e-6, **SIZES))
