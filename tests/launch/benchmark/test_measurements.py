"""Statistics of measured times, and their tables."""

import pytest

from launch.benchmark.measurements import (
    achieved,
    achieved_text,
    ceilings,
    flops_table,
    summarize,
    table,
)
from launch.benchmark.worker import Work

TAKEN = {"jaxml": [1.0, 2.0, 4.0], "flax": [3.0, 2.0, 20.0]}


def test_ratios_are_taken_round_by_round():
    found = summarize(TAKEN, base="jaxml", images=128)
    assert found["jaxml"]["ratio"] == 1
    assert found["jaxml"]["images_per_second"] == 64
    flax = found["flax"]
    assert (flax["median_seconds"], flax["min_seconds"], flax["max_seconds"]) == (3, 2, 20)
    assert flax["ratio"] == 3  # of 3, 1 and 5; that of the medians would be 1.5
    assert flax["ratio_quartiles"] == [2, 4]
    assert summarize(TAKEN, base="jaxml", images=0)["flax"]["images_per_second"] is None


def test_a_table_is_aligned():
    lines = table(summarize(TAKEN, base="jaxml", images=128), base="jaxml")
    assert [line.split()[0] for line in lines] == ["images/s", "jaxml", "flax"]
    assert lines[2].endswith("3.00 (2.00 to 4.00)")
    for number, word in ((1, "2.0000 s"), (2, "3.0000 s")):
        assert lines[number].index(word) + len(word) == lines[0].index("median") + len("median")
    without = table(summarize(TAKEN, base="jaxml", images=0), base="jaxml")
    assert [line.split()[1] for line in without] == ["fastest", "2.0000", "3.0000"]


def test_what_is_reached_is_a_share_of_what_can_be():
    work = {"matrix_product": Work(8e9, 0.0), "copy": Work(0.0, 6e9)}
    limits = ceilings({"matrix_product": [3.0, 2.0], "copy": [1.0, 4.0]}, work)
    assert limits == {"flops_per_second": 4e9, "bytes_per_second": 6e9}
    reached = achieved(Work(4e9, 3e9), 2.0, limits)
    assert reached["flops_fraction"] == pytest.approx(0.5)
    assert reached["bytes_fraction"] == pytest.approx(0.25)
    assert achieved_text(reached, limits, base="jaxml") == (
        "  jaxml: 2.0 GFLOP/s, 50% of a large matrix product (4.0); "
        "1.5 GB/s, 25% of a large copy (6.0)"
    )


def test_who_dropped_out_leaves_a_gap_among_the_convolutions():
    first = summarize({"jaxml": [1.0], "torch": [2.0]}, base="jaxml", images=1)
    second = summarize({"jaxml": [4.0]}, base="jaxml", images=1)
    work = {"8x8x64 forward": Work(6e9, 0.0), "8x8x64 input gradient": Work(6e9, 0.0)}
    found = dict(zip(work, (first, second), strict=True))
    lines = flops_table(found, work, {"flops_per_second": 8e9})
    assert lines[0].split() == ["GFLOP/s", "jaxml", "torch"]
    assert lines[1].split() == ["8x8x64", "forward", "6.0", "3.0"]
    assert lines[2].split() == ["8x8x64", "input", "gradient", "1.5"]
    assert lines[3].split() == ["a", "large", "matrix", "product", "8.0"]
    assert lines[3].index("8.0") == lines[1].index("6.0")
