from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context, RetryPolicy, XComArg

class BeamRunPythonPipelineOperator(BaseOperator):
    def __init__(
        self,
        *,
        task_id: str,
        py_file: str,
        py_interpreter: str = ...,
        py_requirements: Sequence[str] | None = ...,
        runner: str = ...,
        pipeline_options: Mapping[str, Any] | XComArg | None = ...,
        gcp_conn_id: str = ...,
        dataflow_config: Mapping[str, Any] | None = ...,
        retry_policy: RetryPolicy | None = ...,
        on_failure_callback: Callable[[Context], None] | None = ...,
    ) -> None: ...
