"""Files as torch.save writes them, and as it never does, made instruction by instruction."""

import io
import pickle
import zipfile

from tests.data.sources.test_array_pickle import ascii_name, text

BEHIND = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."  # how an old file begins


def integer(value):
    return b"\x8a" + bytes([len(pickle.encode_long(value))]) + pickle.encode_long(value)


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def storage(key="0", numel=6, kind="FloatStorage", *rest):
    """A reference to a storage."""
    names = text("storage"), ascii_name("torch", kind), text(key), text("cpu")
    return tuple_of(*names, integer(numel), *rest) + b"Q"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, stored=None):
    """A call that rebuilds a tensor."""
    return (
        ascii_name("torch._utils", "_rebuild_tensor_v2")
        + tuple_of(
            storage() if stored is None else stored,
            integer(offset),
            tuple_of(*map(integer, shape)),
            tuple_of(*map(integer, strides)),
            b"\x89",
            ascii_name("collections", "OrderedDict") + b")R",
        )
        + b"R"
    )


def state_dict(**items):
    """A pickle of a dict of what is already pickled."""
    return b"\x80\x02}(" + b"".join(text(name) + item for name, item in items.items()) + b"u."


def archive(pickled, storages=None, compression=zipfile.ZIP_STORED, **members):
    """The zip archive of today."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped:
        zipped.writestr("a/data.pkl", pickled)
        for key, content in (storages or {}).items():
            zipped.writestr(f"a/data/{key}", content)
        for name, content in members.items():
            zipped.writestr(f"a/{name}", content)
    return file.getvalue()


def legacy(pickled, storages=None, version=1001, little_endian=True, keys=None):
    """The row of pickles of old."""
    storages = storages or {}
    system = {"protocol_version": 1001, "little_endian": little_endian, "type_sizes": {}}
    return (
        BEHIND
        + pickle.dumps(version, 2)
        + pickle.dumps(system, 2)
        + pickled
        + pickle.dumps(list(storages) if keys is None else keys, 2)
        + b"".join((len(s) // 4).to_bytes(8, "little") + s for s in storages.values())
    )
