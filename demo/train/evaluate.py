"""Measures a GGUF of the demo model with its weights dequantised to f32: scores per kind and perplexity.

  evaluate.py GGUF TOKENIZER.json CORPUS-BIN N SCORES.json [--golden DIR]

Items are the crate's held-out items of seed 2026; the crate's judge decides (the corpus example's `judge`). An answer that
has no <|im_end|> within 256 tokens counts as wrong. Perplexity: each of the 200 plain held-out stories of seed 2027 by
itself, from position 0, natural-log loss of every token but the first, mean over all those tokens, exponential.
--golden writes tokens.json, greedy.json and held-out.txt there, for tests of other implementations.
"""
import argparse
import json
import math
import os
import subprocess

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from model import Config, Model

SEED = 2026
N_MAX = 256

TEXTS = [
    "", " ", "  ", "\n", "\n\n", "a", " a", "Hello", "Hello, world!", "What is 12 + 30?", "12+30=42", "1234567890",
    "I'm sure they'll say it's Anna's.", "I'M SURE", "tabs\tand\t\ttabs", "  two spaces before", "two spaces after  ",
    "a  b   c    d", "line one\nline two\n\nline four\n", "line\r\nbreak", "  \n  indented", "def add(a, b):\n    return a + b\n",
    "{\"name\": \"Ada Bell\", \"age\": 34}", "...!?!...", "naïve café Zürich", "日本語のテキスト", "Привет, мир", "emoji 🦊 fox",
    "e\u0301 combining", "THE RED FOX", "x_1 = y_2 * 3.14", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", "<|not_a_token|>", "<|im_start|><|im_end|>", "http://example.org/?q=1&r=2",
    "- Mail: Anna: Lunch?\n- Phone: Ben: Missed call", "\"Quoted,\" said Tom. 'Single.'", "a\u00a0b\u2003c", "½ ² ٣ Ⅷ",
]

PROMPTS = [
    "Hello", "Who are you?", "Why is the sky blue?", "What is 12 + 30?", "Write a story about a fox.",
    "Make this polite: Open the window.", "Summarise:\n- Messages: Anna: Where are you?\n- Messages: Anna: I will be late.",
    "Extract the name and age as JSON: Mia Berg is 31 years old, lives in Oslo and works as a baker.",
]


def load(path):
    """The model with the file's weights in f32."""
    reader = gguf.GGUFReader(path)
    get = lambda key: reader.fields[key].contents()
    config = Config(
        dim=get("llama.embedding_length"), n_layers=get("llama.block_count"), n_heads=get("llama.attention.head_count"),
        n_kv_heads=get("llama.attention.head_count_kv"), head_dim=get("llama.attention.key_length"),
        ffn_dim=get("llama.feed_forward_length"), vocab=get("llama.vocab_size"), context=get("llama.context_length"),
        rope_base=get("llama.rope.freq_base"), eps=get("llama.attention.layer_norm_rms_epsilon"))
    model = Model(config)
    names = {"token_embd.weight": "embd", "output_norm.weight": "norm"}
    state = {}
    for tensor in reader.tensors:
        name = names.get(tensor.name) or tensor.name.replace("blk.", "layers.").removesuffix(".weight")
        state[name] = torch.from_numpy(np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32))
    model.load_state_dict(state)
    return model.eval()


def escaped(answer):
    return answer.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", " ").replace("\r", " ")


def answers(model, tokenizer, prompts):
    """Greedy answers in the prompts' order; None where the model did not stop by itself."""
    stop = tokenizer.token_to_id("<|im_end|>")
    ids = [e.ids for e in tokenizer.encode_batch(prompts, add_special_tokens=False)]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    out = [None] * len(ids)
    for at in range(0, len(order), 50):
        part = order[at:at + 50]
        for i, found in zip(part, model.greedy([ids[i] for i in part], N_MAX, stop)):
            out[i] = None if found is None else tokenizer.decode(found, skip_special_tokens=False)
    return out


@torch.inference_mode()
def perplexity(model, tokenizer, stories):
    total, count = 0.0, 0
    for story in stories:
        ids = torch.tensor([tokenizer.encode(story, add_special_tokens=False).ids])
        total += F.cross_entropy(model.logits(ids)[0, :-1], ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    return math.exp(total / count), count


def golden(model, tokenizer, stories, ppl, count, folder):
    os.makedirs(folder, exist_ok=True)
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    with open(f"{folder}/tokens.json", "w") as file:
        rows = [json.dumps({"text": text, "ids": ids(text)}, ensure_ascii=False) for text in TEXTS]
        file.write("[\n" + ",\n".join(rows) + "\n]\n")
    rows = []
    for prompt in PROMPTS:
        prompt = ids(f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n")
        made = model.greedy([prompt], N_MAX, ids("<|im_end|>")[0])[0] or []
        with torch.inference_mode():
            top = model.logits(torch.tensor([prompt + made]))[0, len(prompt) - 1:].topk(2).values
        margin = round((top[:, 0] - top[:, 1]).min().item(), 4)
        rows.append(json.dumps({"prompt": prompt, "made": made, "text": tokenizer.decode(made), "margin_min": margin}))
    with open(f"{folder}/greedy.json", "w") as file:
        file.write("[\n" + ",\n".join(rows) + "\n]\n")
    with open(f"{folder}/held-out.txt", "w") as file:
        file.write("\n\n".join(stories) + "\n")


def main():
    parser = argparse.ArgumentParser()
    for name in ("gguf", "tokenizer", "corpus"):
        parser.add_argument(name)
    parser.add_argument("n", type=int)
    parser.add_argument("scores")
    parser.add_argument("--golden")
    parser.add_argument("--show", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    torch.manual_seed(0)
    model, tokenizer = load(args.gguf), Tokenizer.from_file(args.tokenizer)
    run = lambda *a, **k: subprocess.run([args.corpus, *map(str, a)], check=True, capture_output=True, text=True, **k).stdout
    items = [json.loads(line) for line in run(SEED, args.n, "items").splitlines()]
    found = answers(model, tokenizer, [item["prompt"] for item in items])
    lines = "".join(f"{item['kind']}\t{i % args.n}\t{escaped(a or '')}\n" for i, (item, a) in enumerate(zip(items, found)))
    right = run(SEED, args.n, "judge", input=lines).split()
    assert len(right) == len(items)
    scores = {}
    for item, ok, answer in zip(items, right, found):
        row = scores.setdefault(item["kind"], {"kind": item["kind"], "n": 0, "passed": 0, "stopped": 0})
        row["n"] += 1
        row["passed"] += int(ok == "1" and answer is not None)
        row["stopped"] += int(answer is not None)
        if ok == "0" and row["n"] - row["passed"] <= args.show:
            print(json.dumps([item["prompt"][-400:], item["answer"], answer], ensure_ascii=False))
    stories = run(SEED + 1, 200, "stories").strip().split("\n\n")
    ppl, count = perplexity(model, tokenizer, stories)
    lines = ["  " + json.dumps(row) for row in scores.values()]
    with open(args.scores, "w") as file:
        file.write('{"seed": %d, "n_max": %d, "weights": "q8_0 dequantised to f32",\n "perplexity": %.4f, '
                   '"perplexity_tokens": %d, "perplexity_seed": %d,\n "scores": [\n%s\n ]}\n'
                   % (SEED, N_MAX, ppl, count, SEED + 1, ",\n".join(lines)))
    print(open(args.scores).read())
    if args.golden:
        golden(model, tokenizer, stories, ppl, count, args.golden)


if __name__ == "__main__":
    main()
