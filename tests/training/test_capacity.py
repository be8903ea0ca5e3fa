"""The largest batch that fits in memory, by the programs of a few batches."""

import pytest

from jaxml.errors import InputError
from jaxml.io import memory
from jaxml.training import capacity, plan
from jaxml.training.experiment import create_experiment
from tests import tiny


def search(needed, available, **options):
    """Returns the result of a search, and the sizes that it tried."""
    tried = []

    def count(size):
        tried.append(size)
        return needed(size)

    options = {"first": 64, "multiple": 2, "most": 10_000, **options}
    return capacity.search(count, available, **options), tried


def test_affine_memory_takes_three_programs():
    found, tried = search(lambda size: 1000 + 10 * size, 20_000)
    assert found == (1700, 18_000, 20_000, True)  # 90 % of the memory
    assert tried == [32, 64, 1700]


@pytest.mark.parametrize("curvature", [-0.001, 0.001])
def test_a_size_that_bends_is_found_and_fits(curvature):
    def needed(size):
        return int(1000 + 10 * size + curvature * size**2)

    found, tried = search(needed, 20_000)
    assert needed(found.batch_size) == found.needed_bytes <= 18_000
    assert needed(found.batch_size * 1.05) > 18_000
    assert len(tried) <= 5


def test_the_training_set_may_be_the_limit():
    found, _ = search(lambda size: 1000 + 10 * size, 20_000, most=501)
    assert (found.batch_size, found.is_limited) == (500, False)


def test_nothing_fits():
    found, _ = search(lambda size: 1000 + 10 * size, 900)
    assert (found.batch_size, found.is_limited) == (0, True)


def test_sizes_are_multiples_of_devices_and_groups():
    found, tried = search(lambda size: 7 * size, 1000, first=24, multiple=12)
    assert found.batch_size == 120
    assert not [size for size in tried if size % 12]
    found, tried = search(lambda size: 7 * size, 1000, first=12, multiple=12)
    assert found.batch_size == 120


@pytest.mark.slow
def test_the_largest_batch_of_a_run_is_that_of_its_programs(monkeypatch):
    experiment = create_experiment(tiny.config())
    small, large = (capacity.step_bytes(experiment, size) for size in (200, 400))
    assert small > memory.of_arrays(experiment.abstract_state)
    middle = int((small + large) / 2 / capacity.FRACTION)
    monkeypatch.setattr(memory, "available_on", lambda _: middle)
    found = capacity.largest_batch(experiment)
    assert found
    assert found.batch_size == pytest.approx(300, rel=0.05)
    assert found.needed_bytes == capacity.step_bytes(experiment, found.batch_size)
    assert found.is_limited
    monkeypatch.setattr(plan, "largest_batch", lambda _: found)
    with pytest.raises(InputError) as caught:
        plan.measure_plan(tiny.config())
    assert str(caught.value) == (
        f"config.batch_size must be at most {found.batch_size}, the largest batch that fits in the "
        f"available memory, {memory.in_words(middle)}, got 478"
    )
    monkeypatch.setattr(memory, "available_on", lambda _: None)
    assert capacity.largest_batch(experiment) is None
