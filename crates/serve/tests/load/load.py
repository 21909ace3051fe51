#!/usr/bin/env python3
"""Load on a server, and what it does under it. Needs nothing but Python.

    load.py URL batch [--sequences 1,8] [--prompt 64] [--generate 32] [--rounds 5] [--pid PID]
        Sequences that begin together, each of its own prompt of ids: tokens a second of all, of what is generated, and while
        all generate. With --pid, what share of the program's time on CPUs its threads for requests took.
    load.py URL soak [--clients 32] [--seconds 300] [--leave 0.1] [--pid PID]
        Clients that stream answers of many lengths one after the other, of which some leave in the middle.
    load.py URL prefix [--prompt 2000]
        A long prompt, and others that begin as it does: time to the first token of each.

Writes one JSON document. Exits with 1 when a request went wrong, or, with --pid, when memory grew by more than 5 %.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from urllib.parse import urlsplit


class Failed(Exception):
    pass


class Client:
    def __init__(self, url):
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    async def post(self, path, body, leave_after=None):
        """Streams an answer; returns when each text came and the end, all in seconds, and what the chunks said last; None
        when it left."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            data = json.dumps(body | {"stream": True, "stream_options": {"include_usage": True}}).encode()
            head = (f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: close\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n")
            times, last = [], {}
            writer.write(head.encode() + data)
            status = (await reader.readline()).decode().split(" ")
            if status[1:2] != ["200"]:
                raise Failed(f"{path}: {' '.join(status).strip()}: {(await reader.read()).decode()[-300:]}")
            while line := await reader.readline():
                if not line.startswith(b"data: "):
                    continue
                if line.strip() == b"data: [DONE]":
                    return times, time.perf_counter(), last
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    raise Failed(chunk["error"]["message"])
                if any(choice.get("text") or choice.get("delta", {}).get("content") for choice in chunk["choices"]):
                    times.append(time.perf_counter())
                    if leave_after is not None and len(times) > leave_after:
                        return None
                last |= chunk
            raise Failed("the stream ended before [DONE]")
        finally:
            writer.close()

    async def get(self, path):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: close\r\n\r\n".encode())
        text = (await reader.read()).decode()
        writer.close()
        return text.split("\r\n\r\n", 1)[1]

    async def vocabulary(self):
        models = json.loads(await self.get("/v1/models"))
        return models["data"][0]["meta"]["n_vocab"]


def ids(rng, n, n_vocab):
    return [rng.randrange(n_vocab // 10, n_vocab // 2) for _ in range(n)]


def request(prompt, n):
    # "stop" never comes: an answer has as many tokens as are asked for, unless the model ends it.
    return {"prompt": prompt, "max_tokens": n, "temperature": 0.8}


def median(values):
    values = sorted(values)
    return values[len(values) // 2] if values else None


def thread_seconds(pid):
    """Seconds on CPUs, by the names of threads."""
    seconds = {}
    for task in os.scandir(f"/proc/{pid}/task"):
        try:
            with open(f"{task.path}/comm") as comm, open(f"{task.path}/schedstat") as stat:
                name = comm.read().strip()
                seconds[name] = seconds.get(name, 0) + int(stat.read().split()[0]) / 1e9
        except FileNotFoundError:
            pass
    return seconds


async def batch(client, args):
    before = thread_seconds(args.pid) if args.pid else {}
    n_vocab, rng, rows = await client.vocabulary(), random.Random(1), []
    sizes = [int(n) for n in args.sequences.split(",")]
    for _ in range(args.rounds):
        for n in sizes:
            begin = time.perf_counter()
            bodies = [request(ids(rng, args.prompt, n_vocab), args.generate) for _ in range(n)]
            told = await asyncio.gather(*(client.post("/v1/completions", body) for body in bodies))
            seconds = time.perf_counter() - begin
            n_generated = sum(last["usage"]["completion_tokens"] for _, _, last in told)
            n_all = n_generated + n * args.prompt
            # While all of them generate: from the last one's first text to the first one's end. Texts are counted, of which a
            # sequence has a little less than tokens.
            start, end = max(times[0] for times, _, _ in told), min(end for _, end, _ in told)
            n_texts = sum(sum(start < at <= end for at in times) for times, _, _ in told)
            tokens_per_text = n_generated / sum(len(times) for times, _, _ in told)
            rows.append((n, n_all / seconds, n_generated / seconds, n_texts * tokens_per_text / (end - start)))
    of = lambda n, i: median([row[i] for row in rows if row[0] == n])
    after = thread_seconds(args.pid) if args.pid else {}
    spent = {name: seconds - before.get(name, 0) for name, seconds in after.items()}
    shares = {name: seconds / sum(spent.values()) for name, seconds in spent.items() if seconds > 0}
    return ({"share_of_threads": shares} if shares else {}) | {
        str(n): {"all_per_second": of(n, 1), "generated_per_second": of(n, 2), "together_per_second": of(n, 3)}
        for n in sizes
    }


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


async def soak(client, args):
    n_vocab, rng, end = await client.vocabulary(), random.Random(2), time.time() + args.seconds
    told, errors, n_left, memory = [], [], 0, []

    async def one():
        nonlocal n_left
        while time.time() < end:
            body = request(ids(rng, rng.choice([8, 32, 64, 200, 400]), n_vocab), rng.choice([8, 32, 64, 128]))
            begin = time.perf_counter()
            leaves = rng.random() < args.leave
            try:
                got = await client.post("/v1/completions", body, rng.randrange(8) if leaves else None)
            except (Failed, OSError) as error:
                errors.append(str(error))
                continue
            if got is None:
                n_left += 1
            else:
                times, end_of_it, last = got
                told.append(((times[0] if times else end_of_it) - begin, last["usage"]["completion_tokens"]))

    async def watch():
        while time.time() < end:
            await asyncio.sleep(1)
            if args.pid:
                memory.append(resident(args.pid))

    await asyncio.gather(watch(), *(one() for _ in range(args.clients)))
    firsts = sorted(first for first, _ in told)
    result = {
        "answers": len(told), "left": n_left, "errors": len(errors), "first_errors": errors[:3],
        "generated_per_second": sum(n for _, n in told) / args.seconds,
        "first_text_median_s": median(firsts), "first_text_p95_s": firsts[int(len(firsts) * 0.95)] if firsts else None,
    }
    if memory:
        # After the warm-up, a fifth of the time: medians of the next fifth and of the last.
        part = max(len(memory) // 5, 1)
        early, late = median(memory[part:2 * part]), median(memory[-part:])
        result |= {"rss_early_kib": early, "rss_late_kib": late, "rss_growth": late / early - 1}
    return result


async def prefix(client, args):
    n_vocab, rng, firsts = await client.vocabulary(), random.Random(args.seed), []
    shared = ids(rng, args.prompt, n_vocab)
    for _ in range(4):
        body = request(shared + ids(rng, 8, n_vocab), 4)
        begin = time.perf_counter()
        times, end, last = await client.post("/v1/completions", body)
        first = (times[0] if times else end) - begin
        firsts.append({"first_text_s": first, "cached": last["usage"]["prompt_tokens_details"]["cached_tokens"]})
    return {"requests": firsts, "share": firsts[1]["first_text_s"] / firsts[0]["first_text_s"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("what", choices=["batch", "soak", "prefix"])
    parser.add_argument("--sequences", default="1,8")
    parser.add_argument("--prompt", type=int)
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--leave", type=float, default=0.1)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    args.prompt = args.prompt or {"batch": 64, "prefix": 2000}.get(args.what)
    run = {"batch": batch, "soak": soak, "prefix": prefix}[args.what]
    result = asyncio.run(run(Client(args.url), args))
    print(json.dumps(result, indent=1))
    if result.get("errors") or result.get("rss_growth", 0) > 0.05:
        sys.exit(1)


main()
