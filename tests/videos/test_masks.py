"""Masks that are given in every form, and those of a model that moves with a data set's joints."""

import pathlib

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.scene.test_silhouette import MODEL
from tests.videos.clips import assert_one_sentence, moving_picture, write_frames
from tests.videos.drawn import EPISODES
from tests.videos.formats.test_robomimic import write_robomimic
from vipjax.runtime.errors import UserError
from vipjax.scene.silhouette import Silhouette
from vipjax.types import Video
from vipjax.videos import open_videos, write_dataset
from vipjax.videos.joints import read_angles
from vipjax.videos.masks import drawn, given, of_motion

LEROBOT = pathlib.Path(__file__).parents[1] / "testdata"
FRAMES = moving_picture(6, 16, 24)
MASKS = np.zeros((6, 16, 24), bool)
for time in range(6):
  MASKS[time, 4:9, 2 * time : 2 * time + 5] = True


def pictures(masks=MASKS, level=255):
  return np.repeat(masks[..., None] * np.uint8(level), 3, axis=-1)


@pytest.fixture
def films(tmp_path):
  np.save(tmp_path / "film.npy", FRAMES)
  return open_videos(tmp_path / "film.npy")


def made(masks_of, videos, index=0):
  return masks_of(index, videos[index].read())


@pytest.mark.parametrize("level", [255, 200, 1])
def test_a_folder_of_pictures(films, tmp_path, level):
  write_frames(tmp_path / "masks", pictures(level=level))
  np.testing.assert_array_equal(made(given(tmp_path / "masks", films), films), MASKS)


def test_the_masks_of_the_frames_that_are_taken(films, tmp_path):
  np.save(tmp_path / "masks.npy", pictures())
  thinned = open_videos(tmp_path / "film.npy", frame_stride=2, size=8)
  masks = made(given(tmp_path / "masks.npy", thinned, size=8), thinned)
  assert masks.shape == (3, 8, 8)
  # Half of the middle 16 of 24 columns.
  small = MASKS[::2, :, 4:20].reshape(3, 8, 2, 8, 2).mean(axis=(2, 4))
  assert (masks[small == 1]).all() and not masks[small == 0].any()


@pytest.mark.parametrize(("alpha", "opaque"), [("opaque", MASKS), ("transparent", ~MASKS)])
def test_an_alpha_channel(tmp_path, alpha, opaque):
  folder = tmp_path / "cut"
  folder.mkdir()
  for index, (frame, mask) in enumerate(zip(FRAMES, opaque, strict=True)):
    levels = (mask * 255).astype(np.uint8)
    Image.fromarray(np.dstack([frame, levels])).save(folder / f"{index}.png")
  videos = open_videos(folder)
  np.testing.assert_array_equal(made(given(folder, videos, alpha=alpha), videos), MASKS)


def test_pictures_without_an_alpha_channel(films, tmp_path):
  write_frames(tmp_path / "masks", pictures())
  with pytest.raises(UserError) as error:
    made(given(tmp_path / "masks", films, alpha="opaque"), films)
  assert_one_sentence(error, "an alpha channel in", "mode RGB")
  with pytest.raises(UserError) as error:
    given(tmp_path / "film.npy", films, alpha="opaque")
  assert_one_sentence(error, "a folder of pictures with an alpha channel", "film.npy")


def test_arrays_of_truth_values_in_an_hdf5_file(tmp_path):
  path = tmp_path / "demos.hdf5"
  write_robomimic(path)
  rng = np.random.default_rng(0)
  masks = [rng.random((length, 48, 64)) > 0.5 for length, _, _ in EPISODES]
  with h5py.File(path, "a") as file:
    for number, mask in enumerate(masks):
      file[f"data/demo_{number}/obs/robot_mask"] = mask[..., None].astype(np.int32) * 7
  videos = open_videos(path, view="agentview_image", episodes=[0, 2], frame_stride=2)
  masks_of = given(path, videos, view="robot_mask")
  np.testing.assert_array_equal(made(masks_of, videos, 0), masks[0][::2])
  np.testing.assert_array_equal(made(masks_of, videos, 1), masks[2][::2])
  with pytest.raises(UserError) as error:
    given(path, videos, view="arm_mask")
  assert_one_sentence(
    error, "obs/arm_mask", "agentview_image, robot0_eye_in_hand_image, robot_mask"
  )


def test_a_camera_of_a_lerobot_data_set(tmp_path):
  masks = np.zeros((6, 32, 32), bool)
  masks[:, 8:24, 8:24] = True
  films = [
    Video(frames, 10.0, view=view, episode=episode)
    for episode in range(2)
    for view, frames in (("top", moving_picture(6, 32, 32)), ("mask", pictures(masks)))
  ]
  write_dataset(tmp_path / "data", films, "lerobot")
  videos = open_videos(tmp_path / "data", view="top", episodes=[1])
  found = made(given(tmp_path / "data", videos, view="mask"), videos)
  assert (found != masks).mean() < 0.02


@pytest.mark.parametrize(
  ("masks", "part"),
  [
    (pictures()[:5], "expected 6 masks, one for each frame of"),
    (pictures()[:, :12], "masks of 16x24"),
  ],
)
def test_masks_of_another_number_or_size(films, tmp_path, masks, part):
  np.save(tmp_path / "masks.npy", masks)
  with pytest.raises(UserError) as error:
    made(given(tmp_path / "masks.npy", films), films)
  assert_one_sentence(error, part, "film.npy", "masks.npy")


def test_more_masks_than_videos(films, tmp_path):
  for name in "ab":
    write_frames(tmp_path / "masks" / name, pictures())
  with pytest.raises(UserError) as error:
    given(tmp_path / "masks", films)
  assert_one_sentence(error, "masks for 1 videos", "got 2")


def test_masks_of_other_episodes(tmp_path):
  films = [Video(FRAMES, 10.0, episode=number) for number in (0, 1)]
  masks = [Video(pictures(), 10.0, episode=number) for number in (1, 2)]
  write_dataset(tmp_path / "films", films, "frames")
  write_dataset(tmp_path / "masks", masks, "frames")
  with pytest.raises(UserError) as error:
    given(tmp_path / "masks", open_videos(tmp_path / "films"))
  assert_one_sentence(error, "the episodes [0, 1]", "some of [1]")


def test_motion_needs_nothing_else(films):
  frames = np.zeros((9, 16, 16, 3), np.uint8)
  frames[4, 4:12, 4:12] = 200
  masks = of_motion(100)(0, Video(frames))
  assert masks[4, 5:11, 5:11].all() and masks.sum() < 65
  assert not of_motion(200)(0, Video(frames)).any()


# Joint angles.


def csv(path, header, rows):
  path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
  return str(path)


def test_angles_of_a_csv_file(films, tmp_path):
  rows = np.arange(12.0).reshape(6, 2)
  file = csv(tmp_path / "a.csv", "slide,turn", rows)
  names, (values,) = read_angles(file, tmp_path, films)
  assert names == ("slide", "turn")
  np.testing.assert_array_equal(values, rows)


def test_angles_of_several_episodes_of_a_csv_file(tmp_path):
  write_dataset(
    tmp_path / "films", [Video(FRAMES[:n], 10.0, episode=e) for e, n in ((3, 2), (5, 3))], "frames"
  )
  videos = open_videos(tmp_path / "films")
  rows = [(5, 1.0), (3, 2.0), (5, 3.0), (3, 4.0), (5, 5.0)]
  names, values = read_angles(csv(tmp_path / "a.csv", "episode,turn", rows), tmp_path, videos)
  assert names == ("turn",)
  assert [each.tolist() for each in values] == [[[2.0], [4.0]], [[1.0], [3.0], [5.0]]]
  with pytest.raises(UserError) as error:
    read_angles(csv(tmp_path / "b.csv", "turn", [(1,)] * 5), tmp_path, videos)
  assert_one_sentence(error, "a column 'episode'", "2 videos", "got turn")


@pytest.mark.parametrize("version", ["lerobot_v21", "lerobot_v30"])
def test_angles_of_a_lerobot_data_set(version):
  data = LEROBOT / version
  videos = open_videos(data, view="top", episodes=[0, 2])
  names, values = read_angles("observation.state", data, videos)
  assert names == ("x", "y")
  for number, rows in zip((0, 2), values, strict=True):
    length = EPISODES[number][0]
    np.testing.assert_array_equal(rows, [(number, time) for time in range(length)])
  with pytest.raises(UserError) as error:
    read_angles("observation.joints", data, videos)
  assert_one_sentence(error, "a column observation.joints", "observation.state")


@pytest.mark.parametrize(
  ("header", "rows", "part"),
  [
    ("slide,turn", [(0, 0)] * 4, "expected 6 rows"),
    ("slide,turn", [(0, "x")] * 6, "a row of numbers"),
    ("slide,turn", [(0,)] * 6, "a row of numbers"),
    ("slide,turn", [(0, "nan")] * 6, "a row of numbers"),
    ("", [], "a header"),
  ],
)
def test_csv_files_that_do_not_fit(films, tmp_path, header, rows, part):
  with pytest.raises(UserError) as error:
    read_angles(csv(tmp_path / "a.csv", header, rows), tmp_path, films)
  assert_one_sentence(error, part, "a.csv")


def test_a_column_without_a_data_set_and_a_file_that_is_missing(films, tmp_path):
  with pytest.raises(UserError) as error:
    read_angles("observation.state", tmp_path, films)
  assert_one_sentence(error, "a csv file of joint angles", "'observation.state'")
  with pytest.raises(UserError) as error:
    read_angles(str(tmp_path / "none.csv"), tmp_path, films)
  assert_one_sentence(error, "a csv file of joint angles", "none.csv")


def test_masks_are_drawn_in_the_pose_of_each_frame_that_is_taken(films, tmp_path):
  (tmp_path / "model.xml").write_text(MODEL)
  # By their names, in another order than the model's.
  rows = [(0.1 * time, 0.05 * time) for time in range(6)]
  file = csv(tmp_path / "a.csv", "turn,slide", rows)
  videos = open_videos(tmp_path / "film.npy", frame_stride=3)
  made_by = drawn(tmp_path / "model.xml", "above", file, tmp_path, videos, body="arm")
  with Silhouette(tmp_path / "model.xml", "above", (16, 24), "arm") as own:
    expected = own.masks(np.array([(0, 0), (0.15, 0.3)]))
  assert expected.any()
  np.testing.assert_array_equal(made(made_by, videos), expected)
  fitted = open_videos(tmp_path / "film.npy", frame_stride=3, size=16)
  made_by = drawn(tmp_path / "model.xml", "above", file, tmp_path, fitted, body="arm")
  np.testing.assert_array_equal(made(made_by, fitted), expected[:, :, 4:20])
