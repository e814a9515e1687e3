"""Pictures: that they decode, show what they are given, and refuse nothing to show."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from tests.report.runs import curve, video
from vipjax import report
from vipjax.report import plots
from vipjax.report.film import curve_film
from vipjax.runtime.errors import UserError

BEFORE = {"recorded": [curve("a, b", [1.0, 3.0, 0.0])], "unseen": [curve("c", [1.0, 0.5])]}
AFTER = {"recorded": [curve("a, b", [4.0, 2.0, 0.0])], "unseen": [curve("c", [4.0, 0.0])]}
ROWS = [{"step": step, "success": step / 99, "return": None, "loss": 1.0} for step in range(100)]


def pixels(png):
  image = Image.open(io.BytesIO(png))
  assert image.format == "PNG"
  return np.asarray(image.convert("RGB"))


def has_colour(image, colour, tolerance=12):
  wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
  return bool((np.abs(image.astype(int) - wanted).max(-1) <= tolerance).any())


@pytest.mark.parametrize("theme", [report.LIGHT, report.DARK])
def test_curves_are_drawn_in_the_themes_colours(theme):
  image = pixels(report.plot_curves(BEFORE, AFTER, theme=theme))
  assert has_colour(image[:3, :3], theme.background, 0)
  assert has_colour(image, theme.colours[0]) and has_colour(image, theme.text)
  only_before = pixels(report.plot_curves(BEFORE, None, theme=theme))
  assert has_colour(only_before, theme.faint) and not has_colour(only_before, theme.colours[0])


# Each a formula that cannot be drawn, and what TeX would take for a comment or an index.
NAMES = ["Ba$$in.mp4", "$x^{$.mp4", "a_b %&<b>{", "two\nlines$\\frac$"]


def test_names_are_text_and_settings_our_own():
  pictures = []
  for settings in ({}, {"text.usetex": True, "lines.linewidth": 9.0, "font.size": 30.0}):
    with matplotlib.rc_context(settings):
      before = dict(matplotlib.rcParams)
      curves = {"recorded": [curve(name, [2.0, 1.0, 0.0]) for name in NAMES]}
      strips = {name: video("left", True) for name in NAMES}
      film = curve_film(
        strips[NAMES[0]].frames, np.arange(6.0)[::-1], np.arange(6.0), [strips[NAMES[0]].frames[0]]
      )
      pictures.append(
        [report.plot_curves(None, curves), report.plot_frames(strips), film.tobytes()]
      )
      assert dict(matplotlib.rcParams) == before
  assert pictures[0] == pictures[1]


def test_the_last_frame_is_shown():
  red = np.zeros((8, 8, 3), np.uint8) + np.array([250, 0, 5], np.uint8)
  assert not has_colour(pixels(report.plot_curves(BEFORE, AFTER)), "#fa0005")
  assert has_colour(pixels(report.plot_curves(BEFORE, AFTER, {"a, b": red})), "#fa0005")


def test_panels_follow_what_there_is():
  both = pixels(report.plot_curves(BEFORE, AFTER))
  one_row = pixels(report.plot_curves({}, {"unseen": AFTER["unseen"]}))
  many = {"recorded": [curve(f"video {i}", [2.0, 1.0]) for i in range(20)]}
  two_rows = pixels(report.plot_curves(None, many))
  assert both.shape[0] > one_row.shape[0]
  # The first 8 of 20, four in a row.
  first_row = pixels(report.plot_curves(None, {"recorded": AFTER["recorded"]}))
  assert two_rows.shape[0] == pytest.approx(2 * first_row.shape[0], abs=2)


def test_a_collapsed_encoder_still_has_a_picture():
  flat = {"recorded": [curve("a", [0.0, 0.0])], "unseen": [curve("b", [0.0, 1.0])]}
  image = pixels(report.plot_curves(flat, None))
  # Undivided, the one curve rises over the height of its panel, the other lies on its edge.
  np.testing.assert_array_equal(plots._scaled(flat["unseen"][0]), [0.0, 1.0])
  low = {**flat, "unseen": [curve("b", [0.0, 0.5])]}
  assert (image != pixels(report.plot_curves(low, None))).any()
  assert has_colour(image, report.LIGHT.faint)


def test_learning_and_losses():
  image = pixels(report.plot_learning(ROWS))
  assert has_colour(image, report.LIGHT.colours[0])
  # "return" is None in all rows, so its panel and its colour are left out.
  assert not has_colour(image, report.LIGHT.colours[1])
  exploring = [{"step": step, "train_distance": 2.0 - step} for step in range(3)]
  assert has_colour(pixels(report.plot_learning(exploring)), report.LIGHT.faint)
  assert has_colour(pixels(report.plot_losses(ROWS)), report.LIGHT.colours[0])


def test_running_mean_by_hand():
  values = np.array([0.0, 3.0, 6.0, 9.0, 100.0])
  np.testing.assert_allclose(plots.running_mean(values, 1), [1.5, 3.0, 6.0, 115 / 3, 54.5])
  np.testing.assert_allclose(plots.running_mean(values, 0), values)


def test_mean_curve_ends_with_the_shortest():
  times, mean = plots._mean_curve([curve("a", [2.0, 1.0, 0.0]), curve("b", [1.0, 0.0])])
  assert times[0] == 0 and times[-1] == pytest.approx(0.1)
  # Divided by their first: 1 and 1 at the start, 0.5 and 0 at 0.1 s.
  assert mean[[0, -1]] == pytest.approx([1.0, 0.25])


def test_strip_holds_evenly_spaced_frames():
  strip, ends, times = plots._strip(video("left", True, length=13))
  assert times == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2])
  assert strip.shape == (24, 7 * 32 + 6, 4) and ends[0] == 32 and ends[-1] == strip.shape[1]
  levels = [int(strip[0, end - 1, 0]) for end in ends]
  assert levels[0] == 40 and levels[-1] == 200 and levels == sorted(set(levels))
  assert (strip[:, ends[0], 3] == 0).all()


def test_frames_of_short_and_of_many_videos():
  short = pixels(report.plot_frames({"short": video("left", True, length=2)}))
  many = {f"video {i}": video("left", True) for i in range(11)}
  assert pixels(report.plot_frames(many)).shape[0] == pytest.approx(8 * short.shape[0], rel=0.02)


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: report.plot_curves(None, {"recorded": []}), "distance curve"),
    (lambda: report.plot_learning([{"step": 1, "success": None}]), "success or return"),
    (lambda: report.plot_losses([]), "loss or vip_loss"),
    (lambda: report.plot_frames({}), "at least one video"),
  ],
)
def test_nothing_to_show_is_refused(call, words):
  with pytest.raises(UserError, match=words) as error:
    call()
  assert str(error.value).endswith(".") and "\n" not in str(error.value)
