"""Labels: what they are, and the copies that they go into."""

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from tests.compilation import FAST
from tests.videos.clips import encode, moving_picture
from tests.videos.drawn import EPISODES, episode
from vipjax import encoder
from vipjax.encoder.progress import init_head
from vipjax.reward.relabel import (
  Labels,
  check_label_out,
  label_videos,
  videos_to_label,
  write_labels,
)
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import open_videos, read_videos, write_dataset, write_video

ROOT = pathlib.Path(__file__).parents[2]
DATA = ROOT / "tests/testdata"


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


@pytest.fixture(scope="module")
def value(whole_value):
  return whole_value


def test_distances_are_those_of_the_value_function(value, tmp_path):
  frames = moving_picture(40, 16, 16)  # more than are decoded at once
  np.save(tmp_path / "a.npy", frames)
  (labels,) = label_videos(value, open_videos(tmp_path / "a.npy"), "frame=3")
  expected = value.distance(frames, frames[3])
  np.testing.assert_allclose(labels.distance, expected, rtol=1e-4, atol=1e-4)
  assert labels.warnings == ()


def test_the_reward_may_be_the_progress_of_each_step(value, tmp_path):
  frames = moving_picture(40, 16, 16)
  np.save(tmp_path / "a.npy", frames)
  with pytest.raises(UserError, match="progress head, got one without"):
    label_videos(value, open_videos(tmp_path / "a.npy"), form="progress")
  head = init_head(8)
  head["kernel"] = np.random.default_rng(1).normal(size=(16, 20)).astype(np.float32)
  value = value.replace(variables={**value.variables, "progress": head})
  (labels,) = label_videos(value, open_videos(tmp_path / "a.npy"), form="progress")
  expected = np.append(value.progress(frames[:-1], frames[1:]), 0)
  np.testing.assert_allclose(labels.reward, expected, rtol=1e-3, atol=1e-5)
  assert labels.reward.dtype == np.float32 and np.abs(labels.reward).max() > 1e-3


def test_times_of_a_variable_rate_are_those_of_the_file(value, tmp_path):
  times = np.array([0, 0.1, 0.2, 5.2, 5.3, 5.4])
  write_video(tmp_path / "pause.mp4", moving_picture(6, 16, 16), 10, times=times)
  write_labels(tmp_path, tmp_path / "a.csv", label_videos(value, open_videos(tmp_path)))
  with (tmp_path / "a.csv").open() as file:
    np.testing.assert_allclose([float(row["time_s"]) for row in csv.DictReader(file)], times)


def check_statistics(folder, labels):
  """Of each episode and of all, wherever the data set keeps statistics of its other columns."""
  if (folder / "meta/stats.json").exists():
    whole = json.loads((folder / "meta/stats.json").read_text())
    rewards = np.concatenate([each.reward for each in labels]).astype(np.float64)
    found = whole["embedding.reward"]
    np.testing.assert_allclose(found["std"], [rewards.std()])
    np.testing.assert_allclose(found["q10"], [np.quantile(rewards, 0.1)])
    assert found["count"] == [18] and "observation.state" in whole
    parts = parquet.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    parts = [
      {
        key.removeprefix("stats/embedding.reward/"): value
        for key, value in part.items()
        if key.startswith("stats/embedding.reward/")
      }
      for part in parts
    ]
    assert set(parts[0]) == set(found)
  else:
    lines = (folder / "meta/episodes_stats.jsonl").read_text().splitlines()
    parts = [json.loads(line)["stats"]["embedding.reward"] for line in lines]
  for part, each in zip(parts, labels, strict=True):
    assert part["count"] == [len(each.reward)]
    np.testing.assert_allclose(part["mean"], [each.reward.mean(dtype=np.float64)])
    np.testing.assert_array_equal(part["max"], [each.reward.max()])


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
  progress = parquet.read_table(out / "sarm_progress.parquet")
  assert [(field.name, str(field.type)) for field in progress.schema] == [
    ("index", "int64"), ("episode_index", "int64"), ("frame_index", "int64"),
    ("progress_sparse", "float"),
  ]  # fmt: skip
  assert progress["index"].to_pylist() == list(range(18))
  # Each episode has a row group of its own.
  for path in (out / "data").rglob("*.parquet"):
    file = parquet.ParquetFile(path)
    groups = [file.read_row_group(index)["episode_index"] for index in range(file.num_row_groups)]
    assert [len(set(group.to_pylist())) for group in groups] == [1] * len(groups)
    assert len(groups) == len(set(file.read()["episode_index"].to_pylist()))
  check_statistics(out, labels)
  # Still a data set that is read.
  assert len(read_videos(out)) == 6
  with pytest.raises(UserError, match="without labels"):
    write_labels(out, tmp_path / "again", labels)
  assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_labels_go_by_the_order_of_rows(tmp_path):
  """Of an episode whose first rows were taken out, in a file with its rows in another order."""
  data = pathlib.Path(shutil.copytree(DATA / "lerobot_v30", tmp_path / "data"))
  path = data / "data/chunk-000/file-000.parquet"
  table = parquet.read_table(path)
  parquet.write_table(table.take([4, 2, 3, *range(5, 18)]), path)
  records = data / "meta/episodes/chunk-000/file-000.parquet"
  table = parquet.read_table(records)
  lengths = table.column_names.index("length")
  parquet.write_table(table.set_column(lengths, "length", arrow.array([3, 7, 6])), records)
  videos = open_videos(data, view="top")
  labels = [
    Labels(each.metadata, each.times, np.arange(len(each), dtype=np.float32)) for each in videos
  ]
  write_labels(data, tmp_path / "copy", labels)
  copy = parquet.read_table(tmp_path / "copy/data/chunk-000/file-000.parquet")
  assert copy["frame_index"].to_pylist()[:3] == [4, 2, 3]
  assert copy["embedding.distance"].to_pylist()[:4] == [2, 0, 1, 0]


def test_labels_of_films_at_another_rate(value, tmp_path):
  """Films at 30 frames a second beside rows at 10: the same numbers as of films at 10."""
  frames = np.concatenate([episode("top", number) for number in range(3)])
  found = []
  for repeats in (1, 3):
    data = pathlib.Path(shutil.copytree(DATA / "lerobot_v30", tmp_path / str(repeats)))
    film = data / "videos/observation.images.top/chunk-000/file-000.mp4"
    shown = np.repeat(frames, repeats, axis=0)
    encode(film, shown, "png", rate=10 * repeats, pixel_format="rgb24")
    found.append(label_videos(value, open_videos(data, view="top")))
  for one, other in zip(*found, strict=True):
    np.testing.assert_array_equal(one.distance, other.distance)


@pytest.mark.parametrize("reward", [None, "next.reward"])
def test_the_name_of_the_rewards(tmp_path, rlds, reward):
  def labels(data, **options):
    return [
      Labels(each.metadata, each.times, np.arange(len(each), dtype=np.float32) ** 2)
      for each in open_videos(data, **options)
    ]

  import tensorflow_datasets as tfds

  lerobot = DATA / "lerobot_v30"
  check_label_out(lerobot, tmp_path / "lerobot", reward)
  write_labels(lerobot, tmp_path / "lerobot", labels(lerobot, view="top"), reward)
  table = parquet.read_table(tmp_path / "lerobot/data/chunk-000/file-000.parquet")
  assert table[reward or "embedding.reward"].to_pylist()[:5] == [-1, -3, -5, -7, 0]
  features = json.loads((tmp_path / "lerobot/meta/info.json").read_text())["features"]
  assert features[reward or "embedding.reward"]["dtype"] == "float32"
  write_labels(rlds, tmp_path / "copy", labels(rlds), reward)
  (first, *_) = tfds.builder_from_directory(tmp_path / "copy").as_data_source("train")
  found = [step[reward or "embedding_reward"] for step in first["steps"]]
  assert found == [-1, -3, -5, -7, 0]
  write_labels(rlds, tmp_path / "a.csv", labels(rlds), reward)
  with (tmp_path / "a.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [float(row[reward or "reward"]) for row in rows[:5]] == [-1, -3, -5, -7, 0]
  for data in (tmp_path / "lerobot", tmp_path / "copy"):
    with pytest.raises(UserError, match="without labels"):
      check_label_out(data, tmp_path / "again", reward)


@pytest.mark.parametrize("reward", ["", "a/b", "value", "embedding.distance", "embedding_value"])
def test_names_that_the_rewards_cannot_have(tmp_path, reward):
  with pytest.raises(UserError, match="column of rewards"):
    check_label_out(DATA / "lerobot_v30", tmp_path / "out", reward)


def test_a_column_that_is_there_is_not_replaced(tmp_path):
  with pytest.raises(UserError, match="got next.success in"):
    check_label_out(DATA / "lerobot_v30", tmp_path / "out", "next.success")


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


def test_copies_without_the_robot_are_no_other_camera(value, tmp_path):
  plain = Video(moving_picture(3, 32, 32), view="top", episode=0)
  copy = Video(moving_picture(3, 32, 32)[::-1], view="top", episode=0, robot_visible=False)
  write_dataset(tmp_path / "data", [copy, plain], "lerobot")
  for view, robot_free in (("top", False), ("top_robot_free", True)):
    found = open_videos(tmp_path / "data", view=view)
    labels = label_videos(value, found)
    write_labels(tmp_path / "data", tmp_path / view, labels)
    rows = parquet.read_table(tmp_path / view / "data/chunk-000/file-000.parquet").to_pylist()
    assert len(videos_to_label(tmp_path / "copy", found)) == 1
    (expected,) = (
      each.distance
      for each in labels
      if (each.metadata.get("robot_visible") is False) == robot_free
    )
    np.testing.assert_array_equal([row["embedding.distance"] for row in rows], expected)


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
  with pytest.raises(UserError, match="got nothing at"):
    check_label_out(tmp_path / "b.npy", tmp_path / "new.csv")


@pytest.fixture
def refused(tmp_path):
  """Folders and places that cannot be used, by the argument and what the sentence must say."""
  (tmp_path / "FILE").write_text("mine")
  shutil.copytree(DATA / "lerobot_v30", tmp_path / "labelled")
  table = parquet.read_table(tmp_path / "labelled/data/chunk-000/file-000.parquet")
  table = table.append_column("embedding.value", arrow.array(np.zeros(18, np.float32)))
  parquet.write_table(table, tmp_path / "labelled/data/chunk-000/file-000.parquet")
  shutil.copytree(DATA / "lerobot_v30", tmp_path / "dead")
  (tmp_path / "dead/images").symlink_to("/nowhere")
  shutil.copytree(DATA / "lerobot_v21", tmp_path / "more")
  for name in ("0", "9"):
    shutil.copy(
      tmp_path / "more/data/chunk-000/episode_000002.parquet",
      tmp_path / f"more/data/chunk-000/episode_{name}.parquet",
    )
  table = parquet.read_table(tmp_path / "more/data/chunk-000/episode_9.parquet")
  column = table.column_names.index("episode_index")
  table = table.set_column(column, "episode_index", arrow.array([9] * 6))
  parquet.write_table(table, tmp_path / "more/data/chunk-000/episode_9.parquet")
  lerobot, out = f"--data={DATA / 'lerobot_v30'}", f"--out={tmp_path / 'out'}"
  return [
    ([lerobot, out], "one camera to take rewards from, got top, wrist; choose with --view"),
    ([lerobot, f"--out={tmp_path}/FILE/x", "--view=top"], "got a file in the way"),
    ([lerobot, f"--out={tmp_path}/FILE/x.csv", "--view=top"], "got a file in the way"),
    ([lerobot, f"--out={tmp_path}/FILE", "--view=top"], "labels overwrite nothing"),
    ([lerobot, "--out=/proc/x", "--view=top"], "expected to write into /proc"),
    ([lerobot, "--out=/proc/x/y.csv", "--view=top"], "expected to write into /proc"),
    ([f"--data={tmp_path}/labelled", out, "--view=top"], "without labels, got embedding.value"),
    ([f"--data={tmp_path}/dead", out, "--view=top"], "dead/images, got the dead link"),
    ([f"--data={tmp_path}/more", out, "--view=top"], "got rows of episode 9"),
    ([f"--data={DATA / 'rlds_tfrecord'}", out, "--view=image"], "which only TensorFlow writes"),
    ([lerobot, out, "--view=top", "--reward_column=timestamp"], "got timestamp in"),
  ]


_REFUSED = """
import json, sys
from absl import flags
from launch import label
for arguments in json.loads(sys.argv[1]):
  flags.FLAGS.unparse_flags()
  for name in ("view", "reward_column"):
    flags.FLAGS[name].unparse()
  flags.FLAGS(["label", "--encoder=nowhere", *arguments])
  try:
    label.main([])
    print("done")
  except ValueError as error:
    print(error)
"""


def test_what_cannot_be_done_is_refused_before_the_work(tmp_path, refused):
  # There is no encoder: with it the work would begin.
  arguments = json.dumps([arguments for arguments, _ in refused])
  command = [sys.executable, "-c", _REFUSED, arguments]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  said = done.stdout.splitlines()
  for line, (_, part) in zip(said, refused, strict=True):
    assert line.startswith("expected ") and part in line and line.endswith("."), line
  assert sorted(path.name for path in tmp_path.iterdir()) == ["FILE", "dead", "labelled", "more"]


def test_a_copy_without_room_is_refused(tmp_path, monkeypatch):
  usage = shutil.disk_usage(tmp_path)
  monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=500_000 // 10))
  with pytest.raises(UserError, match="room for a copy of .*, got 0.1 MB"):
    check_label_out(DATA / "lerobot_v30", tmp_path / "copy")
  check_label_out(DATA / "lerobot_v30", tmp_path / "a.csv")


def test_the_launcher(tmp_path, value):
  encoder.save(tmp_path / "encoder", value)
  np.save(tmp_path / "a.npy", moving_picture(5, 16, 16))
  np.save(tmp_path / "goal.npy", moving_picture(5, 16, 16)[:, ::-1, ::-1])
  out = tmp_path / "labels.csv"
  command = [sys.executable, "-m", "launch.label", f"--data={tmp_path / 'a.npy'}"]
  command += [f"--encoder={tmp_path / 'encoder'}", f"--goal={tmp_path / 'goal.npy'}"]
  environment = {**os.environ, "XLA_FLAGS": FAST}
  done = subprocess.run(
    [*command, f"--out={out}"], cwd=ROOT, env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert "1 videos, 5 frames" in done.stdout and "resembles no frame" in done.stderr
  with out.open() as file:
    rows = list(csv.DictReader(file))
  assert [row["frame"] for row in rows] == ["0", "1", "2", "3", "4"]
  assert float(rows[-1]["reward"]) == 0.0 and float(rows[0]["distance"]) > 0
