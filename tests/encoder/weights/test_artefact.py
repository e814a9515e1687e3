"""Encoder artefacts on disk, and `vipjax.load`."""

import importlib
import json

import chex
import jax
import numpy as np
import pytest
import safetensors.numpy

import vipjax
from tests.encoder.seeded import SMALL, assert_one_sentence
from vipjax.encoder import Preprocessing, export_official, init_value
from vipjax.encoder.progress import init_head
from vipjax.encoder.weights import artefact
from vipjax.runtime.errors import UserError

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def value():
  metadata = {"name": "test", "trained_on": "nothing", "licence": "CC0"}
  return init_value(jax.random.key(0), SMALL, Preprocessing(40, 32), metadata)


@pytest.fixture
def folder(value, tmp_path):
  return artefact.save(tmp_path / "deep" / "encoder", value)


def test_what_is_saved_comes_back(value, folder):
  again = vipjax.load(folder)
  assert (again.config, again.preprocessing) == (value.config, value.preprocessing)
  assert again.metadata == value.metadata
  chex.assert_trees_all_equal(again.variables, value.variables)
  np.testing.assert_array_equal(again.embed(FRAMES), value.embed(FRAMES))
  assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
  assert [path.name for path in folder.parent.iterdir()] == ["encoder"]


def test_the_config_names_everything(folder):
  config = json.loads((folder / "config.json").read_text())
  assert config["architecture"]["embedding_dim"] == 16
  assert config["preprocessing"] == {"resize": 40, "crop": 32}
  assert config["metadata"]["licence"] == "CC0"


def test_a_run_folder_is_loaded_by_its_encoder(value, tmp_path):
  artefact.save(tmp_path / "encoder", value)
  (tmp_path / "config.json").write_text("{}")  # a run has its own
  assert vipjax.load(str(tmp_path)).metadata["name"] == "test"


def test_an_artefact_is_replaced_only_when_asked(value, folder):
  with pytest.raises(UserError, match="expected a new folder"):
    artefact.save(folder, value)
  other = value.replace(metadata={})
  artefact.save(folder, other, overwrite=True)
  assert vipjax.load(folder).metadata == {"trained_on": "unknown", "licence": "unknown"}
  (folder.parent / "mine.txt").write_text("keep")
  with pytest.raises(UserError, match="something else"):
    artefact.save(folder.parent, value, overwrite=True)
  assert (folder.parent / "mine.txt").read_text() == "keep"


def test_a_failed_save_leaves_nothing(value, tmp_path):
  with pytest.raises(TypeError):
    artefact.save(tmp_path / "encoder", value.replace(metadata={"odd": object()}))
  assert not list(tmp_path.iterdir())


def with_head(value):
  return value.replace(variables={**value.variables, "progress": init_head(16)})


def test_a_progress_head_is_a_part_of_it(value, tmp_path):
  folder = artefact.save(tmp_path / "encoder", with_head(value))
  assert json.loads((folder / "config.json").read_text())["progress_bins"] == 20
  again = vipjax.load(folder)
  chex.assert_trees_all_equal(again.variables, with_head(value).variables)
  np.testing.assert_array_equal(again.embed(FRAMES), value.embed(FRAMES))
  # The official layout has no head.
  export_official(again, tmp_path / "model.safetensors", overwrite=True)
  exported = safetensors.numpy.load_file(tmp_path / "model.safetensors")
  assert not any("progress" in name for name in exported)


@pytest.mark.parametrize(
  ("bins", "words"),
  [
    (21, r"progress/kernel of shape \(32, 20\) instead of \(32, 21\)"),
    (None, "the unknown progress/bias"),
    (1, "progress_bins of at least 2"),
    ("20", "progress_bins of at least 2"),
  ],
)
def test_another_head_than_the_config_says_is_refused(value, tmp_path, bins, words):
  folder = artefact.save(tmp_path / "encoder", with_head(value))
  config = json.loads((folder / "config.json").read_text())
  (folder / "config.json").write_text(json.dumps(config | {"progress_bins": bins}))
  with pytest.raises(UserError, match=words) as error:
    vipjax.load(folder)
  assert_one_sentence(error)


def change_tensors(folder, change):
  path = folder / "model.safetensors"
  tensors = safetensors.numpy.load_file(path)
  change(tensors)
  safetensors.numpy.save_file(tensors, path)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda t: t.pop("params/fc/bias"), "no params/fc/bias"),
    (lambda t: t.update(extra=np.zeros(1)), "the unknown extra"),
    (lambda t: t.update({"params/fc/bias": np.zeros(3, np.float32)}), r"\(3,\) instead of"),
    (lambda t: t.update({"params/fc/bias": np.zeros(16)}), "float64"),
    (lambda t: t.update({"params/fc/bias": np.full(16, np.inf, np.float32)}), "not finite"),
    (lambda t: t.clear(), "and 96 more"),
  ],
)
def test_wrong_tensors_are_listed(folder, change, words):
  change_tensors(folder, change)
  with pytest.raises(UserError, match=words) as error:
    vipjax.load(folder)
  assert_one_sentence(error)


@pytest.mark.parametrize(
  ("content", "words"),
  [
    ("not json", "expected JSON"),
    ("[]", "of format vipjax-encoder-1"),
    ('{"format": "other"}', "got 'other'"),
  ],
)
def test_a_wrong_config_is_refused(folder, content, words):
  (folder / "config.json").write_text(content)
  with pytest.raises(UserError, match=words) as error:
    vipjax.load(folder)
  assert_one_sentence(error)


@pytest.mark.parametrize(
  ("section", "key", "setting", "words"),
  [
    ("architecture", "depth", 3, "exactly arch, embedding_dim"),
    ("architecture", "arch", "vit", "ResNet arch"),
    ("preprocessing", "crop", 999, "crop <= resize"),
  ],
)
def test_unknown_settings_are_refused(folder, section, key, setting, words):
  config = json.loads((folder / "config.json").read_text())
  config[section][key] = setting
  (folder / "config.json").write_text(json.dumps(config))
  with pytest.raises(UserError, match=words):
    vipjax.load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("inner", [False, True])
def test_what_is_there_in_name_only_is_refused(folder, name, inner):
  place = folder.parent if inner else folder
  (folder / name).unlink()
  (folder / name).symlink_to("gone")
  with pytest.raises(UserError, match=f"{name}, got the dead link"):
    vipjax.load(place)
  (folder / name).unlink()
  (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
  with pytest.raises(UserError, match=f"{name}, got a Git LFS pointer"):
    vipjax.load(place)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_a_released_file_that_is_there_in_name_only(tmp_path, name):
  path = tmp_path / name
  path.symlink_to("gone")
  with pytest.raises(UserError, match="the dead link"):
    vipjax.load(path)
  path.unlink()
  path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
  with pytest.raises(UserError, match="a Git LFS pointer; run git lfs pull"):
    vipjax.encoder.read_vip_checkpoint(path)


def test_damaged_tensors_are_refused(folder):
  path = folder / "model.safetensors"
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(UserError, match="damaged"):
    vipjax.load(folder)
  path.unlink()
  with pytest.raises(UserError, match=r"got no model\.safetensors"):
    artefact.load_artefact(folder)


@pytest.mark.parametrize("name", ["no-such-name", "", "folder", "file.txt"])
def test_anything_else_lists_what_is_accepted(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "folder").mkdir()
  (tmp_path / "file.txt").write_text("")
  with pytest.raises(UserError, match="'mini', 'vip-resnet50'") as error:
    vipjax.load(name)
  assert_one_sentence(error)


def test_mini_is_the_packaged_artefact_or_says_that_there_is_none(value, tmp_path, monkeypatch):
  monkeypatch.setattr(importlib.import_module("vipjax.encoder.load"), "PRETRAINED", tmp_path)
  with pytest.raises(UserError, match="ships none.*train your own"):
    vipjax.load("mini")
  artefact.save(tmp_path / "mini", value)
  assert vipjax.load("mini").metadata["name"] == "test"


def test_what_the_package_holds_can_be_loaded():
  value = vipjax.load("mini")
  assert value.metadata["name"] == "mini" and value.metadata["licence"] == "Apache-2.0"
  assert value.embed(np.zeros((1, 96, 96, 3), np.uint8)).shape == (1, 128)


def test_a_released_format_file_gets_vips_preprocessing(tmp_path):
  config = vipjax.encoder.ResNetConfig("resnet18", 8, 16)
  value = init_value(jax.random.key(0), config, Preprocessing(64, 64))
  export_official(value, tmp_path / "model.pt")
  again = vipjax.load(tmp_path / "model.pt")
  assert (again.config, again.preprocessing) == (config, Preprocessing(256, 224))
  assert "CC BY-NC 4.0" in again.metadata["licence"]


def test_a_released_format_file_of_a_small_stem_has_no_preprocessing(value, tmp_path):
  export_official(value, tmp_path / "model.pt")
  with pytest.raises(UserError, match="no preprocessing"):
    vipjax.load(tmp_path / "model.pt")
