"""Memory that compiled programs need, compared with the memory that is available."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxml.errors import InputError

if TYPE_CHECKING:
    from jaxml.types import PyTree

__all__ = [
    "available_on",
    "available_on_host",
    "check",
    "in_words",
    "of_arrays",
    "of_program",
]

_CGROUPS = Path("/sys/fs/cgroup")
# For cgroups 2 and 1: the limit, the usage, and the statistics with their entry for the memory that
# the kernel reclaims on demand.
_LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def check(needed: int, what: str, devices: Sequence[Any]) -> None:
    """Checks that an allocation fits in the available memory of each device.

    Args:
      needed: bytes per device.
      what: name of the allocation, for the message.
      devices: devices of this process. If their memory is unknown, nothing is checked.

    Raises:
      InputError: the allocation does not fit.
    """
    available = available_on(devices)
    if available is not None and needed > available:
        raise InputError(
            f"{what} must fit in the available memory of {devices[0].device_kind}, "
            f"{in_words(available)}, got {in_words(needed)}; a smaller model or config.batch_size, "
            "or config.model.remat, needs less"
        )


def available_on(devices: Sequence[Any]) -> int | None:
    """Returns the available bytes per device, or None if they are unknown.

    CPU devices share the memory of the host.
    """
    if devices[0].platform == "cpu":
        host = available_on_host()
        return None if host is None else host // len(devices)
    every = [device.memory_stats() or {} for device in devices]
    if not all("bytes_limit" in stats for stats in every):
        return None
    return min(stats["bytes_limit"] - stats.get("bytes_in_use", 0) for stats in every)


def available_on_host(
    meminfo: Path = Path("/proc/meminfo"), cgroups: Path = _CGROUPS
) -> int | None:
    """Returns the bytes that this process can still allocate, or None if they are unknown.

    Args:
      meminfo: memory statistics of Linux.
      cgroups: folder with the memory limits of the container.
    """
    found = [*_free_on_host(meminfo), *_free_in_container(cgroups)]
    return max(min(found), 0) if found else None


def of_program(compiled: Any) -> int:
    """Returns the bytes per device that a compiled program allocates in addition to its inputs.

    >>> import jax
    >>> of_program(jax.jit(lambda x: x + 1).lower(jax.numpy.zeros(1024)).compile())
    4096
    """
    analysis = compiled.memory_analysis()
    if analysis is None:  # not supported on this platform
        return 0
    outputs = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return analysis.temp_size_in_bytes + outputs


def of_arrays(tree: "PyTree") -> int:
    """Returns the bytes per device of a tree of arrays or `jax.ShapeDtypeStruct`s."""
    import jax  # here, as code that runs before JAX starts imports `jaxml.io`

    def held(leaf: Any) -> int:
        sharding = getattr(leaf, "sharding", None)
        shape = sharding.shard_shape(leaf.shape) if sharding else leaf.shape
        return math.prod(shape) * leaf.dtype.itemsize

    return sum(map(held, jax.tree.leaves(tree)))


def in_words(size: int) -> str:
    """Formats a number of bytes in GiB, or in MiB below one GiB.

    >>> in_words(3 * 2**29), in_words(2**20)
    ('1.5 GiB', '1.0 MiB')
    """
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


def _free_on_host(meminfo: Path) -> Iterator[int]:
    try:
        lines = [line.split() for line in meminfo.read_text().splitlines()]
        kibibytes = {words[0]: int(words[1]) for words in lines if len(words) > 1}
        yield 1024 * (kibibytes["MemAvailable:"] + kibibytes.get("SwapFree:", 0))
    except (OSError, KeyError, ValueError):
        return


def _free_in_container(cgroups: Path) -> Iterator[int]:
    for limit, usage, statistics, reclaimable in _LIMITS:
        try:
            lines = (cgroups / statistics).read_text().splitlines()
            free = next(int(line.split()[1]) for line in lines if line.split()[0] == reclaimable)
            numbers = [int((cgroups / name).read_text()) for name in (limit, usage)]
        except (OSError, ValueError, IndexError, StopIteration):  # "max": no limit
            continue
        yield numbers[0] - numbers[1] + free
