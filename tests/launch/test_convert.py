"""Conversion of images to shards."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from jaxml.data import SOURCES, decode
from jaxml.data.shards import Encoded, encode, write_shard
from jaxml.data.sources.table import Columns, create_tables
from jaxml.errors import InputError
from tests.data.sources import formats
from tests.launch import processes


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    formats.write_folder(tmp_path / "photos", "train", formats.examples(10, size=40))
    formats.write_folder(tmp_path / "photos", "val", formats.examples(4, seed=1))
    return tmp_path / "photos"


def _convert(photos, *arguments, **options):
    data = ("--config.data.name=folder", f"--config.data.dir={photos}")
    return processes.run("launch.convert", *data, *arguments, **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar", "array_record"])
def test_the_shards_hold_the_images_of_the_folder(kind, photos, tmp_path):
    if kind == "array_record":
        pytest.importorskip("array_record")
    (photos / "train/bee/00005.png").write_text("no image")
    out = tmp_path / "out"
    options = (f"--out={out}", f"--format={kind}", "--shard_size=4")
    done = _convert(photos, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "warning: image 5 'train/bee/00005.png' is damaged: the file is not" in done.stdout
    assert f"13 images in {out}; train with --config.data.name={kind}" in done.stdout
    names = [f"train-0000{i}-of-00003.{kind}" for i in range(3)] + [f"val-00000-of-00001.{kind}"]
    assert sorted(path.name for path in out.iterdir()) == ["classes.json", "convert.json", *names]
    columns = Columns()
    (before, classes), (after, same_classes) = (
        create_tables(SOURCES[source], place, columns)
        for source, place in (("folder", photos), (kind, out))
    )
    assert same_classes == classes
    kept = [index for index in range(10) if index != 5]
    for index, found in zip(kept, range(9), strict=True):
        assert after["train"][found][:2] == before["train"][index][:2]
    assert [after["val"][i][:2] for i in range(4)] == [before["val"][i][:2] for i in range(4)]

    (out / names[1]).unlink()
    time = (out / names[0]).stat().st_mtime_ns
    assert _convert(photos, *options).returncode == 0
    assert (out / names[1]).exists()
    assert (out / names[0]).stat().st_mtime_ns == time
    other = _convert(photos, *options, "--max_side=7")
    assert other.returncode == 2
    assert other.stderr == f"error: --out={out}: holds another conversion, see convert.json\n"


@pytest.mark.slow
def test_a_missing_package_is_not_taken_for_damage(photos, tmp_path):
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL/__init__.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), str(processes.ROOT), *sys.path])
    done = _convert(photos, f"--out={tmp_path}/out", environment={"PYTHONPATH": path})
    assert done.returncode == 2
    assert done.stderr == (
        "error: these data need the package pillow, which is not installed: pip install pillow, "
        "or pip install 'jaxml[data]' for every reader\n"
    )


def test_large_images_are_reduced_to_jpegs():
    image = formats.examples(1, size=40).images[0]
    wide = np.concatenate([image, image], axis=1)
    reduced = Image.open(io.BytesIO(encode(formats.png(wide), max_side=20, quality=90)))
    assert (reduced.format, reduced.size) == ("JPEG", (20, 10))
    assert encode(formats.png(wide), max_side=80) == formats.png(wide)
    np.testing.assert_array_equal(decode.full_size(encode(wide)), wide)


def test_a_shard_that_differs_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxml.data.sources.tar.read_bytes", lambda *_: bytes(512))
    with pytest.raises(InputError, match="differs when it is read back"):
        write_shard(tmp_path / "a.tar", [Encoded(b"x", "1")])
    assert not list(tmp_path.glob("*.tar"))
