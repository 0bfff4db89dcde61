"""The Pulumi CLI, built once from its Go module into a cache outside the checkout.

`python -m tests.engine.tools` builds it where it is missing; cold, on two cores, that is some 6 minutes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cli.go_tool import GoTool, Report, ToolError, built, to_stderr

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "3.259.0"

PULUMI_TOOL = GoTool(
    name="pulumi",
    version=VERSION,
    packages=("github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",),
    # Without it the CLI has no version, and the Automation API refuses to run it.
    stamps=(("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version", f"v{VERSION}"),),
)


def pulumi_cli(report: Report = to_stderr) -> Path:
    """The CLI, the whole engine in it; built where it is missing.

    Raises:
        ToolError: it could not be built; the message says what to do.
    """
    return built(PULUMI_TOOL, report) / "pulumi"


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{pulumi_cli()}\n")
    except ToolError as error:
        sys.exit(str(error))
