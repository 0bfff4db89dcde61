"""`ollama-eks-provision`: fills one model directory, once, and publishes it by a single rename.

With `--collect STORE` it removes what no model needs any more: `ollama-eks-provision --collect --help`.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runtime import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.spec import ModelSpec

STALL_SECONDS = 45
"""How long a registry may send nothing: more than the 30 s after which the server itself asks again."""

RETRY_SECONDS = (1, 2, 4, 8, 16)
"""Pauses between tries that bring nothing; bytes start them anew. The server tries each part six times."""

COLLECT = "--collect"


def main(
    *,
    stall_seconds: float = STALL_SECONDS,
    retry_seconds: Sequence[float] = RETRY_SECONDS,
    pod: str | None = None,
) -> None:
    """Provisions the model that the command line's spec asks for; exits 0 once its directory is published.

    Args:
        stall_seconds: as of `provision`.
        retry_seconds: as of `provision`.
        pod: as of `provision`.
    """
    command.end_on_sigterm()
    with command.errors_as_sentences():
        if COLLECT in sys.argv[1:]:
            from runtime.ollama import collecting  # noqa: PLC0415  the rare use

            collecting.main()
            return
        spec = command.model_spec("ollama-eks-provision", __doc__)
        provision(
            spec, stall_seconds=stall_seconds, retry_seconds=retry_seconds, pod=pod or socket.gethostname()
        )


def provision(spec: ModelSpec, *, stall_seconds: float, retry_seconds: Sequence[float], pod: str) -> None:
    """Makes sure that `spec.directory` is published. Ended in the middle, it leaves staging only.

    Args:
        spec: the model.
        stall_seconds: how long a registry may send nothing.
        retry_seconds: the pauses between tries that bring nothing.
        pod: begins the name of the staging directory; the host's name is a pod's.

    Raises:
        CommandError: why it is not; `os.EX_DATAERR` where the same spec would fail again, `os.EX_UNAVAILABLE`
            where a later try may do.
    """
    if not command.is_whole(Path(spec.directory)):
        from runtime.ollama import making  # noqa: PLC0415  its imports would triple the time of a hit

        making.make(spec, stall_seconds=stall_seconds, retry_seconds=retry_seconds, pod=pod)


if __name__ == "__main__":
    main()
