"""Faster convolutions and memory on CPUs; the rest of jaxml works without this package.

Training ResNet-20 v1 with batches of 128 on 2 cores, next to plain Flax Linen, is 2.5 times as fast
with jax 0.10.2 and 2.3 times with jax 0.12.0.1. Without this package it is 1.2 times as fast.

- `accelerate` lets convolutions call oneDNN, which jaxlib for x86 contains but XLA does not call.
  In a program for several devices, each device convolves its part of the batch.
- `tune` sets XLA flags, makes the C library keep freed memory, and makes JAX run a program for a
  single device in the thread that calls it.
- `limit_memory` bounds the memory of large programs.

oneDNN's call and the flags are not part of any stable interface, so each must prove itself on the
machine before it is used: once per build of jaxlib and model of CPU, a child process compares tiny
convolutions and their gradients with float64 NumPy. oneDNN proves itself when the first large
convolution is compiled, once more when the first one for several devices is, and the flags before a
launcher starts JAX. The outcomes are cached in `$XDG_CACHE_HOME/jaxml/cpu` (see `_proof`), and
`python -m launch.doctor` shows them. A fast path that fails is not used, and one line is logged.
`config.cpu` and the environment variables `JAXML_ONEDNN=0` and `JAXML_XLA_FLAGS=0` switch them off.

Delete this package when XLA's own convolutions on a CPU are as fast, which
`python -m launch.bench --peers=flax` shows with both variables set to 0 and without. Remove
the folder, its tests, `launch/doctor.py` and the lines that name `_cpu` elsewhere.

Importing this package does not import JAX.
"""

import functools
from collections.abc import Callable
from typing import Any

from jaxml._cpu._report import report
from jaxml._cpu._switches import configure
from jaxml._cpu._tuning import tune

__all__ = ["accelerate", "configure", "limit_memory", "report", "tune"]


def accelerate(move_excess_padding: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a decorator for the convolution of `jaxml.layers`; see `_convolution.accelerate`."""
    from jaxml._cpu import _convolution  # imports JAX

    return functools.partial(_convolution.accelerate, move_excess_padding)


def limit_memory(compile_program: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Decorates `lowered -> compiled`, so that large programs need less; see `_programs.limit`."""

    @functools.wraps(compile_program)
    def limited(lowered: Any) -> Any:
        from jaxml._cpu import _programs  # imports JAX

        return _programs.limit(lowered, compile_program(lowered))

    return limited
