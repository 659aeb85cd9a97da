"""Which runs and service levels are alarms."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.service_levels import Measured
from contracts.table import ServiceLevel
from operations.alarms.alarm import FIXES, Alarm, Kind
from operations.alarms.examine import KINDS, alarms_of_levels, alarms_of_runs
from operations.runs import NO_END
from transforms.ledger import State

BEGAN = datetime(2026, 1, 31, 12, tzinfo=UTC)
STATES = [*(state.value for state in State), NO_END]


def run(name: str, state: str, tables: str | None = "trips", pipeline: str = "batch") -> dict[str, Any]:
    return {"run": name, "state": state, "tables": tables, "pipeline": pipeline, "began": BEGAN}


def alarms(*runs: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(alarm.kind.value, alarm.about, alarm.run) for alarm in alarms_of_runs(runs)]


def test_the_newest_run_of_a_table_counts() -> None:
    assert alarms(run("b", "done"), run("a", "failed")) == []
    assert alarms(run("b", "failed"), run("a", "done")) == [("run_failed", "batch into trips", "b")]
    assert alarms(run("b", "failed"), run("a", "failed")) == [("run_failed", "batch into trips", "b")]


def test_a_run_of_one_of_two_tables_leaves_the_alarm_of_the_other() -> None:
    newest = run("b", "done", "bikes")
    assert alarms(newest, run("a", "failed", "bikes, trips")) == [("run_failed", "batch into bikes, trips", "a")]
    assert alarms(run("c", "done", "trips"), newest, run("a", "failed", "bikes, trips")) == []


def test_a_batch_that_is_running_has_shown_nothing_yet_and_a_stream_has() -> None:
    assert alarms(run("b", "running"), run("a", "failed")) == [("run_failed", "batch into trips", "a")]
    assert alarms(run("b", "running", pipeline="stream"), run("a", "failed", pipeline="stream")) == []


def test_pipelines_are_apart() -> None:
    assert alarms(run("b", "done", pipeline="replay"), run("a", NO_END)) == [
        ("run_without_end", "batch into trips", "a")
    ]


def test_a_run_without_a_line_about_a_table() -> None:
    assert alarms(run("b", "failed", None)) == [("run_failed", "batch", "b")]


@given(
    st.lists(
        st.builds(run, st.text(), st.sampled_from(STATES), st.sampled_from(["trips", "bikes", "bikes, trips", None]))
    )
)
def test_at_most_one_alarm_for_each_newest_run(runs: list[dict[str, Any]]) -> None:
    found = list(alarms_of_runs(runs))
    ended = [each for each in runs if each["state"] != State.RUNNING.value]
    for table in ("trips", "bikes"):
        newest = next((each for each in ended if table in (each["tables"] or "")), None)
        bad = newest is not None and newest["state"] in KINDS
        assert any(newest and alarm.run == newest["run"] for alarm in found) >= bad
    assert len(found) <= 3


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_fine_or_an_alarm(state: str) -> None:
    assert (state in KINDS) == (state not in (State.DONE.value, State.RUNNING.value))


def test_every_kind_says_what_to_type_and_can_be_raised() -> None:
    assert set(FIXES) == set(Kind)
    assert set(KINDS.values()) | {Kind.SERVICE_LEVEL_BROKEN} == set(Kind)
    for kind in Kind:
        assert re.search("launcher.py|--run_id r", Alarm(kind=kind, about="a", says="s", run="r", table="t").fix)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (3600.0, None),
        (3601.0 + 3600, "trips: freshness of at is 2 h, at most 1 h"),
        (None, "trips: freshness of at cannot be measured"),
    ],
)
def test_service_levels(seconds: float | None, says: str | None) -> None:
    level = ServiceLevel("freshness of at", False, 3600, ("at",))
    found = [alarm.says for alarm in alarms_of_levels([Measured("trips", level, seconds)])]
    assert found == ([says] if says else [])
