"""A cache of the blocks in which a file can be read."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class BlockCache:
    """Keeps the most recently used blocks for several threads, which read each block once.

    Attributes:
      read: reads the block with a number; `nbytes` of the result is its size.
      most_bytes: memory of the blocks; a larger one is kept alone.
    """

    def __init__(self, read: Callable[[int], Any], most_bytes: int) -> None:
        self.read = read
        self.most_bytes = most_bytes
        self._blocks: OrderedDict[int, Future[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, number: int) -> Any:
        """Returns a block."""
        with self._lock:
            block = self._blocks.get(number)
            if block is not None:
                self._blocks.move_to_end(number)
        if block is not None:
            return block.result()
        return self._add(number)

    def _add(self, number: int) -> Any:
        with self._lock:
            mine: Future[Any] = Future()
            block = self._blocks.setdefault(number, mine)
        if block is not mine:  # another thread was faster
            return block.result()
        try:
            content = self.read(number)
        except BaseException as error:
            with self._lock:
                del self._blocks[number]
            mine.set_exception(error)
            raise
        mine.set_result(content)
        with self._lock:
            self._bytes += content.nbytes
            self._evict()
        return content

    def _evict(self) -> None:
        """Removes the blocks that were not used for the longest time, except one."""
        complete = [number for number, block in self._blocks.items() if block.done()]
        for number in complete[:-1]:
            if self._bytes <= self.most_bytes:
                return
            self._bytes -= self._blocks.pop(number).result().nbytes
