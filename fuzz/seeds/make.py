#!/usr/bin/env python3
"""Makes the seeds that are not written by hand, from the tests' files: small ones, so that executions are fast.

  make.py    (needs nothing but Python; the files are committed)

gguf: headers of the tiny models of all families, whose data the target makes up, and a few hostile files. safetensors:
headers of the tests' folders. pytorch: pickles of a Llama, and a whole file. config: their configurations. tokenizer_json: the tests' tokenizers with a few tokens each.
adapter: the tests' adapter of the base of the hostile files. llama2c: checkpoints of the least size. split: the headers of
the tests' parts, and of files of one tensor each. hub: answers as the hub writes them. ngrams: tables of one bucket and of two.
compact_base: bases of one window. choices: questions in the forms that are read. bundle: a statement about the target's model, and bundles of
each method. release: metadata of each role, targets with releases and a list of what was taken back, a state.
"""
import base64
import hashlib
import json
import struct
from pathlib import Path

HERE = Path(__file__).parent
CRATES = HERE / "../../crates"
TESTS = CRATES / "model/tests"
COMPACT = dict(separators=(",", ":"), ensure_ascii=False)


def put(target, name, content):
    folder = HERE / target
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def header_of(gguf):
    """A GGUF file without its data."""
    at = 8
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def take(form):
        nonlocal at
        value, = struct.unpack_from("<" + form, gguf, at)
        at += struct.calcsize(form)
        return value

    def skip(kind):
        nonlocal at
        if kind == 8:
            n = take("Q")
            at += n
        elif kind == 9:
            of, n = take("I"), take("Q")
            for _ in range(n):
                skip(of)
        else:
            at += sizes[kind]

    n_tensors, n_keys = take("Q"), take("Q")
    for _ in range(n_keys):
        skip(8)
        skip(take("I"))
    for _ in range(n_tensors):
        skip(8)
        for _ in range(take("I")):
            take("Q")
        take("I"), take("Q")
    return gguf[:at]


def version_1():
    """Lengths of 32 bits, and texts in arrays and in arrays of arrays."""
    def text(t):
        return struct.pack("<I", len(t)) + t

    def array(kind, items):
        return struct.pack("<II", kind, len(items)) + b"".join(items)

    texts = array(8, [text(b"a"), text(b"")])
    keys = [(b"general.alignment", 4, struct.pack("<I", 64)), (b"texts", 9, texts), (b"nested", 9, array(9, [texts, array(4, [])])),
            (b"numbers", 9, array(9, [array(6, [struct.pack("<f", 0.5)])]))]
    head = b"GGUF" + struct.pack("<III", 1, 1, len(keys))
    head += b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in keys)
    head += text(b"a") + struct.pack("<IIIIQ", 2, 2, 1, 0, 0)
    return head + b"\0" * (-len(head) % 64) + struct.pack("<ff", 1, 2)


def gguf():
    for path in sorted((TESTS / "families").glob("*.gguf")):
        put("gguf", path.name, b"GGU+" + header_of(path.read_bytes())[4:])
    base = CRATES / "cli/tests/malicious/base.gguf"
    put("gguf", "base.gguf", base.read_bytes())
    for name in ["array-nested-deep", "tensors-overlap", "alignment-zero", "truncated-data"]:
        content = (CRATES / f"cli/tests/malicious/{name}.gguf").read_bytes()
        put("gguf", f"{name}.gguf", b"GGU+" + header_of(content)[4:] if name == "tensors-overlap" else content)
    put("gguf", "version-1.gguf", version_1())
    put("adapter", "c.gguf", (TESTS / "adapters/c.gguf").read_bytes())


def safetensors_lines(index, headers):
    put_index = json.dumps(index, **COMPACT) if index else ""
    return "\n".join([put_index] + [json.dumps(h, **COMPACT) for h in headers])


def safetensors():
    """A Llama of one layer: as one file, as two, in every type, with scales."""
    size = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1}
    shapes = {"model.embed_tokens": [4, 8], "model.norm": [8], "lm_head": [4, 8]}
    layer = {"input_layernorm": [8], "self_attn.q_proj": [8, 8], "self_attn.k_proj": [4, 8], "self_attn.v_proj": [4, 8],
             "self_attn.o_proj": [8, 8], "post_attention_layernorm": [8], "mlp.gate_proj": [8, 8], "mlp.up_proj": [8, 8],
             "mlp.down_proj": [8, 8]}
    shapes |= {f"model.layers.0.{name}": shape for name, shape in layer.items()}

    def header(names, dtype, scale=None):
        out, at = {}, 0

        def add(name, dtype, shape):
            nonlocal at
            n = size[dtype]
            for side in shape:
                n *= side
            out[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
            at += n

        for name in names:
            matrix = scale and "layers" in name and len(shapes[name]) == 2
            add(f"{name}.weight", dtype if matrix or not scale else "BF16", shapes[name])
            if matrix:
                add(f"{name}.weight_scale_inv", "F32", scale(shapes[name]))
        return out

    names = list(shapes)
    for dtype in ["F32", "F16", "BF16"]:
        put("safetensors", dtype.lower(), safetensors_lines(None, [header(names, dtype)]))
    put("safetensors", "fp8-blocks",
        safetensors_lines(None, [header(names, "F8_E4M3", lambda s: [-(-s[0] // 4), -(-s[1] // 4)])]))
    put("safetensors", "fp8-rows", safetensors_lines(None, [header(names, "F8_E4M3", lambda s: [s[0], 1])]))
    put("safetensors", "tied", safetensors_lines(None, [header([n for n in names if n != "lm_head"], "F16")]))
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    parts = [header(names[:5], "F16"), header(names[5:], "BF16")]
    index = {"metadata": {"total_size": 1}, "weight_map": {n: f for f, part in zip(files, parts) for n in part}}
    put("safetensors", "two-files", safetensors_lines(index, parts))
    small = [{"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}, {"b": {"dtype": "BOOL", "shape": [], "data_offsets": [0, 1]}}]
    index = {"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}
    put("safetensors", "small", safetensors_lines(index, small))
    raw = json.dumps({"__metadata__": {"format": "pt"}, **small[0]}, **COMPACT).encode()
    put("safetensors", "raw", struct.pack("<Q", len(raw)) + raw + b"abc")
    empty = b"{}      "
    put("safetensors", "empty", struct.pack("<Q", len(empty)) + empty)


def pytorch():
    """A Llama of one layer as a pickle over the target's storages, in two protocols' words; and a whole file."""
    shapes = {"embed_tokens": [4, 8], "norm": [8]}
    layer = {"input_layernorm": [8], "post_attention_layernorm": [8], "self_attn.q_proj": [8, 8], "self_attn.k_proj": [4, 8],
             "self_attn.v_proj": [4, 8], "self_attn.o_proj": [8, 8], "mlp.gate_proj": [8, 8], "mlp.up_proj": [8, 8], "mlp.down_proj": [8, 8]}
    shapes |= {f"layers.0.{name}": shape for name, shape in layer.items()}
    storage = {8: "1", 32: "2", 64: "3"}

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def number(n):
        return bytes([75, n])

    def tensor(shape, transposed=False):
        key = storage[shape[0] * shape[-1] if len(shape) == 2 else shape[0]]
        kept = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number({"1": 16, "2": 32, "3": 64}[key]) + b"tQ"
        sizes = b"(" + b"".join(map(number, shape)) + b"t"
        strides = b"(" + b"".join(map(number, [1] if len(shape) == 1 else [1, shape[0]] if transposed else [shape[1], 1])) + b"t"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + kept + number(0) + sizes + strides + b"\x89ccollections\nOrderedDict\n)RtR"

    for name, transposed in (("plain", False), ("turned", True)):
        items = b"".join(text(f"model.{key}.weight") + tensor(shape, transposed) for key, shape in shapes.items())
        put("pytorch", name, b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u}" + text("_metadata") + b"}sb.")
    parameter = b"ctorch._utils\n_rebuild_parameter\n" + tensor([8]) + b"\x88}\x87R"
    put("pytorch", "parameter", b"\x80\x04}\x94" + b"\x8c\x05model}" + text("w") + parameter + b"ss.")
    put("pytorch", "file", (TESTS / "pytorch/malicious/valid.bin").read_bytes())


def config():
    for path in sorted((TESTS / "folders").glob("*/config.json")):
        fields = json.loads(path.read_text())
        kept = {k: v for k, v in fields.items() if k not in ["transformers_version", "architectures", "dtype", "use_cache"]}
        put("config", f"{path.parent.name}.json", json.dumps(kept, **COMPACT))
    text = json.loads((TESTS / "folders/gemma3/config.json").read_text())
    kept = {k: v for k, v in text.items() if k not in ["transformers_version", "architectures", "dtype", "use_cache"]}
    put("config", "nested.json", json.dumps({"model_type": "gemma3", "text_config": kept}, **COMPACT))
    llama = json.loads((TESTS / "folders/llama/config.json").read_text())
    put("config", "ending.json", json.dumps({"model_type": llama["model_type"], "eos_token_id": [1, 2]}, **COMPACT)
        + '\n{"eos_token_id":2}')


def tokenizers():
    special = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>", "add_bos_token": True,
               "chat_template": [{"name": "default", "template": "{{ messages }}"}]}
    for name, made in json.loads((TESTS / "tokenizers/small.json").read_text()).items():
        file = {k: v for k, v in made["tokenizer"].items() if v is not None and k not in ["version", "truncation", "padding"]}
        model = {k: v for k, v in file["model"].items() if v is not None}
        vocab = model["vocab"]
        merges = [m for m in model.get("merges", []) if len(m[0]) + len(m[1]) <= 3][:6]
        needed = {part for m in merges for part in (*m, m[0] + m[1].removeprefix(model.get("continuing_subword_prefix", "")))}
        needed |= {token["content"] for token in file.get("added_tokens", [])} | {model.get("unk_token")}
        if isinstance(vocab, dict):
            kept = [t for t in vocab if t in needed] + [t for t in vocab if t not in needed][:24]
            model["vocab"] = {t: i for i, t in enumerate(kept)}
        else:
            model["vocab"] = [[t, round(score, 2)] for t, score in vocab[:30]]
        if "merges" in model:
            model["merges"] = merges
        file["model"] = model
        for token in file.get("added_tokens", []):
            for field in ["single_word", "lstrip", "rstrip", "normalized"]:
                if token[field] is False:
                    del token[field]
        text = json.dumps(file, **COMPACT)
        put("tokenizer_json", f"{name}.json", text + ("\n" + json.dumps(special, **COMPACT) if name == "llama2" else ""))


def byte_level():
    """A token for every byte, as GPT-2 writes them, and nothing that changes a text."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    letters = [chr(b) for b in plain] + [chr(256 + i) for i in range(len(others))]
    part = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    vocab = {letter: i for i, letter in enumerate(letters + ["aa", "ab"])}
    file = {"model": {"type": "BPE", "vocab": vocab, "merges": [["a", "a"], "a b"]}, "pre_tokenizer": part, "decoder": part}
    put("tokenizer_json", "bytes.json", json.dumps(file, **COMPACT))


def llama2c():
    for version in (0, 1):
        for tied in (True, False):
            dim, ffn, layers, heads, kv_heads, vocab, ctx = sizes = 4, 4, 1, 2, 1, 5, 4
            floats = vocab * dim * (1 if tied else 2) + 3 * dim + 2 * dim * dim + 2 * dim * 2 + 3 * dim * ffn
            data = struct.pack("<f", 0.5) * (floats + (ctx * (dim // heads) if version == 0 else 0))
            if version == 0:
                head = struct.pack("<7i", *sizes[:5], vocab if tied else -vocab, ctx)
            else:
                head = (b"\x32\x34\x6b\x61"[::1] + struct.pack("<I7iB", 1, *sizes, tied)).ljust(256, b"\0")
            checkpoint = head + data
            words = [b"<unk>", b"<s>", b"</s>", b" a", b"<0x0A>"]
            vocabulary = struct.pack("<I", 6) + b"".join(struct.pack("<fI", -i, len(w)) + w for i, w in enumerate(words))
            put("llama2c", f"version-{version}{'-tied' if tied else ''}", struct.pack("<H", len(checkpoint)) + checkpoint + vocabulary)


def split():
    parts = sorted((TESTS / "folders/split").glob("*.gguf"))
    put("split", "lfm2", b"".join(b"GGU+" + header_of(path.read_bytes())[4:] for path in parts))

    def text(t):
        return struct.pack("<Q", len(t)) + t

    def part(no, count, n_tensors, name):
        keys = [(b"split.no", 2, "H", no), (b"split.count", 2, "H", count), (b"split.tensors.count", 5, "i", n_tensors)]
        head = b"GGUF" + struct.pack("<IQQ", 3, 1 if name else 0, len(keys))
        head += b"".join(text(key) + struct.pack("<I" + form, kind, value) for key, kind, form, value in keys)
        head += text(name) + struct.pack("<IQIQ", 1, 1, 0, 0) if name else b""
        return head + (b"\0" * (-len(head) % 32) + struct.pack("<f", 1) if name else b"")

    put("split", "two", part(0, 2, 2, b"a") + part(1, 2, 2, b"b"))
    put("split", "first-without-tensors", part(0, 2, 1, None) + part(1, 2, 1, b"a"))
    put("split", "the-same-name", part(0, 2, 2, b"a") + part(1, 2, 2, b"a"))
    put("split", "one-is-missing", part(0, 3, 2, b"a") + part(1, 3, 2, b"b"))
    put("split", "second-alone", part(1, 2, 2, b"b"))


def hub():
    git, sha = "ce013625030ba8dba906f756967f9e9ca394464a", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    def answer(name, lines, *files, **more):
        siblings = [{"rfilename": path, "size": 9, "blobId": git} | ({"lfs": {"size": 9, "sha256": sha}} if large else {})
                    for path, large in files]
        body = json.dumps({"sha": git, "siblings": siblings, **more}, **COMPACT) if files else ""
        put("hub", name, "\n".join(lines) + "\n\n" + body)

    answer("listing", ["200", "Content-Length: 9"], ("README.md", False), ("m-Q4_0.gguf", True), tags=["license:mit"])
    answer("parts", ["200"], *[(f"m-Q4_0-0000{i}-of-00002.gguf", True) for i in (1, 2)])
    answer("part-1-of-0", ["200"], ("m-Q4_0-00001-of-00000.gguf", True))
    answer("folder", ["200"], ("config.json", False), ("model.safetensors", True), ("tokenizer.json", False))
    answer("unsafe", ["200"], ("../a.gguf", True), ("a/../../b", False), ("a\\b", False))
    answer("range", ["206", "Content-Range: bytes 4-8/9", "Content-Length: 5"])
    answer("beyond", ["416", "Content-Range: bytes */9"])
    answer("busy", ["429", "Retry-After: 7"])
    answer("redirect", ["302", "Location: https://cdn.example:8443/x?signature=a%20b"])
    answer("redirect-to-path", ["307", "Location: /x/y"])
    answer("redirect-to-host", ["301", "Location: //cdn.example/x#y"])


def ngrams():
    """Tables without the hash at their end: entries of a tag, a count and a token."""
    entry = lambda tag, count, token: (tag << 8 | count) << 32 | token
    buckets = [[entry(3, 1, 7), entry(5, 15, 299)], [entry(0xFFFFFF, 2, 0)] * 8]
    for n in 1, 2:
        entries = [entry for bucket in buckets[:n] for entry in bucket + [0] * (8 - len(bucket))]
        put("ngrams", f"{n}", b"ingleNG1" + b"v" * 32 + struct.pack(f"<Q{8 * n}Q", n, *entries))


def compact_base():
    """Bases of one window of four tokens without the hash at their end: all of a vocabulary, and the best two of it with one drawn."""
    def base(protocol, n_vocab, n_best, n_drawn, bits, rows):
        n_kept = n_best + n_drawn
        head = b"ingleKB1" + struct.pack("<7I", protocol, 4, n_vocab, 1, n_best, n_drawn, 1) + b"r" + struct.pack("<4I", 0, 1, 2, 1)
        packed = sum(i << i * bits for i in range(n_kept)).to_bytes((n_kept * bits + 7) // 8, "little")
        levels = struct.pack(f"<{1 + n_kept}H", *[2000 + 500 * i for i in range(1 + n_kept)])
        return head + (struct.pack("<f", -1) + levels + packed) * rows

    put("compact_base", "half-whole-vocabulary", base(0, 3, 3, 0, 2, 1))
    put("compact_base", "whole-drawn", base(1, 5, 2, 1, 3, 3))


def choices():
    """Questions in the forms that are read."""
    put("choices", "index", '{"query": "Q", "choices": ["x", "y"], "gold": 1}\n')
    put("choices", "labels", '{"question": "Q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}\n')
    put("choices", "two", '{"ctx": "Q", "endings": ["x", "y"], "label": "1"}\n\n{"question": "Q", "choices": ["x", "y"], "answer": "y"}\n')


def statement():
    """What a signer says of the model that the target has."""
    files = [("a", "weights"), ("b/c", "words")]
    digests = [hashlib.sha256(text.encode()) for _, text in files]
    resources = [{"name": name, "algorithm": "sha256", "digest": digest.hexdigest()} for (name, _), digest in zip(files, digests)]
    root = hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [".git"]}
    return {"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "m", "digest": {"sha256": root}}],
            "predicateType": "https://model_signing/signature/v1.0", "predicate": {"serialization": how, "resources": resources}}


def bundle():
    said = statement()
    put("bundle", "statement", json.dumps(said, **COMPACT))
    said["predicate"]["serialization"] |= {"method": "shards", "shard_size": 4}
    put("bundle", "shards", json.dumps(said, **COMPACT))
    del said["predicate"]["serialization"]["ignore_paths"]
    payload = base64.b64encode(json.dumps(said, **COMPACT).encode()).decode()
    raw = {"rawBytes": "AAAA"}
    materials = {"key": {"publicKey": {"hint": "0a"}, "tlogEntries": []}, "certificate": {"x509CertificateChain": {"certificates": [raw]}},
                 "sigstore": {"certificate": raw, "tlogEntries": [{}], "timestampVerificationData": {}}}
    for name, material in materials.items():
        envelope = {"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": "AAAA", "keyid": ""}]}
        outer = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": material, "dsseEnvelope": envelope}
        put("bundle", name, json.dumps(outer, **COMPACT))
    spki = bytes.fromhex("302a300506032b6570032100") + bytes(range(32))
    put("bundle", "public.pem", f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(spki).decode()}\n-----END PUBLIC KEY-----\n")
    pkcs8 = bytes.fromhex("302e020100300506032b657004220420") + bytes(32)
    put("bundle", "private.pem", f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(pkcs8).decode()}\n-----END PRIVATE KEY-----\n")


def release():
    expires, key = "2030-01-01T00:00:00Z", "0" * 64
    both = {"spec_version": "1.0.0", "version": 1, "expires": expires}

    def role(name, **fields):
        document = {"signed": {"_type": name.split("-")[0], **both, **fields}, "signatures": [{"keyid": key, "sig": "00"}]}
        put("release", name, json.dumps(document, **COMPACT))

    public = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": key}}
    keyid = hashlib.sha256(json.dumps(public, sort_keys=True, **COMPACT).encode()).hexdigest()
    roles = {name: {"keyids": [keyid], "threshold": 1} for name in ("root", "targets", "snapshot", "timestamp")}
    role("root", consistent_snapshot=True, keys={keyid: public}, roles=roles)
    role("timestamp", meta={"snapshot.json": {"version": 1, "length": 9, "hashes": {"sha256": key}}})
    role("snapshot", meta={"targets.json": {"version": 1}})

    def target(size, **custom):
        return {"length": size, "hashes": {"sha256": key}} | ({"custom": {"ingle": custom}} if custom else {})

    smoke = {"text": "t", "perplexity_max_milli": 9, "prompts": [{"prompt": "a", "expect": "b"}], "ram_bytes_max": 7}
    terms = {"open": "m", "percent": 50, "salt": "s", "minimum_version": 1, "smoke": smoke}
    targets = {f"c/{n}/{name}": target(3) for n in (1, 6) for name in "mt"}
    targets |= {f"c/{n}/model.sig": target(5, **terms) for n in (1, 6)}
    targets["revoked.json"] = target(1, revoked=[{"model": "c", "version": 5, "why": "w"}, {"model": "c", "digest": key, "why": "v"}])
    role("targets", targets=targets)
    role("targets-huge", targets={"c/1/m": target((1 << 64) - 1), "c/1/model.sig": target(5, **terms | {"smoke": {}})})
    slot = {"version": 2, "digest": key, "folder": "2-0", "open": "m", "minimum_version": 1, "standing": "good"}
    watched = slot | {"standing": {"probation": {"tries_left": 3, "uses_left": 5}}, "open": "."}
    model = {"active": watched, "other": slot, "floor": 1, "blocked": [{"version": 4, "why": "w"}]}
    source = {"publisher": "p", "policy": {"consent": "ask", "grace_days": 3, "when_stale": "warn"}, "trusted": {"root": "r", "others": {}},
              "fresh_at": 1, "revoked": [], "models": {"c": model}}
    put("release", "state", json.dumps({"sequence": 1, "device": "d", "sources": {"https://e.example/": source}}, **COMPACT))


gguf()
split()
hub()
ngrams()
compact_base()
choices()
safetensors()
pytorch()
config()
tokenizers()
byte_level()
llama2c()
bundle()
release()
