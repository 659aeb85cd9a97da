"""The service that stands for Dataflow refuses what Google's types do not have."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.dataflow_service import dataflow_service

JOB: dict[str, Any] = {
    "name": "shop",
    "type": "JOB_TYPE_STREAMING",
    "clientRequestId": "1",
    "labels": {"team": "shop"},
    "environment": {
        "tempStoragePrefix": "storage.googleapis.com/b/tmp",
        "workerPools": [{"numWorkers": 1, "sdkHarnessContainerImages": [{"containerImage": "i"}]}],
    },
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, 200),
        ({"nme": "shop"}, 400),
        ({"name": 7}, 400),
        ({"name": "Shop_1"}, 400),
        ({"type": "JOB_TYPE_FAST"}, 400),
        ({"labels": {"team": ["shop"]}}, 400),
        ({"labels": {"team": "Shop 1.0"}}, 400),
        ({"environment": {**JOB["environment"], "workerPools": [{"numWorkers": "many"}]}}, 400),
        ({"environment": {**JOB["environment"], "workerPools": []}}, 400),
        ({"replaceJobId": "nobody"}, 400),
    ],
)
def test_a_job_is_held_to_googles_types(change: dict[str, Any], code: int) -> None:
    with dataflow_service() as service:
        jobs = f"{service.url}/v1b3/projects/p/locations/r/jobs"
        answer = requests.post(jobs, data=json.dumps({**JOB, **change}), timeout=10)
        assert answer.status_code == code, answer.text
        assert len(service.jobs) == (code == 200)
        assert requests.get(jobs, params={"nme": "shop"}, timeout=10).status_code == 400
        assert requests.get(f"{jobs}/unknown", timeout=10).status_code == 404
