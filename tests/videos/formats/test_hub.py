"""Data sets of the hub: which files are asked for, and what happens without hub or client."""

import fnmatch
import pathlib
import shutil
import sys
import types

import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence
from vipjax.runtime.errors import UserError
from vipjax.videos import local_path, open_videos, read_videos
from vipjax.videos.formats import hub

DATA = pathlib.Path(__file__).parents[2] / "testdata"


class Hub(types.ModuleType):
  """A client whose hub is the folder of our test data, and which notes what it was asked for."""

  def __init__(self, cache):
    super().__init__("huggingface_hub")
    self.cache, self.calls = cache, []

  def snapshot_download(self, name, *, repo_type, revision, allow_patterns):
    assert repo_type == "dataset"
    self.calls.append((name, revision))
    source = DATA / name.split("/")[1]
    if not source.is_dir():
      raise OSError(f"404 Client Error. Repository {name} not found.\nRequest ID: 5.")
    for file in (path for path in source.rglob("*") if path.is_file()):
      place = file.relative_to(source)
      if any(fnmatch.fnmatch(place.as_posix(), p) for p in allow_patterns or ["*"]):
        (self.cache / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, self.cache / place)
    return str(self.cache)

  def fetched(self):
    return sorted(
      path.relative_to(self.cache).as_posix()
      for path in self.cache.rglob("*")
      if path.is_file() and "meta" not in path.parts
    )


@pytest.fixture
def client(tmp_path, monkeypatch):
  client = Hub(tmp_path / "cache")
  monkeypatch.setitem(sys.modules, "huggingface_hub", client)
  return client


@pytest.mark.parametrize("name", ["lerobot_v21", "lerobot_v30", "lerobot_v21_images"])
def test_the_same_videos_as_from_a_folder(client, name):
  here, there = read_videos(DATA / name), read_videos(f"hf://someone/{name}")
  assert len(here) == len(there) == 6
  for one, other in zip(here, there, strict=True):
    np.testing.assert_array_equal(one.frames, other.frames)
    assert (one.task, one.view, one.episode) == (other.task, other.view, other.episode)


def test_only_what_is_wanted_is_fetched(client):
  (video,) = open_videos("hf://someone/lerobot_v21", view="top", episodes=[1])
  assert len(video) == 7
  assert client.fetched() == [
    "data/chunk-000/episode_000001.parquet",
    "videos/chunk-000/observation.images.top/episode_000001.mp4",
  ]


def test_what_is_copied_with_labels_is_fetched_whole(client):
  assert local_path("hf://datasets/someone/lerobot_v30@v3.0") == client.cache
  assert client.calls == [("someone/lerobot_v30", "v3.0")]
  assert len(client.fetched()) == len(list((DATA / "lerobot_v30").rglob("*-000.*"))) - 1


def test_a_camera_that_there_is_not(client):
  with pytest.raises(UserError) as error:
    read_videos("hf://someone/lerobot_v21", view="front")
  assert_one_sentence(error, "view='front'", "top, wrist")


@pytest.mark.parametrize("address", ["hf://", "hf://pusht", "hf://a/b/c", "hf://a/b@"])
def test_another_form_of_address(client, address):
  with pytest.raises(UserError) as error:
    read_videos(address)
  assert_one_sentence(error, address, "hf://lerobot/pusht@v3.0")


def test_what_the_hub_has_not(client):
  with pytest.raises(UserError) as error:
    read_videos("hf://someone/nothing")
  assert_one_sentence(error, "404 Client Error", "no cached copy", "check the name")


def test_no_lerobot_data_set(client):
  with pytest.raises(UserError) as error:
    read_videos("hf://someone/rlds_tfrecord")
  assert_one_sentence(error, "got no meta/info.json")


def test_without_the_client(monkeypatch):
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  with pytest.raises(UserError) as error:
    read_videos("hf://someone/lerobot_v30")
  assert_one_sentence(error, "pip install huggingface_hub")


@pytest.mark.filterwarnings("default")  # the client's own
def test_the_real_client_without_a_network(tmp_path, monkeypatch):
  client = pytest.importorskip("huggingface_hub")
  constants = pytest.importorskip("huggingface_hub.constants")
  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
  download = client.snapshot_download
  monkeypatch.setattr(
    client, "snapshot_download", lambda *a, **k: download(*a, cache_dir=tmp_path, **k)
  )
  with pytest.raises(UserError) as error:
    read_videos("hf://someone/lerobot_v30")
  assert_one_sentence(error, "no cached copy")
  # What lies in its cache, it gives.
  repository, commit = tmp_path / "datasets--someone--lerobot_v30", "a" * 40
  shutil.copytree(DATA / "lerobot_v30", repository / "snapshots" / commit)
  (repository / "refs").mkdir()
  (repository / "refs" / "main").write_text(commit)
  assert len(read_videos("hf://someone/lerobot_v30", view="wrist")) == 3
  assert hub.fetch("hf://someone/lerobot_v30").name == commit
