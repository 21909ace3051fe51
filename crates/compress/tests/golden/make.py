#!/usr/bin/env python3
"""Makes and checks the golden files of this folder with the gguf Python package (0.19 or later), a reader and writer that
shares no code with ours.

  make.py make INGLE          writes source.gguf (f32), lets INGLE quantise it into mixed.gguf, one tensor per block format,
                              and writes mixed-f32.gguf: what the package decodes from mixed.gguf, as the package writes it
  make.py check INGLE FILE    decodes FILE with the package and with INGLE (as a file of type F32); every value must be equal
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize

HERE = Path(__file__).parent
FORMATS = [
    "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "NVFP4", "MXFP4",
    "Q3_K", "Q2_K", "TQ2_0", "TQ1_0",
]


def writer(path):
    """A file with metadata of every type."""
    w = GGUFWriter(path, "llama")
    w.add_uint8("golden.u8", 200)
    w.add_int8("golden.i8", -100)
    w.add_uint16("golden.u16", 60000)
    w.add_int16("golden.i16", -30000)
    w.add_uint32("golden.u32", 4000000000)
    w.add_int32("golden.i32", -2000000000)
    w.add_float32("golden.f32", 1.5)
    w.add_bool("golden.bool", True)
    w.add_string("golden.text", "Grüße")
    w.add_uint64("golden.u64", 2**64 - 1)
    w.add_int64("golden.i64", -(2**63))
    w.add_float64("golden.f64", -0.1)
    w.add_array("golden.texts", ["a", "", "ß"])
    w.add_array("golden.numbers", [1, -2, 3])
    w.add_array("golden.nested", [[1, 2], [3], [4, 5, 6]])
    w.add_custom_alignment(64)
    return w


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def decoded(tensor):
    values = dequantize(tensor.data, tensor.tensor_type)
    return values.reshape([int(n) for n in reversed(tensor.shape)]).astype(np.float32)


def make(ingle):
    rng = np.random.default_rng(7)
    w = writer(HERE / "source.gguf")
    for name in FORMATS:
        w.add_tensor(f"blk.0.{name.lower()}.weight", rng.standard_normal((2, 256)).astype(np.float32))
    w.add_tensor("blk.0.attn_norm.weight", rng.standard_normal(5).astype(np.float32))
    finish(w)
    types = [a for name in FORMATS for a in ("--tensor-type", f"\\.{name.lower()}\\.={name}")]
    run = [ingle, "quantize", HERE / "source.gguf", HERE / "mixed.gguf", "F16", "--force", *types]
    subprocess.run(run, check=True)
    w = writer(HERE / "mixed-f32.gguf")
    w.add_quantization_version(2)
    w.add_file_type(0)
    for t in GGUFReader(HERE / "mixed.gguf").tensors:
        kind = t.name.split(".")[2].upper()
        assert kind == "ATTN_NORM" or t.tensor_type == GGMLQuantizationType[kind], (t.name, t.tensor_type)
        w.add_tensor(t.name, decoded(t))
    finish(w)
    (HERE / "source.gguf").unlink()


def check(ingle, path):
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder) / "f32.gguf"
        subprocess.run([ingle, "quantize", path, ours, "F32", "--allow-requantize"], check=True, stdout=subprocess.DEVNULL)
        ours = {t.name: t for t in GGUFReader(ours).tensors}
        types = {}
        for t in GGUFReader(path).tensors:
            # Tensors that are never quantised keep their format in our file too; decode both.
            assert np.array_equal(decoded(t).view(np.uint32), decoded(ours[t.name]).view(np.uint32)), t.name
            types[t.tensor_type.name] = types.get(t.tensor_type.name, 0) + 1
        print(f"{path}: {sum(types.values())} tensors equal to the bit: {types}")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "make":
        make(sys.argv[2])
    elif len(sys.argv) == 4 and sys.argv[1] == "check":
        check(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)
