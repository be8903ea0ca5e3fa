"""The kernel estimators on random problems, compared with libsvm and float64 sums."""

from typing import Any

import numpy as np
import pytest

from jaxml.svm.kernel import _solve
from tests.svm.estimators.random_problems import ESTIMATORS, faults, random_case

LARGE = 1000


def check(name, seeds, dtype: Any = np.float64):
    found = {}
    warned = 0
    for seed in seeds:
        wrong, has_warned = faults(random_case(name, seed), dtype=dtype)
        warned += has_warned
        if wrong:
            found[seed] = wrong
    assert not found, found
    return warned


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
def test_small_problems_are_solved_and_their_gaps_are_true(name):
    assert check(name, range(25)) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_device_and_the_certificate_agree_with_float64(name, monkeypatch):
    monkeypatch.setattr(_solve, "_HOST_SECONDS", 0.0)
    monkeypatch.setattr(_solve, "_HOPELESS", np.inf)
    check(name, range(100, 102), dtype=np.float32)


@pytest.mark.large
@pytest.mark.parametrize("name", ESTIMATORS)
def test_many_problems(name, record_property):
    warned = check(name, range(1000, 1000 + LARGE))
    record_property("warned", warned)
