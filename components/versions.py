"""Every version that the program pins, each in one place and with its reason."""

from __future__ import annotations

KUBERNETES = "1.35"
"""The default: in standard support on EKS until 27 March 2027, and in KEDA 2.20's tested range."""

KUBERNETES_SUPPORTED = ("1.34", "1.35")
"""What KEDA 2.20 is tested on and EKS still offers (KEDA's matrix: 1.33 to 1.35)."""

KEDA_CHART = "2.20.2"
"""And of its three images, which carry the chart's number (kedacore/charts, tag v2.20.2, keda/Chart.yaml,
read on 22 November 2026)."""

KEDA_REPOSITORY = "https://kedacore.github.io/charts"

CLUSTER_AUTOSCALER = {"1.34": "v1.34.5", "1.35": "v1.35.2"}
"""The image's tag for each Kubernetes: it brings that version's scheduler along, so the minor numbers have to
be the same (kubernetes/autoscaler, tags cluster-autoscaler-1.34.5 and cluster-autoscaler-1.35.2, README and
version.go, read on 22 November 2026)."""

CLUSTER_AUTOSCALER_CHART = "9.59.0"
"""It serves both (kubernetes/autoscaler, tag cluster-autoscaler-chart-9.59.0, Chart.yaml, read on the same
day)."""

CLUSTER_AUTOSCALER_REPOSITORY = "https://kubernetes.github.io/autoscaler"

OLLAMA_IMAGE = "docker.io/ollama/ollama:0.24.0"
"""What the pods' image takes the server from; `runtime/version.py` names the same version."""

PYTHON_IMAGE = "docker.io/library/python:3.11.15-slim-trixie"
"""What it stands on: 3.11 is what all tests run on, and gets security fixes until October 2027 (PEP 664); the
newest of it is 3.11.15 (docker-library/python, versions.json, 23 June 2026)."""
