"""The benchmark of the forms: each of its files is read without a loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.events import event
from benchmarks.form import main as run_form
from benchmarks.forms import FORMS

pytestmark = pytest.mark.slow
COUNT = 500


@pytest.mark.parametrize("form", FORMS)
def test_every_event_of_a_form_is_clean(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending, write = FORMS[form]
    source = tmp_path / f"user_events.{ending}"
    write((json.loads(event(number)) for number in range(COUNT)), source)
    run_form(form, str(source))
    assert json.loads(capsys.readouterr().out)["written"] == COUNT
