"""Times of a schedule as KEDA's cron trigger reads them: five fields, by the rules of robfig/cron 3. Pure.

What that parser takes and nobody means is refused here: empty items, a zone in front of the fields, dates
that never come. With a start that never comes, the trigger would hold its window open for ever (KEDA 2.20.2,
pkg/scalers/cron_scaler.go: a next time that is not found is the year 1).
"""

from __future__ import annotations

import re
from typing import NamedTuple

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

DAYS_OF_MONTH = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), start=1))

ITEM = re.compile(r"([*?]|[0-9a-z]{1,3})(?:-([0-9a-z]{1,3}))?(?:/([0-9]{1,2}))?")
"""Such as `*`, `5`, `1-5`, `mon-fri`, `*/15` or `8-18/2`."""

ANY = re.compile(r"[*?](/0?1)?")
"""Lets everything through; one with another step is a choice."""


class Field(NamedTuple):
    """One of the five: its values, and the names that some of them have."""

    what: str
    low: int
    high: int
    names: tuple[str, ...] = ()


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of the month", 1, 31),
    Field("month", 1, 12, MONTHS),
    Field("day of the week", 0, 6, WEEKDAYS),
)


class Times(NamedTuple):
    """What an expression lets through, however it is written.

    Attributes:
        minutes, hours, days, months, weekdays: what each field lets through.
        both: whether a day has to be of both kinds, since one of the two says any; else one kind is enough.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both: bool


def times(expression: str) -> Times:
    """Reads an expression such as `0 8 * * 1-5`.

    Raises:
        ValueError: with what is wrong with it.
    """
    texts = expression.lower().split()
    if len(texts) != len(FIELDS):
        raise ValueError(
            "must be five fields, minute, hour, day of the month, month and day of the week, such as "
            "`0 8 * * 1-5` for 8:00 on working days"
        )
    values = [_values(field, text) for field, text in zip(FIELDS, texts, strict=True)]
    both = any(ANY.fullmatch(item) for text in (texts[2], texts[4]) for item in text.split(","))
    found = Times(*values, both=both)
    if both and not any(day <= DAYS_OF_MONTH[month] for month in found.months for day in found.days):
        raise ValueError("never comes: no month of it has such a day")
    return found


def _values(field: Field, text: str) -> frozenset[int]:
    return frozenset(value for item in text.split(",") for value in _item(field, item))


def _item(field: Field, text: str) -> range:
    found = ITEM.fullmatch(text)
    first, last, step = found.groups() if found else (None, None, None)
    if first in {"*", "?"} and last is None:
        low, high = field.low, field.high
    else:
        low = _number(field, first)
        # Without an end, a step goes on to the last value.
        high = _number(field, last) if last else field.high if step else low
    if not field.low <= low <= high <= field.high or step in {"0", "00"}:
        raise ValueError(
            f"its {field.what} is {text!r}, and has to be of {field.low} to {field.high}, such as "
            f"`{field.low}`, `{field.low}-{field.high}` or `*/2`"
        )
    return range(low, high + 1, int(step or 1))


def _number(field: Field, text: str | None) -> int:
    """What a number or a name stands for; -1, which no field takes, for anything else."""
    if text in field.names:
        return field.names.index(text) + field.low
    return int(text) if text and text.isdecimal() else -1
