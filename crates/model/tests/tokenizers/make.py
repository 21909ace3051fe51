"""Tokenizers of every make, and what the tokenizers library does with random texts.

`make.py small`       writes the small tokenizers and their cases beside this file, which tests/json.rs reads.
`make.py deep PROGRAM [--n 100000] [--texts DIR] [--vocabs DIR] [--charsmap FILE]`
                      trains larger ones, takes the demo's and converts the reference vocabularies of llama.cpp to
                      tokenizer.json, and compares
                      the ids and texts of PROGRAM (the example `tokens`, built with --release) on N texts each.

Needs the packages tokenizers and, for vocabularies, gguf. The texts are those of ../shared/data/text beside the checkout.
"""
import argparse
import base64
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
SHARED = HERE.parents[4] / "shared"
BYTES = pre_tokenizers.ByteLevel.alphabet()

CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK3 = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]
# Written with escapes: some of these letters have a normal form that is another letter.
DEEPSEEK_LLM = [
    "[\r\n]",
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
    "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
    "\\s+$",
    "[一-龥\u0800-一가-\ud7ff]+",
    "\\p{N}+",
]


def isolated(*patterns):
    return [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]


def byte_level(use_regex=False, add_prefix_space=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)


def sequence(*parts):
    return pre_tokenizers.Sequence(list(parts))


def special(*texts):
    return [AddedToken(text, special=True, normalized=False) for text in texts]


LLAMA_DECODER = [
    decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
]
FALLBACK = [f"<0x{byte:02X}>" for byte in range(256)]


class Make:
    """A tokenizer to be trained."""

    def __init__(self, model, pre=None, norm=None, decoder=None, added=(), post=None, after=None, **trainer):
        self.model, self.pre, self.norm, self.decoder, self.added = model, pre, norm, decoder, added
        self.post, self.after, self.trainer = post, after, trainer


def makes():
    """One for each family of components."""
    bpe = lambda **settings: models.BPE(**settings)
    byte = dict(initial_alphabet=BYTES, decoder=decoders.ByteLevel())
    metaspace = pre_tokenizers.Metaspace
    spaces = normalizers.Replace(" ", "▁")
    end = special("<|end|>")
    return {
        "gpt2": Make(bpe(), byte_level(True), added=end, **byte),
        "roberta": Make(
            bpe(), byte_level(True, True), normalizers.NFC(),
            added=[AddedToken("<mask>", lstrip=True, special=True, normalized=False),
                   AddedToken("tool", single_word=True, normalized=False),
                   AddedToken("naïve", normalized=True), AddedToken("[end]", rstrip=True, special=True)],
            post=lambda t: processors.RobertaProcessing(("<mask>", t.token_to_id("<mask>")), ("tool", t.token_to_id("tool"))),
            **byte),
        "qwen": Make(bpe(), sequence(*isolated(CL100K % ""), byte_level()), normalizers.NFC(), added=end, **byte),
        "llama3": Make(
            bpe(ignore_merges=True), sequence(*isolated(CL100K % "{1,3}"), byte_level()), added=special("<s>", "</s>"),
            post=lambda t: processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(
                single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", t.token_to_id("<s>"))])]), **byte),
        "gpt4o": Make(bpe(), sequence(*isolated(O200K), byte_level()), added=end, **byte),
        "deepseek3": Make(bpe(), sequence(*isolated(*DEEPSEEK3), byte_level()), added=end, **byte),
        "smollm": Make(bpe(), sequence(pre_tokenizers.Digits(individual_digits=True), byte_level(True)), **byte),
        "falcon": Make(bpe(), sequence(
            pre_tokenizers.Punctuation("contiguous"), byte_level(True), pre_tokenizers.Digits(),
            *isolated("[0-9][0-9][0-9]")), **byte),
        "odd-bytes": Make(
            bpe(unk_token="<unk>", fuse_unk=True), sequence(pre_tokenizers.Split(" ", "merged_with_next"), byte_level()),
            normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
            added=special("<unk>"), special_tokens=["<unk>"], decoder=decoders.ByteLevel()),
        "llama2": Make(
            bpe(byte_fallback=True, fuse_unk=True, unk_token="<unk>"), None,
            normalizers.Sequence([normalizers.Prepend("▁"), spaces]), decoders.Sequence(LLAMA_DECODER),
            added=special("<unk>", "<s>", "</s>"), special_tokens=["<unk>", "<s>", "</s>"] + FALLBACK, after=metaspace()),
        "mistral": Make(
            bpe(byte_fallback=True, fuse_unk=True, unk_token="<unk>"),
            metaspace(prepend_scheme="first", split=False), None, decoders.Sequence(LLAMA_DECODER),
            added=special("<unk>", "<s>") + [AddedToken("[tool]", normalized=True)],
            special_tokens=["<unk>", "<s>"] + FALLBACK, after=metaspace()),
        "gemma": Make(
            bpe(byte_fallback=True, fuse_unk=True, unk_token="<unk>"),
            pre_tokenizers.Split(" ", "merged_with_previous"), spaces,
            decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
            added=special("<unk>", "<eos>"), special_tokens=["<unk>", "<eos>"] + FALLBACK, after=metaspace(prepend_scheme="never")),
        "clip": Make(
            bpe(unk_token="<unk>", end_of_word_suffix="</w>"), pre_tokenizers.Whitespace(),
            normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
            decoders.BPEDecoder("</w>"), added=special("<unk>"), special_tokens=["<unk>"], end_of_word_suffix="</w>"),
        "prefixed": Make(
            bpe(unk_token="<unk>", continuing_subword_prefix="##"), pre_tokenizers.WhitespaceSplit(), normalizers.NFKD(),
            decoders.WordPiece("##", cleanup=False), added=special("<unk>"), special_tokens=["<unk>"],
            continuing_subword_prefix="##"),
        "t5": Make(
            models.Unigram(), metaspace(),
            normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]),
            decoders.Metaspace(), added=special("<unk>", "</s>"), special_tokens=["<unk>", "</s>"], unk_token="<unk>",
            post=lambda t: processors.TemplateProcessing(
                single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", t.token_to_id("</s>"))])),
        "albert": Make(
            models.Unigram(byte_fallback=True), metaspace(prepend_scheme="first"),
            normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents(),
                                  normalizers.Lowercase(), normalizers.Strip()]),
            decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]),
            added=special("<unk>", "[CLS]"), special_tokens=["<unk>", "[CLS]"] + FALLBACK, unk_token="<unk>"),
        "bert": Make(
            models.WordPiece(unk_token="[UNK]"), pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(),
            decoders.WordPiece(), added=special("[UNK]", "[CLS]", "[SEP]"), special_tokens=["[UNK]", "[CLS]", "[SEP]"],
            post=lambda t: processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))),
        "bert-cased": Make(
            models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=12),
            sequence(pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous")),
            normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False),
            decoders.WordPiece("##", cleanup=True), added=special("[UNK]"), special_tokens=["[UNK]"]),
        "words": Make(
            models.WordLevel(unk_token="[UNK]"),
            sequence(pre_tokenizers.CharDelimiterSplit("-"), pre_tokenizers.Punctuation("merged_with_next"),
                     pre_tokenizers.Digits(), pre_tokenizers.Whitespace()),
            None, None, added=special("[UNK]"), special_tokens=["[UNK]"]),
        "lengths": Make(
            models.WordLevel(unk_token="[UNK]"), pre_tokenizers.FixedLength(length=3),
            normalizers.Sequence([normalizers.Strip(left=True, right=False), normalizers.ByteLevel()]),
            decoders.Fuse(), added=special("[UNK]"), special_tokens=["[UNK]"]),
        "patterns": Make(
            bpe(unk_token="[UNK]"), sequence(
                pre_tokenizers.Split(Regex(r"(?<=[a-z])(?=[A-Z])|\s+"), "removed"),
                pre_tokenizers.Split(Regex(r"[aeiou]+"), "contiguous"),
                pre_tokenizers.Split(Regex(r"\w+$|^[A-Z]"), "merged_with_next")),
            None, None, added=special("[UNK]"), special_tokens=["[UNK]"]),
    }


def train(make, texts, size):
    """The tokenizer of `make`, with `size` tokens learnt from `texts`."""
    tokenizer = Tokenizer(make.model)
    if make.norm is not None and make.after is None:
        tokenizer.normalizer = make.norm
    tokenizer.pre_tokenizer = make.after if make.after is not None else make.pre
    trainer = {models.BPE: trainers.BpeTrainer, models.Unigram: trainers.UnigramTrainer,
               models.WordPiece: trainers.WordPieceTrainer, models.WordLevel: trainers.WordLevelTrainer}[type(make.model)]
    tokenizer.train_from_iterator(texts, trainer(vocab_size=size, show_progress=False, **make.trainer))
    tokenizer = rebuilt(tokenizer, make)
    if make.decoder is not None:
        tokenizer.decoder = make.decoder
    plain = [token for token in make.added if not token.special]
    tokenizer.add_special_tokens([token for token in make.added if token.special])
    tokenizer.add_tokens(plain)
    if make.post is not None:
        tokenizer.post_processor = make.post(tokenizer)
    return Tokenizer.from_str(tokenizer.to_str())


def rebuilt(tokenizer, make):
    """The tokenizer without what it was trained with: another pre-tokenizer, byte tokens that count as special."""
    whole = json.loads(tokenizer.to_str())
    whole["normalizer"] = whole["pre_tokenizer"] = None
    whole["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(whole))
    if make.norm is not None:
        tokenizer.normalizer = make.norm
    if make.pre is not None:
        tokenizer.pre_tokenizer = make.pre
    return tokenizer


def corpus(folder):
    """Paragraphs of the texts in `folder`, and of this repository where there is none."""
    files = sorted(folder.glob("*")) if folder.is_dir() else [HERE.parents[3] / "README.md"]
    return [line for file in files for line in file.read_text("utf-8", "replace").splitlines(keepends=True) if line.strip()]


PARTS = [
    " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff", "\u0085", "\x00", "\x1b", "\ufffd",
    "'s", "'S", "'re", "'ſ", "don't", "I'LL", "?!", "...", "``", "--", "_", "/", "//\n", "$", "+", "=", "#", "@", "(", "[", "`",
    "1", "12", "123", "1234", "12345", "1234567", "3.14", "½", "²", "٣٤", "Ⅷ", "①", "a", "A", "the", "The", "hello", "Hello",
    "HTTPServer", "camelCase", "naïve", "nai\u0308ve", "Straße", "İstanbul", "ǅ", "ﬁ", "Ａ", "é", "e\u0301", "\u0301", "ñandú", "日本語",
    "漢字かな", "カタカナ", "中文", "，", "。", "한국어", "ภาษาไทย", "हिन्दी", "العربية", "עברית", "Ελληνικά", "ῥᾷ", "Русский", "українська",
    "🙂", "👨‍👩‍👧", "🇩🇪", "𝔘𝔫𝔦", "𐐷", "▁", "▁▁", "Ġ", "<0x41>", "<0x", "<unk>", "<s>", "</s>", "<|end|>", "<mask>", "[UNK]", "[CLS]",
    "[tool]", "tool", "tools", "[end]", "<eos>", "</w>", "##", "##ing",
]


def random_text(rng, lines):
    """A few words of the corpus, or odds and ends, or characters of any script."""
    kind = rng.random()
    if kind < 0.3:
        line = rng.choice(lines)
        start = rng.randrange(len(line))
        return line[start:start + rng.randrange(1, 120)]
    if kind < 0.85:
        return "".join(rng.choice(PARTS) for _ in range(rng.randrange(1, 14)))
    start = rng.choice([0x20, 0xa0, 0x300, 0x370, 0x5d0, 0x900, 0xe00, 0x1100, 0x1e00, 0x2000, 0x2150, 0x3040, 0x4e00, 0xac00,
                        0xf900, 0xff00, 0x1d400, 0x1f600])
    found = []
    while len(found) < 12:
        c = chr(start + rng.randrange(160))
        # Of characters newer than the library's tables it can say nothing; U+061D is such a one.
        found.append(c if unicodedata.category(c) not in ("Cn", "Cs") and c != "\u061d" else rng.choice(PARTS))
    return "".join(found[:rng.randrange(1, 13)])


def expected(tokenizer, texts):
    """What PROGRAM should say of `texts`."""
    out = []
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
        out.append([encoding.ids] + [decoded(tokenizer, encoding.ids, skip) for skip in (True, False)])
    return out


def decoded(tokenizer, ids, skip):
    # BPEDecoder and Strip can't bear a text of no tokens.
    return tokenizer.decode(ids, skip_special_tokens=skip) if ids else ""


def converted(vocabs):
    """The reference vocabularies as tokenizer.json, where the pipeline they came from is known."""
    from gguf import GGUFReader

    def read(name):
        fields = GGUFReader(vocabs / f"ggml-vocab-{name}.gguf").fields
        strings = lambda key: [bytes(fields[key].parts[i]).decode() for i in fields[key].data]
        tokens = strings("tokenizer.ggml.tokens")
        kinds = [int(fields["tokenizer.ggml.token_type"].parts[i][0]) for i in fields["tokenizer.ggml.token_type"].data]
        merges = strings("tokenizer.ggml.merges") if "tokenizer.ggml.merges" in fields else []
        return tokens, kinds, [tuple(m[:1] + part for part in [m[1:]])[0] for m in merges]

    def bpe(name, pre, norm=None, **settings):
        tokens, kinds, merges = read(name)
        split = [(m[:m.index(" ", 1)], m[m.index(" ", 1) + 1:]) for m in merges]
        # Tokens that files call unused or text, but no merge makes, were added.
        model = {t: i for i, t in enumerate(tokens) if kinds[i] in (1, 6)}
        known = [(a, b) for a, b in split if a in model and b in model and a + b in model]
        model = models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=known, **settings)
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre
        if norm is not None:
            tokenizer.normalizer = norm
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, kinds) if k in (2, 3)])
        tokenizer.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, kinds) if k == 4])
        return tokenizer

    yield "gpt-2", bpe("gpt-2", byte_level(True))
    yield "qwen2", bpe("qwen2", sequence(*isolated(CL100K % ""), byte_level()))
    yield "llama-bpe", bpe("llama-bpe", sequence(*isolated(CL100K % "{1,3}"), byte_level()), ignore_merges=True)
    yield "deepseek-llm", bpe("deepseek-llm", sequence(*isolated(*DEEPSEEK_LLM), byte_level()))
    gemma = bpe("gemma-4", pre_tokenizers.Split(" ", "merged_with_previous"), normalizers.Replace(" ", "▁"),
                byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    gemma.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    yield "gemma-4", gemma

    def sentence_piece(name):
        """Merges are every way to cut a token into two, the best score first; every part that is a token has one."""
        tokens, kinds, _ = read(name)
        ids = {t: i for i, t in enumerate(tokens)}
        field = GGUFReader(vocabs / f"ggml-vocab-{name}.gguf").fields["tokenizer.ggml.scores"]
        scores = [float(field.parts[i][0]) for i in field.data]
        merges = []
        for i, token in enumerate(tokens):
            cuts = [(token[:n], token[n:]) for n in range(1, len(token))] if kinds[i] == 1 else []
            merges += [(-scores[i], ids[a], ids[b], a, b) for a, b in cuts if a in ids and b in ids]
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[m[3:] for m in sorted(merges)], byte_fallback=True, fuse_unk=True,
                                         unk_token="<unk>"))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(LLAMA_DECODER)
        tokenizer.add_special_tokens(special(*[t for t, k in zip(tokens, kinds) if k in (2, 3)]))
        tokenizer.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, kinds) if k == 4])
        return tokenizer

    yield "llama-spm", sentence_piece("llama-spm")
    yield "phi-3", sentence_piece("phi-3")

    tokens, kinds, _ = read("bert-bge")
    words = [t[1:] if t.startswith("▁") else t if k == 3 else "##" + t for t, k in zip(tokens, kinds)]
    bert = Tokenizer(models.WordPiece(vocab={t: i for i, t in enumerate(words)}, unk_token="[UNK]"))
    bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    bert.decoder = decoders.WordPiece()
    bert.add_special_tokens(special(*[t for t, k in zip(words, kinds) if k == 3]))
    yield "bert-bge", bert


def small():
    rng = random.Random(7)
    lines = corpus(SHARED / "data/text")
    few = rng.sample(lines, 1500)
    cases = {}
    for name, make in makes().items():
        n_bytes = 256 * (b"<0x" in json.dumps(make.trainer.get("special_tokens", [])).encode() or "initial_alphabet" in make.trainer)
        tokenizer = train(make, few, 150 + n_bytes)
        texts = [random_text(rng, lines)[:48] for _ in range(30)]
        cases[name] = {
            "tokenizer": json.loads(tokenizer.to_str()),
            "around": tokenizer.encode("").ids,
            "cases": [[text, *rest] for text, rest in zip(texts, expected(tokenizer, texts))],
        }
    with open(HERE / "small.json", "w") as file:
        json.dump(cases, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def deep(program, n, texts_folder, vocabs, charsmap):
    rng = random.Random(11)
    lines = corpus(texts_folder)
    texts = [random_text(rng, lines) for _ in range(n)]
    written = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)

    def all_tokenizers():
        for name, make in makes().items():
            yield name, train(make, lines[:20000], 4000), None
        if charsmap:
            make = makes()["t5"]
            make.norm = normalizers.Precompiled(charsmap.read_bytes())
            yield "precompiled", train(make, lines[:20000], 4000), None
        demo = HERE.parents[3] / "demo"
        yield "demo", Tokenizer.from_file(str(demo / "train/tokenizer.json")), demo / "demo.gguf"
        if vocabs:
            for name, tokenizer in converted(vocabs):
                yield name, tokenizer, vocabs / f"ggml-vocab-{name}.gguf"

    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, tokenizer, gguf in all_tokenizers():
            path = pathlib.Path(folder) / "tokenizer.json"
            tokenizer.save(str(path), pretty=False)
            wanted = expected(tokenizer, texts)
            for file in filter(None, [path, gguf]):
                found = subprocess.run([program, str(file)], input=written.encode(), stdout=subprocess.PIPE, check=True).stdout
                found = [json.loads(line) for line in found.split(b"\n") if line]
                assert len(found) == n
                # A GGUF file says nothing of how the first token is written with special tokens' names.
                compared = 1 if file == gguf else 3
                wrong = [(t, w, f) for t, w, f in zip(texts, wanted, found) if w[:compared] != f[:compared]]
                print(f"{name} ({file.suffix[1:]}): {len(wrong)} of {n} differ", flush=True)
                failed |= bool(wrong)
                for text, w, f in wrong[:4]:
                    print("  ", json.dumps([text, w, f]))
    sys.exit(failed)


if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("what", choices=["small", "deep"])
    args.add_argument("program", nargs="?")
    args.add_argument("--n", type=int, default=100_000)
    args.add_argument("--texts", type=pathlib.Path, default=SHARED / "data/text")
    args.add_argument("--vocabs", type=pathlib.Path)
    args.add_argument("--charsmap", type=pathlib.Path)
    given = args.parse_args()
    if given.what == "small":
        small()
    else:
        deep(given.program, given.n, given.texts, given.vocabs, given.charsmap)
