"""Parsing of the strings that settings and flags hold."""

import os
import re
from pathlib import Path

from jaxml.errors import InputError


def parse_steps(text: str | None) -> range:
    """Parses a half-open range of steps such as `10:20`.

    Args:
      text: the range; None is empty.

    Raises:
      ValueError: the text has another form, or the range is empty.

    Example:
      >>> parse_steps("10:20")
      range(10, 20)
      >>> parse_steps(None)
      range(0, 0)
    """
    if text is None:
        return range(0)
    match = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,10})", text)
    steps = range(int(match[1]), int(match[2])) if match else range(0)
    if not steps:
        raise ValueError(f"steps must be two increasing numbers such as 10:20, got {text!r}")
    return steps


def user_path(text: str) -> Path:
    """Converts a setting or flag to a path and expands `~` to the home directory.

    Raises:
      InputError: the path is not valid UTF-8, or is a URL.

    Example:
      >>> user_path("~/runs") == Path.home() / "runs"
      True
    """
    try:
        text.encode()
    except UnicodeEncodeError:  # Python keeps bytes that it cannot decode as surrogates
        raise InputError(f"paths and the locale must be UTF-8, got {text!a}") from None
    if re.match("[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise InputError(
            f"paths must be in the file system, got {text!r}; mount a bucket with gcsfuse, "
            "mount-s3 or blobfuse2"
        )
    return Path(os.path.expanduser(text))  # noqa: PTH111 (keeps an unknown ~name as it is)
