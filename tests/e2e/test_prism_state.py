"""Prism, a step with state, and a bundle that is slow: what one key's elements write is all there in the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from local.engines import engines
from pipelines.runners import keep_bundles_whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ELEMENTS = 40
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


def test_no_count_is_lost() -> None:
    keep_bundles_whole()
    with engines("PrismRunner") as options:
        pipeline = beam.Pipeline(options=PipelineOptions([*options, "--runner=PrismRunner"]))
        _ = (
            pipeline
            | beam.Create([("key", number) for number in range(ELEMENTS)], reshuffle=False)
            | beam.Map(lambda element: element).with_output_types(tuple[str, int])
            | beam.ParDo(Count())  # type: ignore[no-untyped-call]
        )
        pipeline.run().wait_until_finish()
    assert sorted(counts) == list(range(1, ELEMENTS + 1))
