"""`ingle serve demo` on a free port, for the tests beside this file: FILE PROGRAM starts it and asks."""

import re
import subprocess
import sys
import tempfile
import unittest


class Server:
    """The server, and the address it says it has."""

    def __init__(self, *args):
        command = [PROGRAM, "serve", "demo", "--port", "0", *args]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        self.url = re.search(r"http://\S+", line).group(0)

    def stop(self):
        self.process.terminate()
        status = self.process.wait(timeout=20)
        self.process.stderr.close()
        return status


class Case(unittest.TestCase):
    """Tests that share a server."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0


def with_key(key, ask):
    """Calls `ask` with the address of a server that needs this key."""
    with tempfile.NamedTemporaryFile("w") as keys:
        keys.write(f"{key}\n")
        keys.flush()
        server = Server("--api-key-file", keys.name)
    try:
        ask(server.url)
    finally:
        assert server.stop() == 0


# The name of the program, before `unittest` reads the others.
PROGRAM = sys.argv.pop(1)
STORY = [{"role": "user", "content": "Tell me a story."}]
