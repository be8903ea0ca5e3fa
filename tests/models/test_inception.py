"""Inception v1 to v3 beside torchvision, timm and Keras, and beside the tables of the papers."""

import re
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxml.errors import InputError
from jaxml.models import ConvUnit
from jaxml.models._inception_blocks import Fork, InceptionNetwork, Unit, average_pool
from jaxml.models._inception_v1 import INCEPTIONS_V1, GoogLeNetHead
from jaxml.models._inception_v2 import INCEPTIONS_V2
from jaxml.models._inception_v3 import INCEPTIONS_V3, InceptionV3Head
from tests.models import parity, peers

pytestmark = pytest.mark.slow

NETWORKS = {**INCEPTIONS_V1, **INCEPTIONS_V2, **INCEPTIONS_V3}
LOGITS, GRADIENTS = 1e-4, 1e-6  # float32, and float64 but for logits of float32

# The columns of the papers' tables: 1x1, 3x3 reduce, 3x3, 5x5 (or double 3x3) reduce, 5x5 (or
# double 3x3), pool projection.
TABLE_V1 = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
TABLE_V2 = {
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}


@cache
def variables_of(model: nn.Module, size: int, *, channels: int = 3) -> Any:
    """The shapes of the variables for images of a size."""
    images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    return jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)


def count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


# Published numbers.


@pytest.mark.parametrize(
    ("network", "with_heads", "without"),
    [
        ("googlenet", 13_004_888, 6_624_904),  # torchvision
        ("inception_v1", 13_378_280, 6_998_552),  # Caffe's bvlc_googlenet
        ("inception_v3", 27_161_264, 23_834_568),  # torchvision
    ],
)
def test_published_numbers_of_parameters(network, with_heads, without):
    model = NETWORKS[network](num_classes=1000)
    params = dict(variables_of(model, model.image_size)["params"])
    assert count(params) == with_heads
    heads = [params.pop(name) for name in list(params) if name.startswith("auxiliary")]
    assert count(params) == with_heads - count(heads) == without


def test_the_number_of_keras_counts_the_statistics():
    model = NETWORKS["inception_v3_keras"](num_classes=1000)
    assert count(variables_of(model, 299)) == 23_851_784


def test_v2_has_the_parameters_of_its_caffe_model_but_for_the_biases():
    channels = 64 + 64 + 192
    for one, few, three, few_twice, twice, pooled in TABLE_V2.values():
        channels += one + few + three + few_twice + 2 * twice + pooled
    variables = variables_of(NETWORKS["inception_v2"](num_classes=1000), 224)
    assert count(variables["params"]) == 11_295_240 - channels


# Whole networks of other libraries.


class Case(NamedTuple):
    """A network of ours, and its peer; torchvision's have auxiliary heads."""

    network: str
    library: str
    name: str

    @property
    def auxiliary(self) -> bool:
        """Whether the peer has auxiliary heads."""
        return self.library == "torchvision"


GOOGLENET = Case("googlenet", "torchvision", "googlenet")
TORCHVISION = Case("inception_v3", "torchvision", "inception_v3")
TIMM = Case("inception_v3", "timm", "inception_v3")
KERAS = Case("inception_v3_keras", "keras", "InceptionV3")


def large(case: Case, size: int) -> Any:
    return pytest.param(case, size, marks=pytest.mark.large, id=name_of(case, size))


def name_of(case: Case, size: int) -> str:
    return f"{case.library} {case.name} {size}"


@lru_cache(maxsize=1)
def pair(case: Case, size: int) -> parity.Pair:
    """Both networks with the same random weights, without dropout."""
    options: dict[str, Any] = {"num_classes": 10}
    if case.library == "torchvision":
        options |= {"init_weights": False}
    if case.library == "keras":
        peer = peers.keras_peer(case.name, size=size, classes=10)
    else:
        peer = peers.torch_peer(case.library, case.name, size=size, **options)
    model = undropped(case.network, auxiliary=case.auxiliary)
    return parity.pair(case.network, model, peer, size=size)


def undropped(network: str, **options: Any) -> Any:
    """A network of ten classes without dropout."""
    if network in INCEPTIONS_V1:
        options["auxiliary_keep_prob"] = 1.0
    return NETWORKS[network](num_classes=10, keep_prob=1.0, **options)


def trained(model: Any, variables: Any, images: Any) -> list[jax.Array]:
    """The logits in training, and those of the auxiliary heads."""
    mutable = ["batch_stats", "auxiliary"]
    logits, updated = model.apply(variables, images, train=True, mutable=mutable)
    sown = updated.get("auxiliary", {})
    return [logits, *(sown[name] for name in sorted(sown))]


CASES = [
    pytest.param(GOOGLENET, 64, id=name_of(GOOGLENET, 64)),
    *(large(GOOGLENET, size) for size in (97, 224)),
    *(large(TORCHVISION, size) for size in (299, 315, 331)),
    *(large(case, size) for case in (TIMM, KERAS) for size in (139, 171, 299)),
]


@pytest.mark.parametrize(("case", "size"), CASES)
def test_logits_agree(case, size):
    both, images = pair(case, size), parity.images_of(size)
    assert parity.evaluation_error(both, images) <= LOGITS
    actual = parity.compiled(partial(trained, both.model))(both.variables, jnp.asarray(images))
    expected = [peers.logits(both.peer, images, train=True)]
    expected += peers.auxiliary_logits(both.peer, images)
    for ours, theirs in zip(actual, expected, strict=True):
        assert parity.recorded(both, parity.error(ours, theirs)) <= LOGITS


@pytest.mark.parametrize(("case", "size"), CASES[:1])
def test_weights_come_back_as_they_were(case, size):
    both = pair(case, size)
    theirs, exported = peers.tensors(both.peer), both.exported(both.variables)
    assert exported.keys() == theirs.keys()
    for name, tensor in exported.items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(tensor, theirs[name])


def test_every_tensor_of_v3_has_its_place():
    peer = peers.torchvision().models.inception_v3(num_classes=10, init_weights=False)
    both = parity.pair("inception_v3", undropped("inception_v3"), peer, size=75)
    theirs = peers.tensors(peer)
    counters = [name for name in theirs if name.endswith("num_batches_tracked")]
    assert count(both.variables) == sum(x.size for x in theirs.values()) - len(counters)


@pytest.mark.large
@pytest.mark.parametrize(
    ("case", "size"),
    [(GOOGLENET, 97), (TIMM, 139), (TIMM, 171), (TORCHVISION, 299)],
    ids=lambda value: value.name if isinstance(value, Case) else str(value),
)
def test_gradients_agree(case, size):
    weight = 0.3 if case.auxiliary else 0.0
    images = parity.images_of(size, batch=4)
    errors = parity.gradient_errors(pair(case, size), images, auxiliary_weight=weight)
    assert {name: error for name, error in errors.items() if error > GRADIENTS} == {}


# The networks without a peer, in torch, written from the tables.


class Written:
    """Layers in torch with the weights of ours, called by the paths of our modules."""

    def __init__(self, variables: Any, *, train: bool = False):
        torch = pytest.importorskip("torch")
        self.functional = torch.nn.functional
        self.torch, self.train, self.used = torch, train, set()
        self.tensors = {}
        for kind in variables:
            flat = jax.tree_util.tree_leaves_with_path(variables[kind])
            for path, leaf in flat:
                name = "/".join(key.key for key in path)
                self.tensors[name] = torch.from_numpy(np.array(leaf))

    def take(self, name):
        """The tensor of a name."""
        self.used.add(name)
        return self.tensors[name]

    def unit(self, x, path, features, stride=1):
        """Convolution with half of its kernel around the image, bias or batch norm, ReLU."""
        kernel = self.take(f"{path}/conv/kernel").permute(3, 2, 0, 1)
        assert kernel.shape[0] == features
        bias = self.take(f"{path}/conv/bias") if f"{path}/conv/bias" in self.tensors else None
        x = self.functional.conv2d(x, kernel, bias, stride, kernel.shape[-1] // 2)
        if bias is None:
            names = [f"{path}/norm/{leaf}" for leaf in ("mean", "var", "scale", "bias")]
            values = [self.take(name).clone() for name in names]
            x = self.functional.batch_norm(x, *values, training=self.train, eps=1e-3)
        return x.relu()

    def dense(self, x, path):
        """A linear map of features."""
        return x @ self.take(f"{path}/kernel") + self.take(f"{path}/bias")

    def numpy(self, *results):
        """Results for the comparison, when every tensor has been used."""
        assert self.used == self.tensors.keys()
        return [result.numpy() for result in results]


def images_of(torch, images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def written_v1(variables, images, *, batch_norm):
    """GoogLeNet in training; the logits, and those of the auxiliary heads."""
    net = Written(variables, train=True)
    functional = net.functional

    def norm(x):
        return x if batch_norm else functional.local_response_norm(x, 5, 1e-4, 0.75, 1.0)

    def halve(x):
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    def head(x, name):
        x = net.unit(functional.avg_pool2d(x, 5, 3), f"{name}/unit", 128)
        return net.dense(net.dense(x.flatten(1), f"{name}/dense").relu(), f"{name}/head")

    x = norm(halve(net.unit(images_of(net.torch, images), "stem/unit1", 64, 2)))
    x = net.unit(net.unit(x, "stem/unit2", 64), "stem/unit3", 192)
    x, heads = halve(norm(x)), []
    for name, (one, few3, three, few5, five, pooled) in TABLE_V1.items():
        at = f"inception_{name}"
        y1 = net.unit(x, f"{at}/branch1/unit1", one)
        y3 = net.unit(x, f"{at}/branch2/unit1", few3)
        y3 = net.unit(y3, f"{at}/branch2/unit2", three)
        y5 = net.unit(x, f"{at}/branch3/unit1", few5)
        y5 = net.unit(y5, f"{at}/branch3/unit2", five)
        yp = functional.max_pool2d(x, 3, 1, 1)
        yp = net.unit(yp, f"{at}/branch4/unit1", pooled)
        x = net.torch.cat([y1, y3, y5, yp], 1)
        if name in ("4a", "4d"):
            heads.append(head(x, f"auxiliary{len(heads) + 1}"))
        if name in ("3b", "4e"):
            x = halve(x)
    return net.numpy(net.dense(x.mean((2, 3)), "head"), *heads)


def written_v2(variables, images):
    """BN-Inception in evaluation, for images whose size 32 divides."""
    net = Written(variables)
    functional = net.functional

    def halve(x):
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    x = halve(net.unit(images_of(net.torch, images), "stem/unit1", 64, 2))
    x = halve(net.unit(net.unit(x, "stem/unit2", 64), "stem/unit3", 192))
    for name, (one, few, three, few_twice, twice, pooled) in TABLE_V2.items():
        at, stride, results = f"inception_{name}", 1 if one else 2, []
        branches = [f"{at}/branch{number}" for number in (1, 2, 3, 4)]
        if one:
            results.append(net.unit(x, f"{branches.pop(0)}/unit1", one))
        y = net.unit(x, f"{branches[0]}/unit1", few)
        results.append(net.unit(y, f"{branches[0]}/unit2", three, stride))
        y = net.unit(x, f"{branches[1]}/unit1", few_twice)
        y = net.unit(y, f"{branches[1]}/unit2", twice)
        results.append(net.unit(y, f"{branches[1]}/unit3", twice, stride))
        if not pooled:
            results.append(halve(x))
        else:
            pool = functional.max_pool2d if name == "5b" else functional.avg_pool2d
            results.append(net.unit(pool(x, 3, 1, 1), f"{branches[2]}/unit1", pooled))
        x = net.torch.cat(results, 1)
    return net.numpy(net.dense(x.mean((2, 3)), "head"))


def random_variables(model: nn.Module, size: int) -> Any:
    """He normal kernels; scales, variances, biases and the like at random."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if leaf.ndim > 1:
            values = rng.normal(scale=np.sqrt(2 / np.prod(leaf.shape[:-1])), size=leaf.shape)
        elif path[-1].key in ("scale", "var"):
            values = rng.uniform(0.5, 1.5, size=leaf.shape)
        else:
            values = rng.normal(scale=0.3, size=leaf.shape)
        return jnp.asarray(values, jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, variables_of(model, size))


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("inception_v1", 96),
        pytest.param("inception_v1", 224, marks=pytest.mark.large),
        pytest.param("inception_v1", 250, marks=pytest.mark.large),
        *(pytest.param("inception_v1_bn", n, marks=pytest.mark.large) for n in (111, 224, 250)),
    ],
)
def test_v1_is_as_the_paper_has_it(network, size):
    model = undropped(network)
    variables = random_variables(model, size)
    # Of the size of pixels: at less, the local response normalisation would not be seen.
    images = 100 * parity.images_of(size, batch=4)
    expected = written_v1(variables, images, batch_norm=network == "inception_v1_bn")
    actual = parity.compiled(partial(trained, model))(variables, images)
    for ours, theirs in zip(actual, expected, strict=True):
        assert parity.error(ours, theirs) <= LOGITS


@pytest.mark.parametrize(
    "size", [64, *(pytest.param(n, marks=pytest.mark.large) for n in (160, 224))]
)
def test_v2_is_as_the_paper_has_it(size):
    model = undropped("inception_v2")
    variables, images = random_variables(model, size), parity.images_of(size, batch=2)
    logits = parity.compiled(partial(model.apply, train=False))(variables, images)
    (expected,) = written_v2(variables, images)
    assert parity.error(logits, expected) <= LOGITS


# Options.


@pytest.mark.parametrize("network", ["inception_v1", "inception_v2"])
def test_the_smallest_and_grey_images(network):
    """No image is too small for v1 and v2, nor for the auxiliary heads of v1."""
    init = partial(undropped(network, head="fc").init_with_output, train=True)
    images = jax.ShapeDtypeStruct((2, 1, 1, 1), jnp.float32)
    logits, variables = jax.eval_shape(init, jax.random.key(0), images)
    assert logits.shape == (2, 10)
    assert ("auxiliary2" in variables["params"]) == (network == "inception_v1")


def test_the_smallest_images_of_v3():
    model = NETWORKS["inception_v3"](num_classes=10)
    variables = variables_of(model, 75)
    assert variables["params"]["auxiliary"]["head"]["kernel"].shape == (768, 10)
    message = "images must be at least 75x75 for InceptionV3, got 299x74"
    with pytest.raises(InputError, match=re.escape(message)):
        jax.eval_shape(partial(model.apply, train=False), variables, jnp.zeros((1, 299, 74, 3)))


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"num_classes": 10, "auxiliary": False}])
def test_without_auxiliary_heads(options):
    params = variables_of(NETWORKS["googlenet"](**options), 32)["params"]
    assert not [name for name in params if name.startswith("auxiliary")]
    assert ("head" in params) == bool(options["num_classes"])


class Tiny(InceptionNetwork):
    """A stem, one module with a fork, an auxiliary head."""

    auxiliary: bool = True

    @nn.compact
    def __call__(self, x, *, train):
        """Logits."""
        x = self.stem([Unit(4, 3)], x, train=train)
        fork = Fork([[Unit(2, (1, 3))], [Unit(3, (3, 1))]])
        x = self.inception_module(
            "mixed", [[Unit(2), fork], [average_pool, Unit(2)]], x, train=train
        )
        head = partial(InceptionV3Head, features=6)
        self.run_auxiliary("auxiliary", head, x, train=train)
        return self.classify(x, train=train)


TINY_IMAGES = parity.images_of(7, batch=4)


@cache
def tiny_variables():
    return random_variables(Tiny(num_classes=3), 7)


def tiny_loss(params, **options):
    """A loss of both heads in training, and the logits and statistics on the way."""
    variables = {**tiny_variables(), "params": params}
    logits, updated = Tiny(num_classes=3, **options).apply(
        variables, TINY_IMAGES, train=True, mutable=["batch_stats", "auxiliary"]
    )
    (head,) = jax.tree.leaves(updated["auxiliary"])
    return jnp.square(logits).sum() + jnp.square(head).sum(), (logits, updated)


@cache
def tiny_gradients(**options):
    """Everything that a step of training computes."""
    gradients = jax.grad(partial(tiny_loss, **options), has_aux=True)
    return parity.compiled(gradients)(tiny_variables()["params"])


def test_a_module_that_is_computed_anew_computes_the_same():
    expected, actual = tiny_gradients(), tiny_gradients(remat=True)
    for one, other in zip(*map(jax.tree.leaves, (expected, actual)), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
    for remat in (False, True):
        loss = partial(tiny_loss, remat=remat)
        assert ("remat" in str(jax.make_jaxpr(loss)(tiny_variables()["params"]))) == remat


def test_bfloat16_keeps_parameters_statistics_and_logits_in_float32():
    gradients = jax.grad(partial(tiny_loss, dtype=jnp.bfloat16), has_aux=True)
    results = jax.eval_shape(gradients, tiny_variables()["params"])
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype("float32")}
    for dtype in (jnp.bfloat16, jnp.float32):
        program = str(jax.make_jaxpr(partial(tiny_loss, dtype=dtype))(tiny_variables()["params"]))
        convolutions = re.findall(r"(\w+)\[[\d,]+\] = conv_\w+", program)
        assert set(convolutions) == {"bf16" if dtype == jnp.bfloat16 else "f32"}


def test_auxiliary_logits_are_of_training_alone():
    def kinds(call, *args, train, **options):
        call = partial(call, train=train, **options)
        return jax.eval_shape(call, *args, TINY_IMAGES)

    model = Tiny(num_classes=3)
    for train in (False, True):
        made = kinds(model.init, jax.random.key(0), train=train)
        assert made.keys() == {"params", "batch_stats"}
        assert "auxiliary" in made["params"]
        mutable = ["batch_stats", "auxiliary"]
        _, updated = kinds(model.apply, tiny_variables(), train=train, mutable=mutable)
        assert ("auxiliary" in updated) == train


def test_the_auxiliary_head_of_v3_takes_what_there_is():
    """A map of one pixel is its own average and meets the centre of the 5x5 alone."""
    head = InceptionV3Head(3, features=6, unit=partial(ConvUnit, norm=None))
    variables = random_variables(head, 1)
    weights = jax.tree.map(np.asarray, variables["params"])
    x = np.random.default_rng(0).normal(size=(2, 1, 1, 3)).astype(np.float32)
    y = x[:, 0, 0] @ weights["unit1"]["conv"]["kernel"][0, 0] + weights["unit1"]["conv"]["bias"]
    kernel, bias = weights["unit2"]["conv"]["kernel"], weights["unit2"]["conv"]["bias"]
    y = np.maximum(np.maximum(y, 0) @ kernel[2, 2] + bias, 0)
    y = y @ weights["head"]["kernel"] + weights["head"]["bias"]
    assert parity.error(jax.jit(partial(head.apply, train=True))(variables, x), y) <= 1e-5


def test_dropout_of_an_auxiliary_head():
    head = GoogLeNetHead(3, pool=average_pool, keep_prob=0.3, unit=partial(ConvUnit, norm=None))
    variables = random_variables(head, 2)
    x = jnp.ones((2, 2, 2, 3))

    def logits(keys):
        one = partial(head.apply, variables, x)
        dropped = jax.vmap(lambda key: one(train=True, rngs={"dropout": key}))(keys)
        return dropped, one(train=False)

    dropped, whole = jax.jit(logits)(jax.random.split(jax.random.key(1), 200))
    spread = np.std(dropped, axis=0)
    assert spread.min() > 0.1
    # The mean of 200 is within 4 of its standard deviations.
    assert (np.abs(np.mean(dropped, axis=0) - whole) < 4 * spread / np.sqrt(200)).all()
