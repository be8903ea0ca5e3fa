"""The comparison of input pipelines."""

import numpy as np
import pytest
from PIL import Image

from jaxml.errors import InputError
from launch.benchmark import input as input_benchmark
from launch.benchmark import loaders
from launch.benchmark.settings import Settings


@pytest.fixture
def photos(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(3):
        pixels = generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.JPEG")
    return tmp_path


@pytest.mark.slow
def test_every_pipeline_is_timed_on_the_same_images(photos, capsys):
    settings = Settings(
        what="input", data_dir=photos, batch_sizes=(4,), images=10, image_size=16, repeats=2,
        workers=2, max_side=30,
    )  # fmt: skip
    settings.check()
    found = input_benchmark.input_speed(settings)
    (result,) = found["results"]
    assert (result["batch_size"], result["workers"], result["files"]) == (4, 2, 3)
    for line in result["competitors"].values():
        assert line["images_per_second"] == 8 / line["median_seconds"]
        assert len(line["seconds"]) == 2
    assert {"jaxml", "jaxml_converted"} <= result["competitors"].keys()
    assert "8 images of 3 files, cropped to 16, batch 4, 2 workers" in capsys.readouterr().out


def test_the_photos_of_torch_are_normalized_crops(photos):
    torch = pytest.importorskip("torch")
    files = tuple(map(str, sorted(photos.iterdir())))
    task = loaders.Input(files, images=7, batch_size=2, size=16, workers=0, max_side=512)
    image, label = loaders.TorchPhotos(task, normalize=True)[4]
    assert (image.shape, image.dtype, label) == ((3, 16, 16), torch.float32, 1)
    assert abs(float(image.mean())) < 1
    assert float(image.min()) < 0
    plain, _ = loaders.TorchPhotos(task, normalize=False)[4]
    assert (plain.shape, plain.dtype) == ((3, 16, 16), torch.uint8)
    assert len(loaders.TorchPhotos(task, normalize=False)) == 7


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"^--data_dir must contain images \(\.jpg, "):
        input_benchmark.input_speed(Settings(what="input", data_dir=tmp_path))
    with pytest.raises(InputError, match="--images must be at least 128, the batch size, got 100"):
        Settings(what="input", images=100).check()
