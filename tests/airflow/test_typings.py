"""tools/typings, by which mypy checks the DAGs, agrees with the Airflow that runs them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.airflow import ROOT

pytestmark = pytest.mark.e2e
COMPARE = """
import ast, importlib, inspect, sys
from pathlib import Path
OURS = {"DagRun", "Node", "Task"}  # Names for what Airflow leaves without one.
root = Path(sys.argv[1])

def compare(where, stub, real):
    signature = inspect.signature(real).parameters
    if any(each.kind is each.VAR_KEYWORD for each in signature.values()):
        return
    arguments = stub.args
    for name in [each.arg for each in (*arguments.args, *arguments.kwonlyargs)]:
        if name not in signature and name not in ("self", "cls"):
            print(f"{where} takes no {name}")

for path in sorted(root.rglob("*.pyi")):
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    for stub in ast.parse(path.read_text()).body:
        if not isinstance(stub, (ast.ClassDef, ast.FunctionDef)) or stub.name in OURS:
            continue
        real = getattr(module, stub.name, None)
        if real is None:
            print(f"{name} has no {stub.name}")
        elif isinstance(stub, ast.ClassDef):
            for method in stub.body:
                if isinstance(method, ast.FunctionDef):
                    compare(f"{stub.name}.{method.name}", method, getattr(real, method.name))
"""


def test_every_name_and_parameter_exists(airflow_venv: Path, tmp_path: Path) -> None:
    compared = subprocess.run(
        [str(airflow_venv / "bin" / "python"), "-c", COMPARE, str(ROOT / "tools" / "typings")],
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        text=True,
        capture_output=True,
        check=True,
    )
    assert compared.stdout == ""
