"""Loops in threads."""

import pytest

from jaxml.svm._threads import for_each


def divide(item):
    if 1 // item < 0:
        raise AssertionError


def test_for_each_calls_with_every_item_and_raises_what_is_raised():
    for threads in (False, True):
        seen = []
        for_each(seen.append, range(7), threads=threads)
        assert sorted(seen) == list(range(7))
        with pytest.raises(ZeroDivisionError):
            for_each(divide, range(3), threads=threads)
