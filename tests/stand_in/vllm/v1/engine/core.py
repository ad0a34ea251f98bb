"""The process that would hold the model; as vLLM's it outlives an API server that is killed."""

import os
import signal
import subprocess
import sys


def stray() -> int:
    """The pid of a process in a session of its own that does not end by itself."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    command = [sys.executable, "-S", "-c", code]
    return subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL).pid


def main() -> None:
    if os.environ.get("STAND_IN_IGNORE_TERM"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(stray() if os.environ.get("STAND_IN_STRAY") else "", flush=True)
    os.close(1)
    signal.pause()


if __name__ == "__main__":
    main()
