"""Sections that a report has only when the run has the evidence."""

import numpy as np
import pytest

from tests.report.conftest import LEFT
from tests.report.runs import write_finished_run
from tests.report.test_page import Page
from tests.runtime.test_metrics import read_events
from vipjax import report
from vipjax.report import evidence, plots
from vipjax.report.run import read_run
from vipjax.runtime import files
from vipjax.videos import read_video


@pytest.fixture(scope="module")
def page(evidence_run):
  return Page((evidence_run / "report.html").read_text(encoding="utf-8"))


def test_sections_and_their_numbers(page):
  for words in (
    "What the value looks at", "stage 2, robot-free, before fine-tuning 1.5 none 0.9",
    "robot removed 0.3.", "stage 2 -0.125.", "Off the expert's path",
    "the reward's potential 0.625 none 0.5 1", "Alignment", "both 0.75 0.5 none 0.1 none",
    "unseen views mean", "The hack price", "0.0625 of the first distance is left", "earned 94% of",
    "mean of 3 unseen episodes before after left 0.125 0.0625 left, robot-free 1 1",
    "as the reward pays it 0.75 0.688", "left: the same pose, the object put back",
    "worth 0.888 first distances when reached straight, after 6 actions, and success 0.852 after "
    "12, as fast as the expert: the pose pays more if reached within 8 actions.",
  ):  # fmt: skip
    assert words in page.text, words


def test_every_link_of_the_contents_leads_to_a_section(page):
  ids = [section["id"] for section in page.all("section")]
  assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in ids]
  assert "off-the-expert's-path" in ids


def test_pictures_and_films(page, evidence_run):
  drawn = {path.stem for path in (evidence_run / "pictures").glob("*.png")}
  assert {"neighbours", "attention", "off_path"} <= drawn
  # Beside those, the state that the reward likes beyond its progress.
  values = [v for event in read_events(evidence_run, "report") for v in event.summary.value]
  assert {value.tag for value in values} == drawn | {"hack0"}
  assert "policy, 0.10 s: hand 40 cm away, object 20 cm short of its target" in page.text
  # Two recorded, the policy's, one beside its curve (the other curve has too few points), and the
  # players of distances and of attention.
  assert len(page.all("video")) == 6
  made = read_video(evidence_run / "pictures" / "curve0.mp4")
  assert made.frames.shape == (6, 256, 790, 3)


def test_a_run_without_evidence_has_no_such_sections(tmp_path):
  report.write_report(write_finished_run(tmp_path))
  text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
  for words in ("What the value looks at", "Off the expert's path", "Alignment", "The hack price"):
    assert words not in text


def test_a_pose_that_never_pays_more(evidence_run, tmp_path):
  made = files.read_json(evidence_run / "hack_price" / "hack_price.json")
  made["after"]["worth"] |= {"pose_pays_more": False, "pose_pays_more_within": None}
  made["after"]["overlap"] = 0.04
  files.write_json(tmp_path / "hack_price" / "hack_price.json", made)
  text = str(evidence.hack_price(read_run(tmp_path)))
  assert "the pose pays less however soon it is reached. But the arm then reaches 4 cm into" in text


def test_charts_of_the_evidence(evidence_run):
  run = read_run(evidence_run)
  (hidden,) = plots.occlusion_charts(run)
  assert hidden.title == LEFT and [each["name"] for each in hidden.traces] == [
    "object painted over", "robot painted over",
  ]  # fmt: skip
  # Divided by the first frame's distance, 4.
  np.testing.assert_allclose(hidden.traces[0]["y"], [0.025, 0.05, 0.0])
  reward, front = plots.off_path_charts(run)
  assert (reward.title, front.title) == ("the reward's potential", "value, front")
  assert [each["name"] for each in reward.traces] == ["random", "policy", "shown below"]
  assert (reward.traces[2]["x"], reward.traces[2]["y"]) == ([-2.5], [-1.0])
  assert "policy, rollout 1, 0.10 s" in reward.traces[2]["plotly"]["text"][0]


def test_maps_without_a_film_have_their_curves(evidence_run, tmp_path):
  found = files.read_json(evidence_run / "attention" / "attention.json")
  found["videos"][0]["film"] = None
  files.write_json(tmp_path / "attention" / "attention.json", found)
  made = str(plots.attention(read_run(tmp_path)))
  assert '"film":null' in made and '"share of the object"' in made
