"""Prefixes of tensor names: wrappers of a network, and names of several networks in a file.

A training script saves `module.conv1.weight` if `DataParallel` wraps the network,
`_orig_mod.conv1.weight` if `torch.compile` does, and `model.conv1.weight` if Lightning does.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from jaxml.errors import InputError, nearest

T = TypeVar("T")

SETTING = "config.weights.entry"
# Removed repeatedly while all names begin with the same one.
_WRAPPERS = ("module.", "model.")
# Removed anywhere in a name, since they also wrap parts of a network.
_ANYWHERE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_COUNTER = "n_averaged"  # a counter in averaged models


def unwrapped(tensors: Mapping[str, T]) -> dict[str, T]:
    """Removes the wrappers of a network from the names of its tensors.

    >>> unwrapped({"module._orig_mod.a.weight": 1, "module._orig_mod.b.weight": 2})
    {'a.weight': 1, 'b.weight': 2}
    >>> unwrapped({"model.a": 1, "b": 2})
    {'model.a': 1, 'b': 2}
    """
    names = {name: _without_parts(name) for name in tensors}
    while True:
        inner = {name: short for name, short in names.items() if short != _COUNTER}
        wrapper = next(
            (w for w in _WRAPPERS if inner and all(s.startswith(w) for s in inner.values())), None
        )
        if wrapper is None:
            break
        names = {name: short.removeprefix(wrapper) for name, short in inner.items()}
    if len(set(names.values())) < len(names):
        return dict(tensors)
    return {short: tensors[name] for name, short in names.items()}


def select(tensors: Mapping[str, T], entry: str, source: str) -> dict[str, T]:
    """Selects the tensors whose names begin with an entry and a dot, and removes both.

    Args:
      tensors: tensors by name.
      entry: the prefix; empty selects all tensors.
      source: origin of the tensors, for messages.

    Raises:
      InputError: no name has the prefix; the message lists the prefixes that exist.

    Example:
      >>> select({"module.ema.a": 1, "module.net.a": 2}, "ema", "weights")
      {'a': 1}
    """
    inner = unwrapped(tensors)
    if not entry:
        return inner
    start = f"{entry}."
    for names in (tensors, inner):
        found = {n.removeprefix(start): names[n] for n in names if n.startswith(start)}
        if found:
            return unwrapped(found)
    raise unknown(entry, sorted({name.split(".")[0] for name in inner if "." in name}), source)


def unknown(entry: str, choices: Iterable[str], source: str) -> InputError:
    """Returns the error for an entry that a file does not have."""
    known = [choice[:100] for choice in choices if choice.isprintable()]
    shown = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
    return InputError(
        f"{SETTING} must be one of {shown or 'no entries'} in {source}, got {entry[:100]!r}"
        f"{nearest(entry, known)}"
    )


def only_difference(
    names: Iterable[str], wanted: Iterable[str], ignored: Collection[str] = ()
) -> str:
    """Returns the prefix whose removal turns names into the wanted ones, or an empty string.

    Args:
      names: names with one prefix or several.
      wanted: names without the prefix.
      ignored: other names that may occur, without the prefix.

    Example:
      >>> only_difference(["net.a.weight", "net.a.bias"], ["a.weight", "a.bias"])
      'net'
      >>> only_difference(["net.a.weight", "net.c.bias"], ["a.weight", "b.bias"])
      ''
    """
    names, wanted = list(names), set(wanted)
    first = min(wanted, default="")
    for name in names:
        prefix = name.removesuffix(first)
        if first and name != prefix and prefix.endswith("."):
            inner = {n.removeprefix(prefix) for n in names if n.startswith(prefix)}
            if inner - set(ignored) == wanted - set(ignored):
                return prefix.removesuffix(".")
    return ""


def _without_parts(name: str) -> str:
    for part in _ANYWHERE:
        name = name.replace(part, "")
    return name
