"""A process that works, one that fails, one that dies."""

import functools
import os
import time
from typing import Any

import pytest

from launch.benchmark.task import Operation, Prepared
from launch.benchmark.worker import Work, Worker, WorkerError

pytestmark = pytest.mark.slow


def _prepare(**calls):
    operations = {name: Operation(call, 6.0, 8.0) for name, call in calls.items()}
    return functools.partial(Prepared, operations, "a device", {"library": "1.0"}, 7)


def test_a_worker_says_what_it_is_and_times_what_it_is_told():
    calls = {
        "short": functools.partial(time.sleep, 0.0),
        "long": functools.partial(time.sleep, 0.2),
    }
    with Worker(_prepare(**calls)) as worker:
        assert worker.about.device == "a device"
        assert worker.about.versions == {"library": "1.0"}
        assert worker.about.parameters == 7
        assert worker.about.operations["long"] == Work(6.0, 8.0)
        assert 0 < worker.seconds("short") < 0.2 <= worker.seconds("long")


def test_what_fails_is_told_in_one_line():
    wrong = functools.partial(exec, r"raise ValueError('\nno compiler\n\nset VERBOSE=1')")
    with Worker(_prepare(wrong=wrong)) as worker:
        with pytest.raises(WorkerError) as caught:
            worker.seconds("wrong")
        assert str(caught.value) == "ValueError: no compiler"
    broken: Any = functools.partial(os.stat, "not/there")
    with pytest.raises(WorkerError, match=r"^FileNotFoundError: "):
        Worker(broken)


def test_a_process_that_dies_is_not_waited_for():
    with Worker(_prepare(deadly=functools.partial(os._exit, 3))) as worker:
        for _ in range(2):
            with pytest.raises(WorkerError, match=r"^its process ended with status 3$"):
                worker.seconds("deadly")
    with pytest.raises(WorkerError, match=r"^its process ended with status 4$"):
        Worker(functools.partial(os._exit, 4))
