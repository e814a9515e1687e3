"""Every way of reading gives the same frames and rate, whatever the container and codec."""

from __future__ import annotations

import fractions
import pathlib

import av
import numpy as np
import pytest
from PIL import Image

from tests.videos.clips import encode, moving_picture
from vipjax.videos import open_videos, read_video, write_video
from vipjax.videos.decode import upright_rgb

FILMS = pathlib.Path(__file__).parents[1] / "testdata" / "films"
LENGTH = 20

# Codec, pixel format, containers.
CODECS = [
  ("amv", "yuvj420p", "avi"),
  ("asv2", "yuv420p", "avi"),
  ("cfhd", "yuv422p10le", "avi mov"),
  ("cinepak", "rgb24", "avi mov"),
  ("dpx", "rgb24", "avi"),
  ("ffv1", "yuv420p", "avi mkv mp4"),
  ("ffvhuff", "yuv420p", "avi"),
  ("flashsv", "bgr24", "avi"),
  ("flv", "yuv420p", "avi"),
  ("h263p", "yuv420p", "avi"),
  ("huffyuv", "rgb24", "avi"),
  ("jpeg2000", "yuv420p", "avi mkv mov mp4"),
  ("libsvtav1", "yuv420p", "avi mkv mp4 webm"),
  ("libvpx", "yuv420p", "avi mkv webm"),
  ("libvpx-vp9", "yuv420p", "avi mkv mp4 webm"),
  ("libx264", "yuv420p", "avi mkv mov mp4"),
  ("libx264rgb", "rgb24", "mkv mp4"),
  ("libx265", "yuv420p", "mkv mov mp4"),
  ("magicyuv", "yuv420p", "avi mov"),
  ("mjpeg", "yuvj420p", "avi mkv mov mp4"),
  ("mpeg2video", "yuv420p", "avi mkv mov mp4"),
  ("mpeg4", "yuv420p", "avi mkv mov mp4"),
  ("msmpeg4", "yuv420p", "avi mkv mov"),
  ("msvideo1", "rgb555le", "avi"),
  ("png", "rgb24", "avi mov mp4"),
  ("prores_ks", "yuv422p10le", "mkv mov"),
  ("qtrle", "rgb24", "mov"),
  ("rawvideo", "yuv420p", "avi mkv"),
  ("rpza", "rgb555le", "avi mov"),
  ("snow", "yuv420p", "avi mkv"),
  ("svq1", "yuv410p", "avi mov"),
  ("tiff", "yuv420p", "mov"),
  ("utvideo", "yuv420p", "avi"),
  ("wmv2", "yuv420p", "avi"),
  ("zlib", "bgr24", "avi"),
]
PALETTES = [
  ("gif", "mov"),
  ("msrle", "avi mov"),
  ("png", "avi mov"),
  ("rawvideo", "avi mov"),
  ("smc", "mov"),
  ("targa", "avi"),
  ("zmbv", "avi"),
]
JUMPS = [index + 30 * (index >= 9) for index in range(LENGTH)]
X264 = {"x264-params": "bframes=3:b-adapt=0:scenecut=0:keyint=5"}
# Name, codec and what else `encode` takes.
SPECIAL = [
  ("b_frames.avi", "libx264", {"options": X264}),
  ("pause.avi", "mjpeg", {"pixel_format": "yuvj420p", "pts": JUMPS}),
  ("pause.mkv", "libx264", {"options": X264, "pts": JUMPS}),
  ("pause.mp4", "libx264", {"options": X264, "pts": JUMPS}),
  ("late.mp4", "libx264", {"options": X264, "pts": range(7, 7 + LENGTH)}),
  ("rotated.mp4", "libx264", {"rotation": {"degrees": 90}}),
  ("open.mp4", "libx264", {"options": {"x264-params": "open-gop=1:keyint=5:scenecut=0"}}),
  ("open.mkv", "libx265", {"options": {"x265-params": "open-gop=1:keyint=5:scenecut=0"}}),
  ("open_b.mkv", "mpeg2video", {"gop": 5, "b_frames": 2}),
  ("packed.avi", "mpeg4", {"gop": 5, "b_frames": 2}),
  ("refreshed.mp4", "libx264", {"options": {"x264-params": "intra-refresh=1:keyint=5:bframes=0"}}),
  ("hidden.webm", "libvpx", {"options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}),
  ("interlaced.mp4", "libx264", {"options": {"x264-params": "interlaced=1:keyint=5"}}),
]  # fmt: skip
CUT = ["open.mp4", "open.mkv", "open_b.mkv", "refreshed.mp4", "b_frames.avi"]


def plain(path):
  """Frames and their times as PyAV gives them when nothing is asked of it but to decode."""
  with av.open(str(path)) as container:
    stream = container.streams.best("video")
    # What takes the place of pictures that are missing differs with the threads.
    stream.thread_type = "AUTO"
    frames = list(container.decode(stream))
    times = [frame.time for frame in frames]
    return np.stack([upright_rgb(path, frame) for frame in frames]), times


def assert_one_reading(path):
  """Checks every way of reading a file against plain decoding."""
  expected, times = plain(path)
  whole, (lazy,) = read_video(path), open_videos(path, cache_bytes=0)
  np.testing.assert_array_equal(whole.frames, expected)
  assert len(lazy) == len(expected) and lazy.fps == whole.fps
  if times == sorted(times):  # Of avi files PyAV may say when each was decoded.
    np.testing.assert_allclose(whole.times, np.array(times) - times[0], atol=1e-9)
  assert (np.diff(whole.times) > 0).all() and whole.times[0] == 0
  np.testing.assert_array_equal(lazy.times, whole.times)
  rng = np.random.default_rng(0)
  for index in rng.permutation(len(expected)):
    np.testing.assert_array_equal(lazy[int(index)], expected[index], err_msg=f"frame {index}")
  chosen = rng.integers(0, len(expected), 9)
  np.testing.assert_array_equal(lazy[chosen], expected[chosen])
  for stride, most in ((1, 4), (3, None), (4, 2)):
    part = read_video(path, frame_stride=stride, max_frames=most)
    np.testing.assert_array_equal(part.frames, expected[::stride][:most])
    (lazy,) = open_videos(path, frame_stride=stride, max_frames=most)
    np.testing.assert_array_equal(lazy[:], part.frames)
    # However few are read, the rate is that of the whole.
    assert lazy.fps == part.fps == whole.fps / stride
    np.testing.assert_array_equal(part.times, whole.times[::stride][:most])
    np.testing.assert_array_equal(lazy.times, part.times)
  part, (lazy,) = read_video(path, fps=7), open_videos(path, fps=7)
  np.testing.assert_array_equal(lazy[::-1], part.frames[::-1])
  np.testing.assert_array_equal(part.times, np.arange(len(lazy)) / 7)


@pytest.mark.parametrize(
  ("codec", "pixel_format", "suffix"),
  [(codec, form, suffix) for codec, form, suffixes in CODECS for suffix in suffixes.split()],
)
def test_codecs(tmp_path, codec, pixel_format, suffix):
  path = tmp_path / f"clip.{suffix}"
  encode(path, moving_picture(LENGTH, 64, 64), codec, pixel_format=pixel_format, gop=5)
  assert_one_reading(path)


@pytest.mark.parametrize(
  ("codec", "suffix"), [(codec, suffix) for codec, all_ in PALETTES for suffix in all_.split()]
)
def test_palettes(tmp_path, codec, suffix):
  path = tmp_path / f"clip.{suffix}"
  with av.open(str(path), "w") as container:
    stream = container.add_stream(codec, rate=10)
    stream.height, stream.width, stream.pix_fmt = 64, 64, "pal8"
    for index, image in enumerate(moving_picture(LENGTH, 64, 64)):
      quantized = Image.fromarray(image).quantize(256)
      colours = np.reshape(quantized.getpalette(), (-1, 3))
      palette = np.full((256, 4), 255, np.uint8)  # alpha first
      palette[: len(colours), 1:] = colours
      frame = av.VideoFrame.from_ndarray((np.array(quantized), palette), format="pal8")
      frame.pts, frame.time_base = index, fractions.Fraction(1, 10)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  assert plain(path)[0].any()
  assert_one_reading(path)


@pytest.mark.parametrize(("name", "codec", "options"), SPECIAL, ids=[each[0] for each in SPECIAL])
def test_films_of_all_sorts(tmp_path, name, codec, options):
  encode(tmp_path / name, moving_picture(LENGTH, 64, 64), codec, **options)
  assert_one_reading(tmp_path / name)


@pytest.mark.parametrize("begin", [1, 5, 6, 10])
@pytest.mark.parametrize("name", CUT)
def test_films_cut_without_decoding(tmp_path, name, begin):
  codec, options = {each[0]: each[1:] for each in SPECIAL}[name]
  encode(tmp_path / name, moving_picture(LENGTH, 64, 64), codec, **options)
  path = tmp_path / f"cut_{name}"
  with av.open(str(tmp_path / name)) as whole, av.open(str(path), "w") as cut:
    stream = cut.add_stream_from_template(whole.streams.video[0])
    for packet in [each for each in whole.demux(video=0) if each.size][begin:]:
      if packet.dts is not None:  # Matroska does not say it of the first ones.
        packet.stream = stream
        cut.mux(packet)
  assert_one_reading(path)


@pytest.mark.parametrize("begin", [5, 13])
@pytest.mark.parametrize("name", ["open.mp4", "open.mkv", "open_b.mkv", "refreshed.mp4"])
def test_films_cut_and_joined_without_decoding(tmp_path, name, begin):
  """A decoder drops pictures of the second that refer to what was cut off, in the middle."""
  codec, options = {each[0]: each[1:] for each in SPECIAL}[name]
  encode(tmp_path / name, moving_picture(40, 64, 64), codec, **options)
  path = tmp_path / f"joined_{name}"
  with av.open(str(path), "w") as joined:
    stream, late = None, 0
    for start in (0, begin):
      with av.open(str(tmp_path / name)) as whole:
        stream = stream or joined.add_stream_from_template(whole.streams.video[0])
        packets = [each for each in whole.demux(video=0) if each.dts is not None and each.size]
        for packet in packets[start:]:
          packet.stream, packet.pts, packet.dts = stream, packet.pts + late, packet.dts + late
          joined.mux(packet)
        late = max(packet.pts for packet in packets) + 4 * packets[0].duration
  assert_one_reading(path)


def test_gif(tmp_path):
  write_video(tmp_path / "clip.gif", moving_picture(LENGTH), 10)
  assert_one_reading(tmp_path / "clip.gif")


def test_pictures_that_refer_to_what_was_cut_off():
  assert_one_reading(FILMS / "hevc_cut.mkv")
  video = read_video(FILMS / "hevc_cut.mkv")
  assert video.frames.shape[0] == 90 and video.fps == 30


def test_the_rate_of_a_variable_one_is_its_mean(tmp_path):
  path = tmp_path / "clip.mkv"
  encode(path, moving_picture(6, 32, 32), "libx264", pts=[0, 1, 5, 6, 20, 25])
  for options in ({}, {"max_frames": 2}):
    assert read_video(path, **options).fps == pytest.approx(2.0)
    assert open_videos(path, **options)[0].fps == pytest.approx(2.0)
