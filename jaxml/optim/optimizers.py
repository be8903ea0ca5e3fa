"""Gradient descent by name: the optax transformation, and which parameters decay."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxml.config import OptimConfig
from jaxml.errors import InputError
from jaxml.layers import _norms
from jaxml.regularizers import is_kernel
from jaxml.types import Array, PyTree

Factory = Callable[[OptimConfig, optax.Schedule], optax.GradientTransformation]


def decay_mask(params: PyTree) -> PyTree:
    """True for the kernels; biases and the scales of norms are excluded.

    >>> decay_mask({"conv": {"kernel": 0.0, "bias": 0.0}})
    {'conv': {'bias': False, 'kernel': True}}
    """
    return jax.tree_util.tree_map_with_path(is_kernel, params)


def clip_by_global_norm(max_norm: float) -> optax.GradientTransformation:
    r"""Scales gradients down to a largest Euclidean norm of the whole tree.

    .. math:: g \leftarrow g \min(1,\ c / |g|)

    It is `optax.clip_by_global_norm`, except that the norm does not overflow: gradients of 1e20
    make an infinite norm there and steps of 0.

    Args:
      max_norm: c, the largest norm.

    Returns:
      A transformation without state.

    Source: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks",
    2013.
    """

    def clip(updates: PyTree, params: PyTree) -> PyTree:
        del params
        small = _norms.tree_norm(updates) <= max_norm
        clipped = _norms.tree_direction(updates)
        return jax.tree.map(
            lambda g, unit: jnp.where(small, g, (max_norm * unit).astype(g.dtype)),
            updates,
            clipped,
        )

    return optax.stateless(clip)


def adaptive_grad_clip(clipping: float, epsilon: float = 1e-3) -> optax.GradientTransformation:
    r"""Scales the gradient of each unit down to a fraction of the norm of its weights.

    .. math:: g_o \leftarrow g_o \min\Big(1,\ \lambda
        \frac{\max(|w_o|, \epsilon)}{|g_o|}\Big)

    A unit is one index of the last dimension, as in `max_norm`: one output of a dense kernel
    `[in, out]` or of a convolution's `[*window, in, out]`, of any size. A vector or a scalar (bias,
    scale) is one unit, as in the authors' code.

    It differs from `optax.adaptive_grad_clip` where optax takes the norm over several units: the
    whole of a kernel with one dimension above 1, such as `[1, out]` and `[1, 1, 1, out]`, and the
    first dimension alone of three. Norms neither underflow nor overflow.

    Args:
      clipping: lambda, the largest ratio of the norm of a gradient to that of its weights.
      epsilon: the least norm of weights, so that weights of 0 can grow.

    Returns:
      A transformation without state, which needs the parameters.

    Source: Brock, De, Smith, Simonyan, "High-Performance Large-Scale Image Recognition Without
    Normalization", 2021, equation 3.
    """

    def clip_unit(g: Array, w: Array) -> Array:
        axes = tuple(range(w.ndim - 1)) if w.ndim > 1 else None
        limit = clipping * jnp.maximum(_norms.euclidean_norm(w, axes), epsilon)
        small = _norms.euclidean_norm(g, axes) <= limit
        clipped = (limit * _norms.direction(g, axes)).astype(g.dtype)
        return jnp.where(jnp.broadcast_to(small, g.shape), g, clipped)

    return optax.stateless(lambda updates, params: jax.tree.map(clip_unit, updates, params))


def scale_by_trust_ratio(coefficient: float = 1.0) -> optax.GradientTransformation:
    r"""Gives the update of each array a norm proportional to that of the array.

    .. math:: u \leftarrow c\, |w| \frac{u}{|u|}

    It is `optax.scale_by_trust_ratio`, which leaves an update alone where a norm is 0, except that
    no norm is 0 because its square is.

    Args:
      coefficient: c.

    Returns:
      A transformation without state, which needs the parameters.
    """

    def scale(u: Array, w: Array) -> Array:
        norm = _norms.tree_norm(w)
        scaled = (coefficient * norm * _norms.direction(u)).astype(u.dtype)
        return jnp.where((norm == 0) | jnp.all(u == 0), u, scaled)

    return optax.stateless(lambda updates, params: jax.tree.map(scale, updates, params))


def sgd(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""Heavy ball; with momentum 0, plain gradient descent.

    .. math:: v \leftarrow \mu v + g, \qquad w \leftarrow w - \eta_t v

    With `nesterov` the step is along `g + mu v`.

    Source: Polyak 1964; Sutskever et al. 2013; the meaning of `torch.optim.SGD` and of Keras.
    """
    return optax.sgd(schedule, config.momentum, nesterov=config.nesterov)


def averaged_momentum(
    config: OptimConfig, schedule: optax.Schedule
) -> optax.GradientTransformation:
    r"""Momentum as an exponentially weighted average of the gradients, without its initial bias.

    .. math:: v_t = \mu v_{t-1} + (1 - \mu) g_t, \qquad
        w \leftarrow w - \eta_t \frac{v_t}{1 - \mu^t}

    Once the bias is gone, its steps are those of the heavy ball at a rate of `(1 - mu) eta`.
    """
    return optax.chain(
        optax.ema(config.momentum, debias=True), optax.scale_by_learning_rate(schedule)
    )


def rmsprop(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""Every parameter by the root of its mean squared gradient.

    .. math:: s \leftarrow \beta_2 s + (1 - \beta_2) g^2, \qquad
        w \leftarrow w - \eta_t \frac{g}{\sqrt s + \epsilon}

    Source: Hinton's lectures, 2012; the meaning of `torch.optim.RMSprop` (Keras and optax add
    epsilon within the root).
    """
    return optax.rmsprop(schedule, config.beta2, config.epsilon, eps_in_sqrt=False)


def adam(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""Averaged momentum over the root of the mean squared gradient, both without initial bias.

    .. math:: w \leftarrow w - \eta_t \frac{\hat v}{\sqrt{\hat s} + \epsilon}

    Source: Kingma, Ba, "Adam", 2015, algorithm 1.
    """
    return optax.adam(
        schedule, config.beta1, config.beta2, config.epsilon, nesterov=config.nesterov
    )


def adamw(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""Adam whose decay does not go through the averages: `w -= eta_t * lambda * w` beside it.

    Source: Loshchilov, Hutter, "Decoupled Weight Decay Regularization", 2019.
    """
    return optax.adamw(
        schedule,
        config.beta1,
        config.beta2,
        config.epsilon,
        weight_decay=config.weight_decay,
        mask=decay_mask,
        nesterov=config.nesterov,
    )


def adagrad(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""Every parameter by the root of the sum of its squared gradients.

    .. math:: s \leftarrow s + g^2, \qquad w \leftarrow w - \eta_t \frac{g}{\sqrt{s + \epsilon}}

    Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods", 2011. The sum starts at 0, as in
    PyTorch (Keras: 0.1); epsilon stands within the root, as in optax and Keras (PyTorch adds it to
    the root).
    """
    return optax.adagrad(schedule, initial_accumulator_value=0.0, eps=config.epsilon)


def lars(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""Heavy ball whose rate is scaled, kernel by kernel; the others have the plain rate.

    .. math::
        v \leftarrow \mu v + \eta_t\, 0.001 \frac{|w|}{|g + \lambda w|} (g + \lambda w), \qquad
        w \leftarrow w - v

    Source: You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", 2017.
    """
    return optax.chain(  # optax.lars, with norms that do not underflow
        optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
        optax.masked(scale_by_trust_ratio(0.001), decay_mask),
        optax.scale_by_learning_rate(schedule),
        optax.trace(config.momentum, nesterov=config.nesterov),
    )


def lamb(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""AdamW whose steps are scaled, array by array, with |w| / |step|.

    Source: You et al., "Large Batch Optimization for Deep Learning", 2020, algorithm 2.
    """
    return optax.chain(  # optax.lamb, with norms that do not underflow
        optax.scale_by_adam(config.beta1, config.beta2, config.epsilon),
        optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
        scale_by_trust_ratio(),
        optax.scale_by_learning_rate(schedule),
    )


def muon(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""Momentum made orthogonal, for kernels; AdamW for all else.

    A kernel is taken as the matrix that maps its receptive field to its outputs; those of the
    first and of the last layer too, which the authors leave to AdamW. Squares of gradients must
    not overflow, as in Adam: from 1e19 on the step is 0, unless gradients are clipped before.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """

    def dimensions(params: PyTree) -> PyTree:
        def of_kernel(path: Any, leaf: Array) -> optax.contrib.MuonDimensionNumbers | None:
            if not is_kernel(path, leaf) or leaf.ndim < 2:
                return None
            return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

        return jax.tree_util.tree_map_with_path(of_kernel, params)

    return optax.contrib.muon(
        schedule,
        beta=config.momentum,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        weight_decay_mask=decay_mask,
        nesterov=config.nesterov,
        adam_b1=config.beta1,
        adam_b2=config.beta2,
        muon_weight_dimension_numbers=dimensions,
    )


OPTIMIZERS: dict[str, Factory] = {
    "sgd": sgd,
    "averaged_momentum": averaged_momentum,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "adagrad": adagrad,
    "lars": lars,
    "lamb": lamb,
    "muon": muon,
}
WITH_NESTEROV = {"sgd", "adam", "adamw", "lars", "muon"}
DECAY_BY_THEMSELVES = {"adamw", "lars", "lamb", "muon"}


def create_optimizer(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""The optimiser of that name, with clipping before it and accumulation around it.

    Weight decay is added to the gradient, `g + lambda w`, as in the paper of the ResNet and in
    `torch.optim.SGD`: it equals a penalty of lambda/2 |w|^2. AdamW, LARS, LAMB and Muon bring
    their own.

    Args:
      config: its settings.
      schedule: the learning rate of each step.

    Returns:
      The optax transformation.

    Raises:
      InputError: `nesterov` where there is no such variant.
    """
    if config.nesterov and config.name not in WITH_NESTEROV:
        raise InputError(
            f"config.optim.nesterov must be false with {config.name}, got true; "
            f"{', '.join(sorted(WITH_NESTEROV))} have it"
        )
    clips = [
        (config.clip_value, optax.clip),
        (config.clip_norm, clip_by_global_norm),
        (config.clip_adaptive, adaptive_grad_clip),
    ]
    parts = [clip(limit) for limit, clip in clips if limit is not None]
    if config.name not in DECAY_BY_THEMSELVES:
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=decay_mask))
    every = config.accumulate_steps
    # The inner step counts updates, each of which is so many steps of the run.
    parts.append(OPTIMIZERS[config.name](config, lambda count: schedule(count * every)))
    optimizer = optax.chain(*parts)
    if every > 1:
        optimizer = optax.MultiSteps(optimizer, every).gradient_transformation()

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers with floats
            return optimizer.update(updates, state, params)

    return optax.GradientTransformation(optimizer.init, update)


def sharpness_aware(
    gradient: Callable[[PyTree], tuple[PyTree, Any]], params: PyTree, *, radius: float
) -> tuple[PyTree, Any]:
    r"""The gradient where, to first order, the loss is worst within a ball.

    .. math:: \nabla L(w + \rho \frac{\nabla L(w)}{|\nabla L(w)|})

    Args:
      gradient: of the parameters, with something beside it.
      params: w.
      radius: rho, at least 0.

    Returns:
      The gradient there, and what stood beside the gradient at w itself.

    Example:
      >>> square = lambda w: (2 * w, "aside")
      >>> sharpness_aware(square, jnp.array(3.0), radius=0.5)
      (Array(7., dtype=float32), 'aside')

    Source: Foret, Kleiner, Mobahi, Neyshabur, "Sharpness-Aware Minimization", 2021, algorithm 1.
    """
    grads, aside = gradient(params)
    towards = _norms.tree_direction(grads)
    there = jax.tree.map(
        lambda w, unit: w + (jnp.asarray(radius, unit.dtype) * unit).astype(w.dtype),
        params,
        towards,
    )
    return gradient(there)[0], aside
