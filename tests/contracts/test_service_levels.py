"""The slaProperties of contracts: what is measured, in which unit, and what cannot be."""

from __future__ import annotations

import pytest

from contracts.odcs.tables import load
from contracts.service_levels import Measured, Outcome, measured_level, service_level_query, shown_seconds
from contracts.table import ServiceLevel, Table

TRIPS = """apiVersion: v3.1.0
kind: DataContract
id: trips
version: 1.0.0
schema:
  - name: trips
    physicalName: all_trips
    properties:
      - {name: id, logicalType: integer}
      - {name: day, physicalName: trip_day, logicalType: date}
      - {name: end, logicalType: object, properties: [{name: at, logicalType: timestamp}]}
      - {name: stops, logicalType: array, items: {logicalType: date}}
      - {name: local, logicalType: timestamp, physicalType: DATETIME}
"""
BIKES = """  - name: bikes
    properties:
      - {name: id, logicalType: integer}
"""


def levels(given: str, tables: str = TRIPS) -> list[ServiceLevel]:
    return [level for table in loaded(given, tables).values() for level in table.service_levels]


def loaded(given: str, tables: str = TRIPS) -> dict[str, Table]:
    return load([("trips.odcs.yaml", f"{tables}slaProperties: [{given}]\n")])


DAY = ("latency of trip_day", True, 345_600, "trip_day")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            "{property: latency, value: 4, unit: d, element: trips.day}",
            ("latency of trip_day", True, 345_600, "trip_day"),
        ),
        ("{property: LY, value: '1.5', unit: Hours, element: day}", ("latency of trip_day", True, 5_400, "trip_day")),
        ("{property: freshness, value: 30, unit: min}", ("freshness", False, 1_800, "")),
        ("{property: freshness, value: 1, unit: y, element: trips}", ("freshness", False, 31_536_000, "")),
        (
            "{property: freshness, value: 90, unit: s, element: trips.end.at}",
            ("freshness of end.at", False, 90, "end.at"),
        ),
    ],
)
def test_a_level_is_about_a_table_or_a_column(given: str, expected: tuple[str, bool, float, str]) -> None:
    (level,) = levels(given)
    assert (level.name, level.is_latency, level.seconds, ".".join(level.path), level.problem) == (*expected, "")


def test_several_elements_and_all_tables() -> None:
    both = "{property: freshness, value: 1, unit: w, element: 'trips.day, bikes'}"
    assert [level.name for level in levels(both, TRIPS + BIKES)] == ["freshness of trip_day", "freshness"]
    every = loaded("{property: freshness, value: 1, unit: w}", TRIPS + BIKES)
    assert [len(table.service_levels) for table in every.values()] == [1, 1]
    older = f"{TRIPS}slaDefaultElement: trips.day\n"
    assert [level.name for level in levels("{property: latency, value: 1, unit: d}", older)] == ["latency of trip_day"]


def test_other_properties_are_for_people() -> None:
    assert levels("{property: retention, value: 3, unit: y}, {property: endOfLife, value: 2042-05-12}") == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("{property: latency, value: 4, unit: m, element: day}", "its unit must be one of s, sec, second, "),
        ("{property: latency, value: 4, element: day}", "not None"),
        ("{property: latency, value: soon, unit: d, element: day}", "its value must be a number above 0, not 'soon'"),
        ("{property: latency, value: 0, unit: d, element: day}", "its value must be a number above 0, not 0"),
        ("{property: latency, value: 4, unit: d, element: trips.id}", "id is neither a date nor a timestamp"),
        ("{property: latency, value: 4, unit: d, element: trips.stops}", "stops is neither a date nor a timestamp"),
        ("{property: latency, value: 4, unit: d}", "its element must be a date or timestamp: table.property"),
        ("{property: latency, value: 4, unit: d, element: trips.nothing}", "element trips.nothing is not a property"),
        ("{property: latency, value: 4, unit: d, element: other.day}", "element other.day is not a property"),
    ],
)
def test_a_level_that_cannot_be_measured_says_so_and_stops_no_load(given: str, problem: str) -> None:
    (level,) = levels(given)
    assert problem in level.problem


def test_the_statements() -> None:
    (level,) = levels("{property: freshness, value: 1, unit: d, element: day}")
    (table,) = loaded("").values()
    assert service_level_query(table, "x", level) == (
        "SELECT GREATEST(TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), MAX(TIMESTAMP(DATE_ADD(`trip_day`, INTERVAL 1 DAY))),"
        " SECOND), 0) AS seconds FROM x WHERE TRUE"
    )
    (level,) = levels("{property: latency, value: 1, unit: d, element: local}")
    assert "TIMESTAMP_DIFF(`_ingested_at`, TIMESTAMP(`local`), SECOND)" in service_level_query(table, "x", level)
    (level,) = levels("{property: freshness, value: 1, unit: d}")
    assert "MAX(`_ingested_at`)" in service_level_query(table, "x", level)


def test_what_was_measured_is_judged_and_shown() -> None:
    level = ServiceLevel("freshness", is_latency=False, seconds=5_400)
    assert measured_level("t", level, [{"seconds": 5_400}]).outcome is Outcome.KEPT
    late = measured_level("t", level, [{"seconds": 5_401}])
    assert late.outcome is Outcome.BROKEN
    shown = {"table": "t", "level": "freshness", "outcome": "broken", "is": "1.5 h", "at most": "1.5 h", "why": None}
    assert late.row() == shown
    assert measured_level("t", level, [{"seconds": None}]) == Measured("t", level, None, "the table has no such row")
    shown_times = [shown_seconds(seconds) for seconds in (0, 59, 90, 7_200, 86_400 * 3)]
    assert shown_times == ["0 s", "59 s", "1.5 min", "2 h", "3 d"]
