"""Opening checkpoint folders: what is read, and one clear line for everything that is broken."""

import json
import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from dsv4c.errors import UserError
from dsv4c.frontend.checkpoint import Checkpoint

DEMO = Path(__file__).parent.parent / "examples" / "tiny-v4"
INDEX = "model.safetensors.index.json"
BITS = {"F32": 32, "BF16": 16, "F8_E4M3": 8, "F8_E8M0": 8, "I8": 8, "F4": 4}


def entry(dtype, shape, start):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, start + int(np.prod(shape)) * BITS[dtype] // 8]}


def write(path, header, data, length=None):
    """A safetensors file from its parts; ``length`` is the claimed length of the header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_bytes((DEMO / "config.json").read_bytes())
    return tmp_path


@pytest.fixture
def sharded(folder):
    for name, tensor in (("a", "x"), ("b", "y")):
        write(folder / f"{name}.safetensors", {tensor: entry("F32", [2], 0)}, struct.pack("<2f", 1, 2))
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    return folder


def refused(folder, *parts):
    with pytest.raises(UserError) as err:
        Checkpoint.open(folder)
    for part in parts:
        assert part in str(err.value)
    assert "\n" not in str(err.value)


def test_demo_is_what_transformers_wrote():
    checkpoint = Checkpoint.open(DEMO)
    assert checkpoint.config.layers == 5
    stored = checkpoint.tensors["model.layers.0.ffn.gate.tid2eid"]
    assert (stored.dtype, stored.shape) == ("I64", (128, 3))
    safetensors = pytest.importorskip("safetensors.numpy")
    for name, array in safetensors.load_file(DEMO / "model.safetensors").items():
        np.testing.assert_array_equal(checkpoint.read(name), array)


def test_opening_reads_no_weight(folder, monkeypatch):
    write(folder / "model.safetensors", {"x": entry("F32", [2], 0)}, bytes(8))
    monkeypatch.setattr(np, "memmap", None)
    assert list(Checkpoint.open(folder).tensors) == ["x"]


def test_dtypes_that_numpy_lacks(folder):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in {
        "BF16": np.array([[1.5, -2.0]], ml_dtypes.bfloat16),
        "F8_E4M3": np.array([[448, -0.5]], ml_dtypes.float8_e4m3fn),
        "F8_E8M0": np.array([[0.25, 8]], ml_dtypes.float8_e8m0fnu),
        "I8": np.array([[-128, 127]], np.int8),
    }.items():
        header[name] = entry(name, [1, 2], len(data))
        data += values.tobytes()
    header["none"] = entry("F32", [0, 3], len(data))
    write(folder / "weights.safetensors", header, data)
    checkpoint = Checkpoint.open(folder)
    assert checkpoint.read("BF16").astype(np.float32).tolist() == [[1.5, -2.0]]
    assert checkpoint.read("F8_E4M3").astype(np.float32).tolist() == [[448, -0.5]]
    assert checkpoint.read("F8_E8M0").astype(np.float32).tolist() == [[0.25, 8]]
    assert checkpoint.read("I8").tolist() == [[-128, 127]]
    assert checkpoint.read("none").shape == (0, 3)
    assert not checkpoint.read("I8").flags.writeable


def test_unknown_dtype_is_refused_when_read(folder):
    write(folder / "model.safetensors", {"x": entry("F4", [2, 2], 0)}, bytes(2))
    with pytest.raises(UserError, match="tensor x is stored as F4"):
        Checkpoint.open(folder).read("x")


def test_shards(sharded):
    checkpoint = Checkpoint.open(sharded)
    assert [(s.name, s.file.name) for s in checkpoint.tensors.values()] == [
        ("x", "a.safetensors"),
        ("y", "b.safetensors"),
    ]
    assert checkpoint.read("y").tolist() == [1, 2]
    assert checkpoint.weights.name == INDEX


def test_index_decides_between_copies(sharded):
    both = {"x": entry("F32", [2], 0), "y": entry("F32", [2], 8)}
    write(sharded / "b.safetensors", both, struct.pack("<4f", 7, 7, 8, 8))
    checkpoint = Checkpoint.open(sharded)
    assert checkpoint.read("x").tolist() == [1, 2]
    assert checkpoint.read("y").tolist() == [8, 8]


def test_folder(tmp_path):
    refused(tmp_path / "nowhere", "nowhere: no such folder")
    refused(DEMO / "config.json", "config.json: not a folder")
    refused(tmp_path, "config.json: cannot read the file: No such file")


def test_no_weights(folder):
    refused(folder, str(folder), "no weights")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    refused(folder, "pytorch_model.bin", "never loaded", "convert them")
    for name in ("model0-mp2.safetensors", "model1-mp2.safetensors"):
        write(folder / name, {}, b"")
    refused(folder, "2 safetensors files but no model.safetensors.index.json", "model0-mp2.safetensors")


TWO = {"x": entry("F32", [2], 0)}


@pytest.mark.parametrize(
    ("header", "data", "length", "text"),
    [
        (b"", b"", 10**6, "the header is cut off: it claims more bytes than the file has"),
        (b'{"x":{"dtype"', b"", 500, "the header is cut off"),
        (TWO, bytes(8), 2**63, "a header of more than 100 MB"),
        (b'{"x":{"dtype"', b"", None, "the header is not valid: EOF while parsing"),
        (b"[1]", b"", None, "the header is not valid"),
        (TWO, bytes(4), None, "describes 8 bytes of tensors, but the file has 4"),
        (TWO, bytes(12), None, "describes 8 bytes of tensors, but the file has 12"),
        (TWO | {"y": entry("F32", [2], 4)}, bytes(12), None, "overlap or leave a gap at tensor `y`"),
        (TWO | {"y": entry("F32", [2], 12)}, bytes(20), None, "overlap or leave a gap at tensor `y`"),
        ({"x": TWO["x"] | {"shape": [3]}}, bytes(8), None, "shape and dtype do not give the number of bytes"),
        ({"x": TWO["x"] | {"shape": [-2]}}, bytes(8), None, "not valid: invalid value: integer `-2`"),
        ({"x": TWO["x"] | {"dtype": "F7"}}, bytes(8), None, "not valid: unknown variant `F7`"),
    ],
)
def test_broken_header(folder, header, data, length, text):
    path = folder / "model.safetensors"
    write(path, header, data, length)
    refused(folder, f"{path}: ", text, "download the file again")


def test_file_shorter_than_its_first_number(folder):
    (folder / "model.safetensors").write_bytes(b"abc")
    refused(folder, "model.safetensors: the header is cut off: the file is shorter than 8 bytes")


def test_every_shard_is_checked(sharded):
    path = sharded / "b.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refused(sharded, "b.safetensors: the header describes 8 bytes of tensors, but the file has 7")


def test_missing_shards(sharded):
    (sharded / "a.safetensors").unlink()
    refused(sharded, f"{INDEX}: 1 shard of 2 missing: a.safetensors; download")


def test_tensor_not_in_its_shard(sharded):
    table = {"x": "a.safetensors", "y": "b.safetensors", "z": "b.safetensors"}
    (sharded / INDEX).write_text(json.dumps({"weight_map": table}))
    refused(sharded, f"{INDEX}: 1 tensor not in b.safetensors: z")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"x": 3}}'])
def test_broken_index(sharded, text):
    (sharded / INDEX).write_text(text)
    refused(sharded, INDEX)


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", "sub/../../a.safetensors", ".", "a\0b", ""])
def test_index_that_leaves_the_folder(sharded, name):
    (sharded / INDEX).write_text(json.dumps({"weight_map": {"x": name}}))
    refused(sharded, f"{INDEX}:weight_map: {name!r} is outside of the folder")


def test_index_that_names_a_pickle(sharded):
    (sharded / "a.bin").write_bytes(b"")
    (sharded / INDEX).write_text(json.dumps({"weight_map": {"x": "a.bin"}}))
    refused(sharded, "weight_map: not a safetensors file: a.bin")


def test_links(sharded, tmp_path_factory):
    """A link may not leave the folder, but the layout of the hub's cache is fine."""
    outside = tmp_path_factory.mktemp("outside")
    os.rename(sharded / "a.safetensors", outside / "a.safetensors")
    (sharded / "a.safetensors").symlink_to(outside / "a.safetensors")
    refused(sharded, "'a.safetensors' is outside of the folder")
    snapshot = outside / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (outside / "blobs").mkdir()
    for index, name in enumerate(("config.json", INDEX, "a.safetensors", "b.safetensors")):
        (outside / "blobs" / str(index)).write_bytes((sharded / name).read_bytes())
        (snapshot / name).symlink_to(f"../../blobs/{index}")
    assert Checkpoint.open(snapshot).read("x").tolist() == [1, 2]
