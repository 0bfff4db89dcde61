"""`ollama-eks-provision`: fills one model directory, once, and publishes it by a single rename."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from runtime import command

if TYPE_CHECKING:
    from runtime.spec import ModelSpec

STALL_SECONDS = 45
"""How long a registry may send nothing: more than the 30 s after which the server itself asks again."""


def main(*, stall_seconds: float = STALL_SECONDS, pod: str | None = None) -> None:
    """Provisions the model that the command line's spec asks for; exits 0 once its directory is published.

    Args:
        stall_seconds: as of `provision`.
        pod: as of `provision`.
    """
    command.end_on_sigterm()
    with command.errors_as_sentences():
        spec = command.model_spec("ollama-eks-provision", __doc__)
        provision(spec, stall_seconds=stall_seconds, pod=pod or socket.gethostname())


def provision(spec: ModelSpec, *, stall_seconds: float, pod: str) -> None:
    """Makes sure that `spec.directory` is published. Ended in the middle, it leaves staging rubbish only.

    Args:
        spec: the model.
        stall_seconds: how long a registry may send nothing.
        pod: names the staging directory, so no two processes may share it; the host's name is a pod's.

    Raises:
        CommandError: why it is not; `os.EX_DATAERR` where the same spec would fail again, `os.EX_UNAVAILABLE`
            where a later try may do.
    """
    if not (Path(spec.directory) / command.MARKER).exists():
        from runtime.ollama import staging  # noqa: PLC0415  its imports would triple the time of a hit

        staging.make(spec, stall_seconds=stall_seconds, pod=pod)


if __name__ == "__main__":
    main()
