"""What we write in other people's formats: read by us, and by their own libraries."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as parquet
import pytest

from tests.videos.clips import assert_one_sentence, moving_picture, psnr
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import read_video, read_videos, write_dataset, write_video
from vipjax.videos.export import FORMATS


@pytest.fixture
def videos():
  """Two episodes, two views, one of them also without the robot."""
  made = []
  for episode, (length, task, success) in enumerate([(5, "push it", True), (4, "pull it", False)]):
    known = {"task": task, "success": success, "episode": episode, "embodiment": "panda"}
    for shift, (view, visible) in enumerate([("left", True), ("left", False), ("top.down", True)]):
      frames = np.roll(moving_picture(length, 32, 48), 7 * shift + 3 * episode, axis=2)
      source = f"run, episode {episode}"
      made.append(Video(frames, 20.0, view=view, robot_visible=visible, source=source, **known))
  return made


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read_again(tmp_path, videos, form):
  folder = write_dataset(tmp_path / "dataset", videos, form)
  assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
  again = {(v.episode, v.view, v.robot_visible is False): v for v in read_videos(folder)}
  assert len(again) == 6
  for video in videos:
    # A name of two formats may not have a dot.
    view = video.view if form in ("mp4", "frames") else video.view.replace(".", "_")
    read = again[video.episode, view, video.robot_visible is False]
    if form in ("frames", "tfds"):
      np.testing.assert_array_equal(read.frames, video.frames)
    else:
      assert read.frames.shape == video.frames.shape
      for index, frame in enumerate(read.frames):
        errors = [np.square(frame.astype(float) - other).mean() for other in video.frames]
        assert np.argmin(errors) == index
    known = (read.task, read.success, read.fps, read.embodiment)
    assert known == (video.task, video.success, 20.0, "panda")


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_is_replaced_unasked(tmp_path, videos, form):
  folder = tmp_path / "dataset"
  folder.mkdir()
  (folder / "mine.txt").write_text("x")
  with pytest.raises(UserError) as error:
    write_dataset(folder, videos, form)
  assert_one_sentence(error, folder, "overwrite=True")
  assert (folder / "mine.txt").exists()
  write_dataset(folder, videos, form, overwrite=True)
  assert len(read_videos(folder)) == 6


_TFDS = """
import sys
import tensorflow_datasets as tfds
source = tfds.builder_from_directory(sys.argv[1]).as_data_source("train")
for episode in source:
  steps = list(episode["steps"])
  first = steps[0]
  print(len(steps), first["observation"]["left"].shape, first["language_instruction"].decode(),
        episode["episode_metadata"]["success"], [int(step["is_last"]) for step in steps])
sys.exit("tensorflow" in sys.modules)
"""


def test_tfds_reads_it_without_tensorflow(tmp_path, videos, capfd):
  folder = write_dataset(tmp_path / "dataset", videos, "tfds")
  assert capfd.readouterr() == ("", "")  # TFDS speaks of a download
  command = [sys.executable, "-c", _TFDS, str(folder)]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines() == [
    "5 (32, 48, 3) push it True [0, 0, 0, 0, 1]",
    "4 (32, 48, 3) pull it False [0, 0, 0, 1]",
  ]


def test_lerobot_rows_and_statistics(tmp_path, videos):
  """One row group for each episode; statistics of each in meta/episodes, of all in stats.json."""
  folder = write_dataset(tmp_path / "dataset", videos, "lerobot")
  rows = parquet.ParquetFile(folder / "data/chunk-000/file-000.parquet")
  groups = [rows.read_row_group(number) for number in range(rows.num_row_groups)]
  assert [set(group["episode_index"].to_pylist()) for group in groups] == [{0}, {1}]
  info = json.loads((folder / "meta/info.json").read_text())
  whole = json.loads((folder / "meta/stats.json").read_text())
  assert set(whole) == set(info["features"])
  parts = parquet.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
  kinds = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
  for name, stats in whole.items():
    assert set(stats) == kinds
    for part in parts:
      assert {key for key in part if key.startswith(f"stats/{name}/")} == {
        f"stats/{name}/{kind}" for kind in kinds
      }
  assert whole["frame_index"]["q50"] == [2.0] and whole["frame_index"]["count"] == [9]
  assert [part["stats/index/min"] for part in parts] == [[0], [5]]
  assert [part["stats/index/mean"] for part in parts] == [[2.0], [6.5]]
  assert [part["stats/next.success/max"] for part in parts] == [[True], [False]]
  for part, frames in ((parts[1], videos[3].frames), (whole, None)):
    key = "stats/observation.images.left/{}" if frames is not None else "{}"
    found = part if frames is not None else whole["observation.images.left"]
    frames = np.concatenate([videos[0].frames, videos[3].frames]) if frames is None else frames
    levels = frames.reshape(-1, 3) / 255
    for kind in ("min", "max", "mean", "std"):
      value = getattr(np, kind)(levels, axis=0).reshape(3, 1, 1)
      np.testing.assert_allclose(found[key.format(kind)], value, atol=1e-12)
    for kind, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
      value = np.quantile(levels, share, axis=0, method="inverted_cdf").reshape(3, 1, 1)
      np.testing.assert_allclose(found[key.format(kind)], value, atol=1e-12)
    assert found[key.format("count")] == [len(frames)]


@pytest.mark.filterwarnings("default")  # of torchvision, on the way to another decoder
def test_lerobot_reads_it(tmp_path, videos):
  datasets = pytest.importorskip("lerobot.datasets.lerobot_dataset")
  folder = write_dataset(tmp_path / "dataset", videos, "lerobot")
  dataset = datasets.LeRobotDataset("vipjax/test", root=folder, video_backend="pyav")
  assert (dataset.num_episodes, len(dataset), dataset.fps) == (2, 9, 20)
  for index, (video, time) in {0: (videos[0], 0), 4: (videos[0], 4), 7: (videos[3], 2)}.items():
    item = dataset[index]
    frame = (item["observation.images.left"].permute(1, 2, 0).numpy() * 255).round()
    likeness = [psnr(frame.astype(np.uint8), other) for other in video.frames]
    assert np.argmax(likeness) == time and likeness[time] > 25
    assert item["task"] == video.task
    assert bool(item["next.success"]) == (index == 4)
  # Its editing tools find the statistics of the episodes that are left.
  tools = pytest.importorskip("lerobot.datasets.dataset_tools")
  left = tools.delete_episodes(dataset, [0], output_dir=tmp_path / "left", repo_id="vipjax/left")
  assert set(left.meta.stats) == set(dataset.meta.stats)
  assert left.meta.stats["frame_index"]["max"] == [3]
  assert [len(video.frames) for video in read_videos(tmp_path / "left", view="left")] == [4, 4]


def test_lerobot_wants_a_whole_rate(tmp_path, videos):
  uneven = [dataclasses.replace(video, fps=12.5) for video in videos]
  with pytest.raises(UserError) as error:
    write_dataset(tmp_path / "dataset", uneven, "lerobot")
  assert_one_sentence(error, "12.5")
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["frames", "tfds", "lerobot"])
def test_times_that_are_not_even_are_refused_where_they_would_be_lost(tmp_path, form):
  times = np.array([0, 0.1, 0.2, 5.2])
  write_video(tmp_path / "pause.mp4", moving_picture(4, 16, 16), 10, times=times)
  with pytest.raises(UserError) as error:
    write_dataset(tmp_path / "dataset", [read_video(tmp_path / "pause.mp4")], form)
  assert_one_sentence(error, f"as {form}", tmp_path / "pause.mp4", "read it with fps=")
  assert not (tmp_path / "dataset").exists()
  even = read_video(tmp_path / "pause.mp4", fps=5)
  write_dataset(tmp_path / "dataset", [even], form)
  (written,) = read_videos(tmp_path / "dataset")
  np.testing.assert_allclose(written.seconds, np.arange(27) / 5)


def test_success_that_is_not_known_is_not_written(tmp_path, videos):
  unknown = [dataclasses.replace(video, success=None, task=None) for video in videos]
  for form in ("tfds", "lerobot"):
    folder = write_dataset(tmp_path / form, unknown, form)
    assert {video.success for video in read_videos(folder)} == {None}
  info = json.loads((tmp_path / "lerobot/meta/info.json").read_text())
  assert "next.success" not in info["features"]


@pytest.mark.parametrize(
  ("change", "part"),
  [
    (lambda videos: [videos[0], videos[0]], "one video of left in episode 0, got two"),
    (lambda videos: videos[:4], "got others in episode 1"),
    (lambda v: [v[0], dataclasses.replace(v[2], frames=v[2].frames[:3])], "lengths [3, 5]"),
    (lambda videos: [], "at least one video"),
  ],
)
@pytest.mark.parametrize("form", ["tfds", "lerobot"])
def test_what_cannot_be_written(tmp_path, videos, form, change, part):
  with pytest.raises(UserError) as error:
    write_dataset(tmp_path / "dataset", change(videos), form)
  assert_one_sentence(error, part)


def test_unknown_format(tmp_path, videos):
  with pytest.raises(UserError) as error:
    write_dataset(tmp_path / "dataset", videos, "zarr")
  assert_one_sentence(error, "mp4, frames, tfds, lerobot, got 'zarr'")
