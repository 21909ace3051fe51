"""Signatures and repositories of ours and of the Python implementations, read by each other: check.py PROGRAM."""

import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
from datetime import datetime, timedelta, timezone

import model_signing.hashing
import model_signing.signing
import model_signing.verifying
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient import Updater

program = sys.argv[1]
here = pathlib.Path(__file__).resolve().parent
tiny = here.parents[2] / "cli/tests/malicious/base.gguf"
n_checks = 0


def ingle(*args, expected=0):
    """Runs the program, which must end with `expected`; gives what it wrote."""
    home = pathlib.Path(scratch)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("INGLE_", "XDG_", "HF_"))}
    env |= {f"XDG_{k}_HOME": str(home / "home" / k) for k in ("CONFIG", "STATE", "DATA", "CACHE")} | {"HOME": str(home)}
    done = subprocess.run([program, *map(str, args)], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == expected, (args, done)
    return done.stdout


def holds(what, is_so):
    global n_checks
    n_checks += 1
    assert is_so, what


def fails(what, run):
    try:
        run()
    except Exception:  # noqa: BLE001 - any refusal will do
        return holds(what, True)
    holds(what, False)


def write_keys(folder, curve):
    """A key pair as other programs write it."""
    key = ec.generate_private_key(curve)
    pem = serialization.Encoding.PEM
    private = folder / f"{curve.name}.pem"
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public = folder / f"{curve.name}.pub.pem"
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def signatures(folder):
    """A model signed by them is verified by us, one signed by us by them; what was changed, added or signed by another key by nobody."""
    for curve in (ec.SECP256R1(), ec.SECP384R1()):
        private, public = write_keys(folder, curve)
        (folder / "other").mkdir(exist_ok=True)
        _, other = write_keys(folder / "other", curve)
        for ours in (False, True):
            model = folder / f"{curve.name}-{ours}"
            (model / "part/deep").mkdir(parents=True)
            # Their order of paths, part by part, is not that of the texts.
            files = {"weights.gguf": "w", "part/b": "b", "part.txt": "p", "part/deep/é ü": "", ".gitignore": "x"}
            for name, text in files.items():
                (model / name).write_text(text)
            bundle = model / "model.sig"

            def theirs(key=public):
                config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=key)
                config.verify(model, bundle)

            def both(what, expected=0, key=public):
                if expected:
                    fails(f"{curve.name}: {what}", lambda: theirs(key))
                else:
                    theirs(key)
                ingle("release", "verify", model, "--key", key, expected=expected)
                holds(f"{curve.name}: {what}", True)

            if ours:
                ingle("release", "sign", model, "--key", private, "--name", "m")
            else:
                config = model_signing.signing.Config().use_elliptic_key_signer(private_key=private)
                config.set_hashing_config(
                    model_signing.hashing.Config().set_ignored_paths(paths=[bundle], ignore_git_paths=True)
                ).sign(model, bundle)
            both("what was signed")
            both("another key", 5, other)
            (model / ".gitignore").write_text("y")
            both("files of git are not signed")
            (model / "more.txt").write_text("m")
            both("a file more", 5)
            (model / "more.txt").unlink()
            (model / "weights.gguf").write_text("W")
            both("a changed file", 5)
            (model / "weights.gguf").unlink()
            both("a file less", 5)
            (model / "weights.gguf").write_text("w")
            both("as it was")
            signed = json.loads(bundle.read_text())
            signed["dsseEnvelope"]["signatures"][0]["sig"] = signed["dsseEnvelope"]["signatures"][0]["sig"][::-1]
            bundle.write_text(json.dumps(signed))
            both("another signature", 5)


def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def ours_by_them(folder):
    """A repository that we made is followed by python-tuf, before and after a rotation of the root."""
    plan = folder / "plan"
    (plan / "model").mkdir(parents=True)
    (plan / "model/m.gguf").write_bytes(tiny.read_bytes())
    (plan / "release.toml").write_text('[models.chat]\nversion = 1\nfolder = "model"\npercent = 40\n')
    keys, repository = folder / "keys", folder / "repository"
    ingle("release", "keys", keys, "--role", "root=2/3", "--role", "targets=1/2")
    ingle("release", "make", plan, "--keys", keys, "-o", repository)
    url = serve(repository)
    local, downloads = folder / "local", folder / "downloads"
    local.mkdir()
    downloads.mkdir()
    root = (repository / "metadata/1.root.json").read_bytes()

    def follow():
        updater = Updater(str(local), url + "/metadata/", str(downloads), url + "/targets/", bootstrap=root)
        updater.refresh()
        return updater

    updater = follow()
    for name, path in (("chat/1/m.gguf", tiny), ("chat/1/model.sig", None), ("revoked.json", None)):
        info = updater.get_targetinfo(name)
        holds(f"{name} is offered", info is not None)
        found = pathlib.Path(updater.download_target(info, str(downloads / name.replace("/", "_")))).read_bytes()
        holds(f"{name} is what it was", path is None or found == path.read_bytes())
    terms = updater.get_targetinfo("chat/1/model.sig").custom["ingle"]
    holds("the terms come through", terms["percent"] == 40 and terms["open"] == "m.gguf")
    ingle("release", "rotate", keys, "--role", "root")
    ingle("release", "rotate", keys, "--role", "timestamp")
    ingle("release", "refresh", repository, "--keys", keys)
    follow()
    newest = json.loads((local / "root.json").read_bytes())["signed"]["version"]
    holds("the rotation is followed", newest == 2)


def theirs_by_us(folder):
    """A repository that python-tuf made is followed by us, and its release installed."""
    model = folder / "model"
    model.mkdir()
    (model / "m.gguf").write_bytes(tiny.read_bytes())
    private, public = write_keys(folder, ec.SECP256R1())
    bundle = model / "model.sig"
    ignored = model_signing.hashing.Config().set_ignored_paths(paths=[bundle], ignore_git_paths=True)
    model_signing.signing.Config().use_elliptic_key_signer(private_key=private).set_hashing_config(ignored).sign(model, bundle)
    # Their signer names a model by its folder.
    name = "model"

    signers = {role: [CryptoSigner.generate_ed25519() for _ in range(2)] for role in ("root", "targets", "snapshot", "timestamp")}
    signers["snapshot"].append(CryptoSigner.generate_ecdsa())
    expires = (datetime.now(timezone.utc) + timedelta(days=3)).replace(microsecond=0)
    root = Root(consistent_snapshot=True, expires=expires)
    for role, all_of_role in signers.items():
        for signer in all_of_role:
            root.add_key(signer.public_key, role)
        root.roles[role].threshold = 2
    targets = Targets(expires=expires)
    metadata, files = folder / "repository/metadata", folder / f"repository/targets/{name}/1"
    metadata.mkdir(parents=True)
    files.mkdir(parents=True)
    for path in (model / "m.gguf", bundle):
        target = f"{name}/1/{path.name}"
        info = TargetFile.from_file(target, str(path), ["sha256"])
        if path == bundle:
            terms = {"open": "m.gguf", "percent": 100, "salt": "é", "minimum_version": 1, "smoke": {}}
            info.unrecognized_fields["custom"] = {"ingle": terms}
        targets.targets[target] = info
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (files / f"{digest}.{path.name}").write_bytes(path.read_bytes())
    snapshot = Snapshot(expires=expires, meta={"targets.json": MetaFile(version=1)})
    timestamp = Timestamp(expires=expires, snapshot_meta=MetaFile(version=1))
    parts = (("root", root, "1.root"), ("targets", targets, "1.targets"), ("snapshot", snapshot, "1.snapshot"))
    for role, signed, file in (*parts, ("timestamp", timestamp, "timestamp")):
        document = Metadata(signed)
        for signer in signers[role]:
            document.sign(signer, append=True)
        document.to_file(str(metadata / f"{file}.json"), JSONSerializer(compact=False))
    url = serve(folder / "repository")
    ingle("update", "--follow", url, "--root", metadata / "1.root.json", "--key", public)
    rows = json.loads(ingle("update", "--check", "--json"))
    holds("it is offered", rows[0]["model"] == name and rows[0]["offered"] == 1)
    rows = json.loads(ingle("update", name, "--yes", "--json"))
    holds("it is installed", rows[0]["version"] == 1)
    ingle("run", name, "ab", "--max-tokens", "3", "--temperature", "0")
    holds("it answers", True)


with tempfile.TemporaryDirectory() as scratch:
    for check in (signatures, ours_by_them, theirs_by_us):
        folder = pathlib.Path(scratch) / check.__name__
        folder.mkdir()
        check(folder)
print(f"{n_checks} checks hold")
