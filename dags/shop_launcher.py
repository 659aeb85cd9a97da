"""launcher.py as a task: its options, the operator that runs it, and what its exit codes mean for a retry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.sdk import RetryDecision, RetryPolicy, get_current_context
from shop_settings import SETTINGS
from shop_summary import DATAFLOW, summary_uri

__all__ = ["launcher", "launcher_options"]

FINAL = {
    2: "misuse, or a configuration that is refused",
    3: "the ledger does not hold",
    4: "too many dead letters",
}
"""Exit codes that another try would meet again, and why."""


class FinalExitCodes(RetryPolicy):
    """A launcher that has failed for good is not run again; any other failure is, under the same --run_id."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Look at the exit code in the operator's error, which has it nowhere else."""
        found = re.search(r"return code (\d+)$", str(exception))
        code = int(found.group(1)) if found else 0
        if code in FINAL:
            return RetryDecision.fail(f"the launcher ended with {code}: {FINAL[code]}; another try would not mend it")
        return RetryDecision.default()


def launcher_options(pipeline: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The launcher's options for this run: of every pipeline, its `own`, and last those of the run's parameters."""
    params = get_current_context()["params"]
    return {
        "pipeline": pipeline,
        "project": SETTINGS.project,
        "location": SETTINGS.location,
        "operations_dataset": SETTINGS.operations_dataset,
        "summary": summary_uri(pipeline),
        **({"temp_location": f"{SETTINGS.bucket}/tmp"} if params["runner"] == DATAFLOW else {}),
        **own,
        **params["options"],
    }


def launcher(pipeline: str, options: Any, **dataflow: Any) -> BeamRunPythonPipelineOperator:
    """The task, named as the pipeline, that runs the launcher with these options on the runner of the run's parameters.

    `dataflow` is what Dataflow alone is to know.
    """
    return BeamRunPythonPipelineOperator(
        task_id=pipeline,
        py_file=SETTINGS.launcher,
        py_interpreter=SETTINGS.python,
        py_requirements=list(SETTINGS.requirements) or None,
        runner="{{ params.runner }}",
        pipeline_options=options,
        gcp_conn_id=SETTINGS.connection,
        dataflow_config={
            "project_id": SETTINGS.project, "location": SETTINGS.region, "gcp_conn_id": SETTINGS.connection, **dataflow,
        },
        retry_policy=FinalExitCodes(),
    )  # fmt: skip
