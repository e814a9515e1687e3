"""The page: everything of a run in one file, nothing that breaks or leaves it."""

import base64
import dataclasses
import gzip
import hashlib
import html
import html.parser
import json
import math
import re

import pytest

from tests.report.runs import HOSTILE, RESULTS, video, write_finished_run
from tests.runtime.test_metrics import read_events
from vipjax import report
from vipjax.report import charts
from vipjax.report import html as page_html
from vipjax.report.run import read_run
from vipjax.runtime import files, run_folder
from vipjax.runtime.errors import UserError
from vipjax.videos import write_videos


class Page(html.parser.HTMLParser):
  """Parses a page strictly: every element that opens closes, in order."""

  def __init__(self, text):
    super().__init__()
    self.open, self.tags, self.texts = [], [], []
    self.feed(text)
    self.close()
    assert self.open == []
    self.text = " ".join(" ".join(self.texts).split())

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in ("img", "input", "meta", "source"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.texts.append(data)

  def all(self, tag):
    return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  workdir = write_finished_run(tmp_path_factory.mktemp("run"))
  assert report.write_report(workdir) == workdir / "report.html"
  return workdir


def test_it_shows_the_views_and_what_was_chosen_for_the_task(tmp_path):
  workdir = write_finished_run(tmp_path)
  open_view = dict.fromkeys(("lookat", "azimuth", "elevation", "distance"))
  views = {"left": open_view, "top": {**open_view, "camera": "topview"}}
  config = files.read_json(workdir / "config.json")
  policy = {"steps": 9000, "discount": 0.5}
  config |= {"views": views, "policy": {"steps": None}, "for_task": {"any": {"policy": policy}}}
  config["env"] = {"task": "drawer-open", "horizon": None}
  files.write_json(workdir / "config.json", config)
  view = {"lookat": [0.0, 0.5, 0.1], "azimuth": 140.0, "elevation": -35.0, "distance": 0.75}
  seen = {"view": view, "side": 0.625, "object": [0.04, 0.05]}
  chosen = {
    "views": {"left": seen, "top": {"view": views["top"], "side": None, "object": [0.01, 0.02]}},
    "env": {"horizon": 330}, "expert_steps": 217,
  }  # fmt: skip
  files.write_json(workdir / "task.json", chosen)
  files.write_json(workdir / "results.json", RESULTS | {"policy_success_moved_window": 0.5})
  run = read_run(workdir)
  assert run.config["policy"] == {"steps": 9000} and run.config["env"]["horizon"] == 330
  page = Page(report.write_report(workdir).read_text(encoding="utf-8"))
  for words in (
    "The expert takes 217 control steps; an episode has 330.",
    "left 0, 0.5, 0.1 140 -35 0.75 62.5% 4.0% 5.0%",
    "top topview – 1.0% 2.0%",
    "drawer-open: from 2 videos to a policy",
    "policy success, object elsewhere 50%",
  ):
    assert words in page.text
  # The strips of frames, two goals, the first frame of the one view that was recorded.
  assert len(page.all("img")) == 4


@pytest.fixture(scope="module")
def page(workdir):
  return Page((workdir / "report.html").read_text(encoding="utf-8"))


def test_it_tells_what_the_run_came_to(page):
  for words in (
    "window-open: from 2 videos to a policy",
    "of 20 evaluation episodes",
    "90%",
    "0.981 (0.412 before fine-tuning)",
    "reward.scale 10",
    "2 h 04 min",
    "3.0 GiB",
    "3.11.1",
    "jax 0.10.2",
    "gone not installed",
    "recorded mean 0.500 → 1.000 50% → 100%",
    "unseen episode 7, left 0.250 → 0.750 50% → 100%",
    "left, without the robot, 24x32: videos/a.mp4, last frame",
    "Of several for one picture the nearest counts.",
    f"doubtful {HOSTILE}",
    "from the policy's own episodes, after 12 environment steps",
  ):
    assert words in page.text, words
  assert "not run" not in page.text


def test_it_shows_every_seed_that_was_trained_at_once(tmp_path):
  workdir = write_finished_run(tmp_path)
  film = (workdir / "policy" / "final.mp4").read_bytes()
  for name in ("seed3", "seed4"):
    (workdir / "policy" / name).mkdir()
    (workdir / "policy" / name / "final.mp4").write_bytes(film)
  agents = [{"seed": 3, "policy_success": 0.85}, {"seed": 4, "policy_success": 0.95}]
  files.write_json(workdir / "results.json", {**RESULTS, "seeds": [3, 4], "agents": agents})
  page = Page(report.write_report(workdir).read_text(encoding="utf-8"))
  for words in (
    "of 20 evaluation episodes each; mean of 2 seeds (seeds 3, 4: 85%, 95%)",
    "policy success 90% (seeds 3, 4: 85%, 95%)",
    "The final policy of seed 3",
    "The final policy of seed 4",
  ):
    assert words in page.text, words


def test_pictures_and_films_are_in_the_page_itself(page, workdir):
  images, films = page.all("img"), page.all("video")
  # The strips of frames, and two goals.
  assert len(images) == 3
  assert all(image["src"].startswith("data:image/png;base64,iVBOR") for image in images)
  assert all(image["alt"] for image in images)
  # The player, which gets its film from the chart's data; two recorded videos and the policy's.
  player, *films = films
  assert "src" not in player and len(films) == 3
  assert all(film["src"].startswith("data:video/mp4;base64,") for film in films)
  drawn = {path.name for path in (workdir / "pictures").iterdir()}
  names = ("curves", "frames", "learning", "losses")
  assert drawn == {f"{name}.png" for name in names}


def test_without_scripts_there_are_tables(page, workdir):
  text = (workdir / "report.html").read_text(encoding="utf-8")
  tables = [Page(part).text for part in re.findall("(<table>.*?</table>)", text)]
  assert "environment steps success rate return (embedding reward) 9 0% 0.1 18 100% 2" in tables
  assert "training steps total loss VIP loss TCC loss 1 3 2 – 2 2 1 0.5" in tables


def test_nothing_is_fetched(page, workdir):
  text = (workdir / "report.html").read_text(encoding="utf-8")
  assert page.all("link") == page.all("iframe") == []
  assert not re.search(r"""(src|href|srcset)=["'](?!data:|#)""", text)
  assert "http://" not in text and "https://" not in text and "url(" not in text


def test_no_script_runs_but_those_of_the_page(page, workdir):
  text = (workdir / "report.html").read_text(encoding="utf-8")
  (policy,) = [meta["content"] for meta in page.all("meta") if "content" in meta][1:]
  assert "default-src 'none'" in policy and "unsafe-inline'; script-src 'sha256-" in policy
  (ours,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
  digest = base64.b64encode(hashlib.sha256(ours.encode()).digest()).decode()
  assert f"'sha256-{digest}'" in policy
  kinds = {script.get("type") for script in page.all("script")}
  assert kinds == {None, "application/json", "text/plain"}
  (packed,) = re.findall('<script type="text/plain" id="plotly">(.*?)</script>', text)
  library = gzip.decompress(base64.b64decode(packed))
  digest = base64.b64encode(hashlib.sha256(library).digest()).decode()
  assert f"'sha256-{digest}'" in policy
  assert b"Licensed under the MIT license" in library[:300]


def test_data_of_charts_cannot_leave_their_element():
  trace = {"x": [math.nan], "y": [1], "name": HOSTILE}
  made = Page(charts.chart(charts.Chart("a\nchart", [trace], {"odd": HOSTILE})))
  (script,) = made.all("script")
  assert script == {"type": "application/json"}
  data = json.loads(made.texts[-1])
  assert data["traces"][0] == {"x": [None], "y": [1], "name": html.escape(HOSTILE, quote=False)}
  assert data["layout"] == {"height": 320, "title": "a<br>chart", "odd": HOSTILE}


def test_names_are_text_in_charts_too():
  """Plotly takes tags and entities in a name for its own; the list of videos does not."""
  item = {"name": "<b>&amp;", "group": "videos", "film": None, "facts": None}
  line = {"x": [0], "y": [1], "name": "<b>&amp;", "colour": 0}
  for made in (
    charts.chart(charts.Chart("<b>&amp;", [line])),
    charts.player("player", [item], [line | {"group": "a<br>b", "item": 0}], "y"),
  ):
    data = json.loads(Page(made).texts[-1])
    (shown,) = data.get("traces") or data["curves"]
    assert data["layout"].get("title") in (None, "&lt;b&gt;&amp;amp;")
    assert shown["name"] == "&lt;b&gt;&amp;amp;" and shown.get("group") in (None, "a&lt;br&gt;b")
    assert [each["name"] for each in data.get("items", [])] in ([], ["<b>&amp;"])


def test_everything_is_escaped(page):
  # In the settings, results (name and value), command, reason of the addition, note, commit, and
  # what is doubtful about a goal.
  assert page.text.count(HOSTILE) == 8


def test_it_can_be_written_again_and_says_the_same(workdir, page):
  report.write_report(workdir)
  assert Page((workdir / "report.html").read_text(encoding="utf-8")).text == page.text
  # TensorBoard has the pictures once.
  values = [v for event in read_events(workdir, "report") for v in event.summary.value]
  assert sorted(value.tag for value in values) == ["curves", "frames", "learning", "losses"]


def test_an_empty_run_folder_has_a_page_that_says_so(tmp_path):
  page = Page(report.write_report(tmp_path).read_text(encoding="utf-8"))
  for section in (
    "Additions to the published method not run",
    "Settings not run",
    "Distance to the goal not run",
    "The videos not run",
    "Fine-tuning not run",
    "The policy not run",
    "Do it again not run",
    "Versions not run",
    "policy success not run",
    "peak memory not run",
    "seeds not run",
  ):
    assert section in page.text, section
  assert page.all("img") == page.all("video") == page.all("script") == []
  assert list((tmp_path / "pictures").iterdir()) == []


def test_a_run_that_was_stopped_after_fine_tuning(tmp_path):
  workdir = write_finished_run(tmp_path)
  for name in ("evaluation.json", "results.json", "policy/final.mp4", "policy/goals.json"):
    (workdir / name).unlink()
  run_folder.mark_done(workdir, "record", {}, 100.0)
  page = Page(report.write_report(workdir).read_text(encoding="utf-8"))
  assert "record 1 min 40 s" in page.text and "evaluate not run" in page.text
  assert "Distance to the goal not run" in page.text
  assert "no film of the final policy" in page.text
  assert len(page.all("img")) == 1


def test_no_additions_is_the_published_method(tmp_path):
  files.write_json(tmp_path / "results.json", {**RESULTS, "additions": [], "notes": "one"})
  page = Page(report.write_report(tmp_path).read_text(encoding="utf-8"))
  assert "None: the method as published." in page.text
  assert [div for div in page.all("div") if div.get("class") == "note"] == [{"class": "note"}]


def test_videos_of_ones_own_lie_elsewhere(tmp_path):
  elsewhere = write_finished_run(tmp_path / "other") / "videos"
  workdir = tmp_path / "run"
  files.write_json(workdir / "config.json", {"data": {"path": str(elsewhere)}})
  page = Page(report.write_report(workdir).read_text(encoding="utf-8"))
  assert "run: from 2 videos to a policy" in page.text
  files.write_json(workdir / "config.json", {"data": {"path": str(elsewhere / "gone")}})
  assert "The videos not run" in Page(report.write_report(workdir).read_text()).text


def test_films_are_found_by_the_names_of_their_curves(tmp_path):
  good, bad = (
    dataclasses.replace(video("left", True), success=success, episode=episode)
    for episode, success in enumerate((True, False))
  )
  write_videos(tmp_path / "unseen", [good, dataclasses.replace(video("left", False), episode=0)])
  write_videos(tmp_path / "background", [good, bad])
  write_videos(tmp_path / "failed", [bad])
  films = read_run(tmp_path).films
  assert films["unseen"] == {"episode 0, left": tmp_path / "unseen" / "episode000_left.mp4"}
  assert {name: path.parent.name for name, path in films["failed"].items()} == {
    "episode 1, left (1)": "background", "episode 1, left (2)": "failed",
  }  # fmt: skip
  assert films["other_robots"] == {}


def test_a_film_too_large_for_the_page_is_a_link(tmp_path, monkeypatch):
  monkeypatch.setattr(page_html, "_LARGEST_VIDEO_BYTES", 10)
  page = Page(report.write_report(write_finished_run(tmp_path)).read_text(encoding="utf-8"))
  assert [film for film in page.all("video") if "src" in film] == []
  links = {link["href"] for link in page.all("a") if not link["href"].startswith("#")}
  assert "policy/final.mp4" in links and len(links) == 3


def test_damage_and_a_missing_folder_are_told_in_a_sentence(tmp_path):
  with pytest.raises(UserError, match="run folder to report on"):
    report.write_report(tmp_path / "nowhere")
  (tmp_path / "results.json").write_text("[1]")
  with pytest.raises(UserError, match="object of JSON in .*results.json, got a list"):
    report.write_report(tmp_path)
  (tmp_path / "results.json").write_text("{")
  with pytest.raises(UserError, match="results.json"):
    report.write_report(tmp_path)


def test_elements_escape_by_default():
  made = page_html.element("p", "<b>", page_html.element("i", "&"), None, title='"', class_="x")
  assert made == '<p title="&quot;" class="x">&lt;b&gt;<i>&amp;</i></p>'
  assert page_html.element("img", src="a", hidden=True, alt=None) == '<img src="a" hidden>'
