"""Calls of oneDNN in programs for several devices, each of which convolves its part of the batch.

XLA cannot partition a custom call by itself, so `custom_partitioning` describes how. It is
experimental in JAX: this module is imported only where `_proof` found that it works.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.interpreters import mlir
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from jaxml.types import Array

_AXIS = "devices"
# Shardy's rules: the batch `n` may be sharded, and all other dimensions are replicated. In the
# second, each device sums over its part of the batch.
_RULE = {
    "sharding_rule": "n h w c, i j k l -> n p q m",
    "need_replication_factors": tuple("hwcijklpqm"),
}
_SUMMING_RULE = {
    "sharding_rule": "n h w c, n p q m -> i j k l",
    "reduction_factors": ("n",),
    "need_replication_factors": tuple("hwcpqmijkl"),
}


class _Devices(NamedTuple):
    """Devices of a program, and how they share a batch.

    Attributes:
      mesh: all devices along one axis.
      images: sharding of arrays with a batch; the batch is their only sharded dimension.
      groups: indices of the devices that together hold one copy of the batch, for each copy.
    """

    mesh: Mesh
    images: Sharding
    groups: list[list[int]]

    @classmethod
    def of(cls, images: Any) -> Self:
        """Returns the devices of an array with its sharding."""
        held = images.sharding.devices_indices_map(images.shape)
        mesh = Mesh(np.array([*held]), (_AXIS,))
        if images.sharding.shard_shape(images.shape)[1:] != images.shape[1:]:
            return cls(mesh, NamedSharding(mesh, PartitionSpec()), [[n] for n in range(len(held))])
        holders = defaultdict(list)
        for number, (batch, *_) in enumerate(held.values()):
            holders[batch.start].append(number)
        groups = np.array([*holders.values()]).T.tolist()
        return cls(mesh, images.sharding, groups)

    @property
    def everywhere(self) -> Sharding:
        """Sharding of arrays without a batch."""
        return NamedSharding(self.mesh, PartitionSpec())


def lower(
    context: Any, *arrays: Any, function: Callable[..., Array], sums: bool, **settings: Any
) -> Any:
    """Lowers a function of two arrays for several devices.

    Args:
      context: context of a lowering rule, in a program for several devices.
      *arrays: arguments of `function`, the first with a batch.
      function: one of the maps of a convolution.
      sums: whether the second argument has the batch, over which the function sums; otherwise the
        result has it.
      **settings: keyword arguments of `function`.
    """
    # JAX passes the devices only to programs that it knows to need them. The lowering reads their
    # number alone, so which ones they are does not matter.
    module = context.module_context
    devices = tuple(jax.devices("cpu")[: module.axis_context.num_devices])
    module = module.replace(
        axis_context=dataclasses.replace(module.axis_context, device_assignment=devices)
    )
    call = _partitioned(partial(function, **settings), sums=sums)
    rule = mlir.lower_fun(call, multiple_results=False)
    return rule(context.replace(module_context=module), *arrays)


def _partitioned(function: Callable[..., Array], *, sums: bool) -> Callable[..., Array]:
    """Returns a function that XLA partitions along the batch; see `lower`."""

    def partition(_: Mesh, arguments: Any, __: Any) -> Any:
        devices = _Devices.of(arguments[0])

        def on_device(x: Array, y: Array) -> Array:
            value = function(x, y)
            if sums and len(devices.groups[0]) > 1:
                value = lax.psum(value, _AXIS, axis_index_groups=devices.groups)
            return value

        second, result = devices.everywhere, devices.images
        if sums:
            second, result = result, second
        return devices.mesh, on_device, result, (devices.images, second)

    def infer(_: Mesh, arguments: Any, __: Any) -> Sharding:  # for GSPMD, in place of Shardy
        devices = _Devices.of(arguments[0])
        return devices.everywhere if sums else devices.images

    call: Any = custom_partitioning(lambda x, y: function(x, y))
    call.def_partition(
        partition=partition,
        infer_sharding_from_operands=infer,
        decode_shardings=False,
        **(_SUMMING_RULE if sums else _RULE),
    )
    return call
