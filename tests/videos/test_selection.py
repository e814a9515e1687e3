"""Which videos of a path are read; and the manifest of Ego4D."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence, moving_picture, write_frames
from vipjax.runtime.errors import UserError
from vipjax.stages.inputs import reading_options
from vipjax.types import Video
from vipjax.videos import (
  fit_square,
  open_videos,
  read_video,
  read_videos,
  write_dataset,
  write_video,
  write_videos,
)


@pytest.fixture
def recorded(tmp_path):
  plain = Video(moving_picture(3, 16, 16), task="push")
  videos = [
    dataclasses.replace(plain, view=view, episode=episode, success=episode != 1)
    for episode in range(3)
    for view in ("left", "right")
  ]
  write_videos(tmp_path / "videos", videos)
  return tmp_path / "videos"


@pytest.mark.parametrize(
  ("wanted", "expected"),
  [
    ({"view": "left"}, [("left", 0), ("left", 1), ("left", 2)]),
    ({"episodes": [2, 0], "view": "right"}, [("right", 0), ("right", 2)]),
    ({"success": False}, [("left", 1), ("right", 1)]),
    ({"success": True, "episodes": range(2)}, [("left", 0), ("right", 0)]),
    ({"task": "push", "episodes": (1,)}, [("left", 1), ("right", 1)]),
  ],
)
def test_selected(recorded, wanted, expected):
  assert [(video.view, video.episode) for video in read_videos(recorded, **wanted)] == expected


def test_one_is_left(recorded):
  assert read_video(recorded, view="left", episodes=[1]).success is False


@pytest.mark.parametrize("form", ["mp4", "tfds", "lerobot"])
def test_copies_without_the_robot_have_a_name(tmp_path, form):
  plain = Video(moving_picture(3, 32, 32), task="push", view="left", episode=0)
  copy = dataclasses.replace(plain, robot_visible=False)
  write_dataset(tmp_path / "videos", [plain, copy], form)
  (found,) = read_videos(tmp_path / "videos", view="left_robot_free")
  assert (found.view, found.robot_visible) == ("left", False)
  assert len(read_videos(tmp_path / "videos", view="left")) == 2


def test_nothing_is_left(recorded):
  with pytest.raises(UserError) as error:
    read_videos(recorded, view="top", success=True)
  assert_one_sentence(
    error, "view='top', success=True", "got 6 with view (left, right)", "task (push"
  )


def test_unknown_values_fit_no_demand(tmp_path):
  np.save(tmp_path / "clip.npy", moving_picture(2, 8, 8))
  with pytest.raises(UserError) as error:
    read_videos(tmp_path, success=False)
  assert_one_sentence(error, "success (unknown)")


def write_ego4d(root, folders, header="path,len,txt", place=lambda root, name: f"{root}/{name}/"):
  """Frames and manifest as the Ego4D recipe of R3M, which VIP took over, leaves them."""
  rows = [header]
  for name, length in folders.items():
    write_frames(root / name, moving_picture(length, 16, 16), "{:06d}.jpg")
    rows.append(f'{place(root, name)},{length},"#C C opens, slowly, {name}"')
  (root / "manifest.csv").write_text("\n".join(rows) + "\n")


def test_ego4d(tmp_path):
  write_ego4d(tmp_path, {"b7": 3, "a2": 12})
  videos = read_videos(tmp_path)
  assert [len(video.frames) for video in videos] == [3, 12]
  assert videos[0].task == "#C C opens, slowly, b7"
  assert videos[1].source.rstrip("/").endswith("a2")
  assert read_video(tmp_path, task="#C C opens, slowly, a2").frames.shape == (12, 16, 16, 3)


def test_ego4d_that_was_moved(tmp_path):
  write_ego4d(tmp_path, {"a2": 2}, place=lambda root, name: f"/once/there/{name}/")
  assert len(read_video(tmp_path).frames) == 2


@pytest.mark.parametrize("sign", ["\u2028", "\x0b", "\x85", "\n"])
def test_ego4d_with_ends_of_lines_in_a_text(tmp_path, sign):
  write_ego4d(tmp_path, {"a2": 2})
  path = tmp_path / "manifest.csv"
  path.write_text(path.read_text().replace("opens, ", f"opens,{sign}"), encoding="utf-8")
  assert read_video(tmp_path).task == f"#C C opens,{sign}slowly, a2"


@pytest.mark.parametrize(
  ("text", "part"),
  [
    ("path,len,txt\na,3," + "x" * 200_000 + "\n", "field larger than field limit"),
    ("path,len,txt\ngone,3,x\n", "folder 'gone'"),
    ("path,len,txt\n", "no rows"),
    ("folder,len\na,3\n", "got folder, len"),
  ],
)
def test_ego4d_manifest_that_does_not_hold(tmp_path, text, part):
  (tmp_path / "manifest.csv").write_text(text)
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path / "manifest.csv", part)


def test_a_configs_empty_values_mean_all():
  from configs import paper

  data = paper.get_config().data
  assert reading_options(data) == {"frame_stride": 1} == reading_options({"path": "x"})
  data.update(view="top", episodes="1,3-4", success=True, fps=5.0, frame_stride=2)
  assert reading_options(data) == {
    "view": "top", "episodes": [1, 3, 4], "success": True, "fps": 5.0, "frame_stride": 2,
  }  # fmt: skip


def test_squares_without_the_whole_video_at_its_size(tmp_path):
  frames = moving_picture(70, 12, 16)
  np.savez(tmp_path / "a.npz", frames=frames, fps=7.0)
  write_video(tmp_path / "a.mp4", frames, 7.0)
  for path in (tmp_path / "a.npz", tmp_path / "a.mp4"):
    expected = fit_square(read_video(path).frames, 8)
    (lazy,) = open_videos(path, size=8)
    video = lazy.read()
    np.testing.assert_array_equal(video.frames, expected)
    assert video.fps == 7.0
    np.testing.assert_array_equal(lazy[[60, 3]], expected[[60, 3]])
  with pytest.raises(UserError, match="expected size to be an integer of at least 1"):
    open_videos(tmp_path, size=0)
