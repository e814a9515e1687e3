"""The page in a real browser: nothing goes wrong, curves are there, and they react."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.report.conftest import LEFT
from vipjax.report.charts import LIGHT

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser():
  playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
  path = next(filter(None, map(shutil.which, BROWSERS)), None)
  if path is None:
    pytest.skip(f"no browser among {', '.join(BROWSERS)}")
  with playwright.sync_playwright() as running:
    # As root, in a container, there is no sandbox to be had.
    browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(browser, evidence_run):
  page = browser.new_page(viewport={"width": 1200, "height": 900})
  page.set_default_timeout(15_000)
  page.problems = []
  page.on("console", lambda message: page.problems.append(message.text))
  page.on("pageerror", lambda error: page.problems.append(str(error)))
  page.on("request", lambda request: page.problems.append(request.url) if _leaves(request) else 0)
  page.goto((evidence_run / "report.html").as_uri())
  page.wait_for_selector("html[data-charts=drawn]", state="attached")
  yield page
  page.close()


def _leaves(request):
  return not request.url.startswith(("file:", "data:", "blob:"))


def _first(page, expression):
  """A value from the first player: `plot` is its chart, `film` its video, `side` its controls."""
  return page.evaluate(
    "() => { const chart = document.querySelector('.chart.wide');"
    "const plot = chart.querySelector('.plot'), film = chart.querySelector('video'),"
    f"side = chart.querySelector('.side'); return {expression}; }}"
  )


def _cursor(page):
  return _first(page, "plot.data.find(t => t.name === 'cursor')")


def test_every_chart_is_drawn_and_nothing_goes_wrong(page):
  charts = page.evaluate(
    "() => [...document.querySelectorAll('.chart .plot')].map("
    "plot => plot.querySelectorAll('.scatterlayer .trace').length)"
  )
  # Distances of all, of two recorded videos and of two groups, three of the policy, attention and
  # occlusion, two of states off the path, three losses.
  assert len(charts) == 15 and min(charts) >= 1
  assert page.problems == []


def test_it_can_be_looked_at(page):
  image = Image.open(io.BytesIO(page.locator(".chart.wide .plot").screenshot()))
  pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
  for shade in LIGHT.colours[:2]:  # recorded and unseen
    wanted = [int(shade[i : i + 2], 16) for i in (1, 3, 5)]
    assert (np.abs(pixels - wanted).max(-1) < 40).sum() > 20, shade


def test_curves_are_those_of_the_run(page):
  names = _first(page, "plot.data.map(t => t.name)")
  assert f"recorded: {LEFT}" in names and "unseen episodes: episode 7, left" in names
  drawn = _first(page, f"plot.data.filter(t => t.name === 'recorded: {LEFT}').map(t => t.y)")
  # Divided by the first; before fine-tuning, too, for this is the chosen video.
  assert sorted(drawn) == [[1, 0.875, 0.75, 0.5, 0.25, 0], [1, 0.875, 0.75, 1.25, 0.25, 0]]


def test_playing_moves_the_cursor(page):
  assert _first(page, "film.duration") == pytest.approx(0.6, abs=0.02)
  _first(page, "film.currentTime = 0.35")
  page.wait_for_function(
    "() => Math.abs(document.querySelector('.chart.wide .plot').data"
    ".find(t => t.name === 'cursor').x[1] - 0.35) < 0.01"
  )
  assert _cursor(page)["y"][1] == 0.5  # frame 3, from 0.3 s on
  _first(page, "film.play() && 0")
  page.wait_for_function("() => document.querySelector('.chart.wide video').ended")
  assert _cursor(page)["x"][1] == pytest.approx(0.6, abs=0.05)


def test_a_click_on_a_curve_seeks(page):
  box = _first(
    page,
    "(() => { plot.scrollIntoView(); const at = plot.getBoundingClientRect(), l = plot._fullLayout;"
    "return [at.x + l.xaxis._offset + l.xaxis.l2p(0.1), at.y + l.yaxis._offset"
    "+ l.yaxis.l2p(0.25)]; })()",
  )
  page.mouse.move(*box)
  page.wait_for_selector(".chart.wide .hoverlayer .hovertext")
  assert "unseen" in page.text_content(".chart.wide .hoverlayer .hovertext")
  page.mouse.click(*box)
  page.wait_for_function("() => document.querySelector('.chart.wide select').value === '2'")
  # It has no film.
  assert _first(page, "film.hidden") is True
  page.select_option(".chart.wide select", "1")
  assert _first(page, "film.hidden") is False
  assert "Rank correlation with time 1.000" in page.text_content(".chart.wide .facts")


def test_the_legend_picks_groups_and_the_box_scales(page):
  before = _first(page, "plot.data.filter(t => t.visible === true).length")
  page.locator(".chart.wide .legendtoggle").last.click()
  page.wait_for_function(
    "() => document.querySelector('.chart.wide .plot').data.some(t => t.visible === 'legendonly')"
  )
  assert _first(page, "plot.data.filter(t => t.visible === true).length") < before
  page.uncheck(".chart.wide input[type=checkbox]")
  assert _first(page, "Math.max(...plot.data[0].y)") == 4.0
  assert page.problems == []


def test_without_scripts_there_are_tables(browser, evidence_run):
  context = browser.new_context(java_script_enabled=False)
  page = context.new_page()
  page.goto((evidence_run / "report.html").as_uri())
  assert page.is_visible(".charts .instead table") and not page.is_visible(".chart.wide .side")
  context.close()
