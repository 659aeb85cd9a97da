"""The report: scales, charts from figures, the page, and its server."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Unavailable, UsageError
from contracts.odcs.tables import shipped
from contracts.service_levels import Measured
from contracts.table import ServiceLevel
from operations.report.charts import charts_of, doors_of, latencies_of
from operations.report.figures import Figures, Flow
from operations.report.letters import Group
from operations.report.page import page
from operations.report.server import serving
from operations.report.svg import Chart, Series, drawn, log_ticks, nice_ticks, short
from operations.report.window import Step, Window, parse_since
from tests.in_process import launch

NOW = datetime(2026, 5, 20, 12, 30, tzinfo=UTC)
DAY = datetime(2026, 5, 20, tzinfo=UTC)
HOSTILE = '<script>alert("1")</script>\u202e'


def figures(length: timedelta = timedelta(days=7), **changed: object) -> Figures:
    window = Window(NOW - length, NOW)
    last = window.starts[-1]
    given: dict[str, object] = {
        "place": "p.ops",
        "window": window,
        "flows": [
            Flow(last, "d.customers", "batch", 100, 90, 6, 4, {}),
            Flow(last, "d.events", "stream", 50, 50, 0, 0, {80: 49, 160: 1}),
        ],
        "runs": [
            {
                "run": "run-1",
                "pipeline": "batch",
                "state": "too_many_dead_letters",
                "began": NOW,
                "seconds": 4,
                "read": 100,
                "written": 90,
                "duplicate": 6,
                "dead_letter": 4,
                "why": "too many",
            }
        ],
        "states": {(last, "batch", "too_many_dead_letters"): 2, (last, "stream", "done"): 1},
        "rates": {(last, "batch"): 25.0},
        "groups": [Group("customers", "wrong_type", "age", 4, 3, NOW)],
        "group_count": 1,
        "letters": {(last, "customers", "wrong_type"): 4},
        "refused": {("customers", "wrong_type", "age"): 4},
        "dead_letters": 4,
        "open": 3,
        "rule_count": 0,
        "quality": [],
        "levels": [],
        "loaded": {"d.customers": NOW - timedelta(hours=2)},
        "tables": shipped(),
    }
    return Figures(**{**given, **changed})


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0"), (950, "950"), (1_200, "1.2k"), (3_000_000, "3M"), (0.25, "0.25"), (12_345, "12.3k")]
)
def test_short_numbers(number: float, said: str) -> None:
    assert short(number) == said


@given(st.floats(0.001, 1e15), st.booleans())
def test_ticks_are_round_and_reach_over_the_greatest(greatest: float, whole: bool) -> None:
    ticks = nice_ticks(greatest, whole=whole)
    assert ticks[0] == 0
    assert ticks[-1] >= greatest * (1 - 1e-6)
    assert 2 <= len(ticks) <= 6
    assert ticks[-2] < greatest
    if whole:
        assert all(tick == int(tick) for tick in ticks)


def test_ticks_of_a_logarithm() -> None:
    assert log_ticks([0.02, 5]) == [0.01, 0.1, 1, 10]
    assert log_ticks([1]) == [1, 10]


def chart(*series: Series, stacked: bool = True) -> Chart:
    return Chart(title="T", what="W", labels=("a", "b"), marks=("a", "b"), series=series, stacked=stacked)


def heights(svg: str) -> list[float]:
    (wide, _) = re.findall(r"<svg[^>]*viewBox.*?</svg>", svg)
    return [float(height) for height in re.findall(r'<rect[^>]*height="([\d.]+)"', wide)]


def test_bars_have_the_height_of_their_values_and_the_least_is_seen() -> None:
    first, second, third = heights(drawn(chart(Series("x", (10, 0), 0), Series("y", (5, 0.001), 1))))
    assert first == pytest.approx(2 * second, abs=0.2)
    assert third == 1.5


def test_a_line_is_broken_where_there_is_no_value() -> None:
    made = Chart(
        title="T",
        what="",
        labels=tuple("abcd"),
        marks=tuple("abcd"),
        stacked=False,
        series=(Series("x", (1, 2, None, 3), 0),),
    )
    (wide, _) = re.findall(r"<svg[^>]*viewBox.*?</svg>", drawn(made))
    assert len(re.findall(r'<path[^>]*class="line l0"', wide)) == 2
    assert wide.count("<circle") == 3


def test_a_chart_has_its_figures_as_a_table() -> None:
    made = drawn(chart(Series("x", (1234, 0), 0)))
    assert '<th scope="row">a</th><td class="n">1,234</td>' in made
    assert 'role="img"' in made
    assert "Nothing in this time" in drawn(chart(Series("x", (0, 0), 0)))
    assert "Nothing in this time" in drawn(chart())


@pytest.mark.parametrize(("given", "length"), [("7d", timedelta(7)), ("24h", timedelta(1)), (" 2w", timedelta(14))])
def test_since(given: str, length: timedelta) -> None:
    assert parse_since(given) == length


@pytest.mark.parametrize("given", ["", "7", "d", "0d", "-1d", "7m", "1.5d", "99999w", "7d7d"])
def test_no_since(given: str) -> None:
    with pytest.raises(UsageError, match="give hours, days or weeks"):
        parse_since(given)


@pytest.mark.parametrize(
    ("length", "step", "first"),
    [
        (timedelta(minutes=50), Step.MINUTE, "2026-05-20 11:40"),
        (timedelta(hours=24), Step.HOUR, "2026-05-19 12:00"),
        (timedelta(days=7), Step.DAY, "2026-05-13"),
        (timedelta(days=365), Step.WEEK, "2025-05-19"),
    ],
)
def test_steps(length: timedelta, step: Step, first: str) -> None:
    window = Window(NOW - length, NOW)
    assert window.step is step
    assert window.labels[0] == first
    assert len(window.labels) == len(window.marks) <= 94
    assert window.starts[-1] == step.begin(NOW)
    assert Window(NOW - timedelta(days=365), NOW, NOW - length).labels == window.labels


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(1, 5_000_000))
def test_a_window_covers_its_time(until: datetime, minutes: int) -> None:
    until = until.replace(tzinfo=UTC)
    window = Window(until - timedelta(minutes=minutes), until)
    assert window.starts[0] <= window.since < window.starts[0] + window.step.value
    assert window.starts[-1] <= until < window.starts[-1] + window.step.value


def test_charts_have_the_figures() -> None:
    charts = charts_of(figures())
    assert {each.name: each.values[-1] for each in charts["records"].series} == {
        "written": 140,
        "duplicate": 6,
        "dead letter": 4,
    }
    assert [(series.name, series.values[-1]) for series in charts["duplicates"].series] == [("d.customers", 6.0)]
    assert [(series.name, series.values[-1]) for series in charts["runs"].series] == [
        ("done", 1),
        ("too many dead letters", 2),
    ]
    assert [series.values[-1] for series in charts["latency"].series] == pytest.approx([1.117, 1.117, 1143.5], rel=1e-3)
    assert doors_of(figures().flows)["d.customers"] == {"read": 100, "written": 90, "duplicate": 6, "dead_letter": 4}
    assert list(latencies_of(figures().flows)) == ["d.events"]


def test_many_codes_are_six_and_the_others() -> None:
    letters = {(DAY, "t", f"code_{number}"): number for number in range(1, 10)}
    series = charts_of(figures(letters=letters))["codes"].series
    assert [(each.name, each.values[-1]) for each in series][-2:] == [("code_4", 4), ("others", 6)]


def test_the_page_says_what_the_figures_say() -> None:
    made = page(figures())
    assert "too many dead letters" in made
    assert "<dt>records read</dt><dd>150<span></span></dd>" in made
    assert '<b class="bad">2 failed</b>' in made
    assert "wrong_type 4</td>" in made
    assert made.index("<b>customers</b>: 4 refused") < made.index("<b>products</b>")


def test_nothing_is_markup_that_came_with_the_data() -> None:
    sample = {"error_message": HOSTILE, "source": HOSTILE, "position": 1, "state": "open", "raw": HOSTILE}
    run = {**figures().runs[0], "run": HOSTILE, "why": HOSTILE, "state": HOSTILE, "pipeline": HOSTILE}
    quality = {
        "name": HOSTILE,
        "rule": HOSTILE,
        "state": "broken",
        "value": "5",
        "expected": HOSTILE,
        "why": None,
        "broken": 1,
        "checked": 2,
    }
    made = page(
        figures(
            place=HOSTILE,
            runs=[run],
            flows=[Flow(DAY, HOSTILE, HOSTILE, 1, 1, 1, 0, {})],
            states={(DAY, HOSTILE, HOSTILE): 1},
            rates={(DAY, HOSTILE): 1.0},
            groups=[Group(HOSTILE, HOSTILE, HOSTILE, 1, 1, NOW, (sample,))],
            letters={(DAY, HOSTILE, HOSTILE): 1},
            refused={(HOSTILE, HOSTILE, HOSTILE): 1, ("customers", "unknown_field", HOSTILE): 1},
            quality=[quality],
            loaded={HOSTILE: NOW},
            levels=[Measured(HOSTILE, ServiceLevel(HOSTILE, True, 5.0), None, HOSTILE)],
        )
    )
    assert "alert(" in made
    assert not re.search(r"<script|\u202e|alert\(\"|javascript:|\son\w+=", made)
    assert made.count("&lt;script&gt;") > 20


def test_fields_that_suppliers_invent_are_counted_and_not_all_listed() -> None:
    refused = {("customers", "unknown_field", f"field_{number}"): 1 for number in range(2_000)}
    made = page(figures(refused=refused, tables={"customers": shipped()["customers"]}))
    assert "<b>customers</b>: 2,000 refused" in made
    assert "and 1,980 more" in made
    assert made.count("unknown_field of field_") == 20


def test_the_page_needs_no_network_and_has_no_script() -> None:
    made = page(figures())
    assert not re.search(r"<script|<img|<iframe|@import|url\(|https?:|\sstyle=", made)
    assert re.findall(r'href="([^#"][^"]*)"', made) == ["data:,"]
    assert "default-src &#x27;none&#x27;" in made or "default-src 'none'" in made


def test_a_year_of_many_tables_is_less_than_two_megabytes() -> None:
    window = Window(NOW - timedelta(days=365), NOW)
    names = [f"dataset.a_table_with_a_long_name_{number}" for number in range(60)]
    sample = {"error_message": "m" * 1000, "source": "s" * 100, "position": 1, "state": "open", "raw": "r" * 20_000}
    groups = [Group(name, "invalid_value", "field", 9, 9, NOW, (sample, sample)) for name in names]
    made = page(
        figures(
            timedelta(days=365),
            flows=[Flow(at, name, "stream", 9, 9, 1, 0, {5: 9}) for name in names for at in window.starts],
            runs=[figures().runs[0]] * 50,
            groups=groups[:40] + [Group(name, "c", None, 1, 1, NOW) for name in names[:20]],
            letters={(at, name, "code"): 5 for name in names for at in window.starts},
        )
    )
    assert len(made.encode()) < 1_000_000


@pytest.fixture
def served() -> Iterator[tuple[ThreadingHTTPServer, list[str]]]:
    made: list[str] = []

    def report(*remarks: str) -> str:
        made.append("page")
        if len(made) == 3:
            raise Unavailable("BigQuery does not answer")
        return f"<p>page {len(made)}</p>{''.join(remarks)}"

    server = serving(report, 0, made.append)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server, made
    server.shutdown()
    thread.join()
    server.server_close()


def asked(server: ThreadingHTTPServer, path: str, host: str = "127.0.0.1") -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request("GET", path, headers={"Host": f"{host}:{server.server_address[1]}"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, answer.headers


def test_the_served_page(served: tuple[ThreadingHTTPServer, list[str]]) -> None:
    server, made = served
    assert server.server_address[0] == "127.0.0.1"
    code, body, headers = asked(server, "/")
    assert (code, headers["Refresh"]) == (200, "30")
    assert 'href="/still"' in body
    assert asked(server, "/")[1] == body  # not made again within some seconds
    code, still, headers = asked(server, "/still?x=1", "localhost")
    assert (code, headers["Refresh"]) == (200, None)
    assert 'href="/"' in still
    assert made == ["page", "page"]
    assert asked(server, "/", "evil.example")[0] == 403
    assert asked(server, "/other")[0] == 404
    server.pages._pages.clear()
    code, body, headers = asked(server, "/")
    assert (code, body, headers["Refresh"]) == (503, "BigQuery does not answer\n", "30")


def test_a_port_that_is_taken(served: tuple[ThreadingHTTPServer, list[str]]) -> None:
    port = served[0].server_address[1]
    with pytest.raises(UsageError, match=f"--port: 127.0.0.1:{port} cannot be used: Address already in use"):
        serving(lambda: "", port, print)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--local"], "give --output FILE or --serve"),
        (["--local", "--output=a.html", "--serve"], "give --output FILE or --serve, not both"),
        (["--local", "--output=a.html", "--port=1"], "--port belongs to --serve"),
        (["--local", "--serve", "--port=0"], "0: give a number from 1 to 65535"),
        (["--output=a.html", "--since=7y", "--local"], "--since '7y': give hours, days or weeks"),
        (["--output=a.html"], "--project, --location"),
    ],
)
def test_wrong_usage_is_refused(argv: list[str], said: str) -> None:
    done = launch(["report", *argv])
    assert done.code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
