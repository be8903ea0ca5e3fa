"""Ours beside a peer: the same weights, the same images, and how far apart the results are."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml.weights import _convert
from jaxml.weights._names import naming_of
from tests import properties
from tests.models import peers


class Pair(NamedTuple):
    """A network of ours with the weights of a peer.

    Attributes:
      network: whose names the model's modules have.
      peer: of `peers`.
      model: ours.
      variables: the peer's weights, in our tree.
      kind: of `_layout.KINDS`.
      naming: of the model.
      order: of the model's calls.
    """

    network: str
    peer: Any
    model: Any
    variables: dict[str, Any]
    kind: str
    naming: _convert.Naming
    order: Sequence[str]

    def exported(self, variables: dict[str, Any]) -> dict[str, np.ndarray]:
        """Ours by the names of the peer."""
        return _convert.to_library(variables, self.kind, self.naming, order=self.order)


def pair(network: str, model: Any, peer: Any, *, size: int) -> Pair:
    """Gives the weights of a peer to a model.

    Args:
      network: whose names the model's modules have.
      model: ours.
      peer: of `peers`.
      size: height and width of images that the model takes.
    """
    kind, naming = naming_of(network)
    shape = (1, size, size, 3)
    order = _convert.call_order(model, shape)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    template = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)
    tensors = peers.tensors(peer)
    variables = _convert.from_library(tensors, template, kind, naming, order=order)
    variables = jax.tree.map(jnp.asarray, variables)
    return Pair(network, peer, model, variables, kind, naming, order)


def images_of(size: int, *, batch: int = 8) -> np.ndarray:
    """Random images `[batch, size, size, 3]`."""
    rng = np.random.default_rng(size)
    return rng.normal(size=(batch, size, size, 3)).astype(np.float32)


def evaluation_error(both: Pair, images: np.ndarray) -> float:
    """How far the logits in evaluation are apart."""
    logits = compiled(partial(both.model.apply, train=False))(both.variables, jnp.asarray(images))
    return recorded(both, error(logits, peers.logits(both.peer, images)))


def training_error(both: Pair, images: np.ndarray) -> float:
    """How far the logits in training are apart, normalised by the images' own statistics."""
    apply = compiled(partial(both.model.apply, train=True, mutable=["batch_stats"]))
    logits, _ = apply(both.variables, jnp.asarray(images))
    return recorded(both, error(logits, peers.logits(both.peer, images, train=True)))


def recorded(both: Pair, largest: float) -> float:
    """Puts an error of logits into the table at the end of the tests."""
    library = type(both.peer).__module__.partition(".")[0]
    key = (f"models.{both.network}", library, "float32")
    properties.record[key] = max(properties.record.get(key, 0.0), largest)
    return largest


def gradient_errors(
    both: Pair, images: np.ndarray, *, auxiliary_weight: float = 0.0
) -> dict[str, float]:
    """How far the gradients of the loss in training are apart, by the names of a torch peer.

    In float64: in float32 a few inputs of ReLU are within rounding of zero, so that two right
    programs, and torch in two precisions, differ by whole terms of the sums that gradients are.
    """
    images, labels = images.astype(np.float64), np.arange(len(images)) % both.model.num_classes
    model = both.model.clone(dtype=np.float64)

    def loss(params: Any, variables: Any, images: Any) -> jax.Array:
        variables = {**variables, "params": params}
        mutable = ["batch_stats", "auxiliary"]
        logits, updated = model.apply(variables, images, train=True, mutable=mutable)
        of = partial(optax.softmax_cross_entropy_with_integer_labels, labels=labels)
        heads = jax.tree.leaves(updated.get("auxiliary", {}))
        return of(logits).mean() + auxiliary_weight * sum(of(head).mean() for head in heads)

    with jax.enable_x64(True):
        variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), both.variables)
        params = compiled(jax.grad(loss))(variables["params"], variables, images)
        ours = both.exported({"params": params})
    peer = copy.deepcopy(both.peer).double()
    theirs = peers.gradients(peer, images, labels, auxiliary_weight=auxiliary_weight)
    assert ours.keys() == theirs.keys()
    return {name: error(ours[name], theirs[name]) for name in theirs}


def error(actual: Any, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest magnitude expected."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    assert np.isfinite(expected).all()
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """By XLA, in half of the time, which is what counts here; the sums of the program stay."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})
