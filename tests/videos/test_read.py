"""Reading every format, and what is said when it cannot be done."""

from __future__ import annotations

import fractions
import json
import re
import shutil

import av
import numpy as np
import pytest
from PIL import Image

from tests.videos.clips import moving_picture, psnr, without_permission
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import read_video, read_videos, write_video, write_videos


def encode(path, frames, codec, rate=10, rotation=None, pixel_format="yuv420p", pts=None):
  """Writes a file by PyAV alone, as other people's tools would."""
  with av.open(str(path), "w") as container:
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = pixel_format
    if rotation is not None:
      stream.set_display_rotation(**rotation)
    for index, image in enumerate(frames):
      frame = av.VideoFrame.from_ndarray(image, format="rgb24")
      frame.pts = index if pts is None else pts[index]
      frame.time_base = 1 / fractions.Fraction(rate)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_frames(folder, frames, name="{}.png"):
  folder.mkdir(parents=True, exist_ok=True)
  for index, frame in enumerate(frames):
    Image.fromarray(frame).save(folder / name.format(index))


def assert_one_sentence(error, *parts):
  message = str(error.value)
  for part in parts:
    assert str(part) in message, message
  assert message.startswith("expected ") and message.endswith("."), message
  assert "\n" not in message


# The containers.


@pytest.mark.parametrize(
  ("suffix", "codec"),
  [
    ("mp4", "libx264"),
    ("mov", "libx264"),
    ("mkv", "libx264"),
    ("avi", "mpeg4"),
    ("webm", "libvpx-vp9"),
    ("MP4", "mpeg4"),
  ],
)
def test_containers_keep_count_order_and_rate(tmp_path, suffix, codec):
  frames = moving_picture(12)
  path = tmp_path / f"clip.{suffix}"
  encode(path, frames, codec, rate=15)
  video = read_video(path)
  assert video.frames.dtype == np.uint8 and video.frames.shape == frames.shape
  assert video.fps == 15.0
  assert video.source == str(path)
  # Each frame is nearest to the one it was made from: none is lost, doubled or swapped.
  for index, frame in enumerate(video.frames):
    assert np.argmax([psnr(frame, other) for other in frames]) == index
    assert psnr(frame, frames[index]) > 25


def test_variable_frame_rate_gives_every_frame_once(tmp_path):
  frames = moving_picture(6)
  path = tmp_path / "clip.mkv"
  encode(path, frames, "libx264", pts=[0, 1, 5, 6, 20, 21])
  assert read_video(path).frames.shape == frames.shape


@pytest.mark.parametrize(
  ("rotation", "turned"),
  [
    ({"degrees": 90}, lambda image: np.rot90(image)),
    ({"degrees": 180}, lambda image: np.rot90(image, 2)),
    ({"degrees": 270}, lambda image: np.rot90(image, 3)),
    ({"degrees": 0, "hflip": True}, lambda image: image[:, ::-1]),
    ({"degrees": 0, "vflip": True}, lambda image: image[::-1]),
  ],
)
def test_rotation_is_applied(tmp_path, rotation, turned):
  frames = moving_picture(3, 32, 48)
  path = tmp_path / "phone.mp4"
  encode(path, frames, "libx264", rotation=rotation)
  expected = np.stack([turned(frame) for frame in frames])
  read = read_video(path).frames
  assert read.shape == expected.shape
  assert psnr(read, expected) > 28


def test_rotation_between_quarter_turns_is_refused(tmp_path):
  path = tmp_path / "tilted.mp4"
  encode(path, moving_picture(3), "libx264", rotation={"degrees": 30})
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, "quarter turns", "encode it again upright")


def test_gif_of_flat_colours_is_exact_and_transparency_is_white(tmp_path):
  colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
  path = tmp_path / "flat.gif"
  images = [Image.new("RGB", (16, 16), colour) for colour in colours]
  images[0].save(path, save_all=True, append_images=images[1:], duration=200)
  video = read_video(path)
  expected = [np.full((16, 16, 3), colour) for colour in colours]
  np.testing.assert_array_equal(video.frames, expected)
  assert video.fps == 5.0
  clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
  clear.paste((255, 0, 0, 255), (0, 0, 8, 16))
  clear.save(tmp_path / "clear.gif")
  frame = read_video(tmp_path / "clear.gif").frames[0]
  assert frame[0, 0].tolist() == [255, 0, 0] and frame[0, 15].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
  ("stride", "most", "kept"),
  [
    (1, None, range(10)),
    (3, None, [0, 3, 6, 9]),
    (2, 3, [0, 2, 4]),
    (1, 4, range(4)),
    (20, 5, [0]),
  ],
)
@pytest.mark.parametrize("form", ["mp4", "npy", "frames"])
def test_stride_and_limit(tmp_path, form, stride, most, kept):
  frames = moving_picture(10, 16, 16)
  path = tmp_path / f"clip.{form}"
  if form == "mp4":
    write_video(path, frames, 10, crf=0)
    frames = read_video(path).frames
  elif form == "npy":
    np.save(path, frames)
  else:
    write_frames(path, frames)
  video = read_video(path, frame_stride=stride, max_frames=most)
  np.testing.assert_array_equal(video.frames, frames[list(kept)])
  assert video.fps == 10 / stride


@pytest.mark.parametrize("limits", [{"frame_stride": 0}, {"max_frames": 0}, {"frame_stride": 1.5}])
def test_limits_out_of_range(tmp_path, limits):
  with pytest.raises(UserError) as error:
    read_videos(tmp_path, **limits)
  assert_one_sentence(error, *limits, "at least 1")


# Arrays.


def test_arrays(tmp_path):
  frames = moving_picture(5)
  np.savez(tmp_path / "named.npz", frames=frames, fps=25, other=np.zeros(3))
  np.savez(tmp_path / "only.npz", frames)
  np.save(tmp_path / "plain.npy", frames)
  named, only, plain = read_videos(tmp_path)
  assert (named.fps, only.fps, plain.fps) == (25.0, 10.0, 10.0)
  for video in (named, only, plain):
    np.testing.assert_array_equal(video.frames, frames)


def test_arrays_that_do_not_fit(tmp_path):
  np.savez(tmp_path / "two.npz", a=moving_picture(2), b=moving_picture(2))
  np.save(tmp_path / "float.npy", np.zeros((2, 8, 8, 3), np.float32))
  np.save(tmp_path / "pickled.npy", np.array([{}], object))
  np.savez(tmp_path / "rate.npz", frames=moving_picture(2), fps=-1.0)
  np.save(tmp_path / "none.npy", np.zeros((0, 8, 8, 3), np.uint8))
  expected = {
    "two.npz": "it holds a, b",
    "float.npy": "got float32 [2, 8, 8, 3]",
    "pickled.npy": "allow_pickle=False",
    "rate.npz": "one positive number, but got -1.0",
    "none.npy": "got uint8 [0, 8, 8, 3]",
  }
  for name, part in expected.items():
    with pytest.raises(UserError) as error:
      read_video(tmp_path / name)
    assert_one_sentence(error, tmp_path / name, part)


# Folders of frames.


@pytest.mark.parametrize("name", ["{}.png", "{:06d}.png", "frame_{}.PNG", "cam2-{}.5.png"])
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
    (["0.png", "goal.png"], "goal.png has no number"),
    (["rgb_0.png", "depth_0.png"], "depth_0.png and rgb_0.png belong to different ones"),
    (["0.png", "00.png"], "0.png and 00.png share one"),
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
  assert_one_sentence(error, "0.png is 8x8 and 1.png is 8x9")


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
  assert_one_sentence(error, tmp_path, "it holds 2", "use read_videos")


def test_videos_and_images_in_one_folder(tmp_path):
  np.save(tmp_path / "clip.npy", moving_picture(3))
  write_frames(tmp_path, moving_picture(2))
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, "1 videos and 2 images")


def test_folder_without_videos(tmp_path):
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path, "it is empty")
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
    ("[{", "cannot be parsed"),
    ("[]", "got list []"),
    ('{"file": "a.mp4"}', "got dict"),
    ('["a.mp4"]', "entry 0"),
    ('[{"file": "gone.mp4"}]', "the file 'gone.mp4' that"),
    ('[{"file": "video002.mp4", "taks": "a"}]', "entry 0 has 'taks'"),
    ('[{"file": "video002.mp4", "fps": "fast"}]', "'fps' of entry 0"),
    ('[{"file": "video002.mp4", "fps": 0}]', "positive, but got 0"),
    ('[{"file": "video002.mp4", "fps": NaN}]', "positive, but got nan"),
    ('[{"file": "video002.mp4", "episode": true}]', "to be int, but got true"),
    ('[{"file": "video002.mp4", "success": 1}]', "to be bool, but got 1"),
    ("", "it is empty (0 bytes)"),
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
  assert_one_sentence(error, tmp_path / "a", "it holds none")


# Files that cannot be read.


def test_missing_path(tmp_path):
  for path in (tmp_path / "gone.mp4", tmp_path / "gone", ""):
    with pytest.raises(UserError) as error:
      read_videos(path)
    assert_one_sentence(error, "a video file or folder", path)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.npz", "0.png"])
def test_empty_file(tmp_path, name):
  (tmp_path / name).write_bytes(b"")
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path / name, "it is empty (0 bytes)")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.gif", "clip.npz", "0.png"])
def test_file_of_noise(tmp_path, name):
  (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(5000))
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path / name, "truncated or corrupt")


@pytest.mark.parametrize(
  ("index_first", "part"), [(True, "lie beyond its end"), (False, "Invalid")]
)
def test_truncated_mp4(tmp_path, index_first, part):
  path = tmp_path / "clip.mp4"
  if index_first:
    write_video(path, moving_picture(20), 10)
  else:
    encode(path, moving_picture(20), "libx264")
  path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.8)])
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, "truncated or corrupt", part)


def test_truncated_avi_and_png(tmp_path):
  encode(tmp_path / "clip.avi", moving_picture(20), "mpeg4")
  write_frames(tmp_path / "frames", moving_picture(1))
  for path in (tmp_path / "clip.avi", tmp_path / "frames" / "0.png"):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with pytest.raises(UserError) as error:
      read_videos(path.parent if path.suffix == ".png" else path)
    assert_one_sentence(error, path, "truncated or corrupt")


def test_damaged_pictures_inside_a_whole_file(tmp_path):
  path = tmp_path / "clip.mp4"
  write_video(path, moving_picture(20), 10)
  data = bytearray(path.read_bytes())
  start = data.index(b"mdat") + len(data) // 4
  data[start : start + 400] = np.random.default_rng(1).bytes(400)
  path.write_bytes(data)
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, "truncated or corrupt")


def test_sound_without_pictures(tmp_path):
  path = tmp_path / "sound.mkv"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
    frame.sample_rate = 8000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, "a video stream")


def test_container_without_frames(tmp_path):
  path = tmp_path / "none.mkv"
  encode(path, np.zeros((0, 16, 16, 3), np.uint8), "libx264")
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path)


@pytest.mark.parametrize("name", ["clip.wmv", "clip", "0.png"])
def test_unknown_extension(tmp_path, name):
  path = tmp_path / name
  path.write_bytes(b"bytes")
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, ".mp4, .webm, .avi, .mov, .gif, .mkv, .npz, .npy")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.npy", "0.png", "videos.json"])
def test_file_without_permission(tmp_path, name):
  path = tmp_path / name
  path.write_bytes(b"bytes")
  with without_permission(path), pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, path, "permission was denied")


def test_folder_without_permission(tmp_path):
  folder = tmp_path / "shut"
  write_frames(folder, moving_picture(1))
  for path in (folder, folder / "clip.mp4", tmp_path):
    with without_permission(folder), pytest.raises(UserError) as error:
      read_videos(path)
    assert_one_sentence(error, folder, "permission was denied")


def test_containers_are_closed(tmp_path, monkeypatch):
  opened = []
  real_open = av.open

  def remembering(*arguments, **options):
    opened.append(real_open(*arguments, **options))
    return opened[-1]

  monkeypatch.setattr(av, "open", remembering)
  write_video(tmp_path / "clip.mp4", moving_picture(5), 10)
  read_video(tmp_path / "clip.mp4", max_frames=2)
  shutil.copy(tmp_path / "clip.mp4", tmp_path / "short.mp4")
  with (tmp_path / "short.mp4").open("r+b") as file:
    file.truncate(2000)
  with pytest.raises(UserError):
    read_video(tmp_path / "short.mp4")
  assert len(opened) == 3
  for container in opened[1:]:
    with pytest.raises(AssertionError, match=re.escape("Container is not open")):
      container.seek(0)
