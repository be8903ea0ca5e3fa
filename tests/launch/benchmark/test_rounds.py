"""Who is timed when, and what happens to who fails."""

import pytest

from launch.benchmark.rounds import rounds
from launch.benchmark.worker import WorkerError


def test_the_order_alternates_and_warm_up_is_a_call_of_its_own():
    calls = []

    def seconds_of(name):
        calls.append(name)
        return float(len(calls))

    taken = rounds(["jaxml", "flax", "torch"], seconds_of, 3)
    forth = ["jaxml", "flax", "torch"]
    assert calls == [*forth, *forth[::-1], *forth]
    assert taken == {"jaxml": [1, 6, 7], "flax": [2, 5, 8], "torch": [3, 4, 9]}


def test_a_peer_that_fails_is_told_and_left_out():
    calls, told = [], []

    def seconds_of(name):
        calls.append(name)
        if name == "torch" and calls.count("torch") == 2:
            raise WorkerError("RuntimeError: no compiler")
        return 1.0

    taken = rounds(["jaxml", "torch"], seconds_of, 3, say=told.append)
    assert taken == {"jaxml": [1.0] * 3}
    assert told == ["torch: omitted, RuntimeError: no compiler"]
    assert calls.count("torch") == 2


def test_without_ours_there_is_nothing_to_compare():
    def seconds_of(name):
        raise WorkerError("its process ended with status 3")

    with pytest.raises(WorkerError, match=r"^jaxml: its process ended with status 3$"):
        rounds(["jaxml", "flax"], seconds_of, 1)
