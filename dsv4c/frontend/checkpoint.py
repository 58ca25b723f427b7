"""A Hugging Face folder: its config and the headers of its safetensors files. Weights are mapped only when read.

Headers are checked by the safetensors library; it neither reports where a tensor lies nor hands bfloat16 or float8 to
numpy, so offsets are taken from the header here and tensors are mapped with ml_dtypes. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from dsv4c.errors import UserError
from dsv4c.models.config import Config

from .config import parse_config, read_json

DTYPES: dict[str, npt.DTypeLike] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
SHOWN = 20  # names in one message

# What the safetensors library says, and what that means for the file.
_BROKEN = {
    "header too small": "the header is cut off: the file is shorter than 8 bytes",
    "invalid header length": "the header is cut off: it claims more bytes than the file has",
    "header too large": "not a safetensors file: it claims a header of more than 100 MB",
    "incomplete metadata": "the header describes {described} bytes of tensors, but the file has {there}",
    "invalid offset for": "tensors overlap or leave a gap at {detail}",
    "invalid shape": "a tensor's shape and dtype do not give the number of bytes in its offsets",
    "invalid JSON in header": "the header is not valid: {detail}",
}


@dataclass(frozen=True)
class Stored:
    """One tensor in a file: ``dtype`` as safetensors spells it; ``start`` and ``stop`` are bytes of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    stop: int


@dataclass(frozen=True)
class Checkpoint:
    """An opened folder. ``raw`` is config.json as parsed, for fields that are not the model's (quantisation, dtype)."""

    folder: Path
    config: Config
    raw: Mapping[str, object]
    weights: Path  # the index, or the single file: where errors about tensors point
    tensors: Mapping[str, Stored]

    @classmethod
    def open(cls, folder: Path | str) -> Checkpoint:
        """Read config.json and all headers, but no weight.

        Raises:
            UserError: the folder, its config, its index or one of its files is missing or broken.
        """
        folder = Path(folder)
        if not folder.is_dir():
            what = "not a folder" if folder.exists() else "no such folder"
            raise UserError(what, where=str(folder), fix="give a folder with config.json and safetensors files")
        path = folder / "config.json"
        raw = read_json(path)
        config = parse_config(raw, str(path))
        weights = find_weights(folder)
        tensors = read_index(weights) if weights.name == INDEX else read_header(weights)
        return cls(folder, config, raw, weights, tensors)

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """One tensor, mapped read-only: bytes come from the disk when they are looked at.

        Raises:
            KeyError: no tensor has this name.
            UserError: numpy and ml_dtypes have no such dtype.
        """
        stored = self.tensors[name]
        if stored.dtype not in DTYPES:
            what = f"tensor {name} is stored as {stored.dtype}"
            raise UserError(what, where=str(stored.file), fix=f"known: {', '.join(DTYPES)}")
        dtype = np.dtype(DTYPES[stored.dtype])
        if stored.start == stored.stop:
            return np.empty(stored.shape, dtype)  # an empty range cannot be mapped
        size = stored.stop - stored.start
        raw = np.memmap(stored.file, np.uint8, mode="r", offset=stored.start, shape=(size,))
        # A view as a plain array: arithmetic on it must not give memmaps that are not mapped.
        return raw.view(np.ndarray).view(dtype).reshape(stored.shape)


def find_weights(folder: Path) -> Path:
    """The index or the one safetensors file of a folder; ``model.safetensors`` comes first, as in transformers.

    Raises:
        UserError: there are no weights, only pickled ones, or several files without an index.
    """
    for name in (SINGLE, INDEX):
        if (folder / name).exists():
            return inside(folder, name, str(folder))
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(found) == 1:
        return inside(folder, found[0], str(folder))
    if found:
        what = f"{len(found)} safetensors files but no {INDEX} ({listed(found)})"
        fix = "add the index; files split by tensor parallelism must be merged first"
        raise UserError(what, where=str(folder), fix=fix)
    pickled = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickled:
        what = f"weights only as pickled files ({listed(pickled)}), which are never loaded because they can run code"
        raise UserError(what, where=str(folder), fix="convert them with save_pretrained(..., safe_serialization=True)")
    raise UserError(f"no weights: neither {SINGLE} nor {INDEX}", where=str(folder))


def inside(folder: Path, name: str, where: str) -> Path:
    """``folder / name``, where ``name`` is a file name out of a checkpoint and must not lead elsewhere.

    Links are followed and may end in the folder or, for a snapshot of the hub's cache, in the cache's ``blobs``.

    Raises:
        UserError: the name or the link behind it leaves the folder.
    """
    roots = [folder.resolve()]
    if roots[0].parent.name == "snapshots":
        roots.append(roots[0].parent.parent / "blobs")
    path = folder / name
    if "\0" in name or ".." in Path(name).parts or Path(os.path.realpath(path)).parent not in roots:
        raise UserError(f"{name!r} is outside of the folder", where=where, fix="weights must lie beside config.json")
    return path


def read_index(path: Path) -> dict[str, Stored]:
    """Every tensor of a sharded checkpoint, in the order of the shards' names.

    Raises:
        UserError: the index is broken, names a file that is missing or outside of the folder, or a tensor that its
            file does not have.
    """
    table = read_json(path).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise UserError("no object that maps tensor names to file names", where=f"{path}:weight_map")
    shards = {name: inside(path.parent, name, f"{path}:weight_map") for name in sorted(set(table.values()))}
    if wrong := [name for name in shards if not name.endswith(".safetensors")]:
        raise UserError(f"not a safetensors file: {listed(wrong)}", where=f"{path}:weight_map")
    if missing := [name for name, shard in shards.items() if not shard.is_file()]:
        what = f"{counted(len(missing), 'shard')} of {len(shards)} missing: {listed(missing)}"
        raise UserError(what, where=str(path), fix="download the rest of the checkpoint")
    headers = {name: read_header(shard) for name, shard in shards.items()}
    if absent := [name for name, shard in table.items() if name not in headers[shard]]:
        files = listed(sorted({table[name] for name in absent}))
        raise UserError(f"{counted(len(absent), 'tensor')} not in {files}: {listed(absent)}", where=str(path))
    found = {name: stored for header in headers.values() for name, stored in header.items()}
    return found | {name: headers[shard][name] for name, shard in table.items()}


def read_header(path: Path) -> dict[str, Stored]:
    """Every tensor of one safetensors file, in the file's order.

    Raises:
        UserError: the file cannot be read, or its header is cut off, claims more than the file has, or describes
            tensors that overlap or leave gaps.
    """
    try:
        with safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(start - 8))
    except SafetensorError as err:
        raise UserError(_explain(str(err), path), where=str(path), fix="download the file again") from None
    except OSError as err:
        raise UserError(f"cannot read the file: {err.strerror or err}", where=str(path)) from None
    header.pop("__metadata__", None)
    entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return {
        name: Stored(name, e["dtype"], tuple(e["shape"]), path, *(start + offset for offset in e["data_offsets"]))
        for name, e in entries
    }


def _explain(message: str, path: Path) -> str:
    detail = message.removeprefix("Error while deserializing header: ")
    for start, text in _BROKEN.items():
        if detail.startswith(start):
            described, there = _sizes(path) if "{there}" in text else (0, 0)
            return text.format(detail=detail[len(start) :].lstrip(": "), described=described, there=there)
    return f"not a usable safetensors file: {detail}"


def _sizes(path: Path) -> tuple[int, int]:
    """Bytes of tensors that a valid header describes, and bytes that follow it."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return max((e["data_offsets"][1] for e in header.values()), default=0), path.stat().st_size - 8 - length


def listed(names: Iterable[str]) -> str:
    """``a, b, c``, cut after SHOWN names."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def counted(count: int, noun: str) -> str:
    """``1 tensor``, ``2 tensors``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
