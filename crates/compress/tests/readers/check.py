"""What the program writes, read by the official readers: check.py PROGRAM

Packages gguf, safetensors, compressed-tensors and transformers read each export of tiny models, and every value is the one that
the source has, or that the program itself reads back. See run."""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

PROGRAM = sys.argv[1]
TESTS = Path(__file__).parents[3] / "model/tests"
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def ingle(*words):
    subprocess.run([PROGRAM, *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def tensors(folder):
    """Of all files, as the index says."""
    index = folder / "model.safetensors.index.json"
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {"model.safetensors"}
    return {name: w for file in names for name, w in load_file(folder / file).items()}


def same(ours, theirs, what):
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, what
    assert torch.equal(ours.contiguous().view(torch.uint8), theirs.contiguous().view(torch.uint8)), what


def ours(folder, out):
    """What the program itself reads in a folder: tensors of a GGUF file in f32, by name."""
    ingle("quantize", folder, out, "F32")
    values = {}
    for t in gguf.GGUFReader(out).tensors:
        shape = [int(n) for n in reversed(t.shape)]
        values[t.name] = gguf.dequantize(t.data, t.tensor_type).reshape(shape)
    return values


LAYER = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def halves(w, n_heads):
    """Rows of a head that are neighbours in GGUF lie in halves."""
    return w.reshape(n_heads, -1, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def plain(temp):
    """Folders of safetensors, from folders and from GGUF files."""
    for name in ("llama", "mistral", "qwen2", "qwen3", "qwen3_moe"):
        source = tensors(TESTS / "folders" / name)
        for kind, dtype in DTYPES.items():
            out = temp / f"{name}-{kind}"
            ingle("quantize", TESTS / "folders" / name, out, kind, "--to", "safetensors")
            written = tensors(out)
            for tensor, w in written.items():
                same(w, source[tensor].to(dtype), f"{name} {kind} {tensor}")
            assert set(source) - set(written) <= {"lm_head.weight"}, name
            model = AutoModelForCausalLM.from_pretrained(out, dtype=dtype)
            state = model.state_dict()
            for tensor, w in source.items():
                if "experts" not in tensor:
                    same(state[tensor], w.to(dtype), f"{name} {kind} {tensor} in transformers")
        print(f"{name}: safetensors in {', '.join(DTYPES)}")
    for name, kind in (("qwen3", "BF16"), ("mistral", "F16")):
        out = temp / f"{name}-gguf"
        ingle("quantize", TESTS / f"folders/{name}.gguf", out, kind, "--to", "safetensors")
        source = tensors(TESTS / "folders" / name)
        for tensor, w in tensors(out).items():
            same(w, source[tensor].to(DTYPES[kind]), f"{name} {tensor} from GGUF")
        ours_, theirs = (AutoConfig.from_pretrained(folder).to_dict() for folder in (out, TESTS / "folders" / name))
        for field in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                      "head_dim", "rms_norm_eps", "rope_parameters", "vocab_size", "tie_word_embeddings", "model_type"):
            assert ours_[field] == theirs[field], (name, field, ours_[field], theirs[field])
        print(f"{name}: safetensors from GGUF")


def compressed(temp):
    """compressed-tensors: what the library makes of a folder is what the program reads, rounded as the library rounds."""
    for kind, names in (("W4A16-G32", ("gptq", "ct-pack-f32", "awq")), ("W8A16", ("gptq", "ct-pack-f32", "demo")), ("W4A16", ("demo",))):
        for name in names:
            source = "demo" if name == "demo" else TESTS / "quantised" / name
            out = temp / f"{name}-{kind}"
            ingle("quantize", source, out, kind)
            config = json.loads((out / "config.json").read_text())
            heads = {"self_attn.q_proj": config["num_attention_heads"], "self_attn.k_proj": config["num_key_value_heads"]}
            scheme = QuantizationConfig.model_validate(config["quantization_config"]).config_groups["group_0"]
            compressor = BaseCompressor.get_value_from_registry("pack-quantized")
            stored, read = tensors(out), ours(out, temp / f"{name}-{kind}.gguf")
            n = 0
            for tensor in [t for t in stored if t.endswith(".weight_packed")]:
                stem = tensor.removesuffix(".weight_packed")
                parts = {end: stored[f"{stem}.{end}"] for end in ("weight_packed", "weight_scale", "weight_shape")}
                theirs = compressor.decompress(parts, scheme)["weight"].numpy()
                layer, end = stem.removeprefix("model.layers.").split(".", 1)
                mine = read[f"blk.{layer}.{LAYER[end]}.weight"]
                mine = halves(mine, heads[end]) if end in heads else mine
                assert theirs.dtype == np.float16 and np.array_equal(theirs, mine.astype(np.float16)), (name, kind, stem)
                n += 1
            assert n == 7 * config["num_hidden_layers"], n
            print(f"{name}: {kind}")


def quantised():
    """Folders of compressed-tensors that the tests have: the library's own values are those that are expected."""
    import hashlib
    expected = json.loads((TESTS / "quantised/expected.json").read_text())
    # The library has taken back columns in another order than their groups.
    for name in sorted(n for n in expected if n.startswith("ct-") and n != "ct-pack-order"):
        config = json.loads((TESTS / "quantised" / name / "config.json").read_text())["quantization_config"]
        scheme = QuantizationConfig.model_validate(config).config_groups["group_0"]
        compressor = BaseCompressor.get_value_from_registry(config["format"])
        stored = tensors(TESTS / "quantised" / name)
        for end, ours_ in LAYER.items():
            stem = f"model.layers.0.{end}."
            parts = {k.removeprefix(stem): w for k, w in stored.items() if k.startswith(stem)}
            # In f32 the library does not round.
            dtype = parts["weight_scale"].dtype
            kind, digest = expected[name][f"blk.0.{ours_}.weight"]
            if kind in ("q4_0", "q5_0", "q8_0"):
                parts["weight_scale"] = parts["weight_scale"].float()
            w = compressor.decompress(parts, scheme)["weight"].float().numpy()
            w = w.reshape(2, -1, w.shape[1]).swapaxes(0, 1).reshape(w.shape) if ours_ in ("attn_q", "attn_k") else w
            found = hashlib.sha256((w + 0).astype("<f4").tobytes()).hexdigest()
            assert found == digest, (name, end, dtype)
        print(f"{name}: the library's values")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temp:
        quantised()
        plain(Path(temp))
        compressed(Path(temp))
