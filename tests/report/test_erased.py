"""The page of erased films: what it shows, and what it warns of."""

import dataclasses

import numpy as np
import pytest

from tests.report.test_page import Page
from vipjax.report import erased
from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.erase import erase
from vipjax.videos.twins import Twin


def twin(length=3, height=40, width=60):
  frames = np.full((length, height, width, 3), 100, np.uint8)
  masks = np.zeros(frames.shape[:3], bool)
  masks[0, :20, :20] = True
  frames[masks] = 200
  masks[:, 30:, 50:] = True  # never seen
  return Twin(Video(frames, 10.0, episode=1), erase(frames, masks, 0, 0), 0.2)


def test_before_mask_and_after_lie_side_by_side():
  made = twin()
  shown = erased.shown(made)
  assert shown.film.shape == (3, 40, 180, 3) and shown.frames == 3
  before, mask, after = np.split(shown.film[0], 3, axis=1)
  np.testing.assert_array_equal(before, made.video.frames[0])
  assert (after == 100).all()
  # A mask is coloured, all else is a darker grey.
  np.testing.assert_array_equal(mask[0, 0], [220, 30, 90])
  np.testing.assert_array_equal(mask[0, 30], [60, 60, 60])
  # 400 and three times 100 pixels of 7,200.
  assert shown.erased_share == pytest.approx(700 / 7200)
  assert shown.flat_share == pytest.approx(300 / 700)
  assert shown.outdated_share == 0  # The first mask lies in the first frame alone.


def test_films_are_thinned_and_shrunk():
  shown = erased.shown(twin(length=240, height=384, width=200))
  assert shown.film.shape == (120, 192, 300, 3) and shown.frames == 240
  assert shown.video.times[-1] == pytest.approx(23.9)
  assert shown.video.fps == pytest.approx(10 * 119 / 239)


def test_a_page_of_more_films_than_it_shows(tmp_path):
  films = [erased.shown(twin())] * 13
  path = erased.write_page(tmp_path, films, {"masks": "<given>"}, ["Mind the flat."], 1.0)
  page = Page(path.read_text(encoding="utf-8"))
  for words in ("Mind the flat.", "and 1 more", "<given>", "42.9%", "0.2 px", "episode 1 (13)"):
    assert words in page.text
  assert len(page.all("video")) == 12


def test_warnings():
  shown = dataclasses.replace(erased.shown(twin()), flat_share=0.29)
  assert erased.warnings([shown], from_motion=False) == []
  assert erased.warnings([shown], from_motion=True) == [erased.MOTION_LIMITS]
  moved, flat = (
    dataclasses.replace(shown, **{name: value})
    for name, value in (("camera_shift", 1.5), ("flat_share", 0.4))
  )
  assert "about 1.5 pixels" in erased.warnings([moved], from_motion=False)[0]
  assert erased.warnings([flat], from_motion=False)[0].startswith("40% of what was erased")
  old = dataclasses.replace(shown, outdated_share=0.02)
  assert erased.warnings([old], from_motion=False)[0].startswith(
    "2.0% of the last frames, the goals"
  )
  (with_tail,) = erased.warnings([old], from_motion=False, tail=1.5)
  assert with_tail.endswith("still there in all of the last 1.5 s; let it leave further.")


def test_only_what_an_earlier_call_wrote_is_replaced(tmp_path):
  data, out = tmp_path / "films" / "a.mp4", tmp_path / "out"
  erased.check_out(out, data, overwrite=False)
  out.mkdir()
  erased.check_out(out, data, overwrite=True)
  (out / "thesis.tex").touch()
  for overwrite in (False, True):
    with pytest.raises(UserError, match=r"nothing at .*out that would be lost"):
      erased.check_out(out, data, overwrite)
  (out / erased.PAGE).touch()
  erased.check_out(out, data, overwrite=True)
  with pytest.raises(UserError, match="pass --overwrite"):
    erased.check_out(out, data, overwrite=False)
  with pytest.raises(UserError, match="give another --out"):
    erased.check_out(out, out / "videos.json", overwrite=True)
