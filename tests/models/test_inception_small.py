"""The small Inception and Inception-ResNet: their forward passes, options and training."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.models import (
    ConvUnit,
    InceptionResNet,
    InceptionResNetSmall,
    InceptionSmall,
    _stage,
)
from jaxml.models._inception_blocks import Unit, average_pool
from jaxml.models._inception_resnet import ResidualInceptionBlock
from jaxml.models._inception_small import (
    SMALL_INCEPTIONS,
    SmallAuxiliaryHead,
    average_pool_stride_2,
)
from jaxml.models._inception_stages import StagedInception, StageSpec
from tests.models import parity

pytestmark = pytest.mark.slow

BRANCHES = (
    (Unit(2),),
    (Unit(2), Unit(2, (1, 3))),
    (Unit(2), average_pool),
)
SHRINK = (
    (Unit(3, 3, 2),),
    (average_pool_stride_2,),
)
# Three blocks and more, so that there are identical neighbours; dropout and stochastic depth too.
TINY = {
    "plain": StagedInception(
        num_classes=3,
        stem_steps=(Unit(6, 3),),
        stage_specs=(
            StageSpec((), BRANCHES, 2),
            StageSpec((("shrink", SHRINK), ("more", BRANCHES)), BRANCHES, 3),
        ),
        keep_prob=0.8,
        min_size=1,
    ),
    "residual": InceptionResNet(
        num_classes=3,
        stem_steps=(Unit(4, 3),),
        stage_specs=(
            StageSpec((), BRANCHES, 2, residual_scale=0.5),
            StageSpec((("shrink", SHRINK),), BRANCHES, 3, residual_scale=0.25, linear_end=True),
        ),
        final_steps=(Unit(5),),
        survival_prob=0.5,
        min_size=1,
    ),
}
IMAGES = parity.images_of(9, batch=4)


def shapes_of(model: Any, size: int = 32, channels: int = 3) -> Any:
    """The variables without values."""
    images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    return jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)


def random_variables(model: Any) -> Any:
    """He normal kernels, and no scale, bias or statistic at its first value."""
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        if leaf.ndim > 1:
            values = rng.normal(scale=np.sqrt(2 / np.prod(leaf.shape[:-1])), size=leaf.shape)
        elif path[-1].key in ("scale", "var"):
            values = rng.uniform(0.5, 1.5, size=leaf.shape)
        else:
            values = rng.normal(scale=0.3, size=leaf.shape)
        return values.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes_of(model))


# Forward passes in torch, written from the tables. A unit is (filters, height and width of the
# kernel, stride).


class Written:
    """Layers in torch with the weights of ours, called by the paths of our modules."""

    def __init__(self, variables: Any, *, train: bool):
        torch = pytest.importorskip("torch")
        self.functional, self.cat, self.train = torch.nn.functional, torch.cat, train
        leaves = jax.tree_util.tree_leaves_with_path(variables)
        self.tensors = {
            "/".join(key.key for key in path[1:]): torch.from_numpy(np.array(leaf))
            for path, leaf in leaves
        }
        self.left = set(self.tensors)

    def take(self, name):
        """The tensor of a name."""
        self.left.discard(name)
        return self.tensors[name]

    def unit(self, x, path, features, height=1, width=1, stride=1):
        """Convolution with half of its kernel around the image, batch norm, ReLU."""
        kernel = self.take(f"{path}/conv/kernel").permute(3, 2, 0, 1)
        assert kernel.shape == (features, x.shape[1], height, width)
        x = self.functional.conv2d(x, kernel, None, stride, (height // 2, width // 2))
        names = [f"{path}/norm/{leaf}" for leaf in ("mean", "var", "scale", "bias")]
        values = [self.take(name).clone() for name in names]
        return self.functional.batch_norm(x, *values, training=self.train, eps=1e-3).relu()

    def branches(self, x, path, *branches):
        """Units in rows; a word is a pool."""
        results = []
        for number, units in enumerate(branches, start=1):
            y, unit = x, 0
            for step in units:
                if step == "average":
                    y = self.functional.avg_pool2d(y, 3, 1, 1, count_include_pad=False)
                elif step == "halve":
                    y = self.functional.avg_pool2d(y, 2, 2, ceil_mode=True)
                else:
                    unit += 1
                    y = self.unit(y, f"{path}/branch{number}/unit{unit}", *step)
            results.append(y)
        return self.cat(results, 1)

    def dense(self, x, path):
        """A linear map of the global average."""
        return x.mean((2, 3)) @ self.take(f"{path}/kernel") + self.take(f"{path}/bias")


def written_inception(net, x):
    """The logits, and those of the auxiliary head in training."""

    def module(x, path, one, three, double, pooled):
        few, many = three
        fewer, twice = double
        threes = [(few,), (many, 3, 3)]
        doubles = [(fewer,), (twice, 3, 3), (twice, 3, 3)]
        return net.branches(x, path, [(one,)], threes, doubles, [(pooled,), "average"])

    heads = []
    x = net.unit(x, "stem/unit1", 16, 3, 3)
    x = module(x, "stage1/block1/branches", 8, (8, 12), (4, 8), 4)
    double = [(8,), (8, 3, 3), (16, 3, 3, 2)]
    x = net.branches(x, "mixed2", [(24, 3, 3, 2)], double, ["halve"])
    for block in (1, 2):
        x = module(x, f"stage2/block{block}/branches", 24, (16, 24), (8, 12), 12)
    if net.train:
        head = net.unit(x, "auxiliary2/unit1", 64)
        heads = [net.dense(head, "auxiliary2/head")]
    double = [(16,), (24, 3, 3), (24, 3, 3, 2)]
    x = net.branches(x, "mixed3", [(32,), (32, 3, 3, 2)], double, ["halve"])
    for block in (1, 2):
        x = module(x, f"stage3/block{block}/branches", 48, (32, 40), (16, 24), 16)
    return [net.dense(x, "head"), *heads]


def written_resnet(net, x):
    """The logits."""

    def block(x, path, scale, *branches):
        y = net.branches(x, f"{path}/branches", *branches)
        kernel = net.take(f"{path}/expand/kernel").permute(3, 2, 0, 1)
        y = net.functional.conv2d(y, kernel, net.take(f"{path}/expand/bias"))
        return (x + scale * y).relu()

    x = net.unit(x, "stem/unit1", 16, 3, 3)
    doubles = [(8,), (8, 3, 3), (8, 3, 3)]
    x = block(x, "stage1/block1", 0.17, [(8,)], [(8,), (8, 3, 3)], doubles)
    double = [(8,), (8, 3, 3), (16, 3, 3, 2)]
    x = net.branches(x, "reduction_a", [(32, 3, 3, 2)], double, ["halve"])
    for number in (1, 2, 3):
        sevens = [(12,), (14, 1, 7), (16, 7, 1)]
        x = block(x, f"stage2/block{number}", 0.1, [(16,)], sevens)
    one, other = [(16,), (32, 3, 3, 2)], [(16,), (24, 3, 3, 2)]
    double = [(16,), (16, 3, 3), (24, 3, 3, 2)]
    x = net.branches(x, "reduction_b", one, other, double, ["halve"])
    for number in (1, 2):
        threes = [(32,), (40, 1, 3), (48, 3, 1)]
        x = block(x, f"stage3/block{number}", 0.2, [(32,)], threes)
    return [net.dense(x, "head")]


WRITTEN = {"inception_small": written_inception, "inception_resnet_small": written_resnet}


@cache
def expected_of(network, *, train):
    """Images of an odd size, random variables, and what torch makes of them."""
    torch = pytest.importorskip("torch")
    variables = random_variables(SMALL_INCEPTIONS[network](num_classes=10))
    net = Written(variables, train=train)
    expected = WRITTEN[network](net, torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()))
    unused = {name.partition("/")[0] for name in net.left}
    assert unused <= (set() if train else {"auxiliary2"})
    return variables, [x.numpy() for x in expected]


@cache
def steps_of(network):
    """A few steps of training: the first logits, the losses, the least of the first gradients."""
    model = SMALL_INCEPTIONS[network](num_classes=10)

    def loss(params, statistics):
        variables = {"params": params, "batch_stats": statistics}
        mutable = ["batch_stats", "auxiliary"]
        logits, updated = model.apply(variables, IMAGES, train=True, mutable=mutable)
        heads = [logits, *jax.tree.leaves(updated.get("auxiliary", {}))]
        entropy = optax.softmax_cross_entropy_with_integer_labels
        total = sum(entropy(head, jnp.arange(len(IMAGES))).mean() for head in heads)
        return total, (heads, updated["batch_stats"], total)

    gradients_of = parity.compiled(jax.grad(loss, has_aux=True))
    variables = random_variables(model)
    params, statistics = variables["params"], variables["batch_stats"]
    found = []
    for _ in range(10):
        gradients, (heads, statistics, value) = gradients_of(params, statistics)
        params = jax.tree.map(lambda p, g: p - np.float32(0.05) * np.asarray(g), params, gradients)
        smallest = min(np.abs(np.asarray(leaf)).max() for leaf in jax.tree.leaves(gradients))
        found.append((heads, float(value), smallest))
    heads, losses, smallest = zip(*found, strict=True)
    return heads[0], losses, smallest[0]


@pytest.mark.parametrize("network", SMALL_INCEPTIONS)
def test_logits_in_evaluation_are_those_of_the_tables(network):
    variables, (expected,) = expected_of(network, train=False)
    model = SMALL_INCEPTIONS[network](num_classes=10)
    logits = parity.compiled(partial(model.apply, train=False))(variables, IMAGES)
    assert parity.error(logits, expected) <= 2e-5


@pytest.mark.parametrize("network", SMALL_INCEPTIONS)
def test_logits_in_training_are_those_of_the_tables(network):
    _, expected = expected_of(network, train=True)
    heads, _, _ = steps_of(network)
    assert len(heads) == len(expected) == (1 if "resnet" in network else 2)
    for ours, theirs in zip(heads, expected, strict=True):
        assert parity.error(ours, theirs) <= 2e-5


@pytest.mark.parametrize("network", SMALL_INCEPTIONS)
def test_the_loss_falls_in_a_few_steps_and_every_parameter_has_a_gradient(network):
    _, losses, smallest = steps_of(network)
    assert losses[-1] < 0.5 * losses[0]
    assert smallest > 0


def test_bfloat16_has_float32_logits_close_to_those_of_float32():
    variables, (expected,) = expected_of("inception_resnet_small", train=False)
    model = InceptionResNetSmall(num_classes=10, dtype=jnp.bfloat16)
    logits = parity.compiled(partial(model.apply, train=False))(variables, IMAGES)
    assert logits.dtype == jnp.float32
    assert 1e-4 < parity.error(logits, expected) < 0.1


@cache
def everything(name, **options):
    """Logits, gradients, statistics and intermediates in float64, with all dropout."""
    with jax.enable_x64(True):
        model = TINY[name].clone(dtype=jnp.float64, **options)
        images = jax.random.normal(jax.random.key(1), (4, 7, 6, 3), jnp.float64)
        variables = jax.tree.map(jnp.asarray, random_variables(model))

        def loss(params):
            logits, sown = model.apply(
                {**variables, "params": params},
                images,
                train=True,
                mutable=["batch_stats", "intermediates"],
                rngs={"dropout": jax.random.key(2)},
            )
            return (logits**2).sum(), (logits, sown)

        gradients = parity.compiled(jax.grad(loss, has_aux=True))
        return jax.device_get(gradients(variables["params"]))


@pytest.mark.parametrize("name", TINY)
def test_a_loop_and_computing_anew_change_nothing(name, monkeypatch):
    monkeypatch.setattr(_stage, "_loops_may_deadlock", lambda: False)  # the suite has two devices
    plain, other = everything(name), everything(name, scan=True, remat=True)
    assert jax.tree.structure(plain) == jax.tree.structure(other)
    leaves = jax.tree_util.tree_leaves_with_path(plain)
    for (path, expected), got in zip(leaves, jax.tree.leaves(other), strict=True):
        # Parameters and statistics are float32, whatever the computation is.
        rtol = 1e-6 if expected.dtype == np.float32 else 1e-9
        scale = np.abs(expected).max() or 1.0
        assert np.abs(got - expected).max() <= rtol * scale, jax.tree_util.keystr(path)


# Options.


@pytest.mark.parametrize(
    ("options", "modules"),
    [
        ({"num_classes": 10}, {"head", "auxiliary2"}),
        ({"num_classes": 10, "auxiliary": False}, {"head"}),
        ({"num_classes": 0}, set()),
    ],
    ids=["both", "without the auxiliary one", "none"],
)
def test_heads_are_there_where_they_are_wanted(options, modules):
    model = InceptionSmall(**options)
    variables = shapes_of(model, size=1, channels=1)
    assert modules == {name for name in variables["params"] if name in ("head", "auxiliary2")}
    images = jax.ShapeDtypeStruct((2, 1, 1, 1), jnp.float32)
    call = partial(model.apply, mutable=["batch_stats", "auxiliary"])
    for train in (False, True):
        results, sown = jax.eval_shape(partial(call, train=train), variables, images)
        assert results.shape == (2, options["num_classes"] or 128)
        assert ("auxiliary" in sown) == (train and "auxiliary2" in modules)


def test_the_auxiliary_head_has_its_own_dropout():
    head = SmallAuxiliaryHead(3, keep_prob=0.5, unit=partial(ConvUnit, norm=None))
    x = np.ones((1, 2, 2, 4), np.float32)
    variables = jax.jit(partial(head.init, train=True))(jax.random.key(0), x)

    def logits(key):
        return head.apply(variables, x, train=True, rngs={"dropout": key})

    dropped = jax.jit(jax.vmap(logits))(jax.random.split(jax.random.key(1), 200))
    whole = jax.jit(partial(head.apply, train=False))(variables, x)
    spread = np.std(dropped, axis=0)
    assert spread.min() > 0.1
    # The mean of 200 is within 4 of its standard deviations.
    assert (np.abs(np.mean(dropped, axis=0) - whole) < 4 * spread / np.sqrt(200)).all()


def test_zero_init_starts_as_relu():
    block = ResidualInceptionBlock(BRANCHES, zero_init=True)
    x = jax.random.normal(jax.random.key(0), (2, 5, 5, 6))
    y, _ = parity.compiled(partial(block.init_with_output, train=True))(jax.random.key(1), x)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    default = ResidualInceptionBlock(BRANCHES)
    y, _ = parity.compiled(partial(default.init_with_output, train=True))(jax.random.key(1), x)
    assert np.abs(y - np.maximum(x, 0)).max() > 0.1
