"""Skips training steps that are not finite, as if they had made no update.

In contrast to `optax.apply_if_finite`, which undoes the update of the optimizer alone, a skipped
step also keeps the batch statistics and the averages, and its metrics do not count.
"""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp

from jaxml.types import Array, PyTree


class Skips(NamedTuple):
    """Counts of skipped steps, a part of the state of a run.

    Attributes:
      total: number of skipped steps, int32.
      consecutive: number of skipped steps since the last step that was not, int32.
    """

    total: Array
    consecutive: Array

    @classmethod
    def create(cls) -> Self:
        """Returns the counts before the first step."""
        return cls(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def decide(self, step: PyTree, *, limit: int) -> tuple[Array, Self]:
        """Returns whether to skip a step, and the counts after it.

        Args:
          step: all results of the step; it is skipped if they are not finite.
          limit: largest number of consecutive skipped steps; once it is reached, no step that is
            not finite is skipped.

        Example:
          >>> skipped, skips = Skips.create().decide(jnp.nan, limit=1)
          >>> bool(skipped), [int(count) for count in skips]
          (True, [1, 1])
          >>> skipped, skips = skips.decide(jnp.nan, limit=1)
          >>> bool(skipped), [int(count) for count in skips]
          (False, [1, 1])
        """
        finite = all_finite(step)
        skipped = ~finite & (self.consecutive < limit)
        count = skipped.astype(jnp.int32)
        consecutive = jnp.where(finite, 0, self.consecutive + count)
        return skipped, type(self)(self.total + count, consecutive)


def all_finite(tree: PyTree) -> Array:
    """Returns whether all numbers of a tree are finite.

    >>> bool(all_finite({"a": jnp.ones(2), "b": jnp.arange(3)}))
    True
    >>> bool(all_finite([jnp.ones(2), jnp.array([0.0, jnp.inf])]))
    False
    """
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return jnp.stack(finite).all()


def skipped_steps(skips: Skips | None) -> dict[str, int]:
    """Returns the number of skipped steps as a metric, or no metric if none are counted."""
    return {} if skips is None else {"skipped_steps": int(skips.total)}


def describe(skips: Skips | None) -> str:
    """Formats the number of skipped steps for the end of a line, "" if there are none.

    >>> describe(Skips(jnp.int32(1), jnp.int32(0)))
    '  1 skipped'
    """
    return "".join(f"  {count} skipped" for count in skipped_steps(skips).values() if count)
