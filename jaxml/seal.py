"""Digests of the files of a checkpoint, by which damage to them is noticed.

Only what is in sub-folders is sealed: orbax goes on writing its own notes beside them.
"""

import hashlib
import json
from pathlib import Path

SEAL = "SHA256.json"


def seal(folder: Path) -> None:
    """Writes the digests of all files in the sub-folders, unless that was done before."""
    if (folder / SEAL).exists():
        return
    partial = folder / f"{SEAL}.partial"
    partial.write_text(json.dumps({name: _sha256(folder / name) for name in _files(folder)}))
    partial.replace(folder / SEAL)


def damage(folder: Path) -> str | None:
    """What is wrong with a sealed folder; None where nothing is, or where there is no seal.

    Args:
      folder: whose writer may have been killed before it was sealed.

    Returns:
      The first file that is missing or altered, in words.
    """
    try:
        digests = json.loads((folder / SEAL).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return f"{SEAL} is not JSON"
    for name, digest in digests.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if _sha256(folder / name) != digest:
            return f"{name} is not as it was written"
    return None


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.glob("*/**/*") if p.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
