"""The fault campaign, small: 100 documents under faults of every kind. bench/faults.py runs the large one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker.campaign import Campaign

if TYPE_CHECKING:
    from tests.worker.rig import Rig

SEED = 20261122


@pytest.mark.timeout(420)
def test_no_document_is_lost_and_none_answered_twice(rig: Rig) -> None:
    """Under faults of every kind each document has its one result, or a reason that is true."""
    campaign = Campaign(rig, SEED, 100)
    campaign.run(patience_seconds=360)
    assert campaign.problems() == []
    assert campaign.tally["answered"] >= 80
