"""Settings that are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from monitor.incidents.config import IncidentsConfig


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("close_after", 0.5),
        ("close_after", 86401),
        ("close_after", "soon"),
        ("persist_every_s", -1),
        ("persist_every_s", 61),
        ("closeafter", 10),
    ],
)
def test_a_bad_value_is_refused_with_its_key(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        IncidentsConfig.model_validate({key: value})
    assert refusal.value.errors()[0]["loc"] == (key,)


def test_the_defaults_are_two_minutes_and_five_seconds() -> None:
    assert IncidentsConfig().model_dump() == {"close_after": 120.0, "persist_every_s": 5.0}
