#!/usr/bin/env python3
"""Makes PEFT adapters of the tiny models in ../folders and the logits of those models with them.

  make.py [NAME ...]      (needs torch, transformers, peft, safetensors and numpy from PyPI; without names: all)

The folder NAME is what the peft library saves of an adapter with random values; NAME.f32 are the library's logits in float64
for ../folders/tokens.txt, one row of little-endian f32 per token. The part of a name before the hyphen is the model's.
llama-both.f32 has the logits with half of llama-all and twice llama-rs.

Experts were a matrix each when most adapters of such models were made; today's library has one tensor for all, so
qwen3_moe-experts is written by hand, and its logits are those of the weights with the products added.
"""
import json
import os
import shutil
import sys
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch
import transformers as hf
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

HERE = Path(__file__).parent
FOLDERS = HERE.parent / "folders"
MATRICES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]

ADAPTERS = {
    # Patterns that match the end of a name, a name in the middle of a layer, and by a regular expression.
    "llama-all": dict(dtype=torch.float32, config=dict(
        r=4, lora_alpha=8, target_modules=MATRICES + ["lm_head"],
        rank_pattern={"k_proj": 2, "layers.1.self_attn.q_proj": 3, r"model\.layers\.0\.mlp\.(up|gate)_proj": 1},
        alpha_pattern={"v_proj": 16, r".*\.1\..*down_proj": 5})),
    "llama-rs": dict(dtype=torch.float16, config=dict(
        r=3, lora_alpha=4, use_rslora=True, fan_in_fan_out=True, target_modules=["q_proj", "o_proj", "embed_tokens"])),
    # The head is the embedding: an adapter of one is none of the other.
    "qwen3-all": dict(dtype=torch.bfloat16, config=dict(
        r=5, lora_alpha=7.5, use_rslora=True, target_modules=MATRICES + ["embed_tokens"],
        rank_pattern={"embed_tokens": 2}, alpha_pattern={"embed_tokens": 1})),
    "phi3-all": dict(dtype=torch.float32, config=dict(r=4, lora_alpha=8, target_modules=FUSED + ["lm_head"])),
    # Its embeddings are multiplied by the root of the width, whatever is added to them.
    "gemma3-all": dict(dtype=torch.float32, config=dict(
        r=2, lora_alpha=3, target_modules=MATRICES + ["embed_tokens"])),
}


def tokens():
    return torch.tensor([[int(t) for t in (FOLDERS / "tokens.txt").read_text().split()]])


def base(name):
    model = hf.AutoModelForCausalLM.from_pretrained(FOLDERS / name.split("-")[0], dtype=torch.float32,
                                                    attn_implementation="eager")
    return model.eval()


@torch.no_grad()
def write_logits(model, name):
    logits = model.double()(input_ids=tokens(), use_cache=False).logits[0]
    logits.float().numpy().astype("<f4").tofile(HERE / f"{name}.f32")
    return logits


@torch.no_grad()
def make(name):
    spec = ADAPTERS[name]
    torch.manual_seed(1)
    # The library says false where a matrix lies as usual; files of other programs do not.
    said = spec["config"].get("fan_in_fan_out", False)
    model = get_peft_model(base(name), LoraConfig(**spec["config"] | {"fan_in_fan_out": False}))
    plain = base(name).double()(input_ids=tokens(), use_cache=False).logits[0]
    rng = torch.Generator().manual_seed(2026)
    for key, p in sorted(model.named_parameters()):
        if "lora_" not in key:
            continue
        # An embedding's A has a column for each token.
        width = 1 if "embedding_A" in key else p.shape[-1]
        size = (0.25 if "_B" in key else 1) / width ** 0.5
        p.data = (torch.randn(p.shape, generator=rng) * size).to(spec["dtype"]).float()
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    for p in model.parameters():
        p.data = p.data.to(spec["dtype"]) if p.requires_grad else p.data
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    config |= {"base_model_name_or_path": name.split("-")[0], "fan_in_fan_out": said}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    logits = write_logits(model.float(), name)
    print(f"{name}: {sum(f.stat().st_size for f in folder.iterdir())} bytes, "
          f"largest change {(logits - plain).abs().max() / plain.std():.2f} of the spread")


@torch.no_grad()
def make_both():
    model = PeftModel.from_pretrained(base("llama"), HERE / "llama-all", adapter_name="all").float()
    model.load_adapter(HERE / "llama-rs", adapter_name="rs")
    model.base_model.set_adapter(["all", "rs"])
    for module in model.modules():
        if hasattr(module, "set_scale"):
            for adapter, factor in (("all", 0.5), ("rs", 2)):
                module.set_scale(adapter, factor)
    write_logits(model.float().eval(), "llama-both")


@torch.no_grad()
def make_experts():
    name, rank, alpha = "qwen3_moe-experts", 2, 6
    model = base(name)
    model.config._experts_implementation = "eager"
    rng = torch.Generator().manual_seed(7)
    tensors = {}

    def pair(module, rows, cols):
        a = torch.randn(rank, cols, generator=rng) / cols ** 0.5
        b = torch.randn(rows, rank, generator=rng) / rank ** 0.5 / 2
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
        return alpha / rank * (b.double() @ a.double())

    model = model.double()
    for i, layer in enumerate(model.model.layers):
        router, experts = layer.mlp.gate, layer.mlp.experts
        router.weight += pair(f"model.layers.{i}.mlp.gate", *router.weight.shape)
        n, inner = experts.down_proj.shape[0], experts.down_proj.shape[2]
        for e in range(i, n):
            module = f"model.layers.{i}.mlp.experts.{e}"
            experts.gate_up_proj[e, :inner] += pair(f"{module}.gate_proj", inner, model.config.hidden_size)
            experts.gate_up_proj[e, inner:] += pair(f"{module}.up_proj", inner, model.config.hidden_size)
            experts.down_proj[e] += pair(f"{module}.down_proj", model.config.hidden_size, inner)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none", "base_model_name_or_path": "qwen3_moe",
              "target_modules": ["gate", "gate_proj", "up_proj", "down_proj"], "lora_dropout": 0.05}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_logits(model, name)


if __name__ == "__main__":
    for name in sys.argv[1:] or ADAPTERS:
        make(name)
    make_both()
    make_experts()
