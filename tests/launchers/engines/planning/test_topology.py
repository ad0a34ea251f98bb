"""The sizes of an engine."""

import pytest

from launchers.engines.planning.topology import Need, Shape, faults


def test_a_rank_takes_a_gpu_for_each_part_of_tensors_and_pipeline() -> None:
    assert Shape(2, 4, 3, "strict").world == 12


def test_sensible_sizes_have_no_fault() -> None:
    assert [*faults(Need("policy-0", Shape(2, 4, 1, "strict", local=2)))] == []


def test_every_size_that_is_too_small_is_said() -> None:
    assert [*faults(Need("policy-0", Shape(0, -1, 0, "strict")))] == [
        "policy-0: data_parallel_size is 0, less than 1",
        "policy-0: tensor_parallel_size is -1, less than 1",
        "policy-0: pipeline_parallel_size is 0, less than 1",
    ]


@pytest.mark.parametrize("local", [0, 3])
def test_local_ranks_are_a_part_of_all(local: int) -> None:
    assert [*faults(Need("policy-0", Shape(2, 4, 1, "strict", local=local)))] == [
        f"policy-0: data_parallel_size_local is {local}, not from 1 to data_parallel_size (2)"
    ]
