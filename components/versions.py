"""Every version that the program pins, each in one place and with its reason."""

from __future__ import annotations

KUBERNETES = "1.35"
"""The default: in standard support on EKS until 27 March 2027, and in KEDA 2.20's tested range."""

KUBERNETES_SUPPORTED = ("1.34", "1.35")
"""What KEDA 2.20 is tested on and EKS still offers (KEDA's matrix: 1.33 to 1.35)."""

KEDA_CHART = "2.20.2"
KEDA_REPOSITORY = "https://kedacore.github.io/charts"
