"""Peak throughput of a device: one large matrix product, one large copy."""

import jax
import jax.numpy as jnp

from launch.benchmark.task import Operation

PRODUCT, COPY = "matrix_product", "copy"


def operations(dtype: jnp.dtype) -> dict[str, Operation]:
    """Prepares a matrix product and a copy on the default device.

    Args:
      dtype: dtype of the matrices.
    """
    cpu = jax.default_backend() == "cpu"
    # On an accelerator, several are enqueued together to hide the time of the launches.
    size, entries, calls = (2048, 2**26, 1) if cpu else (8192, 2**28, 8)
    # Constant matrices would take less power, and therefore less time on an accelerator.
    matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(jnp.matmul)
    array = jnp.arange(entries, dtype=jnp.float32)
    # Reads and writes every entry. XLA runs a plain copy on a single thread, and writing to newly
    # allocated memory takes four times as long on a CPU, so the copy negates in place.
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
