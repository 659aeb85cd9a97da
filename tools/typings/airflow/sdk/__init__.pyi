"""The part of Airflow 3.3 that dags/ uses. Airflow is not installed where this project is checked."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, ParamSpec, Protocol, Self, TypedDict, TypeVar, overload

_P = ParamSpec("_P")
_R = TypeVar("_R")

class DagRun(Protocol):
    @property
    def logical_date(self) -> datetime | None: ...
    @property
    def run_after(self) -> datetime: ...

class Context(TypedDict):
    dag_run: DagRun
    params: dict[str, Any]
    run_id: str
    task: Any

def get_current_context() -> Context: ...

class Param:
    def __init__(self, default: Any = ..., description: str | None = None, **schema: Any) -> None: ...

class Node:
    """What >> puts in order: an operator, or the result of a task."""

    def __rshift__(self, other: Node | Sequence[Node]) -> Node | Sequence[Node]: ...

class XComArg(Node): ...

class BaseOperator(Node):
    def __init__(self, *, task_id: str, retry_policy: RetryPolicy | None = None, **arguments: Any) -> None: ...

class Task(Generic[_P, _R]):
    """A decorated function. A call, within a DAG, gives the result's place in XCom."""

    function: Callable[_P, _R]
    def __call__(self, *args: Any, **kwargs: Any) -> XComArg: ...

@overload
def task(function: Callable[_P, _R], /) -> Task[_P, _R]: ...
@overload
def task(*, trigger_rule: str = ..., retries: int = ...) -> Callable[[Callable[_P, _R]], Task[_P, _R]]: ...
def dag(
    *,
    schedule: str | None,
    start_date: datetime,
    catchup: bool,
    max_active_runs: int,
    doc_md: str | None,
    tags: Sequence[str],
    default_args: Mapping[str, Any],
    params: Mapping[str, Param],
) -> Callable[[Callable[_P, None]], Callable[_P, object]]: ...

class RetryDecision:
    @classmethod
    def fail(cls, reason: str | None = None) -> Self: ...
    @classmethod
    def retry(cls, delay: timedelta | None = None, reason: str | None = None) -> Self: ...
    @classmethod
    def default(cls) -> Self: ...

class RetryPolicy:
    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision: ...
