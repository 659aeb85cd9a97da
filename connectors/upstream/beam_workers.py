"""Beam's FnApiRunner with steps in other processes, by its private parts.

Beam's own ways to several processes (`--direct_running_mode`) talk by gRPC, listen on every interface, and wait forever
for a worker that has died. Here a bundle's input and output pass through whatever `process` does with a Bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2, endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    FNAPI_RUNNER_CAPABILITIES,
    ControlFuture,
    SingletonStateHandlerFactory,
    StateServicer,
    WorkerHandler,
)
from apache_beam.runners.worker.data_plane import InMemoryDataChannel, InMemoryDataChannelFactory
from apache_beam.runners.worker.sdk_worker import BundleProcessorCache, GlobalCachingStateHandler, SdkWorker
from apache_beam.runners.worker.statecache import StateCache

__all__ = ["Bundle", "BundleWorker", "Processed", "WorkerRunner"]

ENVIRONMENT = "workers"
"""The environment of the steps that run in workers. Beam does not fuse steps of two environments."""
Data = tuple[tuple[str, bytes], ...]
"""What goes into a bundle or comes out of it: encoded elements, by the transform that reads or writes them."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle of a stage: Beam's request, the id of the stage's descriptor, and the input."""

    request: bytes
    descriptor: str
    data: Data


@dataclass(frozen=True, slots=True)
class Processed:
    """What a bundle has become: Beam's response, and the output."""

    response: bytes
    data: Data


class WorkerRunner(FnApiRunner):
    """Runs each step elsewhere, except `here`: prefixes of the names of steps that run in this process.

    `process(bundle, descriptor)` runs a bundle; it is called by as many threads as a stage has `bundles`.
    """

    def __init__(self, bundles: int, process: Callable[[Bundle, bytes], Processed], here: Sequence[str]) -> None:
        super().__init__()
        self._bundles, self._process, self._here = bundles, process, tuple(here)

    def create_stages(self, pipeline_proto: Any) -> Any:
        """Move steps to the environment of the workers, then fuse as Beam does."""
        components = pipeline_proto.components
        for transform in components.transforms.values():
            if transform.environment_id and not transform.unique_name.startswith(self._here):
                components.environments[ENVIRONMENT].CopyFrom(components.environments[transform.environment_id])
                assert components.environments[ENVIRONMENT].urn == python_urns.EMBEDDED_PYTHON
                transform.environment_id = ENVIRONMENT
        return super().create_stages(pipeline_proto)

    def _execute_bundle(self, runner_execution_context: Any, bundle_context_manager: Any, bundle_input: Any) -> Any:
        if bundle_context_manager.stage.environment == ENVIRONMENT:
            descriptors = runner_execution_context.worker_handler_manager._process_bundle_descriptors
            bundle_context_manager.num_workers = self._bundles
            bundle_context_manager._worker_handlers = [
                _Elsewhere(self._process, descriptors) for _ in range(self._bundles)
            ]
        return super()._execute_bundle(runner_execution_context, bundle_context_manager, bundle_input)


class _Elsewhere(WorkerHandler):
    """Runs a bundle elsewhere, at once and to its end; a bundle without input is empty."""

    def __init__(self, process: Callable[[Bundle, bytes], Processed], descriptors: Any) -> None:
        self._channel, unused = InMemoryDataChannel(), cast(Any, None)
        super().__init__(self, self._channel, unused, unused)
        self.control_conn, self.data_conn = cast(Any, self), cast(Any, self._channel)
        self._process, self._descriptors = process, descriptors

    def push(self, request: Any) -> ControlFuture:
        """Run the bundle that is requested."""
        instruction, channel = request.instruction_id, self._channel.inverse()
        data = _read(channel, instruction)
        response = beam_fn_api_pb2.InstructionResponse(instruction_id=instruction)
        response.process_bundle.SetInParent()
        if data:
            descriptor = request.process_bundle.process_bundle_descriptor_id
            bundle = Bundle(request.SerializeToString(), descriptor, data)
            processed = self._process(bundle, self._descriptors[descriptor].SerializeToString())
            response.ParseFromString(processed.response)
            _write(channel, instruction, processed.data)
        return ControlFuture(instruction, response)

    def start_worker(self) -> None:
        """Nothing to start."""

    def stop_worker(self) -> None:
        """Nothing to stop."""

    def data_api_service_descriptor(self) -> Any:
        """An address that nobody connects to, as for Beam's steps in the same process."""
        return endpoints_pb2.ApiServiceDescriptor(url="fake")

    def state_api_service_descriptor(self) -> None:
        """None: a batch has no state."""

    def logging_api_service_descriptor(self) -> None:
        """None: logs stay in the worker."""


def _read(channel: InMemoryDataChannel, instruction: str) -> Data:
    """Return the data of a bundle that a channel holds; a batch has no timers."""
    elements: Iterator[Any] = channel.input_elements(instruction, ())
    return tuple((each.transform_id, each.data) for each in elements)


def _write(channel: InMemoryDataChannel, instruction: str, data: Data) -> None:
    """Write the data of a bundle to a channel."""
    for transform, elements in data:
        stream = channel.output_stream(instruction, transform)
        stream.write(elements)
        stream.close()


class BundleWorker:
    """Processes bundles in this process, one after the other."""

    def __init__(self) -> None:
        self._channel = InMemoryDataChannel()
        self._descriptors: dict[str, Any] = {}
        state = GlobalCachingStateHandler(StateCache(0), StateServicer())
        cache = BundleProcessorCache(
            FNAPI_RUNNER_CAPABILITIES,
            SingletonStateHandlerFactory(state),
            InMemoryDataChannelFactory(self._channel.inverse()),
            self._descriptors,
        )
        self._worker = SdkWorker(cache)

    def learn(self, descriptor: bytes) -> None:
        """Learn a stage by its descriptor, before its first bundle."""
        parsed = beam_fn_api_pb2.ProcessBundleDescriptor.FromString(descriptor)
        self._descriptors[parsed.id] = parsed

    def process(self, bundle: Bundle) -> Processed:
        """Process a bundle. Raises what a step raises."""
        request = beam_fn_api_pb2.InstructionRequest.FromString(bundle.request)
        _write(self._channel, request.instruction_id, bundle.data)
        response = self._worker.do_instruction(request)
        return Processed(response.SerializeToString(), _read(self._channel, request.instruction_id))
