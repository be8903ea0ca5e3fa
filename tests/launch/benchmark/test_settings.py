"""What a benchmark refuses before anything is started."""

import pytest

from jaxml.errors import InputError
from launch.benchmark.settings import Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"what": "nothing"}, "--what must be one of train_step, inference, epoch"),
        ({"model": "resnet2v1"}, "--model must be one of linear, mlp"),
        (
            {"peers": ("flax", "touch")},
            "--peers must be one of flax, keras, torch, torch_compile, got 'touch'; "
            "did you mean 'torch'?",
        ),
        ({"batch_sizes": ()}, "--batch_size must have at least one value"),
        (
            {"batch_sizes": (4, 0)},
            "--batch_size must be positive and a multiple of --devices=1, got 0",
        ),
        (
            {"batch_sizes": (4, 6), "devices": (1, 4)},
            "--batch_size must be positive and a multiple of --devices=4, got 6",
        ),
        (
            {"devices": (1, 2, 1)},
            "--devices must be distinct positive integers, got '1,2,1'",
        ),
        (
            {"what": "conv", "devices": (2,)},
            "--devices must be 1 unless --what is one of train_step, inference, epoch, got 2",
        ),
        (
            {"what": "epoch", "images": 100},
            "--images must be at least 128, the batch size, got 100",
        ),
    ],
)
def test_mistakes_are_told(settings, message):
    with pytest.raises(InputError) as caught:
        Settings(**settings).check()
    assert str(caught.value).startswith(message)


def test_what_is_not_said_is_what_suits(tmp_path):
    settings = Settings(model="resnet50", what="compile", json=tmp_path / "measurements.json")
    settings.check()
    assert settings.rounds == 3
    assert settings.task(8).batch_shape == (8, 224, 224, 3)
    assert settings.task(8).num_classes == 1000
    small = Settings(image_size=16, repeats=5).task(8)
    assert small.batch_shape == (8, 16, 16, 3)
    with pytest.raises(InputError, match=r"^--json: .*: its folder does not exist$"):
        Settings(json=tmp_path / "no" / "measurements.json").check()
