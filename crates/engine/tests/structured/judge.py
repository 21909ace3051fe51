"""What Python's jsonschema says of answers that were drawn and tried by the example `constrain`.

    judge.py ANSWERS...

reads JSON lines, each a schema, the answers drawn under its mask, and other instances with what was made of them. All that was
drawn and all that was accepted must be valid; what is valid and was rejected is counted. A schema is judged by the draft it names,
2020-12 where it names none. Formats are checked as far as that library does; a schema that takes it long, as some patterns take Python, is
passed over. Ends with 1 where something invalid was accepted.
"""

import json
import signal
import sys
from collections import Counter

from jsonschema.validators import Draft7Validator, Draft202012Validator, validator_for

SECONDS_MAX = 5
JUDGED = ("Accepted", "OtherForm", "Rejected")


def judge_of(schema, place):
    default = Draft7Validator if place.startswith("draft7") else Draft202012Validator
    kind = validator_for(schema, default=default)
    kind.check_schema(schema)
    # In the suites of drafts formats are notes; the instances there are marked so.
    checker = None if place.startswith("draft") else kind.FORMAT_CHECKER
    return kind(schema, format_checker=checker)


def why_not(judge, instance):
    """What is wrong with an instance, or nothing."""
    error = next(judge.iter_errors(instance), None)
    return error and f"{error.json_path}: {error.message[:200]}"


def too_long(*_):
    raise TimeoutError


def main(paths):
    signal.signal(signal.SIGALRM, too_long)
    count, wrong, unjudged = Counter(), [], Counter()
    for path in paths:
        for line in open(path, encoding="utf-8"):
            told = json.loads(line)
            count["schemas"] += 1
            signal.alarm(SECONDS_MAX)
            try:
                judge = judge_of(told["schema"], told["place"])
                for text in told["drawn"]:
                    count["drawn"] += 1
                    if why := why_not(judge, json.loads(text)):
                        wrong.append((told["place"], "drawn", text, why))
                for tried in told["tried"]:
                    why = why_not(judge, tried["instance"])
                    accepted = tried["verdict"] != "Rejected"
                    assert tried["verdict"] in JUDGED
                    count["invalid" if why else f"valid, {tried['verdict']}"] += 1
                    if why and accepted:
                        wrong.append((told["place"], "accepted", json.dumps(tried["instance"]), why))
            except Exception as error:  # no schema of its draft, a pattern Python does not read, a reference it does not find
                unjudged[type(error).__name__] += 1
    signal.alarm(0)
    for place, what, text, why in wrong:
        print(f"WRONG {place}: {what} {text[:400]}: {why}")
    print(f"schemas judged {count['schemas'] - unjudged.total()}, not judged {dict(unjudged)}")
    kinds = Counter(what for _, what, _, _ in wrong)
    print(f"answers drawn {count['drawn']}, invalid {kinds['drawn']}")
    print(f"invalid instances tried {count['invalid']}, wrongly accepted {kinds['accepted']}")
    accepted, other, rejected = (count[f"valid, {verdict}"] for verdict in JUDGED)
    print(f"valid ones {accepted + other + rejected}: accepted {accepted}, in another form {other}, rejected {rejected}")
    return bool(wrong) or not count["drawn"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if sys.argv[1:] else __doc__)
