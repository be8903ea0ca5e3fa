"""Tensors of other libraries as variables of ours, and back."""

import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.errors import InputError
from jaxml.models import MODELS
from jaxml.weights import _convert, _layout
from jaxml.weights._names import NAMINGS, native
from jaxml.weights._resnet_names import keras, keras_in_order, torch_v1, torch_v2

NAMES = {"torch": torch_v1, "torch_conv_head": torch_v1, "keras": keras_in_order, "native": native}
NEW_HEAD = "only the head differs: config.weights.new_head=true initializes a"


@cache
def template_of(network, **options):
    model = MODELS[network](**{"num_classes": 10, **options})
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    return jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)


@cache
def order_of(network, **options):
    return _convert.call_order(MODELS[network](**{"num_classes": 10, **options}), (1, 32, 32, 3))


def variables_of(network, **options):
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
        template_of(network, **options),
    )


def imported(tensors, kind="torch", **options):
    new_head = options.pop("new_head", False)
    return _convert.from_library(
        tensors,
        template_of("resnet_tiny", **options),
        kind,
        NAMES[kind],
        order=order_of("resnet_tiny", **options),
        new_head=new_head,
        source="model.pth",
    )


def exported(kind="torch", **options):
    variables = variables_of("resnet_tiny", **options)
    order = order_of("resnet_tiny", **options)
    return _convert.to_library(variables, kind, NAMES[kind], order=order)


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_torch_lays_kernels_out_by_outputs_first_and_counts_batches():
    variables, tensors = variables_of("resnet_tiny"), exported()
    kernel = variables["params"]["stage1"]["block1"]["conv1"]["kernel"]
    expected = [[kernel[:, :, i, o] for i in range(kernel.shape[2])] for o in range(4)]
    np.testing.assert_array_equal(tensors["layer1.0.conv1.weight"], expected)
    np.testing.assert_array_equal(tensors["fc.weight"], variables["params"]["head"]["kernel"].T)
    norm, moments = variables["params"]["stem_norm"], variables["batch_stats"]["stem_norm"]
    for name, value in [
        ("weight", norm["scale"]),
        ("bias", norm["bias"]),
        ("running_mean", moments["mean"]),
        ("running_var", moments["var"]),
        ("num_batches_tracked", np.int64(0)),
    ]:
        np.testing.assert_array_equal(tensors[f"bn1.{name}"], value)
    assert tensors["bn1.num_batches_tracked"].dtype == np.int64


def test_keras_lays_kernels_out_as_we_do():
    variables, tensors = variables_of("resnet_tiny"), exported("keras")
    kernel = variables["params"]["stage1"]["block1"]["conv1"]["kernel"]
    np.testing.assert_array_equal(tensors["conv2d_1/kernel"], kernel)
    np.testing.assert_array_equal(tensors["dense/bias"], variables["params"]["head"]["bias"])
    norm, moments = variables["params"]["stem_norm"], variables["batch_stats"]["stem_norm"]
    np.testing.assert_array_equal(tensors["batch_normalization/gamma"], norm["scale"])
    np.testing.assert_array_equal(tensors["batch_normalization/beta"], norm["bias"])
    np.testing.assert_array_equal(tensors["batch_normalization/moving_mean"], moments["mean"])
    variance = tensors["batch_normalization/moving_variance"]
    np.testing.assert_array_equal(variance, moments["var"])


@pytest.mark.parametrize("kind", _layout.KINDS)
def test_what_goes_out_comes_in(kind):
    assert_same(imported(exported(kind), kind), variables_of("resnet_tiny"))


@pytest.mark.parametrize("network", ["linear", "mlp"])
def test_networks_without_statistics_have_native_names(network):
    order, variables = order_of(network), variables_of(network)
    tensors = _convert.to_library(variables, "native", native, order=order)
    back = _convert.from_library(tensors, template_of(network), "native", native, order=order)
    assert_same(back["params"], variables["params"])
    assert all(name.startswith("params.") for name in tensors)


def test_a_head_of_torch_may_be_a_convolution():
    tensors = exported("torch_conv_head")
    assert tensors["fc.weight"].shape == (10, 8, 1, 1)
    np.testing.assert_array_equal(tensors["fc.weight"][:, :, 0, 0], exported()["fc.weight"])


def test_dtypes_are_those_of_the_template():
    halves = {name: tensor.astype(np.float16) for name, tensor in exported().items()}
    leaves = jax.tree.leaves(imported(halves))
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}
    assert all(isinstance(leaf, np.ndarray) and leaf.flags.c_contiguous for leaf in leaves)


def test_counts_of_batches_need_not_be_there():
    tensors = exported()
    kept = {name: tensors[name] for name in tensors if "num_batches" not in name}
    assert_same(imported(kept), variables_of("resnet_tiny"))


def test_layers_that_keras_numbered_count_from_the_first_of_their_kind():
    renamed = {}
    for name, tensor in exported("keras").items():
        layer, weight = name.split("/")
        kind, number = re.findall(r"^([a-z2_]+?)(?:_(\d+))?$", layer)[0]
        renamed[f"{kind}_{int(number or 0) * 30 + 7}/{weight}"] = tensor
    assert {"conv2d_7/kernel", "conv2d_67/kernel", "dense_7/bias"} < renamed.keys()
    backwards = dict(reversed(renamed.items()))  # 7 is before 37 in whatever order they come
    assert_same(imported(backwards, "keras"), variables_of("resnet_tiny"))


def change(name, value=None, to=None):
    """A change of the tensors: another value, another name, or none."""

    def apply(tensors):
        old = tensors.pop(name, None)
        if to:
            tensors[to] = old
        elif value is not None:
            tensors[name] = value
        return tensors

    return apply


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (change("bn1.bias"), "tensors missing: bn1.bias"),
        (
            change("layer1.0.conv1.weight", to="layer1.0.conv_1.weight"),
            "tensors missing: layer1.0.conv1.weight; unexpected: layer1.0.conv_1.weight",
        ),
        (
            change("conv1.weight", np.zeros((4, 3, 5, 5), np.float32)),
            "tensors of the wrong shape or type: conv1.weight is (4, 3, 5, 5), not (4, 3, 3, 3)",
        ),
        (
            change("bn1.bias", np.zeros(4, np.int64)),
            "tensors of the wrong shape or type: bn1.bias is int64, not float32",
        ),
        (change("layer9.bn1.num_batches_tracked", np.int64(0)), "tensors unexpected: layer9.bn1."),
        (
            lambda tensors: {},
            "tensors missing: conv1.weight, bn1.weight, bn1.bias and 24 more",
        ),
        (
            change("fc.bias"),
            "missing: fc.bias; only the head differs: config.weights.new_head=true initializes a",
        ),
        (
            change("fc.bias", np.zeros(3, np.float32)),
            f"fc.bias is (3,), not (10,); {NEW_HEAD}",
        ),
        (
            change("aux.fc.bias", np.zeros(3, np.float32)),
            "unexpected: aux.fc.bias; config.model.auxiliary=true builds the network with",
        ),
    ],
)
def test_what_does_not_match_is_listed(changed, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        imported(changed(exported()))
    assert str(caught.value).startswith("model.pth: tensors ")
    assert "\n" not in str(caught.value)


def test_an_unexpected_layer_of_keras_goes_by_its_own_name():
    tensors = exported("keras")
    tensors["conv2d_44/kernel"] = np.zeros(3, np.float32)
    with pytest.raises(InputError, match="unexpected: conv2d_44/kernel"):
        imported(tensors, "keras")


def test_a_file_without_auxiliary_heads_names_the_setting():
    template = {"params": {"auxiliary1": {"head": {"bias": np.zeros(3, np.float32)}}}}
    with pytest.raises(InputError, match=r"auxiliary1\.head\.bias; config\.model\.auxiliary=false"):
        _convert.from_library({}, template, "native", native, order=["auxiliary1/head"])


def test_a_new_head_is_the_template_s():
    template = variables_of("resnet_tiny", num_classes=3)
    arguments = {"order": order_of("resnet_tiny"), "new_head": True}
    for changed in (lambda tensors: tensors, change("fc.bias"), change("fc.weight")):
        tensors = changed(exported())
        variables = _convert.from_library(tensors, template, "torch", torch_v1, **arguments)
        for name, value in template["params"]["head"].items():
            assert variables["params"]["head"][name] is value
        expected = variables_of("resnet_tiny")
        assert_same(variables["batch_stats"], expected["batch_stats"])
        assert_same(variables["params"]["stage2"], expected["params"]["stage2"])


def test_a_new_head_is_new_even_where_the_old_one_fits():
    template = variables_of("resnet_tiny")
    template["params"]["head"] = jax.tree.map(np.zeros_like, template["params"]["head"])
    arguments = {"order": order_of("resnet_tiny"), "new_head": True}
    variables = _convert.from_library(exported(), template, "torch", torch_v1, **arguments)
    assert_same(variables, template)
    assert not np.any(variables["params"]["head"]["kernel"])


def test_a_new_head_excuses_nothing_else():
    tensors = change("bn1.bias")(change("fc.bias")(exported()))
    with pytest.raises(InputError, match=re.escape("model.pth: tensors missing: bn1.bias")):
        imported(tensors, new_head=True)


@pytest.mark.parametrize("kind", _layout.KINDS)
def test_a_network_without_head_takes_the_rest(kind):
    tensors = exported(kind)
    with pytest.raises(InputError, match=re.escape(NEW_HEAD)):
        imported(tensors, kind, num_classes=0)
    features = imported(tensors, kind, num_classes=0, new_head=True)
    expected = variables_of("resnet_tiny")
    del expected["params"]["head"]
    assert_same(features, expected)


def test_an_auxiliary_head_has_a_new_classifier_too():
    head = {"kernel": np.ones((4, 3), np.float32), "bias": np.ones(3, np.float32)}
    dense = {"kernel": np.ones((2, 4), np.float32), "bias": np.ones(4, np.float32)}
    template = {"params": {"auxiliary": {"dense": dense, "head": head}, "head": head}}
    order = ["auxiliary/dense", "auxiliary/head", "head"]
    tensors = _convert.to_library(template, "native", native, order=order)
    for name in ("params.head.bias", "params.auxiliary.head.bias"):
        tensors[name] = np.zeros(7, np.float32)
    tensors["params.auxiliary.dense.bias"] = np.full(4, 5, np.float32)
    arguments = {"order": order, "new_head": True}
    variables = _convert.from_library(tensors, template, "native", native, **arguments)
    assert variables["params"]["auxiliary"]["head"]["bias"] is head["bias"]
    assert variables["params"]["auxiliary"]["dense"]["bias"][0] == 5


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"remat": True}, {"scan": True}])
def test_the_order_of_the_calls_is_that_of_the_network(options):
    order = order_of("resnet20v2", **options)
    assert order[:4] == ["stem_conv", "stem_norm", "stage1/block1/conv1", "stage1/block1/norm2"]
    assert order[7] == "stage1/block1/shortcut/conv"
    assert order[-2:] == ["final_norm", "head"]
    assert order == order_of("resnet20v2")


def test_an_order_that_lacks_a_module_is_told():
    variables = {"params": {"stem_conv": {"kernel": np.zeros((1, 1, 1, 1))}}}
    with pytest.raises(
        ValueError, match="`order` and `naming` must include every module, got none for 'stem_conv'"
    ):
        _convert.to_library(variables, "torch", torch_v1, order=["stem_norm"])
    with pytest.raises(
        ValueError, match="`kind` must be one of native, torch, torch_conv_head, keras, got"
    ):
        _convert.to_library(variables, "caffe", torch_v1, order=["stem_conv"])


def test_every_naming_is_of_a_network():
    assert set(NAMINGS) <= set(MODELS)


def test_namings_tell_all_modules_apart():
    blocks = [f"stage{stage}/block{block}" for stage in (1, 2) for block in (1, 11)]
    shortcut = ["shortcut/conv", "shortcut/norm"]
    layers = [*(f"{kind}{number}" for kind in ("conv", "norm") for number in (1, 2, 3)), *shortcut]
    paths = [f"{block}/{layer}" for block in blocks for layer in layers] + ["stem_conv", "head"]
    preact = partial(keras, preact=True)
    wide = partial(torch_v1, average_shortcut=True)
    for naming in (torch_v1, wide, torch_v2, keras, preact, keras_in_order):
        assert len(set(naming(paths).values())) == len(paths)
