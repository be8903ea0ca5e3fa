"""Converts images to shards: python -m launch.convert --config.data.name=folder --out=DIR.

The images are those of --config.data.dir. Run it again to resume; shards that are complete are not
written again. Then train with --config.data.name=tar (or array_record) --config.data.dir=DIR.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl import flags

from jaxml.config import user_path
from jaxml.errors import InputError, choose
from jaxml.io import atomic
from launch import cli

OUT = flags.DEFINE_string("out", "", "folder of the shards, new or of this conversion")
FORMAT = flags.DEFINE_enum("format", "tar", ["tar", "array_record"], "format of the shards")
MAX_SIDE = flags.DEFINE_integer(
    "max_side", 0, "images with a longer side are reduced to it and become JPEG; 0 keeps all", 0
)
QUALITY = flags.DEFINE_integer("quality", 95, "quality of the reduced images", 1, 100)
SHARD_SIZE = flags.DEFINE_integer("shard_size", 1000, "number of images of a shard", 1)
SETTINGS = "convert.json"


def main() -> None:
    """Writes the shards of every split."""
    from rich.progress import track

    from jaxml.data import SOURCES, num_workers
    from jaxml.data.shards import write_class_names
    from jaxml.data.sources.table import Columns, create_tables

    _, config = cli.config()
    data = config.data
    source = choose(SOURCES, data.name, "config.data.name")
    if not OUT.value:
        raise InputError("--out must be given")
    columns = Columns(data.image_column, data.label_column)
    tables, class_names = create_tables(source, user_path(data.dir), columns)
    out = user_path(OUT.value)
    _prepare(out, {split: table.digest() for split, table in tables.items()}, class_names)
    write_class_names(out, class_names)
    skipped: list[str] = []
    with ThreadPoolExecutor(max(num_workers(data), 1)) as pool:
        for split, table in tables.items():
            count = -(-len(table) // SHARD_SIZE.value)
            for shard in track(range(count), f"{split}, {len(table)} images"):
                path = out / f"{split}-{shard:05d}-of-{count:05d}.{FORMAT.value}"
                if not path.exists():
                    start = shard * SHARD_SIZE.value
                    part = range(start, min(start + SHARD_SIZE.value, len(table)))
                    skipped += _write(path, table, part, pool)
                    if len(skipped) > data.max_damaged:
                        raise InputError(
                            f"config.data.max_damaged must be at least {len(skipped)} to leave "
                            f"out the damaged images, got {data.max_damaged}; {skipped[-1]}"
                        )
    for message in skipped:
        print(f"warning: {message}; left out")
    total = sum(map(len, tables.values())) - len(skipped)
    print(f"{total} images in {out}; train with --config.data.name={FORMAT.value}")


def _write(path: Path, table: Any, part: range, pool: ThreadPoolExecutor) -> list[str]:
    """Writes one shard; returns a message about each damaged image, which is left out."""
    from jaxml.data._images import describe_damage
    from jaxml.data._optional import MissingPackageError
    from jaxml.data.decode import DamagedError
    from jaxml.data.shards import Encoded, encode, write_shard

    def convert(index: int) -> Encoded | str:
        try:
            content, label, _ = table[index]
            image = encode(content, max_side=MAX_SIDE.value or None, quality=QUALITY.value)
        except MissingPackageError:
            raise
        except (DamagedError, OSError, InputError) as error:
            return describe_damage(table, index, error)
        return Encoded(image, str(label))

    converted = list(pool.map(convert, part))
    examples = [example for example in converted if isinstance(example, Encoded)]
    if examples:
        write_shard(path, examples)
    return [message for message in converted if isinstance(message, str)]


def _prepare(out: Path, digests: dict[str, str], class_names: tuple[str, ...]) -> None:
    """Creates the folder, or checks that it belongs to the same conversion."""
    settings = {
        "classes": class_names,
        "images": digests,
        "format": FORMAT.value,
        "max_side": MAX_SIDE.value,
        "quality": QUALITY.value,
        "shard_size": SHARD_SIZE.value,
    }
    path = out / SETTINGS
    content = json.dumps(settings, indent=2).encode()
    if path.exists() and path.read_bytes() != content:
        raise InputError(f"--out={out}: holds another conversion, see {path.name}")
    if not path.exists() and out.exists() and any(out.iterdir()):
        raise InputError(f"--out={out}: must be new, empty or the folder of a conversion")
    out.mkdir(parents=True, exist_ok=True)
    atomic.write(path, content)


if __name__ == "__main__":
    cli.run(main, config="configs/digits_resnet20v1.py")
