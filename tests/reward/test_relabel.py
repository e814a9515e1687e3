"""Labels: what they are, and the copies that they go into."""

import csv
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pyarrow.parquet as parquet
import pytest

from tests.videos.clips import moving_picture
from tests.videos.drawn import EPISODES, episode
from vipjax import encoder
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.reward.relabel import Labels, label_videos
from vipjax.reward.relabel_copy import check_label_out, write_labels
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import open_videos, read_videos, write_dataset, write_video

ROOT = pathlib.Path(__file__).parents[2]
DATA = ROOT / "tests/testdata"


@pytest.fixture(scope="module")
def value():
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))


def test_numbers_by_hand():
  labels = Labels({}, np.arange(5.0), np.array([4, 3, 5, 1, 0], np.float32))
  np.testing.assert_array_equal(labels.value, [-4, -3, -5, -1, 0])
  np.testing.assert_array_equal(labels.reward, [1, -2, 4, 1, 0])
  np.testing.assert_allclose(labels.progress, [0, 0.25, 0, 0.75, 1])
  assert {labels.value.dtype, labels.reward.dtype, labels.progress.dtype} == {np.dtype("float32")}


def test_a_video_that_starts_at_its_goal():
  np.testing.assert_array_equal(
    Labels({}, np.arange(2.0), np.zeros(2, np.float32)).progress, [1, 1]
  )


def test_distances_are_those_of_the_value_function(value, tmp_path):
  frames = moving_picture(40, 16, 16)  # more than are decoded at once
  np.save(tmp_path / "a.npy", frames)
  (labels,) = label_videos(value, open_videos(tmp_path / "a.npy"), "frame=3")
  expected = value.distance(frames, frames[3])
  np.testing.assert_allclose(labels.distance, expected, rtol=1e-4, atol=1e-4)
  assert labels.warnings == ()


def test_times_of_a_variable_rate_are_those_of_the_file(value, tmp_path):
  times = np.array([0, 0.1, 0.2, 5.2, 5.3, 5.4])
  write_video(tmp_path / "pause.mp4", moving_picture(6, 16, 16), 10, times=times)
  write_labels(tmp_path, tmp_path / "a.csv", label_videos(value, open_videos(tmp_path)))
  with (tmp_path / "a.csv").open() as file:
    np.testing.assert_allclose([float(row["time_s"]) for row in csv.DictReader(file)], times)


@pytest.mark.parametrize("name", ["lerobot_v30", "lerobot_v21", "lerobot_v21_images"])
def test_a_copy_of_a_lerobot_data_set(value, tmp_path, name):
  before = {path: path.read_bytes() for path in (DATA / name).rglob("*") if path.is_file()}
  labels = label_videos(value, open_videos(DATA / name, view="top"))
  out = tmp_path / "copy"
  write_labels(DATA / name, out, labels)
  assert {path: path.read_bytes() for path in before} == before
  tables = [parquet.read_table(path) for path in sorted((out / "data").rglob("*.parquet"))]
  rows = [row for table in tables for row in table.to_pylist()]
  assert len(rows) == 18
  for each in labels:
    mine = [row for row in rows if row["episode_index"] == each.metadata["episode"]]
    for column in ("value", "distance", "reward", "progress"):
      found = [row[f"embedding.{column}"] for row in mine]
      np.testing.assert_array_equal(found, getattr(each, column))
  progress = parquet.read_table(out / "progress.parquet")
  assert [(field.name, str(field.type)) for field in progress.schema] == [
    ("index", "int64"), ("episode_index", "int64"), ("frame_index", "int64"),
    ("progress_sparse", "float"),
  ]  # fmt: skip
  assert progress["index"].to_pylist() == list(range(18))
  # Still a data set that is read.
  assert len(read_videos(out)) == 6
  with pytest.raises(UserError, match="without labels"):
    write_labels(out, tmp_path / "again", labels)
  assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_lerobot_reads_the_copy(value, tmp_path):
  datasets = pytest.importorskip("lerobot.datasets.lerobot_dataset")
  labels = label_videos(value, open_videos(DATA / "lerobot_v30", view="top"))
  write_labels(DATA / "lerobot_v30", tmp_path / "copy", labels)
  dataset = datasets.LeRobotDataset("vipjax/test", root=tmp_path / "copy", video_backend="pyav")
  row = dataset.hf_dataset[6]
  assert float(row["embedding.distance"]) == pytest.approx(float(labels[1].distance[1]))
  assert dataset.meta.stats["embedding.reward"]["count"] == [18]


@pytest.fixture
def rlds(tmp_path):
  """The three episodes as a TFDS data set."""
  videos = [
    Video(episode("top", number), view="top", episode=number, task=task, success=success)
    for number, (_, task, success) in enumerate(EPISODES)
  ]
  return write_dataset(tmp_path / "rlds", videos, "tfds")


def test_a_copy_of_a_tfds_data_set(value, tmp_path, rlds):
  import tensorflow_datasets as tfds

  labels = label_videos(value, open_videos(rlds))
  write_labels(rlds, tmp_path / "copy", labels)
  source = tfds.builder_from_directory(tmp_path / "copy").as_data_source("train")
  assert len(source) == 3
  for number, example in enumerate(source):
    steps = list(example["steps"])
    found = [step["embedding_reward"] for step in steps]
    np.testing.assert_array_equal(found, labels[number].reward)
    images = [step["observation"]["top"] for step in steps]
    np.testing.assert_array_equal(images, episode("top", number))
    assert example["episode_metadata"]["success"] == EPISODES[number][2]
  assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "rlds"]


def test_an_episode_without_steps_stays_without_labels(value, tmp_path):
  import tensorflow_datasets as tfds

  command = [sys.executable, str(ROOT / "tests/videos/write_rlds.py"), str(tmp_path / "rlds")]
  subprocess.run([*command, "array_record", "1"], check=True, capture_output=True)
  labels = label_videos(value, open_videos(tmp_path / "rlds", view="image"))
  assert [each.metadata["episode"] for each in labels] == [0, 2]
  write_labels(tmp_path / "rlds", tmp_path / "copy", labels)
  source = tfds.builder_from_directory(tmp_path / "copy").as_data_source("train")
  found = [[step["embedding_value"] for step in example["steps"]] for example in source]
  assert [len(each) for each in found] == [5, 0, 6]
  np.testing.assert_array_equal(found[2], labels[1].value)


def test_tfrecord_is_refused(value, tmp_path):
  labels = label_videos(value, open_videos(DATA / "rlds_tfrecord", view="image"))
  with pytest.raises(UserError, match="TFRecord, which only TensorFlow writes"):
    write_labels(DATA / "rlds_tfrecord", tmp_path / "copy", labels)
  write_labels(DATA / "rlds_tfrecord", tmp_path / "labels.csv", labels)
  assert len((tmp_path / "labels.csv").read_text().splitlines()) == 19


def test_two_cameras_are_refused(value, tmp_path):
  labels = label_videos(value, open_videos(DATA / "lerobot_v21"))
  with pytest.raises(UserError, match="one camera to take rewards from, got top, wrist"):
    write_labels(DATA / "lerobot_v21", tmp_path / "copy", labels)


def test_episodes_without_labels_are_refused(value, tmp_path):
  labels = label_videos(value, open_videos(DATA / "lerobot_v21", view="top", episodes=[0, 2]))
  with pytest.raises(UserError, match="every frame of episode 1"):
    write_labels(DATA / "lerobot_v21", tmp_path / "copy", labels)
  assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
  (tmp_path / "labels.csv").write_text("mine")
  np.save(tmp_path / "a.npy", moving_picture(2, 8, 8))
  with pytest.raises(UserError, match="labels overwrite nothing"):
    check_label_out(tmp_path / "a.npy", tmp_path / "labels.csv")
  with pytest.raises(UserError, match="ends in .csv"):
    check_label_out(tmp_path / "a.npy", tmp_path / "copy")
  with pytest.raises(UserError, match="nothing is at"):
    check_label_out(tmp_path / "b.npy", tmp_path / "new.csv")


def test_the_launcher(tmp_path, value):
  encoder.save(tmp_path / "encoder", value)
  np.save(tmp_path / "a.npy", moving_picture(5, 16, 16))
  np.save(tmp_path / "goal.npy", moving_picture(5, 16, 16)[:, ::-1, ::-1])
  out = tmp_path / "labels.csv"
  command = [sys.executable, "-m", "launch.label", f"--data={tmp_path / 'a.npy'}"]
  command += [f"--encoder={tmp_path / 'encoder'}", f"--goal={tmp_path / 'goal.npy'}"]
  environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
  done = subprocess.run(
    [*command, f"--out={out}"], cwd=ROOT, env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert "1 videos, 5 frames" in done.stdout and "resembles no frame" in done.stderr
  with out.open() as file:
    rows = list(csv.DictReader(file))
  assert [row["frame"] for row in rows] == ["0", "1", "2", "3", "4"]
  assert float(rows[-1]["reward"]) == 0.0 and float(rows[0]["distance"]) > 0
