"""A process of its own for code that may crash or hang in C, for only a process can be stopped.

A request is a line of JSON on its stdin.  The answer is lines of JSON on its
stdout, each followed by as many raw bytes as it says, the last marked "done".
Nothing that comes back can run code here, whatever a file did to the child.
"""

import contextlib
import faulthandler
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

Message = tuple[dict[str, Any], np.ndarray]  # what is said, and uint8[the bytes behind it]
PROGRESS_SECONDS = 0.1


class ChildEnded(Exception):
    """The process ended before its answer; the text says how."""


class Child:
    """A process that runs `python -m module`, whose `main` answers over a `Parent`.  `at_rest` while no answer is under way."""

    def __init__(self, module: str, *arguments: str, quiet: bool = False) -> None:
        """`quiet` drops what the process writes to stderr."""
        here = str(Path(__file__).parent.parent)
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        assert self._process.stdin and self._process.stdout
        self._in, self._out, self.at_rest = self._process.stdin, cast(io.BufferedReader, self._process.stdout), True

    @property
    def pid(self) -> int:
        return self._process.pid

    def runs(self) -> bool:
        return self._process.poll() is None

    def tell(self, request: Any) -> None:
        """Send a request that has no answer."""
        try:
            self._in.write(json.dumps(request).encode() + b"\n")
            self._in.flush()
        except OSError:
            raise self._ended() from None

    def answers(self, request: Any) -> Iterator[Message]:
        """The messages of the answer, as they come.  Raises ChildEnded."""
        self.at_rest = False
        self.tell(request)
        while not self.at_rest:
            line = self._out.readline()
            if not line.endswith(b"\n"):
                raise self._ended()
            message = json.loads(line)
            payload = np.empty(message.get("num_bytes", 0), dtype=np.uint8)
            if self._out.readinto(payload.data) != len(payload):
                raise self._ended()
            self.at_rest = "done" in message
            yield message, payload

    def close(self) -> None:
        """Stop the process whatever it does; an answer under way then ends."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):  # a request that it did not read
                pipe.close()

    def _ended(self) -> ChildEnded:
        self.at_rest = False
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return ChildEnded("was ended by the system (SIGKILL), most likely for memory")
        return ChildEnded(f"crashed ({signal.Signals(-status).name if status < 0 else f'exit status {status}'})")


class Parent:
    """The other end, in the child.  The child ends with its parent, however that ends: its stdin closes then.

    Ctrl-C is left to the parent.  What prints to stdout goes to stderr.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        faulthandler.enable()
        self._out, self._last = os.fdopen(os.dup(1), "wb"), 0.0
        os.dup2(2, 1)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        for line in sys.stdin.buffer:
            self._requests.put(json.loads(line))
        os._exit(0)  # also where the main thread hangs in C

    def requests(self) -> Iterator[Any]:
        while True:
            yield self._requests.get()

    def proceed(self) -> None:
        """Tell now and then that work gets on."""
        if time.monotonic() - self._last > PROGRESS_SECONDS:
            self.say({})

    def say(self, message: dict[str, Any], *payload: np.ndarray) -> None:
        """Send a message, and the bytes of these arrays, each contiguous, behind it."""
        try:
            self._out.write(json.dumps(message | {"num_bytes": sum(part.nbytes for part in payload)}).encode() + b"\n")
            for part in payload:
                self._out.write(part.reshape(-1).view(np.uint8).data)
            self._out.flush()
        except BrokenPipeError:
            os._exit(0)
        self._last = time.monotonic()

    def finish(self, message: dict[str, Any], *payload: np.ndarray) -> None:
        """Send the last message of an answer."""
        self.say(message | {"done": True}, *payload)
