"""Sharding of a run: one mesh of all devices, with the axes `data` and `fsdp`.

Batches are sharded over both axes. Parameters, optimizer state and averages are sharded over `fsdp`
and replicated over `data`: with `fsdp=1` this is data parallelism, with all devices in `fsdp` it is
fully sharded data parallelism. A step gathers the parameters before it uses them, and shards their
gradients before it updates them. `jax.jit` does the rest: the model names no axis.

Reference: Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter
Models", 2020.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxml.errors import InputError
from jaxml.types import PyTree

AXES = ("data", "fsdp")
# Elements of the smallest array that is sharded; smaller ones cost more to gather than to keep.
LEAST_SIZE = 4096


def create_mesh(fsdp: int = 1) -> Mesh:
    """Creates the mesh of all devices.

    Args:
      fsdp: number of devices over which the state is sharded; the axis `data` has the rest.

    Raises:
      InputError: `fsdp` does not divide the number of devices.
    """
    devices = jax.devices()
    if len(devices) % fsdp:
        raise InputError(
            f"config.mesh.fsdp must divide {len(devices)}, the number of devices, got {fsdp}"
        )
    shape = len(devices) // fsdp, fsdp
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 2, devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays whose first dimension is a batch."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def partition(shape: tuple[int, ...], fsdp: int) -> PartitionSpec:
    """Returns the dimension of an array that is sharded over `fsdp`.

    It is the largest dimension that `fsdp` divides, and the last of equal ones. Vectors, arrays of
    fewer than `LEAST_SIZE` elements and arrays without such a dimension are replicated.

    >>> tuple(partition((3, 3, 256, 512), fsdp=8))
    (None, None, None, 'fsdp')
    >>> tuple(partition((2048, 1000), fsdp=8)), tuple(partition((2048,), fsdp=8))
    (('fsdp', None), ())
    """
    candidates = [axis for axis, size in enumerate(shape) if size % fsdp == 0]
    if fsdp == 1 or len(shape) < 2 or math.prod(shape) < LEAST_SIZE or not candidates:
        return PartitionSpec()
    chosen = max(candidates, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*("fsdp" if axis == chosen else None for axis in range(len(shape))))


def shard(tree: PyTree, mesh: Mesh) -> PyTree:
    """Returns the sharding of each array of a tree of parameters, averages or optimizer state."""
    return jax.tree.map(
        lambda leaf: NamedSharding(mesh, partition(leaf.shape, mesh.shape["fsdp"])), tree
    )


def gather(mesh: Mesh) -> Callable[[PyTree], PyTree]:
    """Returns a function that replicates sharded parameters; their gradients are sharded again.

    With `fsdp=1` it is the identity.
    """
    if mesh.shape["fsdp"] == 1:
        return lambda tree: tree
    replicate = partial(
        lax.with_sharding_constraint, shardings=NamedSharding(mesh, PartitionSpec())
    )
    gathered = jax.custom_vjp(replicate)
    gathered.defvjp(
        lambda tree: (replicate(tree), None),
        lambda _, slope: (lax.with_sharding_constraint(slope, shard(slope, mesh)),),
    )
    return gathered
