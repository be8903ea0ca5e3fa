"""Predictions, attributions, assessments and exported programs of one tiny run."""

import importlib.util
import itertools
import json
import subprocess
import sys
import tracemalloc
from collections import deque
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

from jaxml.data import corruptions, inputs
from jaxml.data.sources import digits
from jaxml.errors import InputError
from jaxml.normalize import PCAWhitening
from jaxml.training import (
    Prediction,
    Subject,
    TrainedNetwork,
    assess,
    assessment,
    evaluate_checkpoint,
    explain,
    export_stablehlo,
    grad_cam,
    input_gradient,
    integrated_gradients,
    load_network,
    load_subject,
    predict,
    probe,
    scores,
    stablehlo,
    train_and_evaluate,
)
from tests import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run, and its test images."""
    folder = tmp_path_factory.mktemp("prediction") / "run"
    train_and_evaluate(tiny.config(num_epochs=2), folder)
    return folder, digits.load(folder).test


@pytest.fixture(scope="module")
def network(run):
    return load_network(run[0])


def test_probabilities_are_those_of_the_evaluation(run, network):
    folder, test = run
    result = evaluate_checkpoint(folder)
    found = list(predict(network, test.inputs, batch_size=100))
    values = np.stack([one.values for one in found])
    np.testing.assert_allclose(values.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(values.argmax(axis=1) == test.targets) == pytest.approx(result["accuracy"])
    nll = -np.log(values[np.arange(len(values)), test.targets]).mean()
    assert nll == pytest.approx(result["loss"], rel=1e-4)
    assert "resnet_tiny on digits" in repr(network)
    assert "<td style='text-align:left'>8x8x1 uint8</td>" in network._repr_html_()


def test_a_damaged_file_is_a_prediction_with_an_error(run, network, tmp_path):
    _, test = run
    (tmp_path / "sub").mkdir()
    Image.fromarray(test.inputs[0, ..., 0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    Image.fromarray(test.inputs[1, ..., 0]).convert("RGB").save(tmp_path / "sub" / "c.bmp")
    (tmp_path / "d.txt").write_text("not listed")
    found = list(predict(network, tmp_path, batch_size=2))
    assert [one.name for one in found] == ["a.png", "b.png", "sub/c.bmp"]
    assert isinstance(found[1], Prediction)
    assert (found[1].error, found[1].values.size) == ("the file is not an image", 0)
    expected = network.probabilities(jnp.asarray(test.inputs[:2]))
    got = np.stack([found[0].values, found[2].values])
    np.testing.assert_allclose(got, np.asarray(expected), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found[2].example, test.inputs[1])

    (tmp_path / "list.csv").write_text("image,extra\na.png,1\nnone.png,2\n")
    listed = list(predict(network, tmp_path / "list.csv"))
    assert [one.error for one in listed] == ["", "No such file or directory"]
    (tmp_path / "list.txt").write_text("\nsub/c.bmp\n")
    assert [one.name for one in predict(network, tmp_path / "list.txt")] == ["sub/c.bmp"]


def test_memory_does_not_grow_with_the_number_of_inputs(network):
    def peak(count):
        tracemalloc.reset_peak()
        deque(itertools.islice(predictions, count), maxlen=0)
        return tracemalloc.get_traced_memory()[1]

    image = np.zeros((64, 64, 1), np.uint8)
    many = (inputs.Input(str(i), image.copy) for i in range(3000))
    predictions = predict(network, many, batch_size=32, workers=2)
    tracemalloc.start()
    try:
        peak(600)  # compiles
        first, _, last = peak(300), peak(1800), peak(300)
    finally:
        tracemalloc.stop()
    assert last < first + 100_000  # a prediction takes at least 300 bytes


def test_inputs_are_converted_to_the_shape_of_the_network(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    assert inputs.prepare(grey, (8, 8, 3))[3, 4].tolist() == [28, 28, 28]
    color = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    expected = np.asarray(Image.fromarray(color).convert("L"))
    np.testing.assert_array_equal(inputs.prepare(color, (8, 8, 1))[..., 0], expected)
    with pytest.raises(ValueError, match="takes 3 features, got"):
        inputs.prepare(np.zeros(4), (3,))
    with pytest.raises(InputError, match=r"must be uint8 images .*, got float64 \[2, 3, 3\]"):
        inputs.of_array(np.zeros((2, 3, 3)))
    for path, message in [
        (tmp_path, r"^--input=.*: must contain images \(.jpg, .*\), got none$"),
        (tmp_path / "none", "^--input=.*none: no such file or folder$"),
    ]:
        with pytest.raises(InputError, match=message):
            inputs.list_inputs(path)
    np.savez(tmp_path / "two.npz", images=np.zeros((2, 8, 8), np.uint8), labels=np.zeros(2))
    names = [one.name for one in inputs.list_inputs(tmp_path / "two.npz")]
    assert names == ["two.npz[0]", "two.npz[1]"]


def test_features_are_those_of_the_tap(run, network):
    _, test = run
    found = np.stack([one.values for one in predict(network, test.inputs[:5], tap="stage1")])
    shape = network.taps()["stage1"]
    assert found.shape == (5, np.prod(shape))
    with pytest.raises(InputError, match=r"^--tap must be one of features, stage1, .*'stage9'"):
        predict(network, test.inputs, tap="stage9")


def test_attributions_of_a_known_score():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 3)), jnp.float32)
    w = jnp.asarray(np.random.default_rng(1).normal(size=(1, 4, 4, 3)), jnp.float32)

    def score(x):
        return ((w * x) ** 2).sum((1, 2, 3))

    np.testing.assert_allclose(input_gradient(score, x), 2 * w**2 * x, rtol=1e-5)
    found = integrated_gradients(score, x, steps=64)
    np.testing.assert_allclose(found.sum((1, 2, 3)), score(x), rtol=1e-3)
    np.testing.assert_allclose(found, (w * x) ** 2, rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        integrated_gradients(score, x, steps=0)
    expected = np.maximum(
        (np.asarray(x) * np.asarray(2 * x).mean((1, 2), keepdims=True)).sum(-1), 0
    )
    np.testing.assert_allclose(grad_cam(x, 2 * x), expected, rtol=1e-4, atol=1e-5)


def test_grad_cam_of_a_network_with_average_pooling_is_its_class_activation_map(run, network):
    _, test = run
    images, classes = jnp.asarray(test.inputs[:3]), jnp.asarray([1, 2, 3])
    maps = jax.jit(explain)(network, images, classes)
    assert {name: heat.shape for name, heat in maps.items()} == dict.fromkeys(
        ("input_gradient", "integrated_gradients", "grad_cam"), (3, 8, 8)
    )
    # The head is linear in the mean over the pixels, so the gradient is that row of its kernel.
    features = network.features(images, "stage2").reshape(3, *network.taps()["stage2"])
    kernel = np.asarray(network.variables["params"]["head"]["kernel"])[:, [1, 2, 3]].T
    heat = np.maximum(np.einsum("bhwc,bc->bhw", features, kernel) / 16, 0)
    expected = jax.image.resize(heat, (3, 8, 8), "bilinear")
    np.testing.assert_allclose(maps["grad_cam"], expected, rtol=1e-3, atol=1e-5)


def _whitened(workdir, model, normalization):
    """Returns a network of whitened inputs and the test images, after checking its predictions."""
    config = tiny.config(num_epochs=1)
    config.model.name, config.data.normalization = model, normalization
    train_and_evaluate(config, workdir)
    network, test = load_network(workdir), digits.load(workdir).test
    evaluated = evaluate_checkpoint(workdir)["accuracy"]
    found = [one.values.argmax() for one in predict(network, test.inputs)]
    assert np.mean(found == test.targets) == pytest.approx(evaluated)
    return network, test


def test_a_network_of_whitened_patches_is_predicted_and_explained(tmp_path):
    network, test = _whitened(tmp_path / "run", "speed_net", "patch_pca")
    images, classes = jnp.asarray(test.inputs[:3]), jnp.asarray([1, 2, 3])
    maps = explain(network, images, classes)
    assert {name: heat.shape for name, heat in maps.items()} == dict.fromkeys(
        ("input_gradient", "integrated_gradients", "grad_cam"), (3, 8, 8)
    )
    for row, column in ((0, 0), (3, 5)):  # by finite differences
        pixels = np.repeat(test.inputs[:1] / np.float32(255), 2, axis=0)
        pixels[:, row, column] += np.asarray([[1e-2], [-1e-2]], np.float32)
        logits = network.logits(jnp.asarray(pixels))[:, 1]
        slope = abs(logits[0] - logits[1]) / 2e-2
        np.testing.assert_allclose(maps["input_gradient"][0, row, column], slope, rtol=0.1)


def test_a_network_of_principal_components_is_predicted_and_explained(tmp_path):
    network, test = _whitened(tmp_path / "run", "linear", "pca")
    found = explain(network, jnp.asarray(test.inputs[:3]), jnp.asarray([4, 5, 6]))
    normalizer, head = network.normalizer, network.variables["params"]["head"]
    assert isinstance(normalizer, PCAWhitening)
    # The logits are linear in the pixels.
    slopes = normalizer.basis / np.asarray(normalizer.deviation)[None] @ head["kernel"]
    expected = np.abs(np.asarray(slopes)[:, [4, 5, 6]].T.reshape(3, 8, 8))
    np.testing.assert_allclose(found["input_gradient"], expected, rtol=1e-4, atol=1e-5)
    pixels = test.inputs[:3, ..., 0] / test.inputs.dtype.type(255)
    np.testing.assert_allclose(
        found["integrated_gradients"], expected * pixels, rtol=1e-4, atol=1e-5
    )


def test_an_assessment_equals_scikit_learn(run):
    folder, test = run
    subject = load_subject(folder)
    assert isinstance(subject, Subject)
    result = assess(subject, corruptions=["contrast"], resamples=200)
    plain = evaluate_checkpoint(folder)
    assert result["accuracy"] == pytest.approx(plain["accuracy"])
    assert result["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    values = np.stack([one.values for one in predict(subject.network, test.inputs)])
    values = np.float64(values) / np.float64(values).sum(axis=1, keepdims=True)
    decided = values.argmax(axis=1)
    reference: Any = sklearn.metrics.precision_recall_fscore_support
    precision, recall, f1, support = reference(
        test.targets, decided, labels=range(10), zero_division=0
    )
    for name, column in {"precision": precision, "recall": recall, "f1": f1}.items():
        np.testing.assert_allclose([row[name] for row in result["classes"]], column, atol=1e-6)
    assert [row["support"] for row in result["classes"]] == support.tolist()
    expected = sklearn.metrics.confusion_matrix(test.targets, decided, labels=range(10))
    np.testing.assert_array_equal(result["confusion"], expected)
    assert result["nll"] == pytest.approx(sklearn.metrics.log_loss(test.targets, values), rel=1e-4)
    brier = ((values - np.eye(10)[test.targets]) ** 2).sum(axis=1).mean()
    assert result["brier"] == pytest.approx(brier, rel=1e-4)
    low, high = result["intervals"]["accuracy"]
    assert low <= result["accuracy"] <= high
    assert len(result["corruptions"]["contrast"]) == 5
    json.dumps(result)


def test_the_interval_is_that_of_a_binomial_proportion():
    values = np.arange(1000) % 4 == 0
    low, high = scores.bootstrap(values.astype(np.float64), resamples=2000)
    deviation = np.sqrt(0.25 * 0.75 / 1000)
    assert low == pytest.approx(0.25 - 1.96 * deviation, abs=0.003)
    assert high == pytest.approx(0.25 + 1.96 * deviation, abs=0.003)


def test_batches_are_halved_while_memory_does_not_suffice():
    sizes, lines = [], []

    def compute(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise MemoryError
        return jnp.asarray(batch * 2)

    run = assessment.halving(compute, lines.append)
    np.testing.assert_array_equal(run(np.arange(10)), np.arange(10) * 2)
    assert sizes == [10, 5, 2, 2, 2, 2, 2]
    assert lines[-1] == "out of memory with batches of 5; going on with 2"
    np.testing.assert_array_equal(run(np.arange(3)), np.arange(3) * 2)
    assert sizes[-2:] == [2, 1]
    with pytest.raises(ZeroDivisionError):
        assessment.halving(lambda batch: jnp.asarray(1 / 0))(np.arange(2))


def test_other_data_are_numbered_as_the_classes_of_the_network(run, tmp_path):
    folder, test = run
    for split in ("train", "test"):
        for name in ("3", "7"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in np.flatnonzero(test.targets == int(name))[:4]:
                pixels = np.repeat(test.inputs[i], 3, axis=2)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")

    def change(config):
        config.data.name, config.data.dir = "folder", str(tmp_path)

    with pytest.raises(InputError, match=r"inputs of the shape \(8, 8, 1\) of resnet_tiny"):
        load_subject(folder, change=change)
    odd = test._replace(targets=test.targets % 2)
    dataset = digits.load(tmp_path)._replace(train=odd, test=odd, num_classes=2)
    numbers = tuple(map(str, range(10)))
    renumbered = assessment._renumber(dataset._replace(class_names=("7", "3")), numbers)
    np.testing.assert_array_equal(renumbered.test.targets, np.where(test.targets % 2, 3, 7))
    with pytest.raises(InputError, match="must have only classes of the network, got cat"):
        assessment._renumber(dataset._replace(class_names=("cat", "3")), numbers)


def test_a_run_is_older_than_the_names_of_its_classes(run, monkeypatch):
    folder, test = run
    load = assessment.load_dataset
    names = tuple("abcdefghij")
    monkeypatch.setattr(
        assessment, "load_dataset", lambda *a, **k: load(*a, **k)._replace(class_names=names)
    )
    np.testing.assert_array_equal(load_subject(folder).dataset.test.targets, test.targets)

    def change(config):
        config.data.name = "npz"

    monkeypatch.setattr(assessment, "load_dataset", lambda *_, **__: other)
    other = load(tiny.config().data, seed=0)._replace(class_names=names)
    with pytest.raises(InputError, match="must have only classes of the network, got a, b"):
        load_subject(folder, change=change)


def test_a_probe_of_the_features_and_the_head(run):
    folder, _ = run
    found = probe(load_subject(folder), "features")
    assert found["head_accuracy"] == pytest.approx(evaluate_checkpoint(folder)["accuracy"])
    assert found["probe_accuracy"] > 0.2
    assert 0 <= found["relative_gap"] <= 1e-3
    with pytest.raises(InputError, match=r"^--probe must be one of features, stage1, .*'none'"):
        probe(load_subject(folder), "none")


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_corruptions_grow_with_the_severity(name):
    image = (np.indices((32, 32)).sum(0) % 8 * 30 + 20).astype(np.uint8)[..., None]
    errors = []
    for severity in corruptions.SEVERITIES:
        found = corruptions.corrupt(image, name, severity=severity, seed=3)
        assert (found.shape, found.dtype) == (image.shape, np.uint8)
        np.testing.assert_array_equal(
            found, corruptions.corrupt(image, name, severity=severity, seed=3)
        )
        errors.append(np.abs(found.astype(int) - image).mean())
    if name != "jpeg":  # whose error is not monotone for every image
        assert errors == sorted(errors)
    assert errors[-1] > errors[0] > 1
    with pytest.raises(ValueError, match="`severity` must be in"):
        corruptions.corrupt(image, name, severity=6)


def test_an_exported_program_runs_without_jaxml(run, network, tmp_path):
    folder, test = run
    readme = export_stablehlo(folder, tmp_path / "out", checkpoint="newest")
    assert (tmp_path / "out" / "README.md").read_text() == readme
    assert "next 6 months" in readme
    artifact = (tmp_path / "out" / stablehlo.ARTIFACT).read_bytes()
    exported = jax.export.deserialize(bytearray(artifact))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "__onednn" not in exported.mlir_module()
    np.save(tmp_path / "images.npy", test.inputs[:64])
    code = (
        "import sys, numpy as np; sys.modules['jaxml'] = sys.modules['flax'] = None\n"
        "from load import class_names, predict\n"
        "x = np.load('../images.npy')\n"
        "np.savez('../y.npz', *[np.asarray(predict(x[:n])) for n in (1, 3, 64)])\n"
        "print(class_names)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(list(map(str, range(10))))
    expected = jax.jit(TrainedNetwork.probabilities)(network, test.inputs[:64])
    found = np.load(tmp_path / "y.npz")
    for key, size in zip(found, (1, 3, 64), strict=True):
        np.testing.assert_allclose(found[key], np.asarray(expected)[:size], rtol=0, atol=1e-6)
    other = network.replace(variables=jax.tree.map(lambda leaf: leaf * 1.5, network.variables))
    with pytest.raises(InputError, match="its outputs must be those of the network"):
        stablehlo.check_artifact(other, artifact, tolerance=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("nbclient", "ipykernel"))),
    reason="nbclient and ipykernel are not installed",
)
def test_a_notebook_trains_and_predicts_without_touching_its_kernel(tmp_path):
    nbclient, nbformat = map(importlib.import_module, ("nbclient", "nbformat"))

    cells = [
        "import asyncio, signal, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)\n"
        "before = [signal.getsignal(s) for s in signals]\n"
        "loop, arguments = asyncio.get_running_loop(), list(sys.argv)",
        "from jaxml.training import load_network, predict, train_and_evaluate\n"
        "from tests import tiny\n"
        f"result = train_and_evaluate(tiny.config(num_epochs=1), {str(tmp_path / 'run')!r})\n"
        f"network = load_network({str(tmp_path / 'run')!r})\n"
        "network",
        "assert [signal.getsignal(s) for s in signals] == before\n"
        "assert asyncio.get_running_loop() is loop and sys.argv == arguments",
        "await asyncio.sleep(0)\n"  # ipykernel handles SIGINT in another way in a cell that awaits
        "import numpy as np\n"
        "len(list(predict(network, np.zeros((3, 8, 8), np.uint8))))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    place = {"metadata": {"path": str(Path(__file__).parents[2])}}  # where `tests` is found
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place)
    client.execute()
    shown = notebook.cells[1].outputs[-1]["data"]
    assert "<table>" in shown["text/html"]
    assert notebook.cells[3].outputs[-1]["data"]["text/plain"] == "3"
