"""launcher.py as a task: its options, the operator that runs it, and which exit codes are retried."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import Any

from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.sdk import Context, RetryDecision, RetryPolicy, XComArg, get_current_context
from airflow.sdk.exceptions import AirflowFailException

from shop_allowed import NotAllowed, allowed_options
from shop_settings import SETTINGS
from shop_summary import DATAFLOW, summary_uri

__all__ = ["launcher", "launcher_options"]

FINAL = {
    2: "wrong usage, a refused configuration, or a conflict with another run",
    3: "the ledger does not balance",
    4: "too many dead letters",
    6: "all is loaded, and a quality rule is broken or cannot be checked",
}
"""Exit codes that no retry can change, and what they mean. 1 (failed) and 5 (a service does not answer) are retried."""
LOOK_SECONDS = 300


class FinalExitCodes(RetryPolicy):
    """Fails a task at once if the launcher ended with a code of FINAL; leaves other failures to the task's retries."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the exit code, which the operator's error carries in its message only."""
        match = re.search(r"return code (\d+)$", str(exception))
        code = int(match[1]) if match else 0
        if code in FINAL:
            return RetryDecision.fail(f"the launcher ended with {code}: {FINAL[code]}; a retry would not help")
        return RetryDecision.default()


def launcher_options(pipeline: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the launcher's options: those of every pipeline, then `own`, then those of the run's parameters.

    Raises:
        AirflowFailException: The parameters set an option that a run may not set.
    """
    params = get_current_context()["params"]
    try:
        given = allowed_options(params["options"], SETTINGS.run_options)
    except NotAllowed as error:
        raise AirflowFailException(str(error)) from None
    return {
        "pipeline": pipeline,
        "project": SETTINGS.project,
        "location": SETTINGS.location,
        "operations_dataset": SETTINGS.operations_dataset,
        "summary": summary_uri(pipeline),
        **({"notify": SETTINGS.notify} if SETTINGS.notify else {}),
        **({"temp_location": f"{SETTINGS.bucket}/tmp"} if params["runner"] == DATAFLOW else {}),
        **own,
        **given,
    }


def look_for_alarms(context: Context) -> None:
    """Send notices of what is wrong, once the task has failed for good: a launcher that was killed has sent none."""
    ran = context["task"].pipeline_options
    place = ("project", "location", "operations_dataset", "contracts", "dataset", "notify")
    options = [f"--{name}={ran[name]}" for name in place if ran.get(name)]
    if SETTINGS.launcher.startswith("gs://") or SETTINGS.requirements:
        print("no look for alarms: no launcher is installed here; run launcher.py alarms --notify at intervals")
        return
    subprocess.run([SETTINGS.python, SETTINGS.launcher, "alarms", *options], timeout=LOOK_SECONDS, check=False)


def launcher(pipeline: str, options: XComArg, **dataflow: Any) -> BeamRunPythonPipelineOperator:
    """Return the task, named after the pipeline, that runs the launcher with these options.

    The run's parameter `runner` names Beam's runner. `dataflow` is extra configuration for Dataflow only.
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
            "project_id": SETTINGS.project,
            "location": SETTINGS.region,
            "gcp_conn_id": SETTINGS.connection,
            **dataflow,
        },
        retry_policy=FinalExitCodes(),
        on_failure_callback=look_for_alarms if SETTINGS.notify else None,
    )
