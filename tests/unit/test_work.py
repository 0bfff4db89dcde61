"""The worker's command, before there is a worker."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 30


def _catches_sigterm(process: subprocess.Popen[bytes]) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", status)
    return bool(caught and int(caught[1], 16) & 1 << (signal.SIGTERM - 1))


def test_it_can_be_ended_while_it_is_loaded() -> None:
    """Process 1 of a container has no default for SIGTERM: without a handler the signal is lost."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.work", "/no/such/spec"],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and not _catches_sigterm(process) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (128 + signal.SIGTERM, b"")
