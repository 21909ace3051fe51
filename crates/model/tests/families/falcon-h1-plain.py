"""Falcon-H1 as its smaller models are: no norm behind the gate, one group."""
import make

h1 = make.load("falcon-h1")
FAMILY, keys, randomise = "falcon-h1", h1.keys, h1.randomise


def model():
    return h1.model(mamba_rms_norm=False, mamba_n_groups=1, num_hidden_layers=1)


def names(c):
    return {ours: theirs for ours, theirs in h1.names(c).items() if "ssm_norm" not in ours}
