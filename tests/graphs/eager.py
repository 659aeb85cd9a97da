"""Run a transform over local input and get its output back, in one line and without a server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

__all__ = ["eager", "local_pipeline"]

_collected: dict[int, dict[str, list[Any]]] = {}
_keys = count()


def local_pipeline(workers: int = 1) -> beam.Pipeline:
    """A pipeline on FnApiRunner, in this process. Each worker is a thread with its own bundle of a stage's input."""
    mode = "in_memory" if workers == 1 else "multi_threading"
    options = PipelineOptions([f"--direct_num_workers={workers}", f"--direct_running_mode={mode}"])
    return beam.Pipeline(runner=FnApiRunner(), options=options)


def eager(transform: beam.PTransform[Any, Any], *inputs: Iterable[Any], workers: int = 1) -> Any:
    """Apply `transform` to one PCollection for each of `inputs`; return its output as a list.

    For a transform with several outputs (a NamedTuple of PCollections), return a namespace of lists. The order within a
    list is the runner's.
    """
    key = next(_keys)
    _collected[key] = defaultdict(list)
    with local_pipeline(workers) as pipeline:
        collections = [
            pipeline | f"Input {number}" >> beam.Create(list(elements), reshuffle=False)
            for number, elements in enumerate(inputs)
        ]
        applied = (collections[0] if len(collections) == 1 else tuple(collections)) | "Applied" >> transform
        names: Mapping[str, PCollection[Any] | None]
        names = {"": applied} if isinstance(applied, PCollection) else applied._asdict()
        for name, collection in names.items():
            if collection is not None:
                _ = collection | f"Collect {name}" >> beam.Map(partial(_collect, key, name))
    outputs = _collected.pop(key)
    if isinstance(applied, PCollection):
        return outputs[""]
    return SimpleNamespace(**{name: outputs[name] for name in names})


def _collect(key: int, name: str, element: object) -> None:
    _collected[key][name].append(element)
