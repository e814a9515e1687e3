"""Sections that a report has only when the run has the evidence."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.report.runs import curve, video, write_finished_run
from tests.report.test_page import Page
from vipjax import report
from vipjax.report import evidence_plots
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.videos import read_video, write_image, write_video

LEFT, FREE = "episode 0, left", "episode 0, left, robot-free"
SUMMARY = {"object_over_area": 1.5, "robot_over_area": None, "background_over_area": 0.9,
           "peak_on_object": 0.25, "frames_with_map": 1.0}  # fmt: skip


def attention_record():
  share = [[0.5, 0.25, 0.25], [None, None, None], [0.2, 0.8, 0.0]]
  stages = {"share": share, "area": [[0.6, 0.2, 0.2]] * 3, "peak": [0, -1, 1], "mean": SUMMARY}
  return {
    "when": "after", "name": LEFT, "fps": 10.0, "film": "film.mp4",
    "stages": {"stage4": stages, "stage2": stages},
    "occlusion": {"object": [0.1, -0.2, 0.0], "robot": [0.3, 0.1, 0.2]},
    "distance": [4.0, 2.0, 0.0],
  }  # fmt: skip


def states():
  return {
    "kind": ["random"] * 3 + ["policy"] * 3, "rollout": [0] * 3 + [1] * 3,
    "time": [0.0, 0.1, 0.2] * 2, "hand": [0.5, 0.4, 0.3] * 2, "object": [0.2] * 6,
    "success": [False] * 6, "progress": [-3.0, -2.5, -2.0] * 2,
    "potentials": {"reward": [-3.0, -1.0, -2.0] * 2, "front": [-9.0, -8.0, -7.0] * 2},
  }  # fmt: skip


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  workdir = write_finished_run(tmp_path_factory.mktemp("run"))
  evaluation = run_folder.read_json(workdir / "evaluation.json")
  for curves in (evaluation["before"], evaluation["after"]):
    # As many points as the recorded video has frames.
    curves["recorded"][0] = curve(LEFT, [4.0, 3.0, 2.5, 2.0, 1.0, 0.0])
    curves["unseen_views"] = [curve("turned", [4.0, 3.0])]
  aligned = {"tau": 0.75, "cycle_consistency_2": 0.5, "cycle_error_2": 0.1,
             "cycle_consistency_3": None, "cycle_error_3": None}  # fmt: skip
  aligned |= {
    "pairs": {LEFT: {FREE: 1.0}, FREE: {LEFT: 0.5}},
    "nearest": {FREE: [0, 1, 2, 3, 4, 5]},
  }
  evaluation["alignment"] = {"after": {"both": aligned}}
  run_folder.write_json(workdir / "evaluation.json", evaluation)
  means = {"stage4": SUMMARY, "stage2_robot_free_before": SUMMARY,
           "occlusion": {"robot_removed": 0.3}, "agreement": {"stage2": -0.125}}  # fmt: skip
  before = attention_record() | {"when": "before", "film": None}
  found = {"means": means, "videos": [attention_record(), before]}
  run_folder.write_json(workdir / "attention" / "attention.json", found)
  write_video(workdir / "attention" / "film.mp4", video("left", True).frames, 10.0)
  numbers = {"progress": 0.625, "hand": None, "object": 0.5, "success": 1.0}
  write_image(workdir / "off_path" / "hack0.png", np.full((8, 8, 3), 200, np.uint8))
  off = {"correlations": {"reward": numbers}, "states": states(),
         "hacks": [{"file": "hack0.png", "state": 4, "gap": 0.6}]}  # fmt: skip
  run_folder.write_json(workdir / "off_path" / "off_path.json", off)
  report.write_report(workdir)
  return workdir


@pytest.fixture(scope="module")
def page(workdir):
  return Page((workdir / "report.html").read_text(encoding="utf-8"))


def test_sections_and_their_numbers(page):
  for words in (
    "What the value looks at", "stage 2, robot-free, before fine-tuning 1.5 none 0.9",
    "robot removed 0.3.", "stage 2 -0.125.", "Off the expert's path",
    "the reward's potential 0.625 none 0.5 1", "Alignment", "both 0.75 0.5 none 0.1 none",
    "unseen views mean",
  ):  # fmt: skip
    assert words in page.text, words


def test_pictures_and_films(page, workdir):
  drawn = {path.stem for path in (workdir / "pictures").glob("*.png")}
  assert {"neighbours", "attention", "off_path", "hacks", "hacks_dark"} <= drawn
  # Two recorded, the policy's, one beside its curve (the other curve has too few points), one map.
  assert len(page.all("video")) == 5
  made = read_video(workdir / "pictures" / "curve0.mp4")
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
