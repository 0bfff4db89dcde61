"""Names that Kubernetes holds to 63 characters, and that tell one Job from another."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.names import model_job

LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""A Kubernetes label of at most 63 characters (RFC 1123), as the Job controller puts it on its pods."""

HASH = hashlib.sha256(b"model").hexdigest()


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True), st.lists(st.text(), max_size=3))
def test_a_jobs_name_fits_a_label(model: str, parts: list[str]) -> None:
    """The longest model name that the config takes still gives a label, whatever the other parts are."""
    name = model_job(model, HASH, *parts)
    assert LABEL.fullmatch(name)
    assert len(name) == len(model) + 22 <= 62


def test_a_jobs_name_says_its_model_and_hash() -> None:
    """A person finds the Job of a model directory by the first twelve digits of its name."""
    assert model_job("summarize", HASH, "fs-1", "{}") == (
        f"summarize-{HASH[:12]}-{hashlib.sha256(b'fs-1' + bytes([10]) + b'{}').hexdigest()[:8]}"
    )


@pytest.mark.parametrize(
    "other",
    [
        ("extract", HASH, "fs-1", "{}"),
        ("summarize", HASH[::-1], "fs-1", "{}"),
        ("summarize", HASH, "fs-2", "{}"),
        ("summarize", HASH, "fs-1", "{1}"),
    ],
)
def test_each_part_makes_another_job(other: tuple[str, ...]) -> None:
    """The same parts give the same name, and each one that differs gives another."""
    assert model_job("summarize", HASH, "fs-1", "{}") == model_job("summarize", HASH, "fs-1", "{}")
    assert model_job(*other) != model_job("summarize", HASH, "fs-1", "{}")
