"""What a network costs, and its layers one by one, without running it."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import jaxprs_in_params

from jaxml.types import PyTree


class Summary(NamedTuple):
    """The cost of one image.

    Attributes:
      parameters: how many numbers are learned, auxiliary heads included.
      statistics: how many running statistics there are beside them.
      multiply_adds: of the convolutions and matrix products of an evaluation; what meets the zeros
        of a padding counts, as it does in published tables.
      activations: the numbers that these convolutions and products give; a training step keeps
        them, and a few derived from each, until its backward pass.
    """

    parameters: int
    statistics: int
    multiply_adds: int
    activations: int


class Layer(NamedTuple):
    """A module that holds parameters.

    Attributes:
      path: its place in the tree, such as "stage1/block1/conv1".
      kind: the name of its class.
      output: the shape of its result for one image.
      parameters: their shapes by name.
    """

    path: str
    kind: str
    output: tuple[int, ...]
    parameters: dict[str, tuple[int, ...]]


def summarize(model: nn.Module, input_shape: Sequence[int]) -> Summary:
    """The cost of a network for inputs of a shape.

    Args:
      model: one of `jaxml.models`.
      input_shape: of one example: `(height, width, channels)`.

    Example:
      >>> from jaxml.models import MODELS
      >>> summarize(MODELS["resnet20v1"](num_classes=10), (32, 32, 3)).parameters
      269722
    """
    variables = abstract_variables(model, input_shape)
    params, statistics = variables.get("params", {}), variables.get("batch_stats", {})
    # A loop over identical blocks is traced once.
    looped = model.clone(scan=True) if hasattr(model, "scan") else model
    example = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    program = jax.make_jaxpr(partial(looped.apply, train=False))(variables, example)
    return Summary(_count(params), _count(statistics), *_cost(program.jaxpr))


def layers(model: nn.Module, input_shape: Sequence[int]) -> list[Layer]:
    """The modules that hold parameters, in the order of their calls.

    >>> from jaxml.models import MODELS
    >>> layers(MODELS["linear"](num_classes=10), (8, 8, 1))[0]
    Layer(path='head', kind='Dense', output=(10,), parameters={'bias': (10,), 'kernel': (64, 10)})
    """
    found: dict[str, tuple[str, Any]] = {}

    def note(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        y = next_function(*args, **kwargs)
        if context.method_name == "__call__":
            found.setdefault("/".join(context.module.path), (type(context.module).__name__, y))
        return y

    with nn.intercept_methods(note):
        variables = abstract_variables(model, input_shape)
    table = []
    for path, (kind, y) in found.items():
        own = _at(variables.get("params", {}), path)
        shapes = {name: leaf.shape for name, leaf in own.items() if hasattr(leaf, "shape")}
        if shapes:
            table.append(Layer(path, kind, y.shape[1:], shapes))
    return table


def abstract_variables(model: nn.Module, input_shape: Sequence[int]) -> dict[str, PyTree]:
    """Shapes and dtypes of a network's parameters and statistics.

    >>> from jaxml.models import MODELS
    >>> params = abstract_variables(MODELS["linear"](num_classes=10), (3,))["params"]
    >>> params["head"]["kernel"].shape
    (3, 10)
    """
    example = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(partial(model.init, train=False), key, example)


def _cost(program: Any) -> tuple[int, int]:
    """Multiply-adds and results of the convolutions and products of a traced program."""
    multiply_adds = results = 0
    for equation in program.eqns:
        name, parameters = equation.primitive.name, equation.params
        taps = 0  # of which each result is the sum
        if name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            taps = math.prod(kernel) // kernel[parameters["dimension_numbers"].rhs_spec[0]]
        elif name == "conv_on_cpu":
            taps = math.prod(equation.invars[1].aval.shape[:3])
        elif name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            taps = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        size = equation.outvars[0].aval.size if taps else 0
        parts = [(taps * size, size)]
        for inner in jaxprs_in_params(parameters):
            parts.append(_cost(inner))
        times = parameters["length"] if name == "scan" else 1
        multiply_adds += times * sum(part[0] for part in parts)
        results += times * sum(part[1] for part in parts)
    return multiply_adds, results


def _count(tree: PyTree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _at(tree: PyTree, path: str) -> dict[str, Any]:
    for name in path.split("/"):
        tree = tree.get(name, {})
    return tree
