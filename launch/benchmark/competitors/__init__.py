"""Who is timed. Each module here is imported by the process of its competitor alone."""

import importlib
import importlib.util
from typing import NamedTuple

from launch.benchmark.networks import NETWORKS
from launch.benchmark.task import Prepared, Task

OURS = "jaxml"


class Competitor(NamedTuple):
    """Where a competitor is written, what it needs, and what it can be timed with.

    Attributes:
      module: of this package; its `prepare(name, task)` makes it ready.
      package: that must be installed.
      leaves_out: what it is not timed with, and why.
    """

    module: str
    package: str = "jax"
    leaves_out: dict[str, str] = {}  # noqa: RUF012 (never changed)


COMPETITORS = {
    "jaxml": Competitor("ours"),
    "jaxml_scan": Competitor("ours"),
    "flax": Competitor("plain_flax"),
    "keras": Competitor("plain_keras", "keras", {"conv": "its convolution is that of flax"}),
    "torch": Competitor("plain_torch", "torch", {"compile": "it compiles nothing"}),
    "torch_compile": Competitor(
        "plain_torch", "torch", {"conv": "a single convolution has nothing to fuse with"}
    ),
}


def prepare(name: str, task: Task) -> Prepared:
    """Makes a competitor ready, in the process that is its own."""
    module = importlib.import_module(f"{__name__}.{COMPETITORS[name].module}")
    return module.prepare(name, task)


def why_not(name: str, task: Task) -> str:
    """Why a peer is left out, or nothing."""
    competitor = COMPETITORS[name]
    if importlib.util.find_spec(competitor.package) is None:
        return f"{competitor.package} is not installed"
    if reason := competitor.leaves_out.get(task.what):
        return reason
    if task.devices > 1:
        return "only ours is timed on several devices"
    if task.what != "conv" and task.model not in NETWORKS:
        return f"has no network {task.model}; there are {', '.join(NETWORKS)}"
    return ""
