"""Loops whose iterations release the interpreter lock, in threads."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def blas() -> ThreadpoolController:
    """The thread pools of BLAS, which it takes milliseconds to find."""
    return ThreadpoolController()


def for_each(function: Callable[[Any], Any], items: Iterable[Any], *, threads: bool = True) -> None:
    """Calls the function with each item, in threads whose BLAS has one thread each.

    Args:
      function: of an item; its result is dropped, and what it raises is raised here.
      items: in any number.
      threads: False calls it in order in this thread.

    Example:
      >>> found = []
      >>> for_each(found.append, range(3))
      >>> sorted(found)
      [0, 1, 2]
    """
    items = list(items)
    if len(items) < 2 or not threads:
        for item in items:
            function(item)
        return
    with blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor(_num_cores()) as pool:
        list(pool.map(function, items))


def _num_cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
