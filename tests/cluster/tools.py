"""The control plane's programs, each built once from its Go module into a cache outside the checkout.

`python -m tests.cluster.tools` builds those that are missing; cold, on two cores, that is some 20 minutes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cli.go_tool import Data, GoTool, Report, ToolError, built, to_stderr
from components.versions import KEDA_CHART, KUBERNETES

if TYPE_CHECKING:
    from pathlib import Path

_KUBERNETES_VERSION = "1.35.4"
_KWOK_VERSION = "0.8.0"
_ETCD_VERSION = "3.6.16"
_MINOR = KUBERNETES.removeprefix("1.")

KUBERNETES_TOOL = GoTool(
    name="kubernetes",
    version=_KUBERNETES_VERSION,
    packages=(
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-scheduler",
    ),
    stamps=(
        ("k8s.io/component-base/version.gitVersion", f"v{_KUBERNETES_VERSION}"),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", _MINOR),
    ),
)
"""Of the minor version that a stack gets unless it says otherwise."""

KEDA_TOOL = GoTool(
    name="keda",
    # The chart has KEDA's own version.
    version=KEDA_CHART,
    packages=(
        "github.com/kedacore/keda/v2/cmd/operator",
        "github.com/kedacore/keda/v2/cmd/adapter",
        "github.com/kedacore/keda/v2/cmd/webhooks",
    ),
    data=(Data("github.com/kedacore/keda/v2", "config"),),
)

KWOK_TOOL = GoTool(
    name="kwok",
    version=_KWOK_VERSION,
    packages=("sigs.k8s.io/kwok/cmd/kwok",),
    data=(Data("sigs.k8s.io/kwok", "kustomize/stage"),),
)

# Not a distribution's: with etcd before 3.5 watches stall under this API server.
ETCD_TOOL = GoTool(name="etcd", version=_ETCD_VERSION, packages=("go.etcd.io/etcd/server/v3",))
"""Its program is called `server`, as its package is."""

TOOLS = (ETCD_TOOL, KWOK_TOOL, KUBERNETES_TOOL, KEDA_TOOL)


def folders(report: Report = to_stderr) -> dict[str, Path]:
    """For each tool's name the folder with its programs, built where they are missing.

    Raises:
        ToolError: one could not be built; the message says what to do.
    """
    return {tool.name: built(tool, report) for tool in TOOLS}


if __name__ == "__main__":
    try:
        sys.stdout.write("".join(f"{folder}\n" for folder in folders().values()))
    except ToolError as error:
        sys.exit(str(error))
