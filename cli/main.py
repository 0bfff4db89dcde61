"""`ollama-eks`: what an operator runs on a laptop."""

from __future__ import annotations

import signal
import sys
from pathlib import Path  # noqa: TC003  typer reads it from the annotations
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def commands() -> None:
    """A private, scale-to-zero Ollama document pipeline on your own AWS account."""


@app.command()
def local(
    *,
    documents: Annotated[
        Path | None, typer.Option(help="Folder of documents; default: the examples.")
    ] = None,
    model: Annotated[str, typer.Option(help="Pull this model instead, such as llama3.2:3b.")] = "",
    stack: Annotated[Path | None, typer.Option(help="Stack file; default: Pulumi.local.yaml.")] = None,
    home: Annotated[
        Path | None, typer.Option(help="Where models and runs are kept; default: .local.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what differs from AWS.")] = False,
) -> None:
    """Answer a folder of documents on this machine, through the program's own graph."""
    # Here and not above: they take seconds, and --help is to take none.
    from cli.go_tool import ToolError  # noqa: PLC0415
    from cli.graph import GraphError  # noqa: PLC0415
    from cli.local import run  # noqa: PLC0415
    from cli.local.errors import LocalError  # noqa: PLC0415

    given = {"documents": documents, "stack_file": stack, "home": home}
    options = run.Options(
        model=model,
        verbose=verbose,
        **{name: path.expanduser().resolve() for name, path in given.items() if path is not None},
    )
    try:
        good = run.run(options)
    except (LocalError, GraphError, ToolError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing is left running", err=True)
        raise typer.Exit(130) from None
    raise typer.Exit(0 if good else 1)


def main() -> None:
    """The entry point. SIGTERM ends a command as Ctrl-C does: in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(app())


if __name__ == "__main__":
    main()
