"""Writing video files."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tests.videos.clips import assert_one_sentence, moving_picture, psnr, without_permission
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos, read_video, write_video


@pytest.mark.parametrize("length", [1, 2, 5, 20])
def test_round_trip(tmp_path, length):
  frames = moving_picture(length)
  write_video(tmp_path / "new" / "clip.mp4", frames, 10)
  video = read_video(tmp_path / "new" / "clip.mp4")
  assert video.frames.shape == frames.shape
  assert psnr(video.frames, frames) > 36
  assert [path.name for path in (tmp_path / "new").iterdir()] == ["clip.mp4"]


def test_lower_crf_is_closer(tmp_path):
  frames = moving_picture(10)
  quality = []
  for crf in (0, 20, 40):
    write_video(tmp_path / f"{crf}.mp4", frames, 10, crf=crf)
    quality.append(psnr(read_video(tmp_path / f"{crf}.mp4").frames, frames))
  assert quality[0] > quality[1] > quality[2]


def colour_cards():
  """Flat colours, and gradients of red and green along either axis, uint8 [_, 64, 64, 3]."""
  flat = np.random.default_rng(0).integers(0, 256, (60, 1, 1, 3)) + np.zeros((1, 64, 64, 1))
  y, x = np.mgrid[:64, :64] * 255 / 63
  gradients = np.stack([np.stack([x, y, np.full_like(x, blue)], -1) for blue in range(0, 256, 16)])
  cards = {"flat": flat, "gradients": gradients, "turned": gradients[:, ::-1, ::-1]}
  return {name: np.rint(frames).astype(np.uint8) for name, frames in cards.items()}


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif"])
@pytest.mark.parametrize("card", ["flat", "gradients", "turned"])
def test_what_is_read_back_is_neither_darker_nor_of_another_hue(tmp_path, name, card):
  frames = colour_cards()[card]
  write_video(tmp_path / name, frames, 10, crf=0)
  error = read_video(tmp_path / name).frames - frames.astype(np.float64)
  assert np.abs(error.mean(axis=(0, 1, 2))).max() < 0.2


@pytest.mark.parametrize("colour", [(200, 30, 40), (10, 240, 90), (0, 0, 0), (255, 255, 255)])
def test_flat_colours_come_back(tmp_path, colour):
  frames = np.broadcast_to(np.array(colour, np.uint8), (4, 32, 32, 3))
  write_video(tmp_path / "flat.mp4", frames, 10)
  read = read_video(tmp_path / "flat.mp4").frames
  assert np.abs(read.astype(int) - frames).max() <= 1


@pytest.mark.parametrize("fps", [0.5, 7, 12.5, 29.97, 80 / 3, 60, 1000])
def test_fps_is_kept(tmp_path, fps):
  write_video(tmp_path / "clip.mp4", moving_picture(6, 16, 16), fps)
  video = read_video(tmp_path / "clip.mp4")
  assert video.fps == pytest.approx(fps, rel=1e-6)
  assert len(video.frames) == 6


def test_browsers_can_play_it(tmp_path):
  path = tmp_path / "clip.mp4"
  write_video(path, moving_picture(6), 10)
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    assert stream.codec_context.name == "h264"
    assert stream.codec_context.pix_fmt == "yuv420p"
    assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
  data = path.read_bytes()
  # The index before the pictures: playing starts before the whole file has come.
  assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(("height", "width"), [(15, 17), (16, 17), (15, 16), (1, 1)])
def test_odd_sizes_are_padded_by_their_edge(tmp_path, height, width):
  frames = moving_picture(4, height, width)
  write_video(tmp_path / "odd.mp4", frames, 10, crf=0)
  expected = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
  read = read_video(tmp_path / "odd.mp4").frames
  assert read.shape == expected.shape
  assert psnr(read, expected) > 30


def test_gif(tmp_path):
  frames = moving_picture(5)
  write_video(tmp_path / "clip.gif", frames, 10)
  video = read_video(tmp_path / "clip.gif")
  assert video.frames.shape == frames.shape and video.fps == 10.0
  assert psnr(video.frames, frames) > 25


def test_nothing_is_overwritten_unasked(tmp_path):
  path = tmp_path / "clip.mp4"
  write_video(path, moving_picture(3), 10)
  before = path.read_bytes()
  with pytest.raises(UserError) as error:
    write_video(path, moving_picture(4), 10)
  assert_one_sentence(error, path, "overwrite=True")
  assert path.read_bytes() == before
  write_video(path, moving_picture(4), 10, overwrite=True)
  assert len(read_video(path).frames) == 4


@pytest.mark.parametrize(
  ("frames", "part"),
  [
    (np.zeros((2, 8, 8, 3), np.float32), "float32 [2, 8, 8, 3]"),
    (np.zeros((8, 8, 3), np.uint8), "uint8 [8, 8, 3]"),
    (np.zeros((2, 8, 8, 4), np.uint8), "uint8 [2, 8, 8, 4]"),
    (np.zeros((0, 8, 8, 3), np.uint8), "uint8 [0, 8, 8, 3]"),
    (np.zeros((2, 0, 8, 3), np.uint8), "uint8 [2, 0, 8, 3]"),
  ],
)
def test_frames_that_do_not_fit(tmp_path, frames, part):
  with pytest.raises(UserError) as error:
    write_video(tmp_path / "clip.mp4", frames, 10)
  assert_one_sentence(error, "uint8 [T, H, W, 3]", f"got {part}")
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("arguments", "part"),
  [
    ({"fps": 0}, "got 0"),
    ({"fps": float("nan")}, "got nan"),
    ({"fps": float("inf")}, "got inf"),
    ({"crf": 52}, "got 52"),
    ({"crf": -1}, "got -1"),
    ({"name": "clip.webm"}, "ending in .mp4 or .gif"),
  ],
)
def test_arguments_out_of_range(tmp_path, arguments, part):
  arguments = {"name": "clip.mp4", "fps": 10, "crf": 12, **arguments}
  with pytest.raises(UserError) as error:
    write_video(
      tmp_path / arguments["name"], moving_picture(2), arguments["fps"], crf=arguments["crf"]
    )
  assert_one_sentence(error, part)


def test_places_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(UserError) as error:
    write_video(tmp_path / "file" / "clip.mp4", moving_picture(2), 10)
  assert_one_sentence(error, tmp_path / "file", "got a file in the way")
  shut = tmp_path / "shut"
  shut.mkdir()
  with without_permission(shut), pytest.raises(UserError) as error:
    write_video(shut / "clip.mp4", moving_picture(2), 10)
  assert_one_sentence(error, shut, "got 'Permission denied'")


# Times that are not even.

PAUSE = np.array([index / 30 + 10 * (index >= 20) for index in range(40)])


@pytest.mark.parametrize(("name", "tolerance"), [("clip.mp4", 1e-5), ("clip.gif", 0.011)])
def test_every_frame_is_shown_at_its_own_time(tmp_path, name, tolerance):
  write_video(tmp_path / name, moving_picture(40), 30, times=PAUSE)
  video = read_video(tmp_path / name)
  np.testing.assert_allclose(video.times, PAUSE, atol=tolerance)
  assert video.fps == pytest.approx(39 / PAUSE[-1], rel=0.01)


@pytest.mark.parametrize("times", [PAUSE[:-1], PAUSE[::-1], np.zeros(40)])
def test_times_that_do_not_fit(tmp_path, times):
  with pytest.raises(UserError) as error:
    write_video(tmp_path / "clip.mp4", moving_picture(40), 30, times=times)
  assert_one_sentence(error, "40 ascending times")


def test_a_relative_name_with_a_colon(tmp_path, monkeypatch):
  """FFmpeg would take it for an address with a protocol."""
  monkeypatch.chdir(tmp_path)
  frames = moving_picture(4)
  for name in ("2024-01-01T10:20:30.mp4", "file:clip.mp4", "10:20/concat:a.gif"):
    write_video(name, frames, 10)
    assert len(read_video(name).frames) == 4
    np.testing.assert_array_equal(open_videos(name)[0][[2]], read_video(name).frames[[2]])
    assert read_video(name).source == name
