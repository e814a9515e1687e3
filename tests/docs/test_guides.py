"""README.md and the guides: what they name is there, and what they show in Python runs."""

import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = sorted((ROOT / "docs/results").rglob("*.md"))
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page, language):
  return re.findall(rf"^```{language}\n(.*?)^```", TEXTS[page], re.M | re.S)


def anchors(page):
  """The places that its headings make, as GitHub names them."""
  headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
  return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *RESULTS], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
  links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
  for link in links:
    if link.startswith("https:"):
      continue
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    assert target.exists(), link
    assert not anchor or anchor in anchors(target), link


@each_page
def test_commands_have_the_flags_that_they_are_given(page):
  shared = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source("vipjax/runtime/launcher.py")))
  for words in re.findall(r"python -m launch\.[^`\n]*(?:\\\n[^`\n]*)*", TEXTS[page]):
    launcher = source(f"launch/{words.split()[2].removeprefix('launch.')}.py")
    flags = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', launcher))
    flags |= shared if "define_flags" in launcher else set()
    assert set(re.findall(r"--(\w+)", words)) <= flags, words


def source(name):
  return (ROOT / name).read_text(encoding="utf-8")


@each_page
def test_settings_are_declared(page):
  names = [path.stem for path in (ROOT / "configs").glob("*.py")]
  configs = [importlib.import_module(f"configs.{name}").get_config() for name in names]
  for key in re.findall(r"\bconfig\.([a-z_.]*[a-z_])(?=[`=)\s])", TEXTS[page]):
    if key == "json":
      continue

    def declared(config, key=key):
      for part in key.split("."):
        if part not in config:
          return False
        config = config[part]
      return True

    assert any(map(declared, configs)), key


def test_python_runs(tmp_path):
  for page in PAGES:
    for block in blocks(page, "python"):
      compile(block, page.name, "exec")
  # The rest needs other people's packages or a run.
  shown = [*blocks(PAGES[0], "python"), *blocks(ROOT / "docs/other_agents.md", "python")]
  others = "stable_baselines3", "gymnasium_robotics", "encoder_robot_free"
  program = "\n".join(block for block in shown if not any(name in block for name in others))
  (tmp_path / "program.py").write_text(program, encoding="utf-8")
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  done = subprocess.run(
    [sys.executable, tmp_path / "program.py"],
    cwd=ROOT, env=environment, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
