"""Compares runs in one HTML file: curves, configs, spread over seeds, paired differences."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from jaxml.errors import InputError
from jaxml.reporting import charts, page
from jaxml.reporting.progress import headline
from jaxml.reporting.report import duration
from jaxml.reporting.run_files import RunFiles, read_run, setting_values

# Settings that are no part of a recipe: they change no parameter, or only the random numbers.
_NOT_THE_RECIPE = ("seed", "log.", "checkpoint.", "profile", "eval_batch_size", "data.workers")


class Group(NamedTuple):
    """Runs of one recipe, which differ in their seeds.

    Attributes:
      name: settings in which the recipe differs from the others of the page.
      runs: the runs.
      values: the final value of the main metric of each, by seed; None for a run without one.
    """

    name: str
    runs: list[RunFiles]
    values: dict[int, float | None]

    @property
    def finished(self) -> list[float]:
        """The final values that are known."""
        return [value for value in self.values.values() if value is not None]


def compare(folders: Sequence[Path]) -> str:
    """Returns a page that compares runs.

    Runs whose configs differ in the seed alone are one group. A run that is not finished is part of
    the curves, but not of the statistics.

    Args:
      folders: folders of the runs.

    Raises:
      InputError: a folder holds no run, or the runs have different main metrics or splits.
    """
    runs = [read_run(folder) for folder in folders]
    metric, split = headline(runs[0].lines[0]), runs[0].split
    for run in runs:
        if metric not in run.lines[0] or run.split != split:
            raise InputError(
                f"{run.path}: must have the {split} {metric} of {runs[0].path} to be compared, "
                f"has the {run.split} {headline(run.lines[0])}"
            )
    different = differing_settings(runs)
    groups = group(runs, different, f"{split}_{metric}")
    what = f"{len(runs)} runs of {len(groups)} recipe{'s' * (len(groups) > 1)}"
    parts = [
        page.heading(f"Comparison of {what}", 1),
        *(page.paragraph(_sentence(one, metric, split)) for one in groups[:6]),
        *_curves(groups, metric, split),
        page.heading("Spread over seeds"),
        _spread(groups, metric),
        *_paired(groups, metric),
        page.heading("Runs"),
        _runs(runs, different, f"{split}_{metric}"),
    ]
    return page.page(f"Comparison of {what}", parts)


def differing_settings(runs: Sequence[RunFiles]) -> dict[str, list[str]]:
    """Returns the settings in which runs differ, with the value of each run."""
    every = [setting_values(run.config) for run in runs]
    values = {name: [str(one[name]) for one in every] for name in every[0]}
    return {name: found for name, found in values.items() if len(set(found)) > 1}


def group(
    runs: Sequence[RunFiles], different: Mapping[str, Sequence[str]], result: str
) -> list[Group]:
    """Groups runs whose configs differ in the seed alone.

    Args:
      runs: the runs.
      different: see `differing_settings`.
      result: name of the main metric in `result.json`.

    Raises:
      InputError: two runs of a group have the same seed.
    """
    names = [name for name in different if not name.startswith(_NOT_THE_RECIPE)]
    groups: dict[str, Group] = {}
    for i, run in enumerate(runs):
        name = ", ".join(f"{name}={different[name][i]}" for name in names)
        name = name or f"{run.config.model.name} on {run.config.data.name}"
        one = groups.setdefault(name, Group(name, [], {}))
        if run.config.seed in one.values:
            raise InputError(
                f"{run.path}: must differ from the other runs in its seed or recipe, has seed "
                f"{run.config.seed} of {one.runs[list(one.values).index(run.config.seed)].path}"
            )
        one.runs.append(run)
        one.values[run.config.seed] = run.result.get(result)
    return list(groups.values())


class Estimate(NamedTuple):
    """Mean of independent values, with its 95 % confidence interval by Student's t."""

    mean: float
    deviation: float
    low: float
    high: float


def estimate(values: Sequence[float]) -> Estimate:
    """Estimates a mean; the interval is NaN for fewer than two values.

    >>> [round(x, 3) for x in estimate([1.0, 2.0, 3.0])]
    [2.0, 1.0, -0.484, 4.484]
    """
    mean = float(np.mean(values)) if values else math.nan
    if len(values) < 2:
        return Estimate(mean, math.nan, math.nan, math.nan)
    deviation = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return Estimate(mean, deviation, mean - half, mean + half)


def _sentence(one: Group, metric: str, split: str) -> str:
    found = estimate(one.finished)
    show = _formatter(metric)
    count = len(one.finished)
    if not count:
        return f"{one.name}: no run is finished."
    text = f"{one.name}: {split} {metric} {show(found.mean)}"
    if count == 1:
        return f"{text} (one seed, so no spread is known)."
    return (
        f"{text}, the mean of {count} seeds (standard deviation {show(found.deviation)}, 95 % "
        f"confidence interval {show(found.low)} to {show(found.high)})."
    )


def _curves(groups: Sequence[Group], metric: str, split: str) -> list[str]:
    figures = []
    named = groups[: page.NUM_SERIES]
    for kind, name in ((split, metric), (split, "loss"), ("train", "loss")):
        content = _overlay(named, kind, name)
        caption = "one line per run, one colour per recipe"
        figures.append(page.figure(f"{kind.capitalize()} {name}", caption, content))
    note = ""
    if len(groups) > len(named):
        note = page.paragraph(f"The charts show the first {len(named)} recipes.", "note")
    return [page.heading("Curves"), note, page.grid(figures)]


def _overlay(groups: Sequence[Group], split: str, metric: str) -> str:
    with charts.chart("epoch", metric) as drawn:
        for number, one in enumerate(groups):
            for index, run in enumerate(one.runs):
                at, values = run.curve(split, metric)
                label = charts.short(one.name, 34) if not index and len(groups) > 1 else None
                drawn.axes.plot(
                    at, values, color=charts.COLORS[number], linestyle=charts.LINE_STYLES[number],
                    label=label, linewidth=1.4, alpha=0.85, marker="o" if len(at) == 1 else "",
                )  # fmt: skip
        if metric == "accuracy":
            drawn.axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        if len(groups) > 1:
            charts.place_legend(drawn.axes)
    return drawn.svg


def _spread(groups: Sequence[Group], metric: str) -> str:
    show = _formatter(metric)
    rows = []
    for one in groups:
        found = estimate(one.finished)
        numbers = [(value, show(value)) for value in found]
        extremes = [(value, show(value)) for value in _extremes(one.finished)]
        rows.append((one.name, len(one.finished), *numbers, *extremes))
    columns = (
        "recipe", "finished seeds", "mean", "std. deviation", "95 % from", "to", "lowest", "highest"
    )  # fmt: skip
    note = "The interval is that of the mean over seeds, by Student's t distribution."
    return page.table(columns, rows) + page.paragraph(note, "note")


def _extremes(values: Sequence[float]) -> tuple[float, float]:
    return (min(values), max(values)) if values else (math.nan, math.nan)


def _paired(groups: Sequence[Group], metric: str) -> Iterator[str]:
    """Compares each pair of recipes on the seeds that both have."""
    show = _formatter(metric)
    rows = []
    for first, second in itertools.combinations(groups[:12], 2):
        seeds = sorted(first.values.keys() & second.values.keys())
        pairs = [(first.values[seed], second.values[seed]) for seed in seeds]
        differences = [b - a for a, b in pairs if a is not None and b is not None]
        if not differences:
            continue
        found = estimate(differences)
        sure = found.low > 0 or found.high < 0
        verdict = ("higher" if found.mean > 0 else "lower") if sure else "not settled"
        numbers = [(value, show(value)) for value in found]
        rows.append((second.name, first.name, len(differences), *numbers, verdict))
    if rows:
        columns = (
            "recipe", "minus recipe", "seeds", "mean difference", "std. deviation", "95 % from",
            "to", "the first is",
        )  # fmt: skip
        yield page.heading("Paired differences")
        yield page.table(columns, rows, text=2)
        yield page.paragraph(
            "Differences of runs with the same seed. A difference is settled if its 95 % interval "
            "excludes 0; with many pairs, some are settled by chance.",
            "note",
        )


def _runs(runs: Sequence[RunFiles], different: Mapping[str, Sequence[str]], result: str) -> str:
    show = _formatter(result)
    rows = []
    for i, run in enumerate(runs):
        value = run.result.get(result)
        seconds = run.result.get("train_seconds")
        rows.append(
            (
                str(run.path),
                *(found[i] for found in different.values()),
                (math.nan, "not finished") if value is None else (value, show(value)),
                (math.nan, "-") if seconds is None else (seconds, duration(seconds)),
            )
        )
    columns = ("folder", *different, result.replace("_", " "), "training time")
    return page.table(columns, rows, text=1 + len(different))


def _formatter(metric: str) -> Callable[[float], str]:
    if not metric.endswith("accuracy"):
        return page.number
    return lambda value: "-" if math.isnan(value) else f"{100 * value:.2f} %"
