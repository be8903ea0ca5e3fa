"""Size and cost of a network, in total and by layer, from traced shapes alone."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxml.types import PyTree


class Summary(NamedTuple):
    """Size of a network, and cost of its evaluation for one image.

    Attributes:
      parameters: number of parameters, including those of auxiliary heads.
      statistics: number of running statistics.
      multiply_adds: multiply-adds of the convolutions and matrix products, including those with
        zero padding, as in published tables.
      activations: number of outputs of the convolutions and matrix products. A training step keeps
        them, and a few values derived from each, for its backward pass.
    """

    parameters: int
    statistics: int
    multiply_adds: int
    activations: int


class LayerSummary(NamedTuple):
    """A module that holds parameters.

    Attributes:
      path: path of the module, such as "stage1/block1/conv1".
      kind: name of its class.
      output: shape of its output for one image.
      parameters: shapes of its parameters by name.
    """

    path: str
    kind: str
    output: tuple[int, ...]
    parameters: dict[str, tuple[int, ...]]


def summarize(model: nn.Module, input_shape: Sequence[int]) -> Summary:
    """Counts the parameters and the operations of a network.

    Args:
      model: a network of `jaxml.models`.
      input_shape: shape of one example, such as `(height, width, channels)`.

    Example:
      >>> from jaxml.models import MODELS
      >>> summarize(MODELS["resnet20v1"](num_classes=10), (32, 32, 3)).parameters
      269722
    """
    variables = abstract_variables(model, input_shape)
    params, statistics = variables.get("params", {}), variables.get("batch_stats", {})
    # A loop over identical blocks is traced only once.
    looped = model.clone(scan=True) if hasattr(model, "scan") else model
    example = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    program = jax.make_jaxpr(partial(looped.apply, train=False))(variables, example)
    return Summary(_count(params), _count(statistics), *_cost(program.jaxpr))


def summarize_layers(model: nn.Module, input_shape: Sequence[int]) -> list[LayerSummary]:
    """Lists the modules that hold parameters, in the order of their calls.

    >>> from jaxml.models import MODELS
    >>> summarize_layers(MODELS["linear"](num_classes=10), (8, 8, 1))[0].parameters
    {'bias': (10,), 'kernel': (64, 10)}
    """
    found: dict[str, tuple[str, Any]] = {}

    def record(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        y = next_function(*args, **kwargs)
        if context.method_name == "__call__":
            found.setdefault("/".join(context.module.path), (type(context.module).__name__, y))
        return y

    with nn.intercept_methods(record):
        variables = abstract_variables(model, input_shape)
    table = []
    for path, (kind, y) in found.items():
        own = _subtree(variables.get("params", {}), path)
        shapes = {name: leaf.shape for name, leaf in own.items() if hasattr(leaf, "shape")}
        if shapes:
            table.append(LayerSummary(path, kind, y.shape[1:], shapes))
    return table


def abstract_variables(model: nn.Module, input_shape: Sequence[int]) -> dict[str, PyTree]:
    """Returns the shapes and dtypes of a network's parameters and statistics.

    >>> from jaxml.models import MODELS
    >>> params = abstract_variables(MODELS["linear"](num_classes=10), (3,))["params"]
    >>> params["head"]["kernel"].shape
    (3, 10)
    """
    example = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(partial(model.init, train=False), key, example)


def _cost(program: Any) -> tuple[int, int]:
    """Counts the multiply-adds and the outputs of the convolutions and products of a jaxpr."""
    multiply_adds = outputs = 0
    for equation in program.eqns:
        name, parameters = equation.primitive.name, equation.params
        terms = 0  # per output
        if name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            terms = math.prod(kernel) // kernel[parameters["dimension_numbers"].rhs_spec[0]]
        elif name == "conv_on_cpu":
            terms = math.prod(equation.invars[1].aval.shape[:3])
        elif name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            terms = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        size = equation.outvars[0].aval.size if terms else 0
        inner = [p for p in jax.tree.leaves(parameters) if isinstance(p, Jaxpr | ClosedJaxpr)]
        costs = [(terms * size, size), *map(_cost, inner)]
        repeats = parameters["length"] if name == "scan" else 1
        multiply_adds += repeats * sum(cost[0] for cost in costs)
        outputs += repeats * sum(cost[1] for cost in costs)
    return multiply_adds, outputs


def _count(tree: PyTree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _subtree(tree: PyTree, path: str) -> dict[str, Any]:
    for name in path.split("/"):
        tree = tree.get(name, {})
    return tree
