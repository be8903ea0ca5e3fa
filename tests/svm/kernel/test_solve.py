"""Solutions of the device that float64 does not confirm are continued there."""

import numpy as np
import pytest

from jaxml.svm.estimators._fitted_kernel import KernelSamples, fit_kernel
from jaxml.svm.kernel import DualProblems, _solve, single_group, solve

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(1)
Z = RNG.normal(size=(200, 2))
LABELS = np.where(np.hypot(*Z.T) > 1.18, 1.0, -1.0)


def problems(columns, cost=10.0):
    sign = np.where(columns.index >= 0, LABELS[columns.index], 1.0)[None]
    upper = np.where(columns.index >= 0, cost, 0.0)[None]
    return DualProblems(np.zeros((1, 1), int), sign, -np.ones_like(sign), upper)


@pytest.mark.parametrize("distance", [0.0, 40.0, 5000.0])
def test_what_float32_gets_wrong_is_solved_in_float64(distance, monkeypatch):
    monkeypatch.setattr(_solve, "_HOST_SECONDS", 0.0)
    monkeypatch.setattr(_solve, "_HOPELESS", np.inf)  # the device tries it in any case
    x = Z.copy()
    x[:, 0] += np.where(np.arange(200) % 2, distance, -distance)
    columns = single_group(200)
    fitted = fit_kernel("rbf", x, gamma=1.0, coef0=0.0, degree=3)
    found = solve(problems(columns), KernelSamples(fitted, x, columns.examples), columns.starts)
    assert found.converged
    value = found.value[0, 0, :200]
    gram = np.exp(-np.square(x[:, None] - x[None]).sum(-1))
    score = LABELS - gram @ (LABELS * value)
    rising = np.where(LABELS > 0, value < 10, value > 0)
    falling = np.where(LABELS > 0, value > 0, value < 10)
    assert score[rising].max() - score[falling].min() <= 1e-3 + 1e-9
    output = gram @ (LABELS * value)
    hinge = np.maximum(0, 1 - LABELS * (output + found.threshold[0, 0])).sum()
    gap = value @ (LABELS * output) + 10 * hinge - value.sum()
    np.testing.assert_allclose(found.gap[0], gap, atol=1e-6)
    np.testing.assert_allclose(found.dual[0], value.sum() - value @ (LABELS * output) / 2)


def test_the_host_takes_small_problems_and_those_beyond_float32(monkeypatch):
    monkeypatch.setattr(_solve._device_solver, "DeviceSolver", None)  # nothing runs on the device
    columns = single_group(200)
    for kernel, x in (("rbf", Z), ("linear", 1e3 * Z)):
        fitted = fit_kernel(kernel, x, gamma=1.0, coef0=0.0, degree=3)
        found = solve(
            problems(columns, 1.0), KernelSamples(fitted, x, columns.examples), columns.starts
        )
        assert found.converged
        monkeypatch.setattr(_solve, "_HOST_SECONDS", 0.0)  # the second is not for its size
