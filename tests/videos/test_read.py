"""Video files and array files."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from PIL import Image

from tests.videos.clips import assert_one_sentence, encode, moving_picture, psnr, write_frames
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos import read_video, read_videos, write_video, write_videos


@pytest.mark.parametrize(
  ("suffix", "codec"),
  [
    ("mp4", "libx264"),
    ("mov", "libx264"),
    ("mkv", "libx264"),
    ("avi", "mpeg4"),
    ("webm", "libvpx-vp9"),
    ("mp4", "libsvtav1"),
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
    ({"degrees": 90, "hflip": True}, lambda image: np.rot90(image)[:, ::-1]),
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


@pytest.mark.parametrize("matrix", [(0.2126, 0.0722, 1), (0.299, 0.114, 5)])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv444p"])
def test_colours_by_their_definition(tmp_path, matrix, full_range, layout):
  """Planes computed by ITU-R BT.709 or BT.601 in floating point, stored without loss."""
  red, blue, number = matrix
  colours = np.random.default_rng(0).integers(0, 256, (400, 3))
  luma = colours @ [red, 1 - red - blue, blue]
  offset, luma_scale, chroma_scale = (0, 1, 1) if full_range else (16, 219 / 255, 224 / 255)
  planes = [
    offset + luma_scale * luma,
    128 + chroma_scale * (colours[:, 2] - luma) / (2 - 2 * blue),
    128 + chroma_scale * (colours[:, 0] - luma) / (2 - 2 * red),
  ]
  path = tmp_path / "flat.mkv"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("ffv1", rate=10)
    stream.height, stream.width, stream.pix_fmt = 8, 8, layout
    stream.codec_context.colorspace = number
    stream.codec_context.color_range = 2 if full_range else 1
    for values in np.rint(np.clip(np.stack(planes, -1), 0, 255)).astype(np.uint8):
      frame = av.VideoFrame(8, 8, layout)
      for plane, value in zip(frame.planes, values, strict=True):
        plane.update(np.full(plane.buffer_size, value, np.uint8))
      frame.colorspace, frame.color_range = number, 2 if full_range else 1
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  error = read_video(path).frames - colours[:, None, None].astype(np.float64)
  assert np.abs(error.mean(axis=(0, 1, 2))).max() < 0.2
  assert np.abs(error).max() <= 2.0


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
    "two.npz": "got a, b",
    "float.npy": "got float32 [2, 8, 8, 3]",
    "pickled.npy": "got object [1]",
    "rate.npz": "one positive number, got -1.0",
    "none.npy": "got uint8 [0, 8, 8, 3]",
  }
  for name, part in expected.items():
    with pytest.raises(UserError) as error:
      read_video(tmp_path / name)
    assert_one_sentence(error, tmp_path / name, part)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_what_a_camera_notes_in_jpeg_pictures_is_applied(tmp_path, orientation, turns):
  frames = moving_picture(3, 32, 48)
  with av.open(str(tmp_path / "camera.avi"), "w") as container:
    stream = container.add_stream("mjpeg", rate=10)
    stream.height, stream.width, stream.pix_fmt = 32, 48, "yuvj420p"
    for index, image in enumerate(map(Image.fromarray, frames)):
      exif = image.getexif()
      exif[0x0112] = orientation
      encoded = io.BytesIO()
      image.save(encoded, "JPEG", exif=exif, quality=95)
      packet = av.Packet(encoded.getvalue())
      packet.stream, packet.pts, packet.dts = stream, index, index
      container.mux(packet)
  read = read_video(tmp_path / "camera.avi").frames
  assert psnr(read, np.stack([np.rot90(frame, turns) for frame in frames])) > 35


def test_folders_named_by_the_outcome(tmp_path):
  for name, count in (("success", 2), ("failure", 1)):
    films = [Video(moving_picture(2 + i, 16, 16), episode=3 * i, view="top") for i in range(count)]
    write_videos(tmp_path / "a" / name, films)
    (tmp_path / "b" / name).mkdir(parents=True)
    np.save(tmp_path / "b" / name / "0.npy", moving_picture(3, 16, 16))
  found = read_videos(tmp_path / "a")
  assert [(each.success, each.episode) for each in found] == [(True, 0), (True, 3), (False, 4)]
  (failed,) = read_videos(tmp_path / "a", success=False)
  assert len(failed.frames) == 2
  assert [each.episode for each in read_videos(tmp_path / "a", episodes=[4])] == [4]
  assert [(each.success, each.episode) for each in read_videos(tmp_path / "b")] == [
    (True, None), (False, None),
  ]  # fmt: skip
