"""Folders of frames, of videos, and recorded ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.videos.clips import assert_one_sentence, moving_picture, psnr, write_frames
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import open_videos, read_video, read_videos, write_image, write_videos


@pytest.mark.parametrize("name", ["{}.png", "{:06d}.png", "frame_{}.PNG", "v2.{}.png"])
def test_frame_folder_in_natural_order(tmp_path, name):
  frames = moving_picture(12, 16, 16)
  write_frames(tmp_path / "0", frames, name)
  (tmp_path / "0" / "manifest.csv").write_text("Ego4D puts one here")
  (tmp_path / "0" / "._0.png").write_bytes(b"another system's note")
  video = read_video(tmp_path / "0")
  np.testing.assert_array_equal(video.frames, frames)
  assert video.fps == 10.0 and video.source == str(tmp_path / "0")


def test_grey_transparent_deep_and_turned_images_become_rgb(tmp_path):
  Image.new("L", (8, 8), 100).save(tmp_path / "0.png")
  Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "1.png")
  Image.fromarray(np.full((8, 8), 257 * 30, np.uint16)).save(tmp_path / "2.png")
  turned = Image.new("RGB", (8, 8), (250, 250, 250))
  turned.paste((0, 0, 0), (0, 0, 8, 4))
  exif = turned.getexif()
  exif[0x0112] = 3  # Orientation: half a turn.
  turned.save(tmp_path / "3.jpg", exif=exif, quality=95)
  frames = read_video(tmp_path).frames
  assert frames.shape == (4, 8, 8, 3)
  assert [np.unique(frame).tolist() for frame in frames[:3]] == [[100], [255], [30]]
  assert frames[3, 0].min() > 240 and frames[3, -1].max() < 10


@pytest.mark.parametrize(
  ("names", "part"),
  [
    (["0.png", "goal.png"], "got goal.png without a number"),
    (["rgb_0.png", "depth_0.png"], "depth_0.png and rgb_0.png, which belong to different ones"),
    (["0.png", "00.png"], "one for 0.png and 00.png"),
  ],
)
def test_frame_folder_with_confusing_names(tmp_path, names, part):
  for name in names:
    Image.new("RGB", (8, 8)).save(tmp_path / name)
  with pytest.raises(UserError) as error:
    read_video(tmp_path)
  assert_one_sentence(error, tmp_path, part)


def test_frame_folder_with_differing_sizes(tmp_path):
  Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
  Image.new("RGB", (9, 8)).save(tmp_path / "1.png")
  with pytest.raises(UserError) as error:
    read_video(tmp_path)
  assert_one_sentence(error, "0.png of 8x8 and 1.png of 8x9")


# Folders of videos.


def test_folder_of_videos_in_natural_order(tmp_path):
  for number in (10, 9, 1):
    np.save(tmp_path / f"clip{number}.npy", moving_picture(number, 8, 8))
  write_frames(tmp_path / "clip2", moving_picture(2, 8, 8))
  (tmp_path / "notes.txt").write_text("passed over")
  (tmp_path / "empty").mkdir()
  assert [len(video.frames) for video in read_videos(tmp_path)] == [1, 2, 9, 10]


def test_one_file_or_one_video_in_a_folder(tmp_path):
  np.save(tmp_path / "clip.npy", moving_picture(3))
  (from_file,) = read_videos(tmp_path / "clip.npy")
  np.testing.assert_array_equal(from_file.frames, read_video(tmp_path).frames)
  np.save(tmp_path / "other.npy", moving_picture(3))
  with pytest.raises(UserError) as error:
    read_video(tmp_path)
  assert_one_sentence(error, tmp_path, "got 2", "use read_videos")


def test_videos_and_images_in_one_folder(tmp_path):
  np.save(tmp_path / "clip.npy", moving_picture(3))
  write_frames(tmp_path, moving_picture(2))
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, "1 videos and 2 images")


def test_folder_without_videos(tmp_path):
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path, "got an empty folder")
  write_frames(tmp_path / "train" / "0", moving_picture(2))
  (tmp_path / "notes.txt").write_text("")
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, "notes.txt", "pass one of its folders (train)")
  assert len(read_videos(tmp_path / "train")) == 1


# The recorded folder.


def recorded(tmp_path):
  """A folder as write_videos makes it, and what was written."""
  videos = [
    Video(moving_picture(5), 20.0, "window-open", "sawyer", "left", True, True, "seed 3", 0),
    Video(moving_picture(6), 20.0, "window-open", "sawyer", "left", False, False, "seed 3", 0),
    Video(moving_picture(7)),
  ]
  write_videos(tmp_path, videos, crf=0)
  return videos


def test_metadata_round_trip(tmp_path):
  written = recorded(tmp_path)
  read = read_videos(tmp_path)
  assert [len(video.frames) for video in read] == [5, 6, 7]
  assert [video.metadata() for video in read[:2]] == [video.metadata() for video in written[:2]]
  # An unknown source becomes the path.
  expected = {**written[2].metadata(), "source": str(tmp_path / "video002.mp4")}
  assert read[2].metadata() == expected


def test_manifest_may_be_sparse_and_point_to_any_form(tmp_path):
  np.savez(tmp_path / "a.npz", frames=moving_picture(4), fps=40)
  write_frames(tmp_path / "b", moving_picture(4))
  entries = [{"file": "b", "fps": 5, "view": None}, {"file": "a.npz", "episode": 7}]
  (tmp_path / "videos.json").write_text(json.dumps(entries))
  folder, array = read_videos(tmp_path, frame_stride=2)
  assert (folder.fps, folder.view, folder.source) == (2.5, None, str(tmp_path / "b"))
  assert (array.fps, array.episode) == (20.0, 7)


@pytest.mark.parametrize(
  ("manifest", "part"),
  [
    ("[{", "truncated or corrupt"),
    ("[]", "got list []"),
    ('{"file": "a.mp4"}', "got dict"),
    ('["a.mp4"]', "entry 0"),
    ('[{"fps": 5}]', "'file' of entry 0"),
    ('[{"file": "video002.mp4", "stills": ["a.png"]}]', "'stills' of entry 0"),
    ('[{"file": "gone.mp4"}]', "the file 'gone.mp4' that"),
    ('[{"file": "video002.mp4", "taks": "a"}]', "got 'taks'"),
    ('[{"file": "video002.mp4", "fps": "fast"}]', "'fps' of entry 0"),
    ('[{"file": "video002.mp4", "fps": 0}]', "to be a number above 0, got 0"),
    ('[{"file": "video002.mp4", "fps": NaN}]', "to be a number above 0, got nan"),
    ('[{"file": "video002.mp4", "episode": true}]', "to be a whole number, got True"),
    ('[{"file": "video002.mp4", "success": 1}]', "to be true or false, got 1"),
    ("", "got an empty one (0 bytes)"),
  ],
)
def test_manifest_that_does_not_hold(tmp_path, manifest, part):
  recorded(tmp_path)
  (tmp_path / "videos.json").write_text(manifest)
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path / "videos.json", part)


def test_manifest_that_names_a_folder_without_images(tmp_path):
  (tmp_path / "a").mkdir()
  (tmp_path / "videos.json").write_text('[{"file": "a"}]')
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path / "a", "got none")


# Writing recorded folders.


def four_videos():
  return [
    Video(moving_picture(3), view=view, robot_visible=visible, episode=0)
    for view in ("left", "right")
    for visible in (True, False)
  ]


def test_names_and_manifest(tmp_path):
  videos = [*four_videos(), Video(moving_picture(3), view="a/../b", episode=12)]
  videos.append(Video(moving_picture(3), success=np.bool_(True), robot_visible=np.bool_(False)))
  paths = write_videos(tmp_path / "videos", videos)
  names = [
    "episode000_left.mp4",
    "episode000_left_robot_free.mp4",
    "episode000_right.mp4",
    "episode000_right_robot_free.mp4",
    "episode012_a----b.mp4",
    "video005_robot_free.mp4",
  ]
  assert paths == [tmp_path / "videos" / name for name in names]
  entries = json.loads((tmp_path / "videos" / "videos.json").read_text())
  assert [entry["file"] for entry in entries] == names
  kept = "lossless/episode000_left_robot_free.npz"
  assert entries[1] == {"file": names[1], "lossless": kept, **videos[1].metadata()}
  assert entries[5]["success"] is True
  written = {path.name for path in (tmp_path / "videos").iterdir()}
  assert written == {*names, "lossless", "videos.json"}


def test_manifest_comes_last_and_an_old_one_goes_first(tmp_path, monkeypatch):
  write_videos(tmp_path, four_videos())

  def interrupted(*arguments, **options):
    raise KeyboardInterrupt

  monkeypatch.setattr("vipjax.videos.write._write_mp4", interrupted)
  with pytest.raises(KeyboardInterrupt):
    write_videos(tmp_path, four_videos(), overwrite=True)
  names = [path.name for path in tmp_path.iterdir()]
  assert "videos.json" not in names and not [name for name in names if name.endswith(".partial")]


def test_folders_are_not_overwritten_unasked(tmp_path):
  write_videos(tmp_path, four_videos()[:2])
  with pytest.raises(UserError) as error:
    write_videos(tmp_path, four_videos())
  assert_one_sentence(error, tmp_path / "videos.json", "overwrite=True")
  (tmp_path / "videos.json").unlink()
  with pytest.raises(UserError) as error:
    write_videos(tmp_path, four_videos()[::-1])
  assert_one_sentence(error, tmp_path / "episode000_left_robot_free.mp4")
  assert len(list(tmp_path.glob("*.mp4"))) == 2 and len(list(tmp_path.glob("lossless/*"))) == 2
  write_videos(tmp_path, four_videos(), overwrite=True)
  assert len(read_videos(tmp_path)) == 4


@pytest.mark.parametrize("height", [48, 47])
def test_all_frames_are_kept_without_loss(tmp_path, height):
  noise = np.random.default_rng(0).integers(0, 256, (9, height, 64, 3), np.uint8)
  times = np.array([0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
  videos = [Video(noise, fps=20), Video(noise, times=times), Video(noise[:3], source="a robot")]
  write_videos(tmp_path, videos, crf=40)
  frames = np.pad(noise, ((0, 0), (0, height % 2), (0, 0), (0, 0)), mode="edge")
  video, uneven, named = read_videos(tmp_path)
  np.testing.assert_array_equal(video.frames, frames)
  assert video.fps == 20 and video.source == str(tmp_path / "video000.mp4")
  np.testing.assert_array_equal(read_videos(tmp_path, fps=10)[0].frames, frames[::2])
  # Times lie in the mp4 alone.
  np.testing.assert_array_equal(uneven.frames[[0, -1]], frames[[0, -1]])
  np.testing.assert_allclose(uneven.times, times, atol=1e-3)
  assert named.source == "a robot"
  (tmp_path / "lossless" / "video000.npz").unlink()
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, "lossless/video000.npz", tmp_path / "videos.json", "got nothing at")
  (tmp_path / "videos.json").unlink()
  assert len(read_videos(tmp_path)) == 3


@pytest.mark.parametrize("height", [48, 47])
def test_first_and_last_frames_are_kept_without_loss(tmp_path, height):
  noise = np.random.default_rng(0).integers(0, 256, (9, height, 64, 3), np.uint8)
  write_videos(tmp_path, [Video(noise), Video(noise[:1])], crf=40, keep="ends")
  frames = np.pad(noise, ((0, 0), (0, height % 2), (0, 0), (0, 0)), mode="edge")
  video, one = read_videos(tmp_path)
  np.testing.assert_array_equal(video.frames[[0, -1]], frames[[0, -1]])
  np.testing.assert_array_equal(one.frames, frames[:1])
  assert psnr(video.frames[4], frames[4]) < 30
  lazy = open_videos(tmp_path)[0]
  np.testing.assert_array_equal(lazy[[8, 3, 0]], video.frames[[8, 3, 0]])
  # The last frame of a part is not the film's.
  part = read_videos(tmp_path, frame_stride=3)[0].frames
  np.testing.assert_array_equal(part, video.frames[::3])
  np.testing.assert_array_equal(read_videos(tmp_path, fps=5)[0].frames, video.frames[::2])


def test_a_still_that_is_not_its_films(tmp_path):
  write_videos(tmp_path, [Video(moving_picture(3))], keep="ends")
  still = tmp_path / "stills" / "video000_last.png"
  write_image(still, moving_picture(1)[0, :, :-2], overwrite=True)
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, still, "[48, 64]", "[48, 62]")
  still.unlink()
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, "stills/video000_last.png", tmp_path / "videos.json", "got nothing at")
  # Without the manifest they are films like any others, and no one takes the images for a film.
  (tmp_path / "videos.json").unlink()
  assert len(read_videos(tmp_path)) == 1


def test_lists_that_cannot_be_written(tmp_path):
  twice = [Video(moving_picture(3), episode=1), Video(moving_picture(3), episode=1)]
  bad = [Video(moving_picture(3)), Video(moving_picture(3)[0])]
  for videos, part in [([], "got none"), (twice, "episode001.mp4"), (bad, "frames of video 1")]:
    with pytest.raises(UserError) as error:
      write_videos(tmp_path / "videos", videos)
    assert_one_sentence(error, part)
  assert not (tmp_path / "videos").exists()


def test_times_come_back_from_a_recorded_folder(tmp_path):
  pause = np.array([index / 30 + 10 * (index >= 20) for index in range(40)])
  write_videos(tmp_path, [Video(moving_picture(40), 3.3, times=pause), Video(moving_picture(4))])
  first, second = read_videos(tmp_path)
  np.testing.assert_allclose(first.times, pause, atol=1e-5)
  assert second.fps == 10 and second.seconds[-1] == pytest.approx(0.3)
