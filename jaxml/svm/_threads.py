"""Thread pools: the number of BLAS threads, and loops over functions that release the GIL."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def blas_threads(count: int | None) -> AbstractContextManager[Any]:
    """Returns a context manager that sets the number of BLAS threads; None for the initial one."""
    pools, initial = _blas()
    return pools.limit(limits=initial if count is None else count, user_api="blas")


def for_each(function: Callable[[Any], Any], items: Iterable[Any], *, threads: bool = True) -> None:
    """Calls a function with each item, in threads of one BLAS thread each or, if not, in order."""
    items = list(items)
    if len(items) < 2 or not threads:
        for item in items:
            function(item)
        return
    with blas_threads(1), ThreadPoolExecutor(_num_cores()) as pool:
        list(pool.map(function, items))


@cache
def _blas() -> tuple[ThreadpoolController, int]:
    """The BLAS pools, which take milliseconds to find, and their initial number of threads."""
    pools = ThreadpoolController()
    counts = [pool["num_threads"] for pool in pools.info() if pool["user_api"] == "blas"]
    return pools, max(counts, default=1)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
