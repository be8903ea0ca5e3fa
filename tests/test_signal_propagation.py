"""Variances through 50 dense layers against mean-field theory, printed by `pytest -rP`.

The theory is that of infinite width (Poole et al., 2016; Schoenholz et al., 2017). With
`Var w = s / width`, preactivations are normal with variance `s q`, where q is the mean square of
the activations before; so

    q' = E f(sqrt(s q) z)^2,    chi = s E f'(sqrt(s q) z)^2

are the mean square one layer on, and the factor by which the variance of gradients grows one layer
back. At a finite width n, one layer multiplies the mean square of an example by a random factor:
relative to q', its variance is `kappa / n`, with kappa the variance of `f^2` relative to the square
of its mean (5 for ReLU); for gradients it is `(2 + 3 v) / n`, with v that of `f'^2` (5 for ReLU).
The logarithm of a product of such factors is `sum kappa / (2 n)` lower in the mean, and the mean of
`NETWORKS` of them strays by `sqrt(sum kappa / (n NETWORKS))`: one of the former and four of the
latter are allowed.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import activations, initializers, layers
from tests import properties

pytestmark = pytest.mark.slow

LAYERS, WIDTH, BATCH, NETWORKS = 50, 256, 64, 8
SHOWN = [1, 2, 5, 10, 20, 35, 50]

# Name -> the factory, what makes an initializer of it, and s = width * Var w.
INITIALIZERS = {
    "xavier": (initializers.xavier_normal, initializers.xavier_normal(), 1.0),
    "he": (initializers.he_normal, initializers.he_normal(), 2.0),
    "normal(1)": (initializers.normal, initializers.normal(1.0), float(WIDTH)),
    "zeros": (initializers.zeros, initializers.zeros, 0.0),
}
# Name -> the function and its derivative in NumPy.
FUNCTIONS = {
    "tanh": (np.tanh, lambda h: 1 - np.tanh(h) ** 2),
    "relu": (lambda h: np.maximum(h, 0), lambda h: (h > 0).astype(np.float64)),
}


def gaussian_mean(values):
    """Over the normal distribution, by the trapezoid rule at the points of `GRID`."""
    return np.sum(values * np.exp(-(GRID**2) / 2)) * (GRID[1] - GRID[0]) / math.sqrt(2 * math.pi)


# Fine enough for the derivative of a saturated tanh, of width 1 / 16 here; 0 lies between points.
GRID = np.linspace(-12, 12, 24_000)


def theory(name, s):
    """Mean square and log-variance of activations 1 to 50, and the same for gradients 50 to 1."""
    f, derivative = FUNCTIONS[name]
    q, squares, kappas, chis, gradient_kappas = 1.0, [], [], [], []
    for _ in range(LAYERS):
        h = math.sqrt(s * q) * GRID
        second, fourth = gaussian_mean(f(h) ** 2), gaussian_mean(f(h) ** 4)
        slope, slope_fourth = gaussian_mean(derivative(h) ** 2), gaussian_mean(derivative(h) ** 4)
        q = second
        squares.append(q)
        kappas.append(fourth / second**2 - 1)
        chis.append(s * slope)
        gradient_kappas.append(2 + 3 * (slope_fourth / slope**2 - 1))
    # The gradient at activation l has passed the layers l + 1 to 50.
    back = np.cumsum(np.log([1.0, *chis[:0:-1]]))[::-1]
    gradient_walk = np.cumsum([0.0, *gradient_kappas[:0:-1]])[::-1]
    return np.log(squares), np.cumsum(kappas), back, gradient_walk


def propagate(function, initializer, key):
    """Logarithms of the mean squares of activations and gradients, the mean of the examples."""
    keys = jax.random.split(key, 3)
    shape = (WIDTH, WIDTH)
    kernels = jax.vmap(lambda k: initializer(k, shape, jnp.float64))(
        jax.random.split(keys[0], LAYERS)
    )
    x = jax.random.normal(keys[1], (BATCH, WIDTH), jnp.float64)

    def forward(shifts):
        def layer(x, parameters):
            kernel, shift = parameters
            y = function(layers.dense(x, kernel)) + shift
            return y, y

        return jax.lax.scan(layer, x, (kernels, shifts))

    (_, history), pull = jax.vjp(forward, jnp.zeros((LAYERS, BATCH, WIDTH)))
    last = jax.random.normal(keys[2], (BATCH, WIDTH), jnp.float64)
    (gradients,) = pull((last, jnp.zeros_like(history)))
    return [jnp.log(jnp.square(a).mean(-1)).mean(-1) for a in (history, gradients)]


def measure(name, initializer):
    with jax.enable_x64(True):
        run = jax.jit(lambda key: propagate(getattr(activations, name), initializer, key))
        found = [run(jax.random.key(seed)) for seed in range(NETWORKS)]
    return [np.mean([np.asarray(run[i]) for run in found], axis=0) for i in range(2)]


def show(title, measured, expected):
    cells = [f"{math.exp(measured[i - 1]):9.1e}" for i in SHOWN]
    print(f"{title:32}", *cells)  # noqa: T201
    cells = [f"{math.exp(expected[i - 1]):9.1e}" for i in SHOWN]
    print(f"{'    theory':32}", *cells)  # noqa: T201


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("init", INITIALIZERS)
def test_mean_squares_through_fifty_layers_are_those_of_the_theory(name, init):
    factory, initializer, s = INITIALIZERS[init]
    values, gradients = measure(name, initializer)
    print(f"\n{init}, {name}: mean square at layer", *(f"{i:>8}" for i in SHOWN))  # noqa: T201
    if init == "zeros":
        show("activations", values, np.full(LAYERS, -np.inf))
        show("gradients", gradients, np.array([-np.inf] * (LAYERS - 1) + [0.0]))
        assert np.isneginf(values).all()
        assert np.isneginf(gradients[:-1]).all()
        return
    expected, walk, back, gradient_walk = theory(name, s)
    show("activations", values, expected)
    show("gradients", gradients, back)
    # The loss is a random projection: its gradient at the last layer strays like a mean square.
    gradient_walk = gradient_walk + 2
    for got, wanted, kappas in [(values, expected, walk), (gradients, back, gradient_walk)]:
        allowed = kappas / (2 * WIDTH) + 4 * np.sqrt(kappas / (WIDTH * NETWORKS))
        assert (abs(got - wanted) < allowed).all(), np.max(abs(got - wanted) / allowed)
    # The factor by which one layer multiplies, over all fifty.
    properties.agree(
        factory, np.exp(values[-1] / LAYERS), np.exp(expected[-1] / LAYERS),
        by="mean field", rtol=math.expm1(walk[-1] / (2 * WIDTH * LAYERS) + 4 * math.sqrt(
            walk[-1] / (WIDTH * NETWORKS)) / LAYERS),
    )  # fmt: skip


def test_the_theory_says_what_is_known_of_each():
    values, _, gradients, _ = theory("relu", 2.0)
    np.testing.assert_allclose(np.exp(values), 1, rtol=1e-6)  # He keeps the mean square
    np.testing.assert_allclose(np.exp(gradients), 1, rtol=1e-6)
    values, _, gradients, _ = theory("relu", 1.0)
    assert values[-1] == pytest.approx(-50 * math.log(2))  # Xavier halves it at every layer
    assert gradients[0] == pytest.approx(-49 * math.log(2))
    values, *_ = theory("relu", float(WIDTH))
    assert values[-1] == pytest.approx(50 * math.log(WIDTH / 2))  # beyond float32
    values, _, gradients, _ = theory("tanh", 1.0)
    assert 0.8 < 2 * 50 * math.exp(values[-1]) < 1.1  # Xavier: as 1 / (2 l)
    assert 1 / 100 < math.exp(gradients[0]) < 1 / 10
    values, _, gradients, _ = theory("tanh", float(WIDTH))
    assert math.exp(values[-1]) > 0.94  # saturated
    # The derivative is within about 1 of 0 only: chi = 4 / 3 * sqrt(s / (2 pi q)).
    chi = 4 / 3 * math.sqrt(WIDTH / (2 * math.pi * math.exp(values[-1])))
    assert gradients[0] / 49 == pytest.approx(math.log(chi), rel=2e-3)
