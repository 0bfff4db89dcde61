"""Random kill points, a few of them; `python -m bench.provision_faults` does many."""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

from tests.worker.provision.campaign import Campaign

if TYPE_CHECKING:
    from pathlib import Path

    from tests.worker.provision.command import Command
    from tests.worker.registry import Registry

KILLS = 25


def test_a_store_is_right_after_every_kill(command: Command, models: Registry, tiny_gguf: Path) -> None:
    """Whatever dies when, published directories are whole, a rerun finishes, and no rubbish stays."""
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")  # noqa: T201  repeats it: python -m bench.provision_faults --seed N --kills 25
    shutil.copy(tiny_gguf, command.folder / "tiny.gguf")
    campaign = Campaign(command, models, seed)
    campaign.run(KILLS)
    assert campaign.problems == [], f"seed {seed}"
    assert sum(times for name, times in campaign.tally.items() if name.startswith("killed:")) == KILLS
