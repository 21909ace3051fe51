#!/usr/bin/env python3
"""Makes the folder model: a tiny random model that has a vocabulary, as people find them, and expected.json, what it says.

  make.py      (needs torch, transformers, tokenizers and safetensors from PyPI)

Everything in the folder is what the libraries save: tokenizer.json with a byte-level BPE trained on the sentences below,
tokenizer_config.json, chat_template.jinja and generation_config.json beside config.json and model.safetensors. As in many
published models the embedding has rows that no token uses, and generation_config.json ends an answer with a token that is
not special otherwise, so that nothing but that file can be the reason why an answer ends there.

expected.json has ids of texts, a conversation as the template writes it, and the answer of greatest probability, computed by
the library in float64. At every step the best token leads by more than float32 could blur.
"""
import json
import os
import shutil
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
SPECIAL = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"]
SENTENCES = ["The river runs under the old bridge and on to the sea.", "In the morning the miller's daughter walks to the mill.",
             "There is nothing under the bridge but the river.", "She counts to ten: one, two, three, and there it is.",
             "The mill stands where the river meets the road, and the road meets the sea."]
TEXTS = ["The river meets the sea.", " the  mill\n\n\tand 1234", "Grüße an die Brücke, 橋 \U0001f309", "<|end|> is no text <|user|>", ""]
TEMPLATE = ("{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content | trim }}{{ eos_token }}"
            "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}")
ROWS, STEPS, LEAD = 312, 12, 0.005


def train():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(SENTENCES, trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[1],
                                      chat_template=TEMPLATE, clean_up_tokenization_spaces=False)


def build(n_tokens):
    torch.manual_seed(1)
    model = hf.LlamaForCausalLM(hf.LlamaConfig(
        vocab_size=ROWS, hidden_size=32, intermediate_size=40, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=0, eos_token_id=1, attn_implementation="eager"))
    rng = torch.Generator().manual_seed(2026)
    for name, p in sorted(model.named_parameters()):
        value = torch.randn(p.shape, generator=rng)
        p.data = (value * (1.5 / p.shape[-1] ** 0.5) if p.ndim == 2 else 1 + 0.2 * value).bfloat16().float()
        if p.shape[0] == ROWS:
            p.data[n_tokens:] = 0
    return model.eval()


@torch.no_grad()
def answer(model, ids):
    """The next tokens, each by a clear lead."""
    model, out = model.double(), []
    for _ in range(STEPS):
        best = model(torch.tensor([ids + out]), use_cache=False).logits[0, -1].topk(2)
        assert best.values[0] - best.values[1] > LEAD, best
        out.append(int(best.indices[0]))
    return out


def main():
    tokenizer, folder = train(), HERE / "model"
    model = build(len(tokenizer))
    messages = [{"role": "user", "content": "Where does the river meet the sea?"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    shutil.rmtree(folder, ignore_errors=True)
    model.bfloat16().save_pretrained(folder)
    said = answer(hf.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval(), prompt)
    # The last token that is said for the first time ends the answer.
    last = max(said.index(id) for id in set(said))
    assert last > 4 and said[last] >= len(SPECIAL)
    ending = {"bos_token_id": 0, "eos_token_id": [1, said[last]]}
    hf.GenerationConfig(**ending).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    special = [[text, tokenizer(text)["input_ids"]] for text in TEXTS]
    tokenizer.backend_tokenizer.encode_special_tokens = True
    plain = [[text, tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids] for text in TEXTS]
    expected = {"text": plain, "special": special, "messages": messages, "rendered": rendered, "prompt": prompt,
                "answer": tokenizer.decode(said[:last], skip_special_tokens=True), "answer_ids": said[:last + 1]}
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in expected.items()]
    (HERE / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print({f.name: f.stat().st_size for f in folder.iterdir()}, repr(expected["answer"]), expected["answer_ids"])


if __name__ == "__main__":
    main()
