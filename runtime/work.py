"""`ollama-eks-work`: the main container of a model's pods."""

from __future__ import annotations

from runtime import command


def main() -> None:
    """Works, as `runtime.worker.main` does; told to end while that is still loaded, it ends at once."""
    command.end_on_sigterm()
    from runtime.worker import main as worker  # noqa: PLC0415  half a second, in which SIGTERM may come

    worker.main()


if __name__ == "__main__":
    main()
