"""`ollama-eks`: what an operator runs on a laptop."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

model_app = typer.Typer(no_args_is_help=True, help="What is done to one model.")
app.add_typer(model_app, name="model")


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


@app.command()
def pin(
    stack_file: Annotated[Path | None, typer.Argument(help="Stack file, such as Pulumi.dev.yaml.")] = None,
    *,
    stack: Annotated[str, typer.Option(help="The stack's name instead, such as dev.")] = "",
    model: Annotated[list[str] | None, typer.Option(help="Only this model; may be repeated.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if a tag has moved.")
    ] = False,
) -> None:
    """Write the digest that each model's tag has now into the stack file, comments and order kept."""
    from cli import pin as pins  # noqa: PLC0415  as above
    from cli.stack_file import StackFileError  # noqa: PLC0415

    try:
        path = pins.stack_file(stack_file, stack, Path(__file__).parent.parent)
        good = pins.run(path, models=model or (), check=check)
    except (pins.PinError, StackFileError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if good else 1)


@model_app.command()
def rebuild(
    model: Annotated[str, typer.Argument(help="Its name in the stack.")],
    *,
    stack: Annotated[str, typer.Option(help="The stack's name, such as dev.")],
    yes: Annotated[bool, typer.Option("--yes", help="Run the command instead of printing it.")] = False,
) -> None:
    """Run a model's Job again, for a directory that is gone from the model store."""
    from cli import rebuild as rebuilding  # noqa: PLC0415  as above
    from cli.graph import GraphError  # noqa: PLC0415

    path = Path(__file__).parent.parent / f"Pulumi.{stack}.yaml"
    try:
        code = rebuilding.run(path, model, yes=yes, echo=typer.echo)
    except (rebuilding.RebuildError, GraphError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(code)


def main() -> None:
    """The entry point. SIGTERM ends a command as Ctrl-C does: in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(app())


if __name__ == "__main__":
    main()
