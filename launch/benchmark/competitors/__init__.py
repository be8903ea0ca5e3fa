"""The competitors of the benchmarks; each module is imported only in its own process."""

import importlib
import importlib.util
from typing import NamedTuple

from launch.benchmark.networks import NETWORKS
from launch.benchmark.task import Prepared, Task

OURS = "jaxml"


class Competitor(NamedTuple):
    """The module of a competitor, its requirement, and the tasks that it does not support.

    Attributes:
      module: module in this package, with a function `prepare(name, task)`.
      package: package that must be installed.
      unsupported: reasons, by task.
    """

    module: str
    package: str = "jax"
    unsupported: dict[str, str] = {}  # noqa: RUF012 (constant)


COMPETITORS = {
    "jaxml": Competitor("ours"),
    "jaxml_scan": Competitor("ours"),
    "flax": Competitor("plain_flax"),
    "keras": Competitor("plain_keras", "keras", {"conv": "its convolution is that of flax"}),
    "torch": Competitor("plain_torch", "torch", {"compile": "it does not compile"}),
    "torch_compile": Competitor(
        "plain_torch", "torch", {"conv": "a single convolution has nothing to fuse with"}
    ),
}


def prepare(name: str, task: Task) -> Prepared:
    """Prepares a competitor for a task; call it in the competitor's own process."""
    module = importlib.import_module(f"{__name__}.{COMPETITORS[name].module}")
    return module.prepare(name, task)


def unsupported_reason(name: str, task: Task) -> str:
    """Returns why a competitor cannot perform a task, or an empty string."""
    competitor = COMPETITORS[name]
    if importlib.util.find_spec(competitor.package) is None:
        return f"{competitor.package} is not installed"
    if reason := competitor.unsupported.get(task.what):
        return reason
    if task.devices > 1:
        return "only jaxml is timed on several devices"
    if task.what != "conv" and task.model not in NETWORKS:
        return f"has no network {task.model}; there are {', '.join(NETWORKS)}"
    return ""
