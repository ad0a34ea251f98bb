"""The soak, for some seconds."""

from pathlib import Path

import pytest

from tests.bench.soak.soak import Options, soak


async def test_a_short_soak_finds_nothing_left_over_and_no_call_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(seconds=5, sessions=20, clients=2, every=0.25)
    found = await soak(options, tmp_path)
    answered = capsys.readouterr().out.count(" answered")
    # Five seconds are all warm-up: what grows in them says nothing.
    assert [fault for fault in found if " grew " not in fault] == []
    assert answered >= 5
