"""The origin of a saved state: the config, the data and the segments of its run.

A segment is the part of a run between a start and a stop, in one environment. Every checkpoint
stores its origin.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax

from jaxml.config import Config, differences, from_tree
from jaxml.errors import InputError
from jaxml.reporting.environment import environment

ENVIRONMENT = ("device", "jax", "x64", "prng")


class Origin(NamedTuple):
    """Identifies the run that a state belongs to.

    Attributes:
      config: the config as a tree of dictionaries.
      data: description of each array of the data set, by name.
      segments: first step, number of epochs and environment of each segment (see
        `jaxml.reporting.environment`).
    """

    config: dict[str, Any]
    data: dict[str, str]
    segments: Sequence[dict[str, Any]]

    @classmethod
    def create(cls, config: Config, data: Mapping[str, str], device: str) -> Self:
        """Returns the origin of a run that starts now, in this process."""
        options: Any = jax.config
        segment = {
            "step": 0,
            "num_epochs": config.num_epochs,
            "device": device,
            "jax": jax.__version__,
            "x64": bool(options.jax_enable_x64),
            "prng": str(options.jax_default_prng_impl),
            **environment(),
        }
        return cls(dataclasses.asdict(config), dict(data), [segment])

    def check(self, saved: "Origin", where: str) -> None:
        """Checks that a state was saved by this run and with this data.

        Args:
          saved: origin of the state.
          where: names the state in the message.

        Raises:
          InputError: the state belongs to another run, or the data changed.
        """
        saved.check_config(from_tree(self.config), where)
        if changed := _changes(saved.data, self.data, sorted(self.data.keys() | saved.data.keys())):
            raise InputError(
                f"the data changed since {where}: {changed}; restore them or start in a new folder"
            )

    def check_config(self, config: Config, where: str) -> None:
        """Checks that a state with this origin belongs to a run with a config.

        Args:
          config: config of the run.
          where: names the state in the message.

        Raises:
          InputError: the state belongs to another run.
        """
        if different := differences(config, self.config):
            raise InputError(
                f"{where} belongs to a run with another config: {', '.join(different)}"
            )

    def resume(self, saved: "Origin", step: int) -> tuple["Origin", list[str]]:
        """Appends the segment of this process to the segments of a saved state.

        Args:
          saved: origin of the state.
          step: step of the state.

        Returns:
          The origin of the resumed run, and a message for each change worth reporting.
        """
        before, now = saved.segments[-1], {**self.segments[0], "step": step}
        messages = []
        if changed := _changes(before, now, ENVIRONMENT):
            messages.append(
                f"the environment changed at step {step}: {changed}; "
                "the parameters may differ from those of an uninterrupted run"
            )
        if before["num_epochs"] != now["num_epochs"]:
            messages.append(
                f"extended from {before['num_epochs']} to {now['num_epochs']} epochs: after step "
                f"{step}, the {self.config['optim']['schedule']} schedule is that of a run of "
                f"{now['num_epochs']} epochs"
            )
        return self._replace(segments=[*saved.segments, now]), messages


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in names
        if before.get(name) != now.get(name)
    )
