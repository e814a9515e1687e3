"""Data sets of other people's formats, written by the libraries that keep those formats."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from tensorboardX.record_writer import RecordWriter

from tests.videos.clips import assert_one_sentence, psnr
from tests.videos.drawn import EPISODES, episode
from tests.videos.test_tf_example import example, field
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import open_videos, read_video, read_videos

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent / "testdata"
LEROBOT = ["lerobot_v30", "lerobot_v21", "lerobot_v21_images"]
HAS_LEROBOT = importlib.util.find_spec("lerobot") is not None


@pytest.fixture(scope="module")
def lerobot(tmp_path_factory):
  """Folders of LeRobot data sets by name; freshly written ones too, where lerobot is installed."""

  def find(name):
    if name in LEROBOT:
      return DATA / name
    folder = tmp_path_factory.mktemp("lerobot") / name
    command = [sys.executable, str(HERE / "write_lerobot.py"), str(folder), name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder

  return find


def write_rlds(folder, file_format, *empty):
  # In a process of its own: it also must not need TensorFlow.
  command = [sys.executable, str(HERE / "write_rlds.py"), str(folder), file_format, *empty]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return folder


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
  """Folders of the RLDS data set by file format."""

  @functools.cache
  def find(file_format):
    if file_format == "tfrecord":
      return DATA / "rlds_tfrecord"
    return write_rlds(tmp_path_factory.mktemp(file_format), file_format)

  return find


def check_episodes(folder, cameras, exact):
  """Every camera of every episode is what was drawn."""
  videos = read_videos(folder)
  assert [(video.episode, video.view) for video in videos] == [
    (number, name) for number in range(3) for name in cameras
  ]
  for video in videos:
    length, task, success = EPISODES[video.episode]
    frames = episode(cameras[video.view], video.episode)
    assert video.frames.shape == frames.shape
    if exact:
      np.testing.assert_array_equal(video.frames, frames)
    else:
      assert psnr(video.frames, frames) > 30
      # Each is nearest to its own: not one frame early or late.
      for index, frame in enumerate(video.frames):
        assert np.argmax([psnr(frame, other) for other in frames]) == index
    assert (video.task, video.success, video.fps) == (task, success, 10.0)


@pytest.mark.parametrize(
  "name",
  [
    *LEROBOT,
    *[
      pytest.param(kind, marks=pytest.mark.skipif(not HAS_LEROBOT, reason="needs lerobot"))
      for kind in ("video", "image")
    ],
  ],
)
def test_lerobot(lerobot, name):
  folder = lerobot(name)
  check_episodes(folder, {"top": "top", "wrist": "wrist"}, exact="image" in name)
  (video,) = read_videos(folder, view="observation.images.wrist", task="close the drawer")
  assert (video.view, video.episode) == ("wrist", 1)
  assert [each.metadata["episode"] for each in open_videos(folder, success=True, view="top")] == [
    0, 2,
  ]  # fmt: skip


def test_lerobot_frames_in_the_middle_of_a_shared_film():
  (lazy,) = open_videos(DATA / "lerobot_v30", view="top", episodes=[2])
  frames = episode("top", 2)
  assert len(lazy) == 6 and psnr(lazy[3], frames[3]) > 30 and psnr(lazy[[5]], frames[[5]]) > 30


@pytest.mark.parametrize(
  ("change", "part"),
  [
    ({"codebase_version": "v1.6"}, "it is v1.6"),
    ({"features": {"action": {"dtype": "float32"}}}, "expected a camera"),
  ],
)
def test_lerobot_that_cannot_be_read(tmp_path, change, part):
  folder = tmp_path / "set"
  shutil.copytree(DATA / "lerobot_v21", folder)
  info = json.loads((folder / "meta/info.json").read_text())
  (folder / "meta/info.json").write_text(json.dumps({**info, **change}))
  with pytest.raises(UserError) as error:
    read_videos(folder)
  assert_one_sentence(error, folder, part)


def test_lerobot_with_a_film_missing(tmp_path):
  folder = tmp_path / "set"
  shutil.copytree(DATA / "lerobot_v30", folder)
  shutil.rmtree(folder / "videos")
  with pytest.raises(UserError) as error:
    read_videos(folder)
  assert_one_sentence(error, "a film of the data set", "file-000.mp4")


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record", "parquet"])
def test_tfds(tfds_folder, file_format):
  folder = tfds_folder(file_format)
  check_episodes(folder, {"image": "top", "wrist_image": "wrist"}, exact=True)
  assert "train 1, image" in read_video(folder, view="image", episodes=[1]).source
  found = open_videos(folder, view="wrist_image", success=False)
  assert [video.metadata["episode"] for video in found] == [1]
  with pytest.raises(UserError) as error:
    read_videos(folder, view="depth")
  assert_one_sentence(error, "view='depth'", "view image, wrist_image")


@pytest.mark.parametrize(
  ("file_format", "empty"),
  [("array_record", "0"), ("array_record", "1"), ("parquet", "0"), ("tfrecord", "0")],
)
def test_episodes_without_steps_are_left_out(tmp_path, caplog, file_format, empty):
  if file_format == "tfrecord":
    (whole,) = (DATA / "rlds_tfrecord").glob("*tfrecord-0*")
    path = tmp_path / whole.name
    with contextlib.closing(RecordWriter(str(path))) as writer:
      writer.write(example(**{"steps/observation/image": field(1, b""), "steps/reward": b""}))
    # The empty one comes before all of the others.
    path.write_bytes(path.read_bytes() + whole.read_bytes())
    numbers = [1, 2, 3]
  else:
    path = write_rlds(tmp_path, file_format, empty)
    numbers = [number for number in range(3) if number != int(empty)]
  videos = read_videos(path, view="image")
  assert [video.episode for video in videos] == numbers
  assert f"train {empty} has no steps and is left out" in caplog.text
  for video in videos:
    drawn = episode("top", video.episode - (file_format == "tfrecord"))
    np.testing.assert_array_equal(video.frames, drawn)
  with pytest.raises(UserError) as error:
    read_videos(path, episodes=[int(empty)])
  assert_one_sentence(error, f"the episodes {empty} of", tmp_path, "have none")
  with pytest.raises(UserError) as error:
    read_videos(path, view="depth")
  assert_one_sentence(error, "view image, wrist_image")


def test_a_single_tfrecord_file():
  (file,) = (DATA / "rlds_tfrecord").glob("*tfrecord-0*")
  assert len(read_videos(file)) == 6


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("pattern", ["dataset_info.json", "*-00000-of-00001"])
def test_tfds_with_a_dead_link(tfds_folder, tmp_path, file_format, pattern):
  (info,) = tfds_folder(file_format).rglob("dataset_info.json")
  folder = shutil.copytree(info.parent, tmp_path / "set")
  (file,) = folder.glob(pattern)
  file.unlink()
  file.symlink_to("/nowhere")
  with pytest.raises(UserError) as error:
    read_videos(folder)
  assert_one_sentence(error, file, "is a dead link")


@pytest.mark.parametrize(
  ("pattern", "content"),
  [
    ("dataset_info.json", b"{"),
    ("features.json", b"{}"),
    ("*-00000-of-00001", b""),
    ("*-00000-of-00001", b"x" * 70_000),
  ],
)
def test_damaged_tfds(tfds_folder, tmp_path, pattern, content):
  (info,) = tfds_folder("array_record").rglob("dataset_info.json")
  folder = shutil.copytree(info.parent, tmp_path / "set")
  (file,) = folder.glob(pattern)
  file.write_bytes(content)
  with pytest.raises(UserError) as error:
    read_videos(folder)
  assert_one_sentence(error, folder, "truncated or corrupt")


def test_episodes_that_are_not_wanted_are_not_read(monkeypatch):
  from vipjax.videos import rlds

  read = []
  monkeypatch.setattr(rlds.tf_example, "read_example", _noting(read, rlds.tf_example.read_example))
  videos = open_videos(DATA / "rlds_tfrecord", episodes=[2])
  assert len(videos) == 2 and len(read) == 2  # the first, for the names of the cameras
  videos[0][0], videos[1][0]
  assert len(read) == 2


def _noting(calls, function):
  def noted(*arguments):
    calls.append(arguments)
    return function(*arguments)

  return noted


def test_several_tfds_data_sets_in_one_folder(tmp_path):
  for name in ("a", "b"):
    shutil.copytree(DATA / "rlds_tfrecord", tmp_path / name / "1.0.0")
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path, "a/1.0.0, b/1.0.0")
  assert len(read_videos(tmp_path / "a")) == 6


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
      ["holds data/demo_0/obs/cam of float32 [2, 8, 8, 3], data/demo_0/obs/a of float64 [3]"],
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
  assert_one_sentence(error, "it holds observations/images/top of uint8 [5, 48, 64, 3]")


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
  assert_one_sentence(error, path, "is locked", "another program")


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
