"""Our privacy detectors beside Presidio's recognisers by pattern, on the same texts: measure.py PROGRAM N

Presidio runs with all its recognisers by pattern and a blank pipeline of spaCy, so that no model is needed: it has no names and
no places then, and what it says without words nearby keeps its low score. Everything it finds counts, as does everything we find.
A label is found if one finding of its kind covers all of it; a finding is right if it touches a label of its kind. See run."""
import inspect
import json
import logging
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import spacy
from presidio_analyzer import AnalyzerEngine, PatternRecognizer, RecognizerRegistry, predefined_recognizers
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

PROGRAM, N = sys.argv[1], sys.argv[2]
LABELLED = Path(__file__).parents[4] / "../shared/data/pii/presidio_synthetic.json"
# What the labelled texts and Presidio call our kinds.
OURS = {"DOMAIN_NAME": "URL", "ZIP_CODE": "STREET_ADDRESS", "DATE_TIME": "DATE_OF_BIRTH"}
KINDS = ["CREDIT_CARD", "IBAN_CODE", "US_SSN", "EMAIL_ADDRESS", "IP_ADDRESS", "PHONE_NUMBER", "URL", "PERSON", "STREET_ADDRESS",
         "DATE_OF_BIRTH"]


class Blank(NlpEngine):
    """Tokens and nothing else."""

    def __init__(self):
        self.nlp = spacy.blank("en")

    def load(self):
        pass

    def is_loaded(self):
        return True

    def process_text(self, text, language):
        doc = self.nlp(text)
        # Words nearby are looked for among lemmas.
        lemmas = [token.text.lower() for token in doc]
        return NlpArtifacts([], doc, [token.idx for token in doc], lemmas, self, language)

    def process_batch(self, texts, language, **_):
        return ((text, self.process_text(text, language)) for text in texts)

    def is_stopword(self, word, language):
        return self.nlp.vocab[word].is_stop

    def is_punct(self, word, language):
        return self.nlp.vocab[word].is_punct

    def get_supported_entities(self):
        return []

    def get_supported_languages(self):
        return ["en"]


def presidio():
    registry = RecognizerRegistry(supported_languages=["en"])
    for _, cls in sorted(inspect.getmembers(predefined_recognizers, inspect.isclass)):
        if (issubclass(cls, PatternRecognizer) and cls is not PatternRecognizer) or cls is PhoneRecognizer:
            # Those of other countries too, over the same texts.
            registry.add_recognizer(cls(supported_language="en"))
    engine = AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])
    return lambda text: [(OURS.get(r.entity_type, r.entity_type), r.start, r.end) for r in engine.analyze(text, "en")]


def ours(texts):
    found = json.loads(subprocess.run([PROGRAM, "spans"], input=json.dumps(texts), check=True, capture_output=True, text=True).stdout)
    return [[(kind, start, end) for kind, _, start, end in spans] for spans in found]


def scores(samples, found):
    """By kind: labels, found of them, findings, right of them."""
    by_kind = defaultdict(lambda: [0, 0, 0, 0])
    for (_, labels), spans in zip(samples, found):
        for kind, start, end in labels:
            by_kind[kind][0] += 1
            by_kind[kind][1] += any(k == kind and s <= start and e >= end for k, s, e in spans)
        for kind, start, end in spans:
            by_kind[kind][2] += 1
            by_kind[kind][3] += any(k == kind and s < end and start < e for k, s, e in labels)
    return by_kind


def ratio(part, whole):
    return f"{part / whole:.3f}" if whole else "-"


def table(title, samples, analyze):
    texts = [text for text, _ in samples]
    start = time.monotonic()
    theirs = [analyze(text) for text in texts]
    seconds = time.monotonic() - start
    mine, theirs = scores(samples, ours(texts)), scores(samples, theirs)
    print(f"\n{title}: {len(texts)} texts, {sum(map(len, texts)) / 1000:.0f} thousand characters; Presidio took {seconds:.1f} s\n")
    print("| kind | labels | our recall | our precision | Presidio's recall | its precision |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        (n, hit, found, right), (_, hit2, found2, right2) = mine[kind], theirs[kind]
        if n:
            print(f"| {kind} | {n} | {ratio(hit, n)} | {ratio(right, found)} | {ratio(hit2, n)} | {ratio(right2, found2)} |")
    for name, by_kind in (("we", mine), ("Presidio", theirs)):
        others = {kind: s[2] for kind, s in sorted(by_kind.items()) if not s[0] and s[2]}
        print(f"\nKinds without labels that {name} found:", ", ".join(f"{kind} {n}" for kind, n in others.items()) or "none")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    analyze = presidio()
    if LABELLED.exists():
        rows = json.loads(LABELLED.read_text())
        labelled = [(row["full_text"], [(OURS.get(s["entity_type"], s["entity_type"]), s["start_position"], s["end_position"])
                                        for s in row["spans"]]) for row in rows]
        table("Labelled", labelled, analyze)
    made = json.loads(subprocess.run([PROGRAM, "generate", N], check=True, capture_output=True, text=True).stdout)
    table("Generated", [(row["text"], row["planted"]) for row in made], analyze)
