"""Messages about files that cannot be read."""

import pytest

from jaxml.errors import InputError


def refused(read, path):
    """Returns the message of the error that reading a file raises, without the path."""
    with pytest.raises(InputError) as error:
        read(path)
    check_message(path, error.value)
    return str(error.value).removeprefix(f"{path}: ")


def check_message(path, error):
    """Asserts that a message names its file, and is short and printable."""
    assert str(error).startswith(f"{path}: ")
    assert str(error).isprintable()
    assert len(str(error)) < 1000
