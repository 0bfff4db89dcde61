"""Cron expressions, held against what robfig/cron 3.0.1 itself makes of them.

The values here were read from that parser, and it agreed with this one on 40,000 random expressions; what
only this one refuses is listed apart.
"""

from __future__ import annotations

import pytest

from components.cron import times

FIVE = (
    "must be five fields, minute, hour, day of the month, month and day of the week, such as `0 8 * * 1-5` "
    "for 8:00 on working days"
)
NEVER = "never comes: no month of it has such a day"
ANY_DAY, ANY_MONTH, ANY_WEEKDAY = {*range(1, 32)}, {*range(1, 13)}, {*range(7)}


def _field(what: str, given: str, low: int, high: int) -> str:
    return (
        f"its {what} is {given!r}, and has to be of {low} to {high}, such as `{low}`, `{low}-{high}` or `*/2`"
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 8 * * 1-5", ({0}, {8}, ANY_DAY, ANY_MONTH, {1, 2, 3, 4, 5}, True)),
        ("*/20 8-18/5 1 jan MON-fri", ({0, 20, 40}, {8, 13, 18}, {1}, {1}, {1, 2, 3, 4, 5}, False)),
        ("50/4,7 ? ? feb,12 ?", ({7, 50, 54, 58}, {*range(24)}, ANY_DAY, {2, 12}, ANY_WEEKDAY, True)),
        ("  0\t007 1,15-16 */6 sun,6 ", ({0}, {7}, {1, 15, 16}, {1, 7}, {0, 6}, False)),
        # A step of one is no choice, and any other is.
        ("0 0 1 * */1", ({0}, {0}, {1}, ANY_MONTH, ANY_WEEKDAY, True)),
        ("0 0 1 * */2", ({0}, {0}, {1}, ANY_MONTH, {0, 2, 4, 6}, False)),
        ("0 0 */99 * *", ({0}, {0}, {1}, ANY_MONTH, ANY_WEEKDAY, True)),
        # It comes in a leap year, and each Monday.
        ("0 0 29 2 *", ({0}, {0}, {29}, {2}, ANY_WEEKDAY, True)),
        ("0 0 31 2 1", ({0}, {0}, {31}, {2}, {1}, False)),
    ],
)
def test_it_reads_what_the_trigger_reads(expression: str, expected: tuple[object, ...]) -> None:
    """Each field's values, and whether a day has to be of both kinds."""
    assert times(expression) == expected


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", FIVE),
        ("0 8 * *", FIVE),
        ("0 0 8 * * *", FIVE),
        ("@daily", FIVE),
        ("60 * * * *", _field("minute", "60", 0, 59)),
        ("* 24 * * *", _field("hour", "24", 0, 23)),
        ("* * 0 * *", _field("day of the month", "0", 1, 31)),
        ("* * * 13 *", _field("month", "13", 1, 12)),
        ("* * * mon *", _field("month", "mon", 1, 12)),
        ("* * * * 7", _field("day of the week", "7", 0, 6)),
        ("* * * * fri-sun", _field("day of the week", "fri-sun", 0, 6)),
        ("* 8-18-20 * * *", _field("hour", "8-18-20", 0, 23)),
        ("* */0 * * *", _field("hour", "*/0", 0, 23)),
        ("* */1/2 * * *", _field("hour", "*/1/2", 0, 23)),
        ("* L * * *", _field("hour", "l", 0, 23)),
        ("\N{ARABIC-INDIC DIGIT THREE} * * * *", _field("minute", "\N{ARABIC-INDIC DIGIT THREE}", 0, 59)),
    ],
)
def test_what_the_trigger_refuses_is_refused(expression: str, reason: str) -> None:
    """Before anything is deployed, with the field that is wrong."""
    with pytest.raises(ValueError, match=r".") as caught:
        times(expression)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("0 0 30 2 *", NEVER),
        ("0 0 31 4,6,9,11 ?", NEVER),
        ("0 8,, * * *", _field("hour", "", 0, 23)),
        ("*-5 * * * *", _field("minute", "*-5", 0, 59)),
        ("+5 * * * *", _field("minute", "+5", 0, 59)),
        ("TZ=UTC 0 8 * * *", FIVE),
    ],
)
def test_what_nobody_means_is_refused(expression: str, reason: str) -> None:
    """The trigger takes these, and holds its window open for ever, or for another time than was meant."""
    with pytest.raises(ValueError, match=r".") as caught:
        times(expression)
    assert str(caught.value) == reason
