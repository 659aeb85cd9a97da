"""RetryPolicy on a clock of the test's own: nothing here waits."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from google.api_core.exceptions import BadRequest, InternalServerError, ServiceUnavailable

from connectors.retry import DeadlineExceeded, RetryPolicy, Unrecoverable, pauses
from transforms import waits


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 100.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def policy(self, deadline: float, **settings: float) -> RetryPolicy:
        return RetryPolicy(deadline, clock=self.clock, sleep=self.sleep, **settings)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    """Time, and waits of the test's own that are shown at once."""
    monkeypatch.setattr(waits, "SAY_AFTER_SECONDS", 0.0)
    with waits.observed():
        yield Time()


def failing(*errors: Exception) -> Callable[[], str]:
    """Raises the errors one after the other, then returns."""
    remaining = iter(errors)

    def request() -> str:
        for error in remaining:
            raise error
        return "answer"

    return request


def test_pauses_grow_to_the_longest() -> None:
    assert list(itertools.islice(pauses(0.1, 0.5), 5)) == [0.1, 0.2, 0.4, 0.5, 0.5]
    assert list(itertools.islice(pauses(2.0, 0.5), 2)) == [0.5, 0.5]


def test_a_transient_error_is_retried_and_shown_until_it_passes(time: Time) -> None:
    assert time.policy(10).call("x", failing(ServiceUnavailable("a"), ServiceUnavailable("b"))) == "answer"
    assert time.slept == [0.1, 0.2]
    assert waits.lines() == []


def test_another_error_is_raised_at_once(time: Time) -> None:
    with pytest.raises(BadRequest):
        time.policy(10).call("x", failing(BadRequest("a")))
    assert time.slept == []


def test_the_deadline_holds_and_the_last_error_is_its_cause(time: Time) -> None:
    error = ServiceUnavailable("b")
    with pytest.raises(DeadlineExceeded, match=r"^BigQuery refuses: 503 b$") as caught:
        time.policy(0.25).call("BigQuery refuses", failing(ServiceUnavailable("a"), error, ServiceUnavailable("c")))
    assert caught.value.__cause__ is error
    assert time.now <= 100.25
    assert waits.lines() == []


def test_no_deadline_means_one_attempt(time: Time) -> None:
    with pytest.raises(DeadlineExceeded, match="503 a"):
        time.policy(0).call("x", failing(ServiceUnavailable("a")))
    assert time.slept == []


def test_the_same_internal_error_for_too_long_is_unrecoverable(time: Time) -> None:
    errors = [InternalServerError("a")] * 100
    with pytest.raises(Unrecoverable, match=r"^x, for more than 30 s: 500 a$"):
        time.policy(1000, same_error=30).call("x", failing(*errors))
    assert 130 < time.now < 136


def test_different_internal_errors_are_retried_to_the_deadline(time: Time) -> None:
    errors = [InternalServerError(str(number)) for number in range(100)]
    with pytest.raises(DeadlineExceeded) as caught:
        time.policy(60, same_error=30).call("x", failing(*errors))
    assert type(caught.value) is DeadlineExceeded


def test_a_wait_with_a_key_is_shown_until_a_call_with_the_key_succeeds(time: Time) -> None:
    policy = time.policy(0)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            policy.call("Kafka does not answer", failing(ServiceUnavailable("a")), wait_key="k")
    (line,) = waits.lines()
    assert line.startswith("Kafka does not answer (2 tries in ")
    assert policy.call("Kafka does not answer", failing(), wait_key="k") == "answer"
    assert waits.lines() == []


def test_a_policy_pickles() -> None:
    policy = RetryPolicy(5)
    assert pickle.loads(pickle.dumps(policy)) == policy
