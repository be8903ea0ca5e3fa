"""The cache of blocks: its memory, and its use by several threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxml.data.sources._blocks import BlockCache


def test_the_blocks_that_were_used_last_are_kept():
    calls = []

    def read(number):
        calls.append(number)
        return np.full(10, number, np.uint8)

    cache = BlockCache(read, most_bytes=20)
    for number in (0, 1, 0, 2, 0, 1):
        assert cache(number)[0] == number
    assert calls == [0, 1, 2, 1]  # 1 is the one that 2 replaces
    assert len(cache._blocks) == 2


def test_a_block_larger_than_the_memory_is_kept_alone():
    calls = []
    cache = BlockCache(lambda number: calls.append(number) or np.zeros(10), most_bytes=1)
    for number in (0, 0, 1, 1, 0):
        cache(number)
    assert calls == [0, 1, 0]
    assert len(cache._blocks) == 1


def test_threads_read_a_block_once_and_others_meanwhile():
    calls, both = [], threading.Barrier(2, timeout=60)

    def read(number):
        calls.append(number)
        both.wait()  # two blocks are read at the same time
        return np.full(1, number)

    cache = BlockCache(read, most_bytes=100)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(cache, [0, 1] * 4))
    assert [int(block[0]) for block in found] == [0, 1] * 4
    assert sorted(calls) == [0, 1]


def test_many_threads_keep_to_the_memory():
    cache = BlockCache(lambda number: np.full(10, number, np.uint8), most_bytes=50)
    numbers = np.random.default_rng(0).integers(0, 20, 2000).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(cache, numbers))
    assert [int(block[0]) for block in found] == numbers
    assert cache._bytes == 10 * len(cache._blocks) <= 50


def test_a_block_that_cannot_be_read_is_tried_again():
    errors = [OSError("gone")]

    def read(number):
        if errors:
            raise errors.pop()
        return np.zeros(1)

    cache = BlockCache(read, most_bytes=1)
    with pytest.raises(OSError, match="gone"):
        cache(0)
    assert cache(0).shape == (1,)
