"""What the exit codes of launcher.py mean for a retry."""

from __future__ import annotations

import re
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

__all__ = ["FinalExitCodes"]

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
