"""Interprets the names in pickles of torch as tensors, without executing any of them."""

from typing import Any

from jaxml.io import unpickle
from jaxml.io.unpickle import Name, Opaque
from jaxml.weights._torch_types import (
    DTYPES,
    OTHER_DTYPES,
    STORAGES,
    NoArray,
    Storage,
    Tensor,
    dtype_of,
    make_tensor,
    with_bits,
)

_KINDS = {
    **{f"torch {kind}Storage": dtype for kind, dtype in STORAGES.items()},
    **{f"torch.cuda {kind}Storage": dtype for kind, dtype in STORAGES.items()},
    "torch.storage UntypedStorage": "uint8",
}
_BUILTINS = ("__builtin__", "builtins")
# Values that are irrelevant for tensors.
_OTHERS = {
    *("torch device", "torch.serialization _get_layout"),
    *(f"{module} {name}" for module in _BUILTINS for name in ("set", "complex", "bytearray")),
}
_SCHEMES = {
    *("torch per_tensor_affine", "torch per_tensor_symmetric", "torch per_channel_affine"),
    *("torch per_channel_symmetric", "torch per_channel_affine_float_qparams"),
}
_NO_ARRAYS = {
    "torch._utils _rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils _rebuild_qtensor": "a quantized tensor",
    "torch._utils _rebuild_meta_tensor_no_storage": "a tensor without values (on device meta)",
    "torch._utils _rebuild_nested_tensor": "a nested tensor",
    "torch._utils _rebuild_wrapper_subclass": "a tensor subclass without values",
}
_TYPES = {"torch Tensor", "torch.nn.parameter Parameter"}


class TorchParts(unpickle.Parts):
    """The objects that `torch.load(path, weights_only=True)` accepts.

    Attributes:
      storages: storages by their keys.
    """

    kind = "a state dict of tensors"
    names = frozenset(
        {
            *("collections OrderedDict", "collections Counter", "torch Size", "_codecs encode"),
            *(f"{module} bytes" for module in _BUILTINS),
            *("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2"),
            *("torch._utils _rebuild_tensor_v3", "torch._tensor _rebuild_from_type_v2"),
            *("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state"),
            "torch._utils _rebuild_device_tensor_from_cpu_tensor",
            *(f"torch {dtype}" for dtype in (*DTYPES, *OTHER_DTYPES)),
            *(*_KINDS, *_OTHERS, *_SCHEMES, *_NO_ARRAYS, *_TYPES),
        }
    )
    encoding = "utf-8"  # of strings from Python 2, as in torch.load

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Returns the value of a call."""
        if name in _OTHERS:
            return Opaque()
        if name in _NO_ARRAYS:
            return NoArray(_NO_ARRAYS[name])
        match name.split()[-1], arguments:
            case (("OrderedDict" | "Counter"), ()):
                return {}
            case "Counter", (dict() as counts,):
                return counts
            case "OrderedDict", (list() as items,):
                return _ordered(items)
            case "Size", (tuple() as sizes,):
                return sizes
            case "encode", (str() as text, ("latin1" | "latin-1")):
                return text.encode("latin1")
            case "bytes", ():
                return b""
        return self._tensor(name, arguments)

    def _tensor(self, name: str, arguments: tuple[Any, ...]) -> Any:
        match name.split()[-1], arguments:
            case "_rebuild_parameter", (Tensor() | NoArray() as data, _, _):
                return data
            case "_rebuild_parameter_with_state", (Tensor() | NoArray() as data, _, _, _):
                return data
            case "Parameter", (Tensor() | NoArray() as data, *_):
                return data
            case "_rebuild_tensor", (storage, offset, shape, strides):
                return _rebuilt(storage, offset, shape, strides)
            case "_rebuild_tensor_v2", (storage, offset, shape, strides, _, _, *bits):
                return _rebuilt(storage, offset, shape, strides, "", bits)
            case "_rebuild_tensor_v3", (storage, offset, shape, strides, _, _, dtype, *bits):
                return _rebuilt(storage, offset, shape, strides, dtype_of(dtype), bits)
            case "_rebuild_from_type_v2", (Name(function), Name(_), tuple() as inner, _):
                if function != name:
                    return self.call(function, inner)
            case "_rebuild_device_tensor_from_cpu_tensor", (Tensor() as data, dtype, _, _):
                same = dtype_of(dtype) == data.dtype
                return data if same else NoArray("a tensor with another dtype than its values")
        raise ValueError(f"{name.replace(' ', '.', 1)} called with unexpected arguments")

    def build(self, target: Any, state: Any) -> None:
        """Accepts and ignores the attributes of a dict, such as `_metadata` of a state dict."""
        if type(target) is not dict or type(state) is not dict:
            raise ValueError("a state for an object other than a dict")

    def refer(self, key: Any) -> Any:
        """Returns the storage with a key."""
        match key:
            case ("storage", Name(kind), str() as name, str(), int() as numel, *rest):
                if kind not in _KINDS or not 0 <= numel < 2**48:
                    raise ValueError("a storage of an unknown kind or size")
                storage = Storage(_KINDS[kind], name, numel, 0, numel)
                if self.storages.setdefault(name, storage) != storage:
                    raise ValueError("a storage with two kinds or sizes")
                return _part(storage, rest)
        raise ValueError("a reference to something other than a storage")


def _rebuilt(
    storage: Any, offset: Any, shape: Any, strides: Any, dtype: str = "", bits: Any = ()
) -> Tensor | NoArray:
    tensor = make_tensor(storage, offset, shape, strides, dtype)
    if len(bits) > 1:
        raise ValueError("a tensor with too many arguments")
    if tensor.dtype not in DTYPES:
        return NoArray(f"a tensor of dtype {tensor.dtype}")
    return with_bits(tensor, bits[0]) if bits and bits[0] is not None else tensor


def _part(storage: Storage, rest: list[Any]) -> Storage:
    """Returns a part of a storage; files of torch before 0.4 have them."""
    match rest:
        case [] | [None]:
            return storage
        case [(str(), int() as start, int() as size)] if 0 <= start <= start + size:
            if start + size <= storage.numel:
                return Storage(storage.dtype, storage.key, storage.numel, start, size)
    raise ValueError("an invalid part of a storage")


def _ordered(items: list[Any]) -> dict[Any, Any]:
    """Returns a dict from pairs, as Python 2 pickles an OrderedDict."""
    found: dict[Any, Any] = {}
    for item in items:
        if type(item) not in (list, tuple) or len(item) != 2:
            raise ValueError("an OrderedDict of values other than pairs")
        unpickle.update(found, list(item))
    return found
