"""Every setting of a run, in one typed tree that is checked once, at the start.

The annotations are real types, not strings: the command line parses each value by them.
"""

import dataclasses
import functools
import json
import math
import os
import re
import reprlib
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxml.errors import InputError, nearest

T = TypeVar("T")
LARGEST_INT = 2**31 - 1  # of what XLA counts in int32

# What a setting changes, and whether a run may resume with another value.
CHANGES = {
    "parameters": "the trained parameters; resuming requires the same value",
    "length": "the number of steps; it may be raised, also of a finished run",
    "location": "the place of the data; it may change, the data may not",
    "records": "what is evaluated, saved or logged; it may change",
}


def setting(
    default: T,
    doc: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
    steps: bool = False,
    changes: str = "parameters",
) -> T:
    """A field of the tree: its default, what it means, and what is allowed.

    Args:
      default: the value where nothing else is said.
      doc: one line for `--help`.
      low: the least value.
      above: a bound that the value must exceed.
      high: the greatest value.
      below: a bound that the value must not reach.
      choices: the strings allowed; empty for any.
      steps: whether a string has to be what `parse_steps` takes.
      changes: one of `CHANGES`.
    """
    rules = {"low": low, "above": above, "high": high, "below": below, "choices": tuple(choices)}
    metadata = {"doc": doc, **rules, "steps": steps, "changes": changes}
    return dataclasses.field(default=default, metadata=metadata)


class Settings:
    """A node of the tree; assigning to a name that is no setting raises an error."""

    def __setattr__(self, name: str, value: Any) -> None:
        section = type(self).__name__.removesuffix("Config").lower()
        path = f"{section}.{name}" if section else name
        kinds = {field.name: field.type for field in dataclasses.fields(typing.cast(Any, self))}
        if name not in kinds:
            check_name(path)
        kind: Any = kinds[name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and type(value) is not kind:
            raise InputError(
                f"config.{path} must be an instance of {kind.__name__}, got {reprlib.repr(value)}"
            )
        super().__setattr__(name, value)


@dataclasses.dataclass
class ModelConfig(Settings):
    """The network."""

    name: str = setting("resnet20v1", "network, one of jaxml.models.MODELS")
    shortcut: str = setting(
        "",
        "where a residual block changes shape: zero_pad has no parameters, projection is a 1x1 "
        "convolution with batch norm, bare_projection without; empty leaves it to the network",
        choices=("", "zero_pad", "projection", "bare_projection"),
    )
    hidden_features: tuple[int, ...] = setting(
        (),
        "units of each hidden layer of an mlp; empty leaves them to the network",
        low=1,
        high=LARGEST_INT,
    )
    activation: str = setting(
        "", "of an mlp, one of jaxml.activations.ACTIVATIONS; empty leaves it to the network"
    )
    head: str = setting(
        "",
        "from the last features to the outputs: fc has a weight for every pixel, gap takes the "
        "global average first, gmp the global maximum; empty leaves it to the network",
        choices=("", "fc", "gap", "gmp"),
    )
    keep_prob: float = setting(
        0.0,
        "share of the features that dropout keeps before the head; 0 leaves it to the network",
        low=0,
        high=1,
    )
    survival_prob: float = setting(
        0.0,
        "of stochastic depth: how probable the last residual block is kept in a step, earlier ones "
        "more, linearly; 0 leaves it to the network, which is without",
        low=0,
        high=1,
    )
    zero_init: bool = setting(False, "whether residual blocks start as the identity")
    auxiliary: bool = setting(
        True, "whether a network that has auxiliary heads for its training is built with them"
    )
    remat: bool = setting(
        False, "whether the backward pass computes each block anew, which saves memory"
    )
    scan: bool = setting(
        False,
        "whether identical neighbouring blocks are one loop, which saves compile time; parameters "
        "and results are the same",
    )
    dtype: str = setting(
        "float32",
        "of the computation; parameters and statistics are always float32",
        choices=("float32", "bfloat16"),
    )


@dataclasses.dataclass
class WeightsConfig(Settings):
    """What the run starts from in the place of random numbers, and what of it stays."""

    file: str = setting(
        "",
        "safetensors, .pth, .h5 or .keras file in the naming of torchvision, timm, Keras or our "
        "own; empty starts at random",
    )
    entry: str = setting(
        "",
        "dictionary of a .pth file that holds the weights, such as model_ema, or prefix of their "
        "names, also in a safetensors file; empty takes the only dictionary, or else state_dict, "
        "model_state_dict or model",
    )
    new_head: bool = setting(
        False, "whether the head starts at random all the same: for another number of classes"
    )
    freeze: str = setting(
        "",
        "regular expression for the beginnings of the paths of parameters that stay as they are, "
        "such as 'stem|stage[12]/'; batch norm keeps its statistics there; empty freezes none",
    )


@dataclasses.dataclass
class DataConfig(Settings):
    """The images, and what is done to them."""

    name: str = setting("digits", "data set, one of jaxml.data.DATASETS")
    dir: str = setting(
        "", "folder that holds the files; scikit-learn's sets need none", changes="location"
    )
    validation_size: int = setting(
        0,
        "examples held out of the end of the training set, evaluated instead of the test set",
        low=0,
    )
    normalization: str = setting(
        "per_image",
        "per_image and per_channel standardise, unit and min_max scale to [0, 1], pca and zca "
        "whiten; all but per_image and unit are fitted on the training set",
        choices=("per_image", "per_channel", "unit", "min_max", "pca", "zca"),
    )
    crop_padding: int = setting(
        0,
        "zeros around a training image before a random crop of its own size; 0 crops nothing",
        low=0,
    )
    flip: bool = setting(False, "whether training images are flipped left-right half of the time")


@dataclasses.dataclass
class LossConfig(Settings):
    """What is minimised: the mean over a batch, and penalties."""

    name: str = setting("softmax_cross_entropy", "loss, one of jaxml.losses.LOSSES")
    label_smoothing: float = setting(
        0.0,
        "part of the probability spread over all classes, by the cross-entropies",
        low=0,
        below=1,
    )
    squared: bool = setting(False, "whether hinges are squared, by those of several classes")
    auxiliary_weight: float = setting(
        0.3, "of the loss of each auxiliary head, added to the loss where a network has some", low=0
    )
    l1: float = setting(0.0, "lambda of the penalty lambda * sum |w| over the kernels", low=0)
    l2: float = setting(0.0, "lambda of the penalty lambda * sum w^2 over the kernels", low=0)


@dataclasses.dataclass
class OptimConfig(Settings):
    """Gradient descent and its schedule."""

    name: str = setting(
        "momentum",
        "momentum is the heavy ball, averaged_momentum averages the gradients exponentially",
        choices=(
            "momentum",
            "averaged_momentum",
            "rmsprop",
            "adam",
            "adamw",
            "adagrad",
            "lars",
            "lamb",
            "muon",
        ),
    )
    learning_rate: float = setting(0.1, "peak learning rate", above=0)
    momentum: float = setting(
        0.9,
        "weight of the past gradients, beta1 of Adam; rmsprop and adagrad have none",
        low=0,
        below=1,
    )
    nesterov: bool = setting(
        False, "whether the momentum looks ahead: of momentum, adam, adamw, lars and muon"
    )
    beta2: float = setting(
        0.999, "weight of the past squared gradients, of rmsprop and Adam's kin", low=0, below=1
    )
    epsilon: float = setting(
        1e-8,
        "added to the root of the squared gradients, in adagrad within it; momentum and lars have "
        "none",
        above=0,
    )
    weight_decay: float = setting(
        1e-4,
        "lambda of lambda/2 * |w|^2 over the kernels, biases and batch norm are spared; beside the "
        "gradient in adamw, lamb and muon",
        low=0,
    )
    clip_value: float = setting(0.0, "largest entry of a gradient; 0 clips none", low=0)
    clip_norm: float = setting(0.0, "largest norm of the whole gradient; 0 clips none", low=0)
    clip_adaptive: float = setting(
        0.0,
        "largest norm of a unit's gradient, as a part of its weights' norm; 0 clips none",
        low=0,
    )
    max_norm: float = setting(
        0.0, "largest norm of the weights into a unit, held after each step; 0 holds none", low=0
    )
    accumulate_steps: int = setting(
        1,
        "steps whose mean gradient makes one update, as of a batch so many times as large; what is "
        "left over at the end of the run makes none",
        low=1,
    )
    sharpness_radius: float = setting(
        0.0, "rho of sharpness-aware minimisation, at twice the cost; 0 is without", low=0
    )
    schedule: str = setting(
        "step",
        "step divides the rate at each boundary; cosine, polynomial and exponential take it to "
        "end_factor; one_cycle rises first; inverse_sqrt and inverse_time fall for ever; constant "
        "stays",
        choices=(
            "step",
            "cosine",
            "constant",
            "exponential",
            "polynomial",
            "inverse_sqrt",
            "inverse_time",
            "one_cycle",
        ),
    )
    warmup_epochs: float = setting(0.0, "epochs in which the rate rises from 0 to its peak", low=0)
    step_boundaries: tuple[float, ...] = setting(
        (0.5, 0.75), "of the step schedule: fractions of the run", low=0, high=1
    )
    step_factor: float = setting(
        0.1, "of the step schedule: what the rate is multiplied by at a boundary", above=0, high=1
    )
    end_factor: float = setting(
        0.0,
        "of cosine, polynomial, exponential: the last rate, as a part of the peak",
        low=0,
        high=1,
    )
    power: float = setting(1.0, "of the polynomial schedule: 1 is a straight line", above=0)


@dataclasses.dataclass
class AverageConfig(Settings):
    """What is evaluated in the place of the parameters: an average of theirs."""

    name: str = setting(
        "none",
        "ema is an exponential average, swa the mean at the ends of the last epochs with batch "
        "norm's statistics taken anew, lookahead's slow parameters also pull back the fast ones",
        choices=("none", "ema", "swa", "lookahead"),
    )
    decay: float = setting(0.999, "of ema: weight of the past", low=0, below=1)
    start: float = setting(0.75, "of swa: part of the run after which it begins", low=0, high=1)
    every_steps: int = setting(5, "of lookahead: steps between two meetings", low=1)
    rate: float = setting(0.5, "of lookahead: how far the slow ones go", above=0, high=1)


@dataclasses.dataclass
class CheckpointConfig(Settings):
    """What is kept of a run."""

    every_steps: int = setting(
        0,
        "steps between checkpoints; 0 saves after each evaluation only",
        low=0,
        changes="records",
    )
    keep: int = setting(
        2, "how many of the newest are kept, next to the best", low=1, changes="records"
    )
    on_failure: str = setting(
        "stop",
        "whether a run stops or continues when a checkpoint or metrics cannot be written; the last "
        "checkpoint must be written in either case",
        choices=("stop", "continue"),
        changes="records",
    )


@dataclasses.dataclass
class Config(Settings):
    """A run: equal settings give equal parameters, bit for bit, on one CPU.

    On a GPU this needs XLA_FLAGS=--xla_gpu_deterministic_ops=true.
    """

    seed: int = setting(
        0, "of the initial parameters, the order of the data, augmentation", low=0, high=2**32 - 1
    )
    batch_size: int = setting(
        128,
        "examples a step, over all devices: 1 is stochastic gradient descent, 0 takes the whole "
        "training set, which is batch gradient descent",
        low=0,
    )
    num_epochs: int = setting(
        30,
        "passes over the training set, each of floor(examples / batch_size) steps; if it is raised "
        "later, the remaining steps follow the schedule of the new length",
        low=1,
        changes="length",
    )
    eval_every_epochs: int = setting(
        1,
        "epochs between evaluations; the last epoch is always evaluated",
        low=1,
        changes="records",
    )
    eval_batch_size: int = setting(
        512, "examples a step of the evaluation", low=1, changes="records"
    )
    steps_per_call: int = setting(
        0,
        "training steps in one compiled call; 0 means an epoch, but one on CPU, where XLA's "
        "convolution gradients are slow inside a loop",
        low=0,
    )
    profile: str = setting(
        "",
        "training steps that are profiled, counted from 0 and without the last, so 10:20 is 10 to "
        "19: a trace comes into the folder of the run, and what took the time is printed",
        steps=True,
        changes="records",
    )
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    weights: WeightsConfig = dataclasses.field(default_factory=WeightsConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    average: AverageConfig = dataclasses.field(default_factory=AverageConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)


KINDS: dict[Any, str] = {
    int: "an int",
    float: "a float",
    bool: "true or false",
    str: "a string",
    tuple[float, ...]: "a tuple of floats",
    tuple[int, ...]: "a tuple of ints",
}
BOUNDS = {"low": "of at least", "above": "above", "high": "at most", "below": "below"}


def fields(config: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Every leaf of the tree as (dotted name, field, value), in reading order.

    >>> [name for name, _, _ in fields(Config())][:2]
    ['seed', 'batch_size']
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field, value


def check(config: Config) -> None:
    """Checks the type and the range of every setting.

    Raises:
      InputError: with the first setting that is wrong, its value, and what is allowed.

    Example:
      >>> check(Config(num_epochs=0))
      Traceback (most recent call last):
      jaxml.errors.InputError: config.num_epochs: 0 is not allowed, it is an int of at least 1
    """
    for name, field, value in fields(config):
        if not _is_a(value, field.type) or not all(
            _in_range(item, field.metadata)
            for item in (value if isinstance(value, tuple) else (value,))
        ):
            raise InputError(f"config.{name}: {value!r} is not allowed, it is {allowed(field)}")


def check_name(name: str) -> None:
    """Checks that a dotted name, without `config.`, is a setting.

    Raises:
      InputError: it is not; the message names the nearest that is.

    Example:
      >>> check_name("optim.learnin_rate")
      Traceback (most recent call last):
      jaxml.errors.InputError: config.optim.learnin_rate: there is no such setting; \
did you mean 'config.optim.learning_rate'?
    """
    known = [f"config.{known}" for known, _, _ in fields(Config())]
    path = f"config.{name}"
    if path not in known:
        parent, _, last = path.rpartition(".")
        # `optim.lr` is short for `optim.learning_rate`, which is what `learning_rate` stands for.
        alike = [p for p in known if p.startswith(f"{parent}.") and last == _initials(p)]
        alike += [p for p in known if p.endswith(f".{last}")]
        hint = f"; did you mean {alike[0]!r}?" if alike else nearest(path, known)
        raise InputError(f"{path}: there is no such setting{hint or '; --help lists them'}")


def _initials(path: str) -> str:
    return "".join(word[0] for word in path.rpartition(".")[2].split("_"))


def user_path(text: str) -> Path:
    """Returns the path that a setting or a flag names, with `~` as the user's home.

    >>> user_path("~/runs") == Path.home() / "runs"
    True

    Raises:
      InputError: the name is not in UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:  # Python keeps other bytes as surrogates
        raise InputError(f"a path must be in UTF-8, and so must the locale, got {text!a}") from None
    return Path(os.path.expanduser(text))  # noqa: PTH111 (it leaves an unknown ~name as it is)


def allowed(field: dataclasses.Field[Any]) -> str:
    """What a setting may be, in words.

    >>> allowed(dataclasses.fields(OptimConfig)[1])
    'a float above 0'
    """
    rules = field.metadata
    if rules["steps"]:
        return "empty, or two steps such as 10:20, of which the second is the larger"
    if rules["choices"]:
        return "one of " + ", ".join(choice or "''" for choice in rules["choices"])
    bounds = [
        f"{words} {rules[rule]:.10g}" for rule, words in BOUNDS.items() if rules[rule] is not None
    ]
    kind = KINDS[typing.cast(Any, field.type)]
    return " ".join([kind, " and ".join(bounds)]).strip()


def parse_steps(text: str) -> range:
    """The steps of a setting such as `10:20`, as a slice of Python takes them.

    Raises:
      ValueError: it is not of this form, or there is no step between the two.

    Example:
      >>> parse_steps("10:20")
      range(10, 20)
      >>> parse_steps("")
      range(0, 0)
    """
    if not text:
        return range(0)
    match = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,10})", text)
    steps = range(int(match[1]), int(match[2])) if match else range(0)
    if not steps:
        raise ValueError(f"{text!r} is not of the form first:end")
    return steps


def _is_steps(text: str) -> bool:
    try:
        parse_steps(text)
    except ValueError:
        return False
    return True


def _is_a(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        entry = typing.get_args(kind)[0]
        return isinstance(value, tuple) and all(_is_a(item, entry) for item in value)
    if kind is float:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        )
    return type(value) is kind


def _in_range(value: Any, rules: Mapping[str, Any]) -> bool:
    return (
        (rules["low"] is None or value >= rules["low"])
        and (rules["above"] is None or value > rules["above"])
        and (rules["high"] is None or value <= rules["high"])
        and (rules["below"] is None or value < rules["below"])
        and (not rules["choices"] or value in rules["choices"])
        and (not rules["steps"] or _is_steps(value))
    )


def to_json(config: Config) -> str:
    """The tree as indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str | bytes) -> Config:
    """The tree that `to_json` wrote.

    Raises:
      InputError: it is not such JSON, names a setting that there is not, or has a wrong value.

    Example:
      >>> from_json(to_json(Config(seed=3))).seed
      3
    """
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, Mapping):
        raise InputError("not the JSON of a run's settings")
    return from_tree(tree)


def from_tree(tree: Mapping[str, Any]) -> Config:
    """Returns the config of a tree of dictionaries; a missing setting has its default.

    Raises:
      InputError: the tree names an unknown setting or has a wrong value.
    """
    config = Config()
    for name, value in _flatten(tree):
        check_name(name)
        assign(config, name, tuple(value) if isinstance(value, list) else value)
    check(config)
    return config


def value(config: Config, name: str) -> Any:
    """Returns a setting by its dotted name."""
    return functools.reduce(getattr, name.split("."), config)


def assign(config: Config, name: str, value: Any) -> None:
    """Sets a setting by its dotted name."""
    *parents, field = name.split(".")
    setattr(functools.reduce(getattr, parents, config), field, value)


def differences(config: Config, stored: Mapping[str, Any]) -> list[str]:
    """Compares a config with that of a run, as far as resuming requires the same values.

    Args:
      config: the config.
      stored: the config of the run as a tree; a missing setting has its default.

    Returns:
      A phrase for each setting that differs and may not.

    Example:
      >>> differences(Config(seed=1, num_epochs=40), dataclasses.asdict(Config()))
      ['config.seed is 0 there, 1 here']
    """
    rules = {name: field.metadata["changes"] for name, field, _ in fields(config)}
    here = dict(_flatten(json.loads(to_json(config))))
    there = dict(_flatten(json.loads(to_json(Config()))))
    there |= _flatten(json.loads(json.dumps(stored)))  # which has lists in the place of tuples
    return [
        f"config.{name} is {there[name]} there, {here.get(name, 'no setting')} here"
        for name in there
        if not _may_follow(rules.get(name, "parameters"), there[name], here.get(name))
    ]


def _may_follow(rule: str, there: Any, here: Any) -> bool:
    if rule == "length":
        return isinstance(there, int) and here >= there
    return rule != "parameters" or there == here


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def describe(config: Config) -> str:
    """Every setting with its value and its meaning, for `--help`."""
    return "\n".join(
        f"  --config.{name}={value!r}\n      {field.metadata['doc']}; {allowed(field)}"
        for name, field, value in fields(config)
    )
