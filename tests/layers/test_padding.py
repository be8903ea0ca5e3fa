"""Padding: TensorFlow's numbers, and what is refused."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxml.layers._padding import each_dimension, explicit_padding
from tests import properties

SIZES = st.integers(1, 9)


@given(SIZES, SIZES, SIZES, st.integers(1, 4))
def test_same_gives_a_window_for_every_stride_with_the_least_zeros(size, taps, stride, dilation):
    ((before, after),) = explicit_padding("SAME", [size], [taps], [stride], [dilation])
    reach = dilation * (taps - 1) + 1
    windows = (size + before + after - reach) // stride + 1
    assert windows == math.ceil(size / stride) or (before, after) == (0, 0)
    assert before <= after <= before + 1
    if before + after:
        assert (windows - 1) * stride + reach == size + before + after


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        ("SAME", ((1, 1), (0, 1))),
        ("VALID", ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ([(1, 2), (0, 3)], ((1, 2), (0, 3))),
    ],
)
def test_every_form_becomes_pairs(padding, expected):
    assert explicit_padding(padding, (5, 4), (3, 2), (2, 2), (1, 2)) == expected


ALLOWED = "`padding` must be 'SAME', 'VALID', an int or 2 pairs of ints, got "


@pytest.mark.parametrize(
    ("padding", "message"),
    [
        ("same", ALLOWED + "'same'"),
        (None, ALLOWED + "None"),
        (1.0, ALLOWED + "1.0"),
        ((1, 2), ALLOWED + "(1, 2)"),
        (((1, 2),), ALLOWED + "((1, 2),)"),
        (((1, 2), (1,)), ALLOWED + "((1, 2), (1,))"),
        (-1, "`padding` must be non-negative, got -1"),
        (((1, 2), (0, -1)), "`padding` must be non-negative, got ((1, 2), (0, -1))"),
    ],
)
def test_another_padding_raises(padding, message):
    with properties.unchecked(), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        explicit_padding(padding, (5, 4), (3, 2), (2, 2), (1, 2))


def test_one_number_is_for_each_dimension():
    assert each_dimension("strides", 2, 3) == (2, 2, 2)
    assert each_dimension("strides", [1, 2], 2) == (1, 2)
    assert each_dimension("output_padding", 0, 1, least=0) == (0,)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "`strides` must be at least 1, got 0"),
        ((1, -2), ValueError, "`strides` must be at least 1, got (1, -2)"),
        ((1,), ValueError, "`strides` must be an int or 2 ints, got (1,)"),
        (2.0, TypeError, "`strides` must be an int or 2 ints, got 2.0"),
        ("ab", TypeError, "`strides` must be an int or 2 ints, got 'ab'"),
        (None, TypeError, "`strides` must be an int or 2 ints, got None"),
    ],
)
def test_other_numbers_raise(value, error, message):
    with properties.unchecked(), pytest.raises(error, match=f"^{re.escape(message)}$"):
        each_dimension("strides", value, 2)
