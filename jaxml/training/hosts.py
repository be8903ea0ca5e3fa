"""Exchanges arrays and decisions between the processes that train one network.

`jax.distributed.initialize` connects the processes (see `launch/hosts.py`). In a single process,
each function here returns immediately. Agreements use the key-value store of JAX's coordination
service where a device may not be ready, and collectives of the devices in the training loop.
"""

import itertools
import json
import socket
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from jaxml.errors import InputError
from jaxml.types import Array, PyTree

__all__ = [
    "Agreement",
    "barrier",
    "check_same",
    "compare",
    "failures",
    "gather",
    "is_any",
    "is_first",
    "local_part",
    "place",
    "publish_failure",
    "share",
]

# A process that ends is noticed by its heartbeats, and one that hangs by `launch.supervise`.
_PATIENCE_MS = 24 * 3600 * 1000
_FAILED = "jaxml/failed/"
_numbers = itertools.count()  # the processes make the same calls in the same order


def is_first() -> bool:
    """Returns whether this process writes the files of a run and prints its lines."""
    return jax.process_index() == 0


def place(array: Any, sharding: Sharding | None, *, may_alias: bool | None = None) -> Array:
    """Places an array that every process holds on the devices of all processes.

    Unlike `jax.device_put`, it does not compare the values of the processes.

    Args:
      array: the whole array.
      sharding: its sharding; None is the default device.
      may_alias: see `jax.device_put`.

    Example:
      >>> sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
      >>> place(np.arange(3), sharding).tolist()
      [0, 1, 2]
    """
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(array, sharding, may_alias=may_alias)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        bits = place(jax.random.key_data(array), sharding)
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(array))
    values = np.asarray(array)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def gather(tree: PyTree) -> PyTree:
    """Returns the whole arrays of a tree on the host; every process must call it."""
    from jax.experimental import multihost_utils  # only several processes need it

    def one(leaf: Any) -> Any:
        if getattr(leaf, "is_fully_addressable", True) or leaf.is_fully_replicated:
            return leaf
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(one, tree)


def local_part(sharding: NamedSharding, size: int) -> np.ndarray:
    """Returns the indices of the examples of a global batch that the devices of this process hold.

    Args:
      sharding: sharding of the batch.
      size: number of examples in the batch.
    """
    indices = sharding.addressable_devices_indices_map((size,)).values()
    parts = {index[0].indices(size)[:2] for index in indices if index is not None}
    return np.concatenate([np.arange(*part) for part in sorted(parts)])


def share(value: Any) -> Any:
    """Returns the JSON value of process 0 in every process, and waits for it."""
    state, key = _runtime(), f"jaxml/share/{next(_numbers)}"
    if state.num_processes > 1 and state.process_id:
        return json.loads(state.client.blocking_key_value_get(key, _PATIENCE_MS))
    if state.num_processes > 1:
        state.client.key_value_set(key, json.dumps(value))
    return value


def is_any(flag: bool) -> bool:
    """Returns whether a condition holds in any process; every process must call it."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils  # only several processes need it

    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def barrier() -> None:
    """Waits until every process calls it, without a collective, whose time is limited."""
    if _runtime().num_processes > 1:
        _runtime().client.wait_at_barrier(f"jaxml/barrier/{next(_numbers)}", _PATIENCE_MS)


def check_same(description: Mapping[str, Any]) -> None:
    """Checks that every process describes the run in the same way as process 0.

    Args:
      description: JSON values by name.

    Raises:
      InputError: in every process, if a value of a process differs; the message names the first.
    """
    state, key = _runtime(), f"jaxml/same/{next(_numbers)}"
    if state.num_processes == 1:
        return
    store, own = state.client, {"host": socket.gethostname(), "values": dict(description)}
    if state.process_id:
        store.key_value_set(f"{key}/{state.process_id}", json.dumps(own))
        verdict = json.loads(store.blocking_key_value_get(f"{key}/verdict", _PATIENCE_MS))
    else:
        texts = [
            store.blocking_key_value_get(f"{key}/{process}", _PATIENCE_MS)
            for process in range(1, state.num_processes)
        ]
        verdict = compare([own, *map(json.loads, texts)])
        store.key_value_set(f"{key}/verdict", json.dumps(verdict))
    if verdict:
        raise InputError(verdict)


def publish_failure(line: str) -> None:
    """Reports to the other processes that this one ends because of an error."""
    state = _runtime()
    if state.num_processes > 1:
        state.client.key_value_set(f"{_FAILED}{state.process_id}", line)


def failures() -> dict[int, str]:
    """Returns the errors that other processes published, by process."""
    state = _runtime()
    if state.num_processes == 1:
        return {}
    found = dict(state.client.key_value_dir_get(_FAILED))
    lines = {int(key.rpartition("/")[2]): line for key, line in found.items()}
    return {process: line for process, line in lines.items() if process != state.process_id}


def compare(descriptions: list[dict[str, Any]]) -> str:
    """Returns a message about the first process that differs from process 0, or "".

    >>> one, two = ({"host": host, "values": {"jax": host}} for host in "ab")
    >>> compare([one, two])
    'every process must have the same jax, got a in process 0 (a) and b in process 1 (b)'
    """
    first = json.loads(json.dumps(descriptions[0]))
    for process, other in enumerate(descriptions):
        names = sorted(first["values"].keys() | other["values"].keys())
        for name in names:
            here, there = first["values"].get(name), other["values"].get(name)
            if here != there:
                return (
                    f"every process must have the same {name}, got {here} in process 0 "
                    f"({first['host']}) and {there} in process {process} ({other['host']})"
                )
    return ""


class Agreement:
    """Agrees on a number after every call of the training function, without delaying the devices.

    The result of a call is the largest number that any process gave in the call before, so that no
    process waits for the devices. In a single process it is the number itself.
    """

    def __init__(self, sharding: NamedSharding) -> None:
        """Prepares to agree.

        Args:
          sharding: a sharding over all devices.
        """
        mesh = sharding.mesh
        self._sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._largest = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, PartitionSpec()))
        self._pending: Array | None = None

    def __call__(self, number: int) -> int:
        """Returns the agreed number; every process must call it at the same step."""
        if jax.process_count() == 1:
            return number
        numbers = jax.make_array_from_callback(
            (self._sharding.mesh.size,), self._sharding, lambda _: np.array([number], np.int32)
        )
        previous, self._pending = self._pending, self._largest(numbers)
        return 0 if previous is None else int(previous)


def _runtime() -> Any:
    """Returns JAX's record of the processes; its key-value store has no public name yet."""
    from jax._src import distributed  # as orbax does

    return distributed.global_state
