"""HDF5 files as robomimic and Isaac Lab write them, written with the same library."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence
from tests.videos.drawn import EPISODES, episode
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import open_videos, read_video, read_videos


def write_robomimic(path, rewards=None):
  """As robomimic's dataset_states_to_obs.py lays it out, with the same library."""
  with h5py.File(path, "w") as file:
    data = file.create_group("data")
    for number, (length, _, success) in enumerate(EPISODES):
      demo = data.create_group(f"demo_{number}")
      demo.create_dataset("actions", data=np.zeros((length, 7)))
      sparse = np.zeros(length)
      sparse[-1] = success
      demo.create_dataset("rewards", data=sparse if rewards is None else rewards[:length])
      for camera, name in (("top", "agentview_image"), ("wrist", "robot0_eye_in_hand_image")):
        demo.create_dataset(f"obs/{name}", data=episode(camera, number), compression="gzip")
      demo.create_dataset("obs/robot0_eef_pos", data=np.zeros((length, 3)))
      demo.attrs["num_samples"] = length
    arguments = {"env_name": "Lift", "env_kwargs": {"robots": ["Panda"], "control_freq": 20}}
    data.attrs["env_args"] = json.dumps(arguments)


def test_robomimic(tmp_path):
  path = tmp_path / "image.hdf5"
  write_robomimic(path)
  videos = read_videos(path)
  assert [(v.episode, v.view, v.success) for v in videos[:3]] == [
    (0, "agentview_image", True), (0, "robot0_eye_in_hand_image", True),
    (1, "agentview_image", False),
  ]  # fmt: skip
  for video in videos:
    camera = "top" if video.view == "agentview_image" else "wrist"
    np.testing.assert_array_equal(video.frames, episode(camera, video.episode))
    assert (video.fps, video.task, video.embodiment) == (20.0, "Lift", "panda")
  (lazy,) = open_videos(tmp_path, view="agentview_image", episodes=[1])
  np.testing.assert_array_equal(lazy[[5, 1, 5]], episode("top", 1)[[5, 1, 5]])


def test_robomimic_with_dense_rewards_does_not_know_success(tmp_path):
  write_robomimic(tmp_path / "a.hdf5", rewards=np.linspace(0.1, 0.9, 7))
  assert {video.success for video in read_videos(tmp_path / "a.hdf5")} == {None}


@pytest.fixture
def hdf5(tmp_path):
  """Writes one demonstration of arrays, by their names under its `obs`."""

  def write(arrays, env_args="{}"):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
      data = file.create_group("data")
      data.attrs["env_args"] = env_args
      for name, array in arrays.items():
        data.create_dataset(f"demo_0/obs/{name}", data=array)
    return path

  return write


def test_hdf5_of_isaac_lab(hdf5):
  """A group beside the camera, a camera in a group, success as an attribute."""
  path = hdf5(
    {
      "datagen_info/object_pose/cube_1": np.zeros((5, 4, 4), np.float32),
      "table_cam": episode("top", 0),
      "rgb/wrist_cam": episode("wrist", 0),
      "joint_pos": np.zeros((5, 9), np.float32),
    },
    json.dumps({"env_name": "Isaac-Stack-Cube-v0", "type": 2, "env_kwargs": {}}),
  )
  with h5py.File(path, "a") as file:
    file["data/demo_0"].attrs["success"] = True
  videos = {video.view: video for video in read_videos(path)}
  assert sorted(videos) == ["rgb/wrist_cam", "table_cam"]
  np.testing.assert_array_equal(videos["table_cam"].frames, episode("top", 0))
  np.testing.assert_array_equal(videos["rgb/wrist_cam"].frames, episode("wrist", 0))
  assert {(video.task, video.success) for video in videos.values()} == {
    ("Isaac-Stack-Cube-v0", True)
  }


def test_hdf5_with_channels_first(hdf5):
  frames = episode("top", 1)
  path = hdf5({"cam": np.moveaxis(frames, -1, 1)})
  np.testing.assert_array_equal(read_video(path).frames, frames)
  (lazy,) = open_videos(path)
  np.testing.assert_array_equal(lazy[[5, 1, 5]], frames[[5, 1, 5]])


def test_hdf5_with_more_than_demonstrations(hdf5):
  path = hdf5({"cam": episode("top", 0)})
  with h5py.File(path, "a") as file:
    file.create_dataset("data/stats", data=np.zeros(3))
    file["data/demo_0/obs/gone"] = h5py.SoftLink("/nowhere")
    file["data/demo_0/obs/kind"] = np.dtype(np.float64)
    file["data/demo_1"] = h5py.ExternalLink("nowhere.hdf5", "/data/demo_1")
    file.create_dataset("data/demo_2", data=np.zeros(3))
    file.create_dataset("data/demo_3/obs", data=np.zeros(3))
  assert read_video(path).episode == 0


@pytest.mark.parametrize(
  "said",
  [
    "", "no json", "[]", "null", "{}", np.zeros(3), np.bytes_(b'{"env_name": 5}'),
    *[
      json.dumps({"env_name": None, "env_kwargs": keywords})
      for keywords in (
        None, [], "x", {"robots": 5, "control_freq": "x"}, {"robots": [], "control_freq": -1},
        {"robots": [None], "control_freq": True}, {"robots": [["a"]], "control_freq": [1]},
      )
    ],
  ],
)  # fmt: skip
def test_hdf5_that_says_nothing_of_its_environment(hdf5, said):
  video = read_video(hdf5({"cam": episode("top", 0)}, said))
  assert (video.task, video.embodiment, video.fps) == (None, None, Video.fps)


def test_hdf5_with_a_demonstration_without_frames(tmp_path, caplog):
  write_robomimic(tmp_path / "a.hdf5")
  with h5py.File(tmp_path / "a.hdf5", "a") as file:
    del file["data/demo_1/obs/agentview_image"]
    file["data/demo_1/obs/agentview_image"] = np.zeros((0, 48, 64, 3), np.uint8)
  videos = read_videos(tmp_path / "a.hdf5", view="agentview_image")
  assert [video.episode for video in videos] == [0, 2]
  assert "demo_1, agentview_image has no frames and is left out" in caplog.text


@pytest.mark.parametrize(
  ("arrays", "parts"),
  [
    ({"robot0_eef_pos": np.zeros((3, 3))}, ["/obs/robot0_eef_pos of float64 [3, 3]"]),
    (
      {"a": np.zeros(3), "cam": np.zeros((2, 8, 8, 3), np.float32)},
      ["got data/demo_0/obs/cam of float32 [2, 8, 8, 3], data/demo_0/obs/a of float64 [3]"],
    ),
    ({str(number): np.zeros(1) for number in range(7)}, ["obs/3 of float64 [1], 3 more"]),
    ({}, ["no arrays"]),
  ],
)
def test_hdf5_without_images(hdf5, arrays, parts):
  path = hdf5(arrays)
  with pytest.raises(UserError) as error:
    read_videos(path)
  assert_one_sentence(error, path, "data/demo_0/obs", *parts)


def test_hdf5_in_another_layout(tmp_path):
  with h5py.File(tmp_path / "act.hdf5", "w") as file:
    file["observations/images/top"] = episode("top", 0)
  with pytest.raises(UserError) as error:
    read_videos(tmp_path / "act.hdf5")
  assert_one_sentence(error, "got observations/images/top of uint8 [5, 48, 64, 3]")


@pytest.mark.parametrize("mode", ["", "file.swmr_mode = True"])
def test_hdf5_that_another_program_writes(tmp_path, mode):
  path = tmp_path / "a.hdf5"
  code = f"import h5py, sys; file = h5py.File({str(path)!r}, 'w', libver='latest'); {mode}\n"
  command = [sys.executable, "-c", code + "print(flush=True); sys.stdin.read()"]
  with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
    writer.stdout.readline()
    with pytest.raises(UserError) as error:
      read_videos(path)
    writer.communicate()
  assert_one_sentence(error, path, "got a lock of another program")


def test_hdf5_without_h5py(tmp_path, monkeypatch):
  (tmp_path / "a.hdf5").write_bytes(b"x")
  monkeypatch.setitem(sys.modules, "h5py", None)
  with pytest.raises(UserError) as error:
    read_videos(tmp_path / "a.hdf5")
  assert_one_sentence(error, "h5py", "pip install 'vipjax[robomimic]'")


def test_damaged_hdf5(tmp_path):
  (tmp_path / "a.hdf5").write_bytes(b"no hdf5 at all")
  with pytest.raises(UserError) as error:
    read_videos(tmp_path / "a.hdf5")
  assert_one_sentence(error, "a.hdf5", "corrupt")
