"""check.py PROGRAM HUB: the program reads the cache that huggingface_hub wrote, and huggingface_hub reads the one that the program wrote.

Each direction has a cache of its own. The library runs in a process of its own for each question, since it reads its settings from
the environment when it is imported.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

PROGRAM, HUB = sys.argv[1:3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GGUF = "m-Q8_0.gguf"


class World:
    def __init__(self, url, home, log):
        self.url, self.home, self.log = url, home, log

    def env(self, offline):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "INGLE_", "XDG_")) and "proxy" not in k.lower()}
        mine = {"HF_ENDPOINT": self.url, "HF_HOME": str(self.home), "HOME": str(self.home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return keep | mine | ({"HF_HUB_OFFLINE": "1"} if offline else {})

    def ingle(self, *args, code=0):
        out = subprocess.run([PROGRAM, *args], env=self.env(False), capture_output=True, text=True)
        assert out.returncode == code, (args, out)
        return out

    def library(self, text, offline):
        head = "import json, sys; from huggingface_hub import *; "
        out = subprocess.run([sys.executable, "-B", "-c", head + text], env=self.env(offline), capture_output=True, text=True)
        assert out.returncode == 0, (text, out.stderr[-3000:])
        return json.loads(out.stdout)

    def fetched(self):
        """Paths of files whose content was asked for."""
        time.sleep(0.1)
        lines = self.log.read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith("GET ") and "/resolve/" in line]


def same(path, content):
    assert pathlib.Path(path).read_bytes() == content, path


def ours_is_theirs(world, files):
    """What the program fetched, the library finds without the network and does not fetch again with it."""
    world.ingle("pull", "u/r:Q8_0")
    world.ingle("pull", "u/folder")
    n = len(world.fetched())
    for offline in (True, False):
        for repo, name in [("u/r", GGUF), ("u/folder", "model.safetensors"), ("u/folder", "config.json")]:
            path = world.library(f"print(json.dumps(hf_hub_download({repo!r}, {name!r})))", offline)
            same(path, files[repo][name])
            pinned = f"print(json.dumps(hf_hub_download({repo!r}, {name!r}, revision={COMMIT!r})))"
            assert world.library(pinned, offline) == path
    assert len(world.fetched()) == n, world.fetched()[n:]
    found = world.library(
        "i = scan_cache_dir(); print(json.dumps([[str(w) for w in i.warnings], {r.repo_id: [r.size_on_disk, sorted(f.file_name for v in r.revisions for f in v.files), "
        "sorted(x for v in r.revisions for x in v.refs)] for r in i.repos}]))",
        True,
    )
    folder = {n: c for n, c in files["u/folder"].items() if n != "README.md"}
    expected = {
        "u/r": [len(files["u/r"][GGUF]), [GGUF], ["main"]],
        "u/folder": [sum(map(len, folder.values())), sorted(folder), ["main"]],
    }
    assert found == [[], expected], (found, expected)
    # What a killed pull leaves beside is no fault of the cache.
    blobs = world.home / "hub/models--u--r/blobs"
    (blobs / ("ab" * 32 + ".incomplete.16777216")).write_bytes(b"x")
    warnings = world.library("print(json.dumps([str(w) for w in scan_cache_dir().warnings]))", True)
    assert warnings == [], warnings
    # What the library removes, the program no longer has. Both repositories have this commit; a call removes one.
    for _ in found[1]:
        world.library(f"scan_cache_dir().delete_revisions({COMMIT!r}).execute(); print(1)", True)
    assert json.loads(world.ingle("list", "--json").stdout) == []
    print("ours is theirs: 3 files found offline and online, none fetched again, no warnings, removal seen")


def theirs_is_ours(world, files):
    """What the library fetched, the program lists, verifies and does not fetch again."""
    for repo in files:
        world.library(f"print(json.dumps(snapshot_download({repo!r})))", False)
    n = len(world.fetched())
    assert n >= sum(map(len, files.values())), world.fetched()
    listed = {row["name"]: row for row in json.loads(world.ingle("list", "--json").stdout)}
    assert sorted(listed) == ["u/folder", "u/r:Q8_0"], listed
    same(listed["u/r:Q8_0"]["path"], files["u/r"][GGUF])
    for name in listed:
        rows = json.loads(world.ingle("verify", name, "--json").stdout)
        assert rows and all(row["state"] == "good" for row in rows), rows
        assert "already here" in world.ingle("pull", name).stderr
    pinned = world.ingle("pull", f"u/r@{COMMIT}:Q8_0").stdout.strip()
    same(pinned, files["u/r"][GGUF])
    assert len(world.fetched()) == n, world.fetched()[n:]
    world.ingle("rm", "u/r", "--yes")
    repos = world.library("print(json.dumps([r.repo_id for r in scan_cache_dir().repos]))", True)
    assert repos == ["u/folder"], repos
    assert world.ingle("gc", "--dry-run", "--json").stdout.find("folder") < 0
    print(f"theirs is ours: {len(listed)} models listed and verified, none fetched again, removal seen")


def main():
    make = random.Random(7)
    files = {
        "u/r": {"README.md": b"# r\n", GGUF: make.randbytes(3 << 20)},
        "u/folder": {
            "README.md": b"# folder\n",
            "config.json": b'{"model_type": "llama"}',
            "tokenizer.json": b"{}",
            "model.safetensors": make.randbytes(1 << 20),
        },
    }
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        for repo, content in files.items():
            for name, data in content.items():
                (tmp / "served" / repo).mkdir(parents=True, exist_ok=True)
                (tmp / "served" / repo / name).write_bytes(data)
        with (tmp / "log").open("wb") as log:
            hub = subprocess.Popen([HUB, str(tmp / "served")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            url = hub.stdout.readline().strip()
            ours_is_theirs(World(url, tmp / "ours", tmp / "log"), files)
            theirs_is_ours(World(url, tmp / "theirs", tmp / "log"), files)
        finally:
            hub.stdin.close()
            hub.kill()
            hub.wait()


main()
