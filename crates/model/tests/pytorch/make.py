"""Writes the PyTorch files of this folder: python make.py

The valid ones come from torch.save, with the weights of models of ../folders; needs numpy, safetensors and torch (written with
2.15.0, whose files are of zip archives as since 1.6). The hostile ones are written here byte by byte."""
import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
FOLDERS = HERE.parent / "folders"


def models():
    """The weights of two folders: in one file, and in several with an index."""
    one = load_file(FOLDERS / "mistral/model.safetensors")
    state = OrderedDict((name, torch.nn.Parameter(w)) for name, w in one.items())
    state._metadata = OrderedDict({"": {"version": 1}})
    # A head that repeats the embedding shares its storage.
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    (HERE / "mistral").mkdir(exist_ok=True)
    torch.save(state, HERE / "mistral/pytorch_model.bin")

    folder = HERE / "llama"
    folder.mkdir(exist_ok=True)
    index = json.loads((FOLDERS / "llama/model.safetensors.index.json").read_text())
    for name in sorted(set(index["weight_map"].values())):
        other = name.replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
        torch.save(load_file(FOLDERS / "llama" / name), folder / other)
        index["weight_map"] = {k: other if v == name else v for k, v in index["weight_map"].items()}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


def layouts():
    """Every way a tensor can lie in its storage, inside of a checkpoint with other things."""
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    torch.save({"epoch": 3, "best": 0.5, "note": "text", "done": None, "state_dict": {
        "whole": whole, "rows": whole[1:3], "columns": whole[:, 2:4], "turned": whole.t(), "every_second": whole[::2, ::3],
        "deep": whole.reshape(2, 2, 6).permute(2, 0, 1), "one": whole[3, 5], "row": whole[3:4], "none": whole[:0],
        "parameter": torch.nn.Parameter(whole[0]), "n": 7,
        "f16": whole.half(), "bf16": whole.bfloat16(), "f64": whole.double(), "i64": whole.long(), "i32": whole.int(),
        "i16": whole.short(), "i8": whole.char(), "u8": whole.byte(), "bool": whole.bool(),
        "f8": whole.to(torch.float8_e4m3fn), "u16": whole.to(torch.uint16)}}, HERE / "layouts.pt")


# ---- hostile files ----

T2 = b"ctorch._utils\n_rebuild_tensor_v2\n"
CALL = b")R"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def numbers(values):
    return b"(" + b"".join(number(v) for v in values) + b"t"


def storage(key="0", n=4, of="FloatStorage"):
    return b"(" + text("storage") + f"ctorch\n{of}\n".encode() + text(key) + text("cpu") + number(n) + b"tQ"


def tensor(offset=0, size=(2, 2), stride=(2, 1), kept=None, more=b""):
    kept = storage() if kept is None else kept
    return T2 + b"(" + kept + number(offset) + numbers(size) + numbers(stride) + b"\x89ccollections\nOrderedDict\n" + CALL + more + b"tR"


def one(value):
    return b"\x80\x02}" + text("w") + value + b"s."


def archive(pickled, data=b"\0" * 16, members=None, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in ({"a/data.pkl": pickled, "a/data/0": data} if members is None else members).items():
            file.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, method)
    return out.getvalue()


def patched(data, at, value):
    return data[:at] + value + data[at + len(value):]


def hostile():
    valid = archive(one(tensor()))
    end = valid.rindex(b"PK\5\6")
    record = valid.index(b"PK\1\2")
    second = valid.index(b"PK\1\2", record + 1)
    local = struct.unpack_from("<I", valid, second + 42)[0]
    system = b"\x80\x02cposix\nsystem\n" + text("touch /tmp/executed") + b"\x85R."
    reduced = type("Reduced", (), {"__reduce__": lambda self: (eval, ("1",))})
    deep = b"\x80\x02" + b"(" * 1_000 + b"."
    wide = b"\x80\x02" + b"N" * 66_000 + b"."
    return {
        "valid": valid,
        # Names and instructions.
        "os-system": archive(system),
        "eval": archive(pickle.dumps(reduced(), 2)),
        "builtins-getattr": archive(b"\x80\x02cbuiltins\ngetattr\n."),
        "stack-global": archive(b"\x80\x04" + b"\x8c\x02os\x8c\x06system\x93."),
        "name-in-state": archive(b"\x80\x02ccollections\nOrderedDict\n)R}" + text("x") + b"cnt\nsystem\nsb."),
        "name-with-escapes": archive(b"\x80\x02cos\x1b[2J\nsystem\n."),
        "instance": archive(b"\x80\x02(cos\nsystem\no."),
        "new-object": archive(b"\x80\x02ccollections\nOrderedDict\n)\x81."),
        "extension": archive(b"\x80\x02\x82\x01."),
        "call-of-storage": archive(b"\x80\x02ctorch\nFloatStorage\n)R."),
        "call-of-text": archive(b"\x80\x02" + text("os.system") + b")R."),
        "dictionary-with-items": archive(b"\x80\x02ccollections\nOrderedDict\n]\x85R."),
        # The machine.
        "deep": archive(deep),
        "wide": archive(wide),
        "deep-lists": archive(b"\x80\x02" + b"]" * 1_000 + b"a" * 999 + b"."),
        "itself": archive(b"\x80\x02]q\0h\0a."),
        "empty-stack": archive(b"\x80\x02s."),
        "below-mark": archive(b"\x80\x02}(s."),
        "no-mark": archive(b"\x80\x02}t."),
        "no-end": archive(b"\x80\x02}"),
        "two-values": archive(b"\x80\x02}}."),
        "behind-the-end": archive(b"\x80\x02}.}"),
        "odd-items": archive(b"\x80\x02}(Nu."),
        "items-for-a-text": archive(b"\x80\x02" + text("x") + b"NNs."),
        "state-for-a-list": archive(b"\x80\x02]}b."),
        "text-absurd": archive(b"\x80\x02X\xff\xff\xff\x7f."),
        "text-not-utf8": archive(b"\x80\x02X\1\0\0\0\xff."),
        "number-wide": archive(b"\x80\x02\x8a\xff" + b"\1" * 255 + b"."),
        "not-remembered": archive(b"\x80\x02h\7."),
        "protocol": archive(b"\x80\x09}."),
        "line-endless": archive(b"\x80\x02c" + b"a" * 66_000),
        "doubling": archive(b"\x80\x02" + b"(Nq\0" + b"((h\0h\0tq\0" * 50 + b"."),
        # What the dictionary holds.
        "no-dictionary": archive(b"\x80\x02]."),
        "key-number": archive(b"\x80\x02}K\1Ns."),
        "list-for-tensor": archive(one(b"]")),
        "tensor-twice": archive(b"\x80\x02}" + text("w") + tensor() + b"s" + text("w") + tensor() + b"s."),
        "second-no-tensor": archive(b"\x80\x02}" + text("w") + tensor() + b"s" + text("w") + b"]s."),
        "parameter-nested": archive(one(b"ctorch._utils\n_rebuild_parameter\n(" * 40 + tensor() + b"\x88}tR" * 40)),
        "parameter-itself": archive(one(b"ctorch._utils\n_rebuild_parameter\n(]\x88}tR")),
        # Tensors and storages.
        "offset-outside": archive(one(tensor(offset=1))),
        "offset-negative": archive(one(tensor(offset=-1))),
        "offset-absurd": archive(one(tensor(offset=2**62))),
        "stride-outside": archive(one(tensor(stride=(3, 1)))),
        "stride-zero": archive(one(tensor(size=(1 << 40, 2), stride=(0, 1)))),
        "stride-negative": archive(one(tensor(stride=(-2, 1)))),
        "strides-fewer": archive(one(tensor(stride=(1,)))),
        "sizes-overflow": archive(one(tensor(size=(1 << 40, 1 << 40), stride=(1, 1)))),
        "sizes-empty-absurd": archive(one(tensor(size=(0, 1 << 62, 1 << 62), stride=(1 << 62, 1 << 62, 1)))),
        "sizes-many": archive(one(tensor(size=(1,) * 9, stride=(1,) * 9))),
        "sizes-text": archive(one(tensor(size=()).replace(numbers(()), text("2"), 1))),
        "storage-longer": archive(one(tensor(kept=storage(n=5)))),
        "storage-negative": archive(one(tensor(kept=storage(n=-1)))),
        "storage-absurd": archive(one(tensor(kept=storage(n=2**62)))),
        "storage-missing": archive(one(tensor(kept=storage(key="../../etc/passwd")))),
        "storage-of-nothing": archive(one(tensor(kept=storage(of="QInt8Storage")))),
        "storage-of-type": archive(one(tensor(kept=storage(of="uint16")))),
        "storage-no-tuple": archive(one(tensor(kept=text("0") + b"Q"))),
        "untyped": archive(one(tensor(kept=storage(n=16).replace(b"ctorch\nFloat", b"ctorch.storage\nUntyped")))),
        # The archive.
        "old": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03.",
        "big-endian": archive(None, members={"a/data.pkl": one(tensor()), "a/byteorder": b"big", "a/data/0": b"\0" * 16}),
        "no-pickle": archive(None, members={"a/data/0": b"\0" * 16}),
        "two-pickles": archive(None, members={"a/data.pkl": b"\x80\x02}.", "b/data.pkl": b"\x80\x02}."}),
        "compressed": archive(one(tensor()), method=zipfile.ZIP_DEFLATED),
        "encrypted": patched(valid, record + 8, b"\1\0"),
        "truncated": valid[:-30],
        "no-end-record": valid[:end],
        "directory-outside": patched(valid, end + 16, b"\xff\xff\xff\x7f"),
        "directory-short": patched(valid, end + 12, struct.pack("<I", 50)),
        "members-more": patched(valid, end + 10, b"\3\0"),
        "members-fewer": patched(valid, end + 10, b"\1\0"),
        "members-absurd": patched(valid, end, b"PK\6\7" + b"\0" * 18)[:end] + b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1 << 60, 1 << 60, 46, 0)
            + b"PK\6\7" + struct.pack("<IQI", 0, end, 1) + valid[end:],
        "directory-wide-outside": valid[:end] + b"PK\6\7" + struct.pack("<IQI", 0, 1 << 62, 1) + valid[end:],
        "several-disks": patched(valid, end + 4, b"\1\0"),
        "member-outside": patched(valid, record + 42, b"\xff\xff\xff\x7f"),
        "member-longer": patched(valid, second + 20, struct.pack("<II", 1 << 20, 1 << 20)),
        "member-wide-missing": patched(valid, second + 20, b"\xff" * 8),
        "member-packed": patched(valid, second + 20, struct.pack("<II", 16, 17)),
        "members-overlap": patched(valid, second + 42, valid[record + 42:record + 46]),
        "member-twice": archive(None, members={"a/data.pkl": b"\x80\x02}.", "a/data/0": b"", "a/data/1": b""}).replace(b"a/data/1", b"a/data/0"),
        "member-not-utf8": valid.replace(b"a/data/0", b"a/data/\xff"),
        "local-header": patched(valid, local, b"PK\0\0"),
        "local-name-longer": patched(valid, local + 26, b"\xff\xff"),
    }


if __name__ == "__main__":
    models()
    layouts()
    (HERE / "malicious").mkdir(exist_ok=True)
    for name, content in hostile().items():
        (HERE / f"malicious/{name}.bin").write_bytes(content)
    print(sum(f.stat().st_size for f in HERE.rglob("*") if f.is_file()), "bytes")
