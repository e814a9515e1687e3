"""Sections that a report has only when the run has the evidence."""

import io

import pytest
from PIL import Image

from tests.report.runs import video, write_finished_run
from tests.report.test_page import Page
from vipjax import report
from vipjax.report import evidence_plots
from vipjax.runtime.errors import UserError
from vipjax.videos import read_video


@pytest.fixture(scope="module")
def page(evidence_run):
  return Page((evidence_run / "report.html").read_text(encoding="utf-8"))


def test_sections_and_their_numbers(page):
  for words in (
    "What the value looks at", "stage 2, robot-free, before fine-tuning 1.5 none 0.9",
    "robot removed 0.3.", "stage 2 -0.125.", "Off the expert's path",
    "the reward's potential 0.625 none 0.5 1", "Alignment", "both 0.75 0.5 none 0.1 none",
    "unseen views mean",
  ):  # fmt: skip
    assert words in page.text, words


def test_every_link_of_the_contents_leads_to_a_section(page):
  ids = [section["id"] for section in page.all("section")]
  assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in ids]
  assert "off-the-expert's-path" in ids


def test_pictures_and_films(page, evidence_run):
  drawn = {path.stem for path in (evidence_run / "pictures").glob("*.png")}
  assert {"neighbours", "attention", "off_path", "hacks", "hacks_dark"} <= drawn
  # Two recorded, the policy's, one beside its curve (the other curve has too few points), and the
  # players of distances and of attention.
  assert len(page.all("video")) == 6
  made = read_video(evidence_run / "pictures" / "curve0.mp4")
  assert made.frames.shape == (6, 256, 790, 3)


def test_a_run_without_evidence_has_no_such_sections(tmp_path):
  report.write_report(write_finished_run(tmp_path))
  text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
  for words in ("What the value looks at", "Off the expert's path", "Alignment"):
    assert words not in text


def test_neighbours_are_the_frames_named():
  shades = {"a": video("a", True, length=3), "b": video("b", True, length=3)}
  same = evidence_plots.plot_neighbours(shades, {"b": [0, 1, 2]})
  other = evidence_plots.plot_neighbours(shades, {"b": [2, 1, 0]})
  assert same != other
  marked = evidence_plots.plot_neighbours(
    shades, {"b": [0, 1, 2]}, consistent={"b": [True, False, False]}
  )
  assert marked != same
  assert Image.open(io.BytesIO(same)).format == "PNG"


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: evidence_plots.plot_neighbours({"a": video("a", True)}, {}), "beside the first"),
    (lambda: evidence_plots.plot_hacks([], []), "at least one frame"),
  ],
)
def test_nothing_to_show_is_refused(call, words):
  with pytest.raises(UserError, match=words):
    call()
