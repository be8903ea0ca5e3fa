"""Comparisons of runs: groups by recipe, statistics over seeds."""

import numpy as np
import pytest
from scipy import stats

from jaxml.config import OptimConfig
from jaxml.errors import InputError
from jaxml.reporting import comparison
from jaxml.reporting.run_files import read_run
from tests.reporting.report_pages import Page, write_run

FIRST, SECOND = (0.70, 0.74, 0.78), (0.72, 0.77, 0.82)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        write_run(
            folder / f"{rate}-{seed}", accuracy=value, seed=seed,
            optim=OptimConfig(learning_rate=rate),
        )
        for rate, values in ((0.1, FIRST), (0.2, SECOND))
        for seed, value in enumerate(values)
    ]  # fmt: skip


def test_runs_are_grouped_by_recipe(folders):
    runs = [read_run(folder) for folder in folders]
    different = comparison.differing_settings(runs)
    assert different.keys() == {"seed", "optim.learning_rate"}
    groups = comparison.group(runs, different, "test_accuracy")
    assert [group.name for group in groups] == [
        "optim.learning_rate=0.1",
        "optim.learning_rate=0.2",
    ]
    assert groups[1].values == dict(enumerate(SECOND))


def test_estimates_agree_with_scipy():
    found = comparison.estimate(FIRST)
    interval = stats.ttest_1samp(FIRST, 0).confidence_interval(0.95)
    expected = np.array([np.mean(FIRST), np.std(FIRST, ddof=1), *interval])
    np.testing.assert_allclose(found, expected)
    assert np.isnan(comparison.estimate([1.0]).low)


def test_paired_differences_agree_with_scipy(folders):
    text = comparison.compare(folders)
    found = stats.ttest_rel(SECOND, FIRST).confidence_interval(0.95)
    words = " ".join(Page(text).words)
    assert f"{100 * found.low:.2f} %" in words
    assert f"{100 * found.high:.2f} %" in words
    assert "the mean of 3 seeds" in words
    assert {"Test accuracy", "Test loss", "Train loss"} <= set(Page(text).figures)
    assert Page(text).addresses == []


def test_a_run_that_is_not_finished_counts_with_its_curves_only(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "result.json").unlink()
    assert "no run is finished" in comparison.compare([run])


def test_runs_that_cannot_be_compared_are_rejected(tmp_path):
    first, same = (write_run(tmp_path / name) for name in ("a", "b"))
    with pytest.raises(
        InputError, match=r"b: must differ from the other runs in its seed or recipe"
    ):
        comparison.compare([first, same])
    other = write_run(tmp_path / "c", metric="rmse")
    with pytest.raises(
        InputError, match=r"c: must have the test accuracy of .*, has the test rmse"
    ):
        comparison.compare([first, other])
