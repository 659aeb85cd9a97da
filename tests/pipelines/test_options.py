"""Options: Beam's, ours and the job service's are known, everything else is refused with what was meant."""

from __future__ import annotations

import pytest

from contracts.errors import Misuse
from pipelines.options import PipelineArguments, beam_arguments, check_known


def check(*argv: str) -> None:
    parser = PipelineArguments(conflict_handler="resolve", allow_abbrev=False)
    beam_arguments(parser)
    check_known(argv, parser)


@pytest.mark.parametrize(
    "argv",
    [
        ["--runner=DirectRunner", "--local", "--input=x", "--labels=a=b", "--labels=c=d"],
        ["--runner", "DataflowRunner", "--region", "r", "--temp_location", "gs://b/t", "--max_num_workers=3"],
        ["--runner=FlinkRunner", "--checkpointing_interval=1000", "--max_bundle_time_mills", "100", "--object_reuse"],
        ["--object_reuse", "--runner=FlinkRunner", "--flink_master=h:1", "--parallelism=2", "--input=x"],
    ],
)
def test_what_is_known_passes(argv: list[str]) -> None:
    check(*argv)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--runer=DirectRunner"], "unknown option --runer; did you mean --runner?"),
        (
            ["--max-dead-letter-ratio=1"],
            "unknown option --max-dead-letter-ratio; did you mean --max_dead_letter_ratio?",
        ),
        (["--zzz"], "unknown option --zzz"),
        (["stray"], "unexpected argument 'stray'"),
        (["--max_record_bytes=many"], "argument --max_record_bytes: invalid int value: 'many'"),
        (["--checkpointing_interval=1"], "--checkpointing_interval is an option of FlinkRunner, not of DirectRunner"),
        (["--runner=PrismRunner", "--object_reuse"], "--object_reuse is an option of FlinkRunner, not of PrismRunner"),
        (["--runner=FlinkRunner", "--checkpoint_interval=1"], "did you mean --checkpointing_interval?"),
    ],
)
def test_what_is_not_known_is_refused_with_what_was_meant(argv: list[str], said: str) -> None:
    with pytest.raises(Misuse) as caught:
        check(*argv)
    assert said in str(caught.value)
