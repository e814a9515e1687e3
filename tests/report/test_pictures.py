"""Pictures: that they decode, show what they are given, and refuse nothing to show."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from tests.report.runs import video
from tests.videos.clips import moving_picture
from vipjax.report import pictures
from vipjax.report.charts import DARK, LIGHT, Chart
from vipjax.report.pictures import curve_film, draw, draw_frames, draw_neighbours
from vipjax.runtime.errors import UserError


def pixels(png):
  image = Image.open(io.BytesIO(png))
  assert image.format == "PNG"
  return np.asarray(image.convert("RGB"))


def count(image, colour, tolerance=12):
  wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
  return int((np.abs(image.astype(int) - wanted).max(-1) <= tolerance).sum())


def chart(*traces, **layout):
  return pixels(draw([[Chart("title", traces, layout)]]))


def line(name="a", colour=0, **plotly):
  points = {"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 0.0]}
  return {**points, "name": name, "colour": colour, "plotly": plotly}


def test_a_chart_is_drawn_in_its_colours():
  alone = chart(line())
  assert count(alone[:3, :3], LIGHT.background, 0) == 9
  assert count(alone, LIGHT.colours[0]) > 500 and count(alone, LIGHT.text)
  assert count(chart(line(), showlegend=True), LIGHT.text) > count(alone, LIGHT.text)
  faint = [
    count(chart(line("b", 3, line={"dash": dash})), LIGHT.colours[3])
    for dash in ("solid", "dash", "dot")
  ]
  assert min(faint[1:]) > 500 and faint[0] > max(faint[1:])


def test_points_and_rings():
  marks = {"mode": "markers", "marker": {"size": 40}}
  ring = {"mode": "markers", "marker": {"size": 40, "symbol": "circle-open"}}
  assert count(chart(line(**marks)), LIGHT.colours[0]) > 3000
  assert 100 < count(chart(line(**ring)), LIGHT.colours[0]) < 2000


def test_axes_are_those_of_the_layout():
  def height(image):
    wanted = [int(LIGHT.colours[0][i : i + 2], 16) for i in (1, 3, 5)]
    return np.ptp(np.argwhere((image == wanted).all(-1))[:, 0])

  # Squeezed into the lower end of the chart; without a range it fills it.
  assert height(chart(line(), yaxis={"range": [0, 100]})) < 20
  assert height(chart(line())) > 200
  # A row of charts with one axis has one scale.
  low = line() | {"y": [0.0, 0.1, 0.0]}
  for yaxis, least, most in (({"title": "one"}, 0, 20), (None, 200, 999)):
    layout = {"yaxis": yaxis} if yaxis else {}
    row = [Chart("", [line(colour=1)], layout), Chart("", [low], layout)]
    assert least < height(pixels(draw([row]))) < most


def test_rows_are_as_high_as_their_charts():
  low, high = (Chart("", [line()], {"height": height}) for height in (240, 480))
  heights = [pixels(draw(rows)).shape[0] for rows in ([[low, low]], [[low], [low, high], []])]
  assert heights == [300, 900]


def test_a_matrix_has_its_numbers():
  trace = {"x": ["a", "b"], "y": ["c"], "z": [[1.0, np.nan]], "name": "m", "colour": 0,
           "plotly": {"type": "heatmap", "zmin": -1, "zmax": 1}}  # fmt: skip
  image = chart(trace)
  # Blue where it is 1, grey where there is none.
  assert count(image, "#053061") > 50_000 and count(image, LIGHT.grid) > 50_000


# Each a formula that cannot be drawn, and what TeX would take for a comment or an index.
NAMES = ["Ba$$in.mp4", "$x^{$.mp4", "a_b %&<b>{", "two\nlines$\\frac$"]


def test_names_are_text_and_settings_our_own():
  made = []
  for settings in ({}, {"text.usetex": True, "lines.linewidth": 9.0, "font.size": 30.0}):
    with matplotlib.rc_context(settings):
      before = dict(matplotlib.rcParams)
      charts = [Chart(name, [line(name), line()]) for name in NAMES]
      strips = {name: video("left", True) for name in NAMES}
      frames = strips[NAMES[0]].frames
      film = curve_film(frames, np.arange(6.0)[::-1], np.arange(6.0), [frames[0]])
      made.append([draw([charts]), draw_frames(strips), film.tobytes()])
      assert dict(matplotlib.rcParams) == before
  assert made[0] == made[1]


def test_a_strip_holds_its_frames_side_by_side():
  frames = video("left", True, length=7).frames
  image = pictures._Strip("a", frames, [""] * 7).image()
  assert image.shape == (24, 7 * 32 + 6, 4)
  ends = [31 + number * 33 for number in range(7)]
  levels = [int(image[0, end, 0]) for end in ends]
  assert levels[0] == 40 and levels[-1] == 200 and levels == sorted(set(levels))
  assert (image[:, ends[0] + 1, 3] == 0).all()


def test_frames_of_short_and_of_many_videos():
  short = pixels(draw_frames({"short": video("left", True, length=2)}))
  many = {f"video {i}": video("left", True) for i in range(11)}
  assert pixels(draw_frames(many)).shape[0] == pytest.approx(8 * short.shape[0], rel=0.02)


def test_neighbours_are_the_frames_named():
  shades = {"a": video("a", True, length=3), "b": video("b", True, length=3)}
  same = draw_neighbours(shades, {"b": [0, 1, 2]})
  assert same != draw_neighbours(shades, {"b": [2, 1, 0]})
  assert count(pixels(same), LIGHT.colours[2]) == 0
  marked = draw_neighbours(shades, {"b": [0, 1, 2]}, {"b": [True, False, False]})
  assert count(pixels(marked), LIGHT.colours[2]) > 500


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: draw([[]]), "at least one chart"),
    (lambda: draw_frames({}), "at least one video"),
    (lambda: draw_neighbours({"a": video("a", True)}, {}), "beside the first"),
  ],
)
def test_nothing_to_show_is_refused(call, words):
  with pytest.raises(UserError, match=words) as error:
    call()
  assert str(error.value).endswith(".") and "\n" not in str(error.value)


@pytest.mark.parametrize("size", [(64, 64), (48, 90), (31, 17), (20, 200)])
@pytest.mark.parametrize("goals", [0, 1, 5])
def test_sizes(size, goals):
  frames = moving_picture(3, *size)
  film = curve_film(frames, np.array([3.0, 1, 0]), np.arange(3.0), [frames[-1]] * goals)
  assert film.dtype == np.uint8 and film.shape[:2] == (3, 256)
  width = film.shape[2] - 448
  assert width % 2 == 0 and width == min(480, round(256 * size[1] / size[0] / 2) * 2)
  # Left the frames, right the curve.
  assert np.abs(film[:, :, :width].mean((1, 2)) - frames.mean((1, 2))).max() < 4


def test_the_curve_brightens_up_to_the_time_shown():
  frames, distances = moving_picture(5, 32, 32), np.array([4.0, 3, 2, 1, 0])
  panels = curve_film(frames, distances, np.arange(5.0))[:, :, 256:]
  colour = np.array([int(DARK.colours[0][i : i + 2], 16) for i in (1, 3, 5)])
  bright = (np.abs(panels.astype(int) - colour).sum(-1) < 20).sum((1, 2))
  assert bright[0] < 5 and (np.diff(bright) > 50).all()
  # The dot goes right and down.
  dot = np.array([int(DARK.colours[1][i : i + 2], 16) for i in (1, 3, 5)])
  places = [np.argwhere((panel == dot).all(-1)).mean(0) for panel in panels]
  assert (np.diff(places, axis=0) > 10).all()


def test_a_curve_of_zeros_is_drawn():
  film = curve_film(moving_picture(2, 16, 16), np.zeros(2), np.arange(2.0))
  assert film[..., 256:, :].std() > 0
