#!/usr/bin/env python3
"""Makes the tiny encoders of this folder and what another library computes with them.

  make.py [NAME ...]      (needs torch, transformers, safetensors, gguf and numpy from PyPI; without names: all)

NAME is a random model of the transformers library, with values that exercise the arithmetic: as the folder NAME that the library
saves, as NAME.gguf under llama.cpp's keys and names, or both. NAME.f32 holds what the library computes in float64 for each
line of texts.txt: the hidden states of all tokens, or of a cross-encoder the scores, little-endian f32. A line is a
text's ids; of a pair the ids of the second text stand behind a bar. Names and keys are written down here a second time, on
purpose: a slip in the importer would not be made again by its own tables.

NAME-q8_0.gguf has the matrices of NAME.gguf in blocks, and NAME-q8_0.f32 is computed with what those hold.
"""
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import gguf
import numpy as np
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
SHAPE = dict(vocab_size=61, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=160, type_vocab_size=2, pad_token_id=0, attn_implementation="eager")
ROBERTA = SHAPE | dict(max_position_embeddings=162, pad_token_id=1, type_vocab_size=1, bos_token_id=0, eos_token_id=2,
                       layer_norm_eps=1e-5)
DISTIL = dict(vocab_size=61, dim=64, hidden_dim=96, n_layers=2, n_heads=4, max_position_embeddings=160,
              attn_implementation="eager")
NOMIC = SHAPE | dict(rope_parameters={"rope_type": "default", "rope_theta": 1000.0}, intermediate_size=96)
# (class, configuration, type of the saved folder's weights or nothing, whether there is a GGUF file)
MODELS = {
    "bert": (hf.BertModel, hf.BertConfig(**SHAPE), torch.float16, True),
    "bert-f32": (hf.BertModel, hf.BertConfig(**SHAPE | dict(num_hidden_layers=1, num_attention_heads=1)), torch.float32, False),
    "bert-ranker": (hf.BertForSequenceClassification, hf.BertConfig(**SHAPE, num_labels=1), torch.float16, True),
    "roberta": (hf.RobertaModel, hf.RobertaConfig(**ROBERTA), torch.bfloat16, False),
    "xlm-roberta-ranker": (hf.XLMRobertaForSequenceClassification, hf.XLMRobertaConfig(**ROBERTA, num_labels=1),
                           torch.float16, True),
    "distilbert": (hf.DistilBertModel, hf.DistilBertConfig(**DISTIL), torch.float16, False),
    "nomic-bert": (hf.NomicBertModel, hf.NomicBertConfig(**NOMIC), None, True),
}


def from_families():
    path = HERE.parent / "families" / "make.py"
    spec = importlib.util.spec_from_file_location("families_make", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FAMILIES = from_families()


def randomise(model, dtype):
    rng = torch.Generator().manual_seed(2026)
    for name, p in sorted(model.named_parameters()):
        if p.ndim >= 2:
            value = torch.randn(p.shape, generator=rng) * (1.5 / p.shape[-1] ** 0.5)
        elif "norm" in name.lower() and "bias" not in name:
            value = 1 + 0.2 * torch.randn(p.shape, generator=rng)
        else:
            value = 0.2 * torch.randn(p.shape, generator=rng)
        p.data = value.to(dtype).to(p.dtype)


def texts():
    lines = (HERE / "texts.txt").read_text().splitlines()
    return [[[int(t) for t in part.split()] for part in line.split("|")] for line in lines]


def expected(model, name):
    wide, rows = model.double().eval(), []
    for parts in texts():
        ids = torch.tensor([sum(parts, [])])
        given = {"input_ids": ids}
        if getattr(model.config, "type_vocab_size", 0) > 1:
            types = [0] * len(parts[0]) + [1] * sum(len(part) for part in parts[1:])
            given["token_type_ids"] = torch.tensor([types])
        with torch.no_grad(), FAMILIES.InFloat64():
            out = wide(**given)
        rows.append(out.logits[0] if hasattr(out, "logits") else out.last_hidden_state[0].flatten())
    torch.cat(rows).float().numpy().astype("<f4").tofile(HERE / f"{name}.f32")


BERT_LAYER = {"attn_q": "attention.self.query", "attn_k": "attention.self.key", "attn_v": "attention.self.value",
              "attn_output": "attention.output.dense", "attn_output_norm": "attention.output.LayerNorm",
              "ffn_up": "intermediate.dense", "ffn_down": "output.dense", "layer_output_norm": "output.LayerNorm"}
NOMIC_LAYER = {"attn_output": "self_attn.o_proj", "attn_output_norm": "post_attention_layernorm",
               "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
               "layer_output_norm": "post_mlp_layernorm"}


def gguf_tensors(name, model):
    weights = {key.split(".", 1)[1] if key.split(".")[0] in ("bert", "roberta") else key: value
               for key, value in model.state_dict().items()}
    out = {}

    def put(ours, theirs):
        for end in ("weight", "bias"):
            if f"{theirs}.{end}" in weights:
                out[f"{ours}.{end}"] = weights[f"{theirs}.{end}"].float().numpy()

    put("token_embd", "embeddings.word_embeddings")
    put("position_embd", "embeddings.position_embeddings")
    put("token_types", "embeddings.token_type_embeddings")
    put("token_embd_norm", "embeddings.LayerNorm")
    if name.startswith("xlm"):
        out["position_embd.weight"] = out["position_embd.weight"][2:]
        put("cls", "classifier.dense")
        put("cls.output", "classifier.out_proj")
    if name == "bert-ranker":
        put("cls", "pooler.dense")
        put("cls.output", "classifier")
    for i in range(model.config.num_hidden_layers):
        if name == "nomic-bert":
            parts = [weights[f"layers.{i}.self_attn.{x}_proj.weight"] for x in "qkv"]
            out[f"blk.{i}.attn_qkv.weight"] = torch.cat(parts).float().numpy()
        layers, table = ("layers", NOMIC_LAYER) if name == "nomic-bert" else ("encoder.layer", BERT_LAYER)
        for ours, theirs in table.items():
            put(f"blk.{i}.{ours}", f"{layers}.{i}.{theirs}")
    return out


def write_gguf(path, family, config, tensors, pooling, n_positions, quantised):
    writer = gguf.GGUFWriter(path, family)
    keys = {
        "context_length": n_positions, "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers, "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads, "attention.layer_norm_epsilon": config.layer_norm_eps,
        "attention.causal": False, "pooling_type": pooling}
    if family == "nomic-bert":
        keys["rope.freq_base"] = 1000.0
    for key, value in keys.items():
        FAMILIES.add(writer, f"{family}.{key}", value)
    for name, value in tensors.items():
        value = np.ascontiguousarray(value)
        if quantised and value.ndim == 2 and value.shape[0] > 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
        else:
            # llama.cpp keeps the types of segments in f32.
            small = value.ndim == 2 and name != "token_types.weight"
            writer.add_tensor(name, value.astype(np.float16 if small else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rounded(value):
    """What blocks of q8_0 hold of a matrix."""
    kind = gguf.GGMLQuantizationType.Q8_0
    return torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(value.float().numpy(), kind), kind))


def make(name):
    cls, config, dtype, has_gguf = MODELS[name]
    torch.manual_seed(0)
    model = cls(config).eval()
    randomise(model, dtype or torch.float16)
    if dtype:
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model.to(dtype).save_pretrained(folder)
        if name == "bert":
            as_published(folder)
    model = model.float()
    if has_gguf:
        family = "nomic-bert" if name == "nomic-bert" else "bert"
        n_positions = config.max_position_embeddings - (2 if name.startswith("xlm") else 0)
        pooling = 4 if name.endswith("ranker") else 1
        write = lambda to, quantised: write_gguf(  # noqa: E731
            HERE / f"{to}.gguf", family, config, gguf_tensors(name, model), pooling, n_positions, quantised)
        write(name, False)
        if name == "bert":
            write(f"{name}-q8_0", True)
            import copy
            blocks = copy.deepcopy(model)
            for p in blocks.parameters():
                if p.ndim == 2 and p.shape[0] > 2:
                    p.data = rounded(p.data)
            expected(blocks, f"{name}-q8_0")
    expected(model, name)
    print(name, (HERE / f"{name}.f32").stat().st_size, "bytes")


def as_published(folder):
    """With what sentence-transformers writes beside a model, and older names of norms and of the numbers of positions."""
    weights = load_file(folder / "model.safetensors")
    weights = {key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
               for key, value in weights.items()}
    weights["embeddings.position_ids"] = torch.arange(160)[None]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    kind = "sentence_transformers.models."
    modules = [{"idx": 0, "name": "0", "path": "", "type": kind + "Transformer"},
               {"idx": 1, "name": "1", "path": "1_Pooling", "type": kind + "Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n")
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 64, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False,
               "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling, indent=2) + "\n")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12, "do_lower_case": False}) + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        make(name)
