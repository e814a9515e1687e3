"""Reading checkpoints of VIP's released format: what is right is read, all else is refused."""

import io
import pathlib
import pickle
import struct
import zipfile

import chex
import jax
import numpy as np
import pytest

from tests.encoder.seeded import SMALL, assert_one_sentence, seeded_state
from vipjax.encoder import ResNetConfig, export_official, init_value, read_vip_checkpoint
from vipjax.encoder.weights.torch_checkpoint import _read_archive, read_vip_network
from vipjax.encoder.weights.torch_export import write_archive
from vipjax.encoder.weights.torch_layout import PREFIX, from_state_dict, to_state_dict
from vipjax.runtime.errors import UserError

TESTDATA = pathlib.Path(__file__).parents[2] / "testdata"
# A float32 tensor of size 2x3 over six numbers, as torch.save pickles it; parts are replaced below.
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ"
HOOKS = b"ccollections\nOrderedDict\n)R"


def tensor_pickle(offset=b"K\0", size=b"K\x02K\x03\x86", stride=b"K\x03K\x01\x86", storage=STORAGE):
  tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + stride
  return b"\x80\x02}X\x03\0\0\0vip}X\x01\0\0\0x" + tensor + b"\x89" + HOOKS + b"tRss."


def archive(path, data_pickle, extra=(), count=6, compress=False):
  kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
  with zipfile.ZipFile(path, "w", kind) as file:
    file.writestr("model/data.pkl", data_pickle)
    file.writestr("model/data/0", np.arange(count, dtype="<f4").tobytes())
    for name, content in extra:
      file.writestr(name, content)
  return path


def refusal(path, words):
  with pytest.raises(UserError, match=words) as error:
    _read_archive(path)
  assert_one_sentence(error)
  assert str(path) in str(error.value)


def test_what_pytorch_wrote():
  tensors = _read_archive(TESTDATA / "torch_tensors.pt")
  wanted = {
    "transposed": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "row": np.array([4, 5, 6, 7], np.float32),
    "half": np.array([0.5, -2], np.float16),
    "bfloat16": np.array([1, -0.15625], np.float32),
    "double": np.array([[1e300]]),
    "count": np.array(7),
    "parameter": np.array([3], np.float32),
    "empty": np.zeros((0, 3), np.float32),
  }
  assert set(tensors) == set(wanted)
  for name, array in wanted.items():
    assert tensors[name].dtype == array.dtype
    np.testing.assert_array_equal(tensors[name], array)


def test_the_older_format_is_refused_by_name():
  refusal(TESTDATA / "torch_legacy.pt", "older non-zip format")


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_networks_are_told_apart_in_both_byte_orders(arch, byteorder, tmp_path):
  config = ResNetConfig(arch, width=8, embedding_dim=16)
  state = seeded_state(config)
  with open(tmp_path / "model.pt", "wb") as file:
    write_archive(file, state, byteorder)
  got, variables = read_vip_network(tmp_path / "model.pt")
  assert got == config
  again = to_state_dict(config, variables)
  for key, array in state.items():
    np.testing.assert_array_equal(again[key], array)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_import_of_export_is_bitwise_the_same(name, tmp_path):
  value = init_value(jax.random.key(0), SMALL)
  export_official(value, tmp_path / name)
  variables = read_vip_checkpoint(tmp_path / name)
  chex.assert_trees_all_equal(variables, value.variables)
  with pytest.raises(UserError, match="overwrite=True"):
    export_official(value, tmp_path / name)


def test_groupnorm_and_other_suffixes_are_not_exported(tmp_path):
  config = ResNetConfig("resnet18", 8, 16, norm="group")
  with pytest.raises(UserError, match="expected a BatchNorm network"):
    export_official(init_value(jax.random.key(0), config), tmp_path / "a.pt")
  with pytest.raises(UserError, match="safetensors or .pt"):
    export_official(init_value(jax.random.key(0), SMALL), tmp_path / "a.bin")
  assert not list(tmp_path.iterdir())


def without(key):
  return lambda state: {k: v for k, v in state.items() if k != PREFIX + key}


def changed(key, change):
  return lambda state: {k: change(v) if k == PREFIX + key else v for k, v in state.items()}


@pytest.mark.parametrize(
  ("alter", "words"),
  [
    (without("layer4.1.bn2.bias"), "no module.convnet.layer4.1.bn2.bias"),
    (without("conv1.weight"), "expected a VIP state dict with keys"),
    (lambda state: {**state, "module.extra": np.zeros(1)}, "the unknown module.extra"),
    (changed("bn1.weight", lambda v: v[:-1]), r"\(7,\) instead of \(8,\)"),
    (changed("fc.weight", lambda v: v[:, :-1]), r"\(16, 63\) instead of \(16, 64\)"),
    (changed("fc.bias", lambda v: v * np.nan), "fc.bias with values that are not finite"),
    (changed("bn1.running_var", lambda v: -v), "negative variances"),
    (changed("fc.bias", lambda v: v.astype(int)), "int64 instead of floating point"),
    (changed("conv1.weight", lambda v: v[0]), "4 axes"),
    (changed("conv1.weight", lambda v: v[:7]), "multiple of 8"),
    (lambda state: {}, "no tensors"),
  ],
)
def test_wrong_tensors_are_named(alter, words):
  with pytest.raises(UserError, match=words) as error:
    from_state_dict(alter(seeded_state(SMALL)))
  assert_one_sentence(error)


@pytest.mark.parametrize(
  ("content", "words"),
  [
    (b"", "an empty file"),
    (b"\n<!DOCTYPE html><html>403", "a web page"),
    (b"<?xml version='1.0'?><Error/>", "a web page"),
    (b"\x80\x04\x95abc", "starts with 80 04"),
    (b"PK\x03\x04 and then nothing", "truncated or damaged"),
  ],
)
def test_other_files_are_named(content, words, tmp_path):
  path = tmp_path / "model.pt"
  path.write_bytes(content)
  refusal(path, words)


def test_a_truncated_archive_is_refused(tmp_path):
  whole = (TESTDATA / "torch_tensors.pt").read_bytes()
  path = tmp_path / "model.pt"
  for length in range(4, len(whole), 97):
    path.write_bytes(whole[:length])
    refusal(path, "expected")


def test_a_tensor_is_read_where_it_lies(tmp_path):
  path = archive(tmp_path / "model.pt", tensor_pickle())
  np.testing.assert_array_equal(_read_archive(path)["x"], [[0, 1, 2], [3, 4, 5]])
  by_columns = tensor_pickle(stride=b"K\x01K\x02\x86")
  path = archive(tmp_path / "model.pt", by_columns)
  np.testing.assert_array_equal(_read_archive(path)["x"], [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize(
  "wrong",
  [
    {"offset": b"K\x01"},  # one past the end
    {"offset": b"J\xff\xff\xff\xff"},  # -1
    {"offset": b"X\0\0\0\0"},  # text
    {"size": b"K\x02K\x04\x86"},
    {"size": b"K\x06\x85"},  # one axis, two strides
    {"size": b"K\x02K\x03", "stride": b""},  # numbers instead of tuples
    {"size": b"J\xff\xff\xff\xffK\x03\x86"},
    {"stride": b"K\x04K\x01\x86"},
    {"stride": b"J\xfd\xff\xff\xffK\x01\x86"},
    {"size": b"K\xffK\xff\x86", "stride": b"K\0K\0\x86"},  # a small file that fills the memory
    {"size": b"\x8a\x09" + bytes(8) + b"\x01K\x00\x86"},  # 2**64 x 0
    {"size": b"K\0" + b"q\0h\0\x86" * 60},  # pairs of pairs, 2**60 numbers if one walks them
  ],
)
def test_a_tensor_outside_its_storage_is_refused(wrong, tmp_path):
  refusal(archive(tmp_path / "model.pt", tensor_pickle(**wrong)), "expected")


def test_a_storage_of_another_length_is_refused(tmp_path):
  path = archive(tmp_path / "model.pt", tensor_pickle(), count=5)
  refusal(path, "24 bytes in storage '0' in .*, got 20")
  path = archive(tmp_path / "model.pt", tensor_pickle(), count=7)
  refusal(path, "at most 24 bytes")
  other = STORAGE.replace(b"\x000X", b"\x001X")
  refusal(archive(tmp_path / "model.pt", tensor_pickle(storage=other)), "record 'data/1'")


def test_odd_archives_are_refused(tmp_path):
  path = tmp_path / "model.pt"
  refusal(archive(path, tensor_pickle(), compress=True), "compressed")
  refusal(archive(path, tensor_pickle(), [("model/byteorder", "middle")]), "byte order")
  refusal(archive(path, tensor_pickle(), [("other/data.pkl", b"")]), "one data.pkl")
  refusal(archive(path, tensor_pickle(), [("model/constants.pkl", b"")]), "TorchScript")
  with zipfile.ZipFile(path, "w") as file:
    file.writestr("readme.txt", "hello")
  refusal(path, "without it")
  with pytest.raises(UserError, match="got no file"):
    read_vip_checkpoint(tmp_path / "nothing.pt")


@pytest.mark.parametrize(
  ("payload", "words"),
  [
    ({"model": {}}, "key 'vip'.*got 'model'"),
    ({"vip": {}, "timer": {}}, "'timer', 'vip'"),
    ({"vip": {"x": 1}}, "dict of tensors"),
    ([1], "got list"),
  ],
)
def test_another_content_is_named(payload, words, tmp_path):
  refusal(archive(tmp_path / "model.pt", pickle.dumps(payload, 2)), words)


class _Touch:
  """Pickles as a call that leaves a file behind."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickled_code_is_refused_and_not_run(protocol, tmp_path):
  trace = tmp_path / "trace"
  data = pickle.dumps({"vip": _Touch(trace)}, protocol)
  refusal(archive(tmp_path / "model.pt", data), "was not run")
  assert not trace.exists()
  pickle.loads(data)  # it would have
  assert trace.exists()


def test_fuzz_only_clean_errors_come_out(tmp_path):
  """Bytes changed, cut, repeated or swapped, in the archive and in its pickle alone."""
  whole = (TESTDATA / "torch_tensors.pt").read_bytes()
  with zipfile.ZipFile(io.BytesIO(whole)) as file:
    names = file.namelist()
    records = {name: file.read(name) for name in names}
  (pickle_name,) = (name for name in names if name.endswith("data.pkl"))
  rng = np.random.default_rng(0)
  path = tmp_path / "model.pt"
  outcomes = {"read": 0, "refused": 0}
  for trial in range(1500):
    target = bytearray(whole if trial % 3 == 0 else records[pickle_name])
    for _ in range(rng.integers(1, 4)):
      _mutate(target, rng)
    if trial % 3 == 0:
      path.write_bytes(target)
    else:
      with zipfile.ZipFile(path, "w") as file:
        for name, content in records.items():
          file.writestr(name, bytes(target) if name == pickle_name else content)
    try:
      _read_archive(path)
      outcomes["read"] += 1
    except UserError as error:
      assert "\n" not in str(error)
      outcomes["refused"] += 1
  assert min(outcomes.values()) > 20, outcomes


def _mutate(data, rng):
  """Changes the bytes in place."""
  if not data:
    return
  start = int(rng.integers(len(data)))
  stop = min(len(data), start + int(rng.integers(1, 9)))
  kind = rng.integers(5)
  if kind == 0:
    data[start] = rng.integers(256)
  elif kind == 1:
    data[start:stop] = struct.pack("<q", int(rng.choice([-1, 0, 2**31 - 1, 2**62])))[: stop - start]
  elif kind == 2:
    del data[start:stop]
  elif kind == 3:
    data[start:start] = data[start:stop]
  else:
    data[start] ^= 1 << int(rng.integers(8))
