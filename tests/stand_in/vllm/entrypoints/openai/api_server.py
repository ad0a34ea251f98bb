"""A small HTTP server that answers like vLLM's and has processes like vLLM's."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.server import ThreadingHTTPServer
from types import FrameType

from vllm import behaviour
from vllm.entrypoints.openai.answers import Answers
from vllm.v1.engine import core

LINGERS = 0.3
"""Seconds between the engine core's death and the server's exit."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--host", default="")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--api-key", default=os.environ.get("VLLM_API_KEY"))
    known, _ = parser.parse_known_args(words)
    return known


class Server(ThreadingHTTPServer):
    """The API server, whose engine core is a process."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, asked: argparse.Namespace) -> None:
        self.address_family = socket.AF_INET6 if ":" in asked.host else socket.AF_INET
        self.models: list[str] = asked.served_model_name or [asked.model]
        self.root: str = asked.model
        self.api_key: str | None = asked.api_key
        self.dead = threading.Event()
        super().__init__((asked.host, asked.port), Answers, bind_and_activate=False)

    def server_bind(self) -> None:
        """Without the look-up of the host's name that the base class makes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are nobody's fault."""


def engine_core() -> tuple[subprocess.Popen[str], int | None]:
    """The process, and the pid of its stray child."""
    environment = {**os.environ, "PYTHONPATH": ""}
    command = [sys.executable, "-S", core.__file__]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    with process.stdout as out:
        return process, int(out.readline().strip() or "0") or None


def watch(process: subprocess.Popen[str], server: Server) -> None:
    """End the server after its engine core, with code 0."""
    process.wait()
    server.dead.set()
    time.sleep(LINGERS)
    os._exit(0)


def stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def serve(server: Server, process: subprocess.Popen[str]) -> None:
    ignored = os.environ.get(behaviour.IGNORE_TERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if ignored else stop)
    try:
        behaviour.binds_late()
        server.server_bind()
        server.server_activate()
        print("INFO Application startup complete.", flush=True)
        threading.Thread(target=watch, args=(process, server), daemon=True).start()
        server.serve_forever()
    finally:
        process.kill()


def main() -> None:
    asked = arguments(sys.argv[1:])
    print(f"INFO vLLM API server version 0.32.0 (a stand-in), model {asked.model}", flush=True)
    behaviour.fills_the_log()
    if (code := behaviour.fails()) is not None:
        behaviour.record(pid=os.getpid(), core=None, stray=None)
        print("ValueError: the stand-in was asked to fail", file=sys.stderr, flush=True)
        raise SystemExit(code)
    process, stray = engine_core()
    behaviour.record(pid=os.getpid(), core=process.pid, stray=stray)
    serve(Server(asked), process)


if __name__ == "__main__":
    main()
