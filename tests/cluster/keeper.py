"""Kills what the test run leaves behind, however the run itself ends.

Reads `+<process group>` and `-<process group>` lines. Its input ends with the process that writes them, be
that by SIGKILL, and then it kills every group that was not taken back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Keeps until its input ends."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
