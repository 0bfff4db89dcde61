"""EC2 instance types that models can run on: what EC2's DescribeInstanceTypes says of each.

A test holds every row against the source. GPU memory is as that API gives it: for some cards what CUDA may
use, for others, such as the T4, the number on the box, of which the driver keeps some.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from components.problems import did_you_mean
from components.source import Source

SOURCE = Source("EC2 DescribeInstanceTypes, as moto 5.2.5 ships its answers", date(2026, 10, 27))

UNUSABLE = {
    "g5g": "has Arm processors, and the image is made for x86-64",
    "g6f": "has a fraction of a GPU, which no pod can ask for",
    "gr6f": "has a fraction of a GPU, which no pod can ask for",
}
"""GPU families that are left out, by their prefix, each with its reason."""


ACCELERATOR_LABEL = "k8s.amazonaws.com/accelerator"
"""On a node that has GPUs, or will when its driver is up (Cluster Autoscaler, `GPULabel`)."""

ACCELERATORS = {
    "T4": "nvidia-tesla-t4",
    "A10G": "nvidia-a10g",
    "L4": "nvidia-l4",
    "L40S": "nvidia-l40s",
    "A100": "nvidia-tesla-a100",
}
"""The label's value by card (Cluster Autoscaler 1.35.2, cloudprovider/aws, `availableGPUTypes`)."""

UNLISTED_ACCELERATOR = "nvidia"
"""For a card that the list lacks: the label alone tells that there are GPUs, its value is for metrics."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance type.

    Attributes:
        vcpus: virtual CPUs.
        memory_mib: main memory, MiB.
        gpus: GPUs; 0 for a CPU type.
        gpu: the card's name, empty for a CPU type.
        gpu_memory_mib: memory of one card, MiB.
    """

    vcpus: int
    memory_mib: int
    gpus: int = 0
    gpu: str = ""
    gpu_memory_mib: int = 0

    @property
    def accelerator(self) -> str:
        """The value of a node's accelerator label; empty for a CPU type."""
        return ACCELERATORS.get(self.gpu, UNLISTED_ACCELERATOR) if self.gpus else ""


def _gpu(card: str, gpu_memory_mib: int, *rows: tuple[str, int, int, int]) -> dict[str, Instance]:
    return {name: Instance(vcpus, memory, gpus, card, gpu_memory_mib) for name, vcpus, memory, gpus in rows}


INSTANCES: dict[str, Instance] = {
    **_gpu(
        "T4",
        16_384,
        ("g4dn.xlarge", 4, 16_384, 1),
        ("g4dn.2xlarge", 8, 32_768, 1),
        ("g4dn.4xlarge", 16, 65_536, 1),
        ("g4dn.8xlarge", 32, 131_072, 1),
        ("g4dn.12xlarge", 48, 196_608, 4),
        ("g4dn.16xlarge", 64, 262_144, 1),
    ),
    **_gpu(
        "A10G",
        22_888,
        ("g5.xlarge", 4, 16_384, 1),
        ("g5.2xlarge", 8, 32_768, 1),
        ("g5.4xlarge", 16, 65_536, 1),
        ("g5.8xlarge", 32, 131_072, 1),
        ("g5.12xlarge", 48, 196_608, 4),
        ("g5.16xlarge", 64, 262_144, 1),
        ("g5.24xlarge", 96, 393_216, 4),
        ("g5.48xlarge", 192, 786_432, 8),
    ),
    **_gpu(
        "L4",
        22_888,
        ("g6.xlarge", 4, 16_384, 1),
        ("g6.2xlarge", 8, 32_768, 1),
        ("g6.4xlarge", 16, 65_536, 1),
        ("g6.8xlarge", 32, 131_072, 1),
        ("g6.12xlarge", 48, 196_608, 4),
        ("g6.16xlarge", 64, 262_144, 1),
        ("g6.24xlarge", 96, 393_216, 4),
        ("g6.48xlarge", 192, 786_432, 8),
        ("gr6.4xlarge", 16, 131_072, 1),
        ("gr6.8xlarge", 32, 262_144, 1),
    ),
    **_gpu(
        "L40S",
        45_776,
        ("g6e.xlarge", 4, 32_768, 1),
        ("g6e.2xlarge", 8, 65_536, 1),
        ("g6e.4xlarge", 16, 131_072, 1),
        ("g6e.8xlarge", 32, 262_144, 1),
        ("g6e.12xlarge", 48, 393_216, 4),
        ("g6e.16xlarge", 64, 524_288, 1),
        ("g6e.24xlarge", 96, 786_432, 4),
        ("g6e.48xlarge", 192, 1_572_864, 8),
    ),
    **_gpu("A100", 40_960, ("p4d.24xlarge", 96, 1_179_648, 8)),
    **_gpu("A100", 81_920, ("p4de.24xlarge", 96, 1_179_648, 8)),
    **_gpu("H100", 81_920, ("p5.4xlarge", 16, 262_144, 1), ("p5.48xlarge", 192, 2_097_152, 8)),
    **_gpu("H200", 144_384, ("p5e.48xlarge", 192, 2_097_152, 8), ("p5en.48xlarge", 192, 2_097_152, 8)),
    "m7i.large": Instance(2, 8_192),
    "m7i.xlarge": Instance(4, 16_384),
    "m7i.2xlarge": Instance(8, 32_768),
    "m7i.4xlarge": Instance(16, 65_536),
    "m7i.8xlarge": Instance(32, 131_072),
    "c7i.2xlarge": Instance(8, 16_384),
    "c7i.4xlarge": Instance(16, 32_768),
    "c7i.8xlarge": Instance(32, 65_536),
    "c7i.16xlarge": Instance(64, 131_072),
}


def unusable(name: str) -> str:
    """Why a type's family is left out on purpose; nothing for any other name."""
    return UNUSABLE.get(name.partition(".")[0], "")


def known_type(name: str) -> str:
    """The name of an instance type, as it is.

    Raises:
        ValueError: with what is wrong with it, where no model can run on such a type.
    """
    if name not in INSTANCES:
        raise ValueError(
            unusable(name) or f"is not a type that this program knows{did_you_mean(name, list(INSTANCES))}"
        )
    return name
