"""Following what is clicked on, with networks that have SAM 2's inputs and outputs."""

import numpy as np
import pytest

from tests.videos.sam2_networks import DECODER, ENCODER, write_networks
from tests.videos.test_erase import passing_block
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.masks import clicked
from vipjax.videos.sam2 import Click, Sam2

FRAMES, MASKS, BACKGROUND = passing_block(24)
MIDDLES = [(8 + time * 80 / 23, 38) for time in range(24)]
INSIDE = Click(*MIDDLES[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("sam2")
  write_networks(folder)
  return folder


@pytest.fixture(scope="module")
def network(folder):
  return Sam2(folder)


def common(masks, expected):
  """Intersection over union of each frame's masks."""
  both, either = (masks & expected).sum(axis=(1, 2)), (masks | expected).sum(axis=(1, 2))
  return both / np.maximum(1, either)


@pytest.mark.parametrize("frame", [0, 9, 23])
def test_a_click_in_any_frame_is_followed_both_ways(network, frame):
  masks = network.follow(FRAMES, [Click(*MIDDLES[frame], frame)])
  assert masks.shape == MASKS.shape and masks.dtype == bool
  assert common(masks, MASKS).min() > 0.8


def test_frames_need_not_be_square(network):
  tall = np.repeat(FRAMES, 2, axis=1)
  masks = network.follow(tall, [Click(INSIDE.x, 2 * INSIDE.y)])
  assert common(masks, np.repeat(MASKS, 2, axis=1)).min() > 0.75


def test_something_alike_elsewhere_is_not_taken_for_it(network):
  twins = FRAMES.copy()
  twins[4:, 75:90, 10:25] = (250, 20, 20)
  assert common(network.follow(twins, [INSIDE]), MASKS).min() > 0.75


def test_a_click_beside_takes_something_away(network):
  frames, masks = FRAMES[:1].copy(), MASKS[:1]
  frames[0, 30:46, 40:56] = (250, 45, 20)  # by its colour a part of it, until it is clicked on
  both = network.follow(frames, [INSIDE])[0]
  assert both[38, 48]
  alone = network.follow(frames, [INSIDE, Click(48, 38, inside=False)])
  assert not alone[0, 38, 48] and common(alone, masks).min() > 0.8


def test_what_is_lost_is_said_with_its_frame(network):
  gone = FRAMES.copy()
  gone[6:] = BACKGROUND
  with pytest.raises(UserError, match="in frame 6 as well, .* --click=VIDEO:X,Y@FRAME, or, "):
    network.follow(gone, [INSIDE])
  masks = network.follow(gone, [INSIDE, Click(None, None, 6)])
  assert common(masks[:6], MASKS[:6]).min() > 0.8 and not masks[6:].any()
  back = np.concatenate((gone, FRAMES[-2:]))
  masks = network.follow(back, [INSIDE, Click(None, None, 6), Click(*MIDDLES[-2], 24)])
  assert not masks[6:24].any() and common(masks[24:], MASKS[[-2, -1]]).min() > 0.8


def test_clicks_of_a_video_count_before_those_of_all(folder):
  film = Video(FRAMES[:2], source="a.mp4")
  elsewhere = Click(90, 90)
  make = clicked(folder, [elsewhere, INSIDE._replace(video=1)], count=2)
  assert common(make(1, film), MASKS[:2]).min() > 0.8
  assert not make(0, film)[0, 38, 8]
  # In other frames both count.
  make = clicked(folder, [INSIDE, Click(None, None, 1, video=1)], count=2)
  assert make(0, film).any(axis=(1, 2)).tolist() == [True, True]
  assert make(1, film).any(axis=(1, 2)).tolist() == [True, False]
  with pytest.raises(UserError, match=r"24 frames of 96x96 of video 0 \(b.mp4\), got 8,38@24"):
    clicked(folder, [INSIDE._replace(frame=24)], count=1)(0, Video(FRAMES, source="b.mp4"))
  with pytest.raises(UserError, match="2 videos, counted from 0, got one on video 2"):
    clicked(folder, [INSIDE._replace(video=2)], count=2)


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("12,8.5", Click(12, 8.5)), ("12, 8@3", Click(12, 8, 3)),
    ("2:12,8@3", Click(12, 8, 3, True, 2)), ("none@9", Click(None, None, 9)),
  ],
)  # fmt: skip
def test_clicks_as_they_are_written(text, expected):
  assert Click.parse(text) == expected


@pytest.mark.parametrize("text", ["12", "12,8@", "-1,2", "12,8@-1", "x"])
def test_what_is_no_click(text):
  with pytest.raises(UserError, match=f"expected a click as .*, got '{text}'"):
    Click.parse(text)
  with pytest.raises(UserError, match="expected a click"):
    Click.parse("none@1", inside=False)


@pytest.mark.parametrize(
  ("clicks", "sentence"),
  [
    ([], "a click on the robot in the first frame"),
    (
      [Click(1, 1, inside=False), Click(1, 1, 2)],
      "a click on the robot in the first frame",
    ),
    ([Click(96, 1)], "within the 24 frames of 96x96, got 96,1@0"),
    ([INSIDE, Click(None, None, 24)], "got none@24"),
  ],
)
def test_clicks_that_do_not_fit(network, clicks, sentence):
  with pytest.raises(UserError, match=sentence):
    network.follow(FRAMES, clicks)


def test_files_that_are_not_there_or_not_its_own(tmp_path):
  with pytest.raises(UserError, match=r"one \*encoder\*.onnx, .*, got 0 in"):
    Sam2(tmp_path)
  write_networks(tmp_path, decoder=DECODER.replace("point_labels", "labels_of_points"))
  with pytest.raises(UserError, match="SAM 2's encoder and decoder .*labels_of_points"):
    Sam2(tmp_path)
  write_networks(tmp_path, encoder=ENCODER.replace("image_embed", "embedding"))
  with pytest.raises(UserError, match=r"outputs \['embedding', "):
    Sam2(tmp_path)
  (tmp_path / "small.decoder.onnx").write_bytes(b"no model")
  with pytest.raises(UserError, match="expected an ONNX model in .*decoder.onnx"):
    Sam2(tmp_path)
