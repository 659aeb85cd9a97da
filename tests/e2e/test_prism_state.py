"""Prism, a step with state, and a bundle that is slow: what one key's elements write is all there in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from connectors.upstream.beam import WHOLE_BUNDLES, keep_bundles_whole
from local.engines import engines

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ELEMENTS = 40
RUNNER = ("--runner=PrismRunner", "--experiments=disable_prism_server_singleton")
counts: list[int] = []


class Count(beam.DoFn):
    """Counts a key's elements in its state, slowly."""

    STATE = ReadModifyWriteStateSpec("count", VarIntCoder())

    def process(
        self,
        element: tuple[str, int],
        state: Any = beam.DoFn.StateParam(STATE),  # noqa: B008
    ) -> Iterator[int]:
        time.sleep(0.2 if element[1] % 10 == 0 else 0)
        count = (state.read() or 0) + 1
        state.write(count)
        counts.append(count)
        yield count


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """Runs Count over the elements of one key on Prism, from an unpatched Beam; the counts, in order."""
    monkeypatch.setattr(WHOLE_BUNDLES.owner, WHOLE_BUNDLES.name, WHOLE_BUNDLES.original)

    def run() -> list[int]:
        counts.clear()
        with engines("PrismRunner") as options:
            pipeline = beam.Pipeline(options=PipelineOptions([*options, *RUNNER]))
            _ = (
                pipeline
                | beam.Create([("key", number) for number in range(ELEMENTS)], reshuffle=False)
                | beam.Map(lambda element: element).with_output_types(tuple[str, int])
                | beam.ParDo(Count())  # type: ignore[no-untyped-call]
            )
            pipeline.run().wait_until_finish()
        return sorted(counts)

    return run


def test_no_count_is_lost(counted: Callable[[], list[int]]) -> None:
    keep_bundles_whole()
    assert counted() == list(range(1, ELEMENTS + 1))


def test_prism_loses_counts_without_the_patch(counted: Callable[[], list[int]]) -> None:
    """When this fails, keep_bundles_whole is not needed any more."""
    assert counted() != list(range(1, ELEMENTS + 1))
