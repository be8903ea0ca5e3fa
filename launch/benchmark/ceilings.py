"""What the machine can do at most: one large matrix product, one large copy."""

import jax
import jax.numpy as jnp

from launch.benchmark.task import Operation

PRODUCT, COPY = "matrix_product", "copy"


def operations(dtype: jnp.dtype) -> dict[str, Operation]:
    """Both, on the default device.

    Args:
      dtype: of the matrices.
    """
    cpu = jax.default_backend() == "cpu"
    # An accelerator is given several at once, so that the time to start them does not count.
    size, entries, calls = (2048, 2**26, 1) if cpu else (8192, 2**28, 8)
    # Products of equal numbers take less power, and so less time on an accelerator.
    matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(jnp.matmul)
    array = jnp.arange(entries, dtype=jnp.float32)
    # Every entry is read and written. What only copies, XLA gives to one thread; and what writes
    # to new memory takes four times as long on a CPU, where the system has to find that memory.
    negative = jax.jit(jnp.negative, donate_argnums=0)

    def multiply() -> None:
        jax.block_until_ready([product(matrix, matrix) for _ in range(calls)])

    def copy() -> None:
        nonlocal array
        for _ in range(calls):
            array = negative(array)
        jax.block_until_ready(array)

    return {
        PRODUCT: Operation(multiply, flops=2.0 * calls * size**3),
        COPY: Operation(copy, bytes_moved=2.0 * calls * array.nbytes),
    }
