"""A model on disk: weights streamed beside it one at a time, everything whole or absent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from onnx import ModelProto, TensorProto, checker, numpy_helper

from dsv4c.errors import UserError
from dsv4c.files import destination
from dsv4c.ir.registry import Array
from dsv4c.ir.types import DTYPES, TensorType

from .graph import ELEMENT

Weights = Mapping[str, Array] | Callable[[str], Array]
INLINE = 1024  # bytes; onnx's own default for what is too small for external data
PAGE = 4096  # offsets in the data file, so that it can be mapped: onnx.proto, TensorProto.external_data


def write(
    model: ModelProto, tensors: Sequence[tuple[str, TensorType]], weights: Weights | None, path: Path
) -> tuple[Path, ...]:
    """Add the weights that the model uses, check it, and put it in place; gives the files.

    Bytes depend on the model and the weights only. The checker runs on the finished files. Links to regular files are
    followed; a UserError for anything else that is no regular file.
    """
    path = destination(Path(path))
    places = {part: destination(path.with_name(part)) for part in (path.name, f"{path.name}.data")}
    used = {name for node in model.graph.node for name in node.input} | _captured(model)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
        draft, data = Path(folder, path.name), Path(folder, f"{path.name}.data")
        if weights is not None:
            with data.open("wb") as file:
                for name, type_ in tensors:
                    if name in used:
                        model.graph.initializer.append(_stored(name, type_, weights, file, data.name))
        draft.write_bytes(model.SerializeToString(deterministic=True))
        checker.check_model(str(draft), full_check=True)
        done = [part for part in (data, draft) if part.exists() and part.stat().st_size]
        for part in done:
            shutil.move(part, places[part.name])  # a linked data file may be on another disk
    return tuple(path.with_name(part.name) for part in reversed(done))


def _captured(model: ModelProto) -> set[str]:
    """Names that the bodies of Loops take from outside."""
    bodies = [a.g for node in model.graph.node if node.op_type == "Loop" for a in node.attribute if a.name == "body"]
    return {name for body in bodies for node in body.node for name in node.input}


def _stored(name: str, type_: TensorType, weights: Weights, file: BinaryIO, location: str) -> TensorProto:
    """One weight, inline if small, else appended to the data file."""
    array = _array(name, type_, weights)
    if array.nbytes < INLINE:
        return numpy_helper.from_array(array, name)
    raw = numpy_helper.from_array(array).raw_data if type_.dtype == "f4e2m1" else array.reshape(-1).view(np.uint8).data
    file.write(b"\0" * (-file.tell() % PAGE))
    tensor = TensorProto(name=name, data_type=ELEMENT[type_.dtype], dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(file.tell()), "length": str(len(raw))}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    file.write(raw)
    return tensor


def _array(name: str, type_: TensorType, weights: Weights) -> Array:
    """The array of one weight; a UserError unless it has the shape and dtype of its type."""
    path = name.partition(".")[2]
    try:
        array = weights(path) if callable(weights) else weights[path]
    except KeyError:
        raise UserError("the weight is missing", where=path) from None
    if array.shape != type_.shape or array.dtype != DTYPES[type_.dtype]:
        raise UserError(f"the weight is {array.dtype}{list(array.shape)}, the model needs {type_}", where=path)
    return np.require(array, requirements="C")
