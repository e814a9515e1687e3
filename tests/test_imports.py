"""The house's plan, held: which room may import from which."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "vipjax"

# Each may import from those before it.
ROOMS = [
  "runtime",
  "types",
  "ids",
  "scene",
  "envs",
  "videos",
  "losses",
  "encoder",
  "sampling",
  "finetune",
  "reward",
  "sac",
  "evaluation",
  "stages",
  "report",
  "experiments",
  "benchmark",
]
# The rooms, and launch/, that see a config or a run folder; runtime/ has the tools for both.
OF_RUNS = ("stages", "experiments", "report")
# What is known of both: their types, and the modules that make them.
RUN_MODULES = ("ml_collections", "vipjax.runtime.run_folder", "vipjax.runtime.launcher")
# Where each may be imported; nowhere else, so that each can be replaced in one place.
CONFINED = {
  "flax": ["encoder/", "sac/networks.py"],
  "orbax": ["runtime/checkpoint.py"],
  "torch": ["benchmark/workers/"],
  "torchvision": [],
  "tensorflow": [],
}
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports_of(source: str, module: str) -> set[str]:
  """Full names of all that the module imports, wherever in it; module is like "sac/agent.py"."""
  names = set()
  package = ["vipjax", *module.split("/")[:-1]]
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      base = package[: len(package) - node.level + 1] if node.level else []
      start = ".".join([*base, *(node.module.split(".") if node.module else [])])
      names |= {f"{start}.{alias.name}" for alias in node.names}
  return names


def faults(source: str, module: str) -> list[str]:
  """What in the module breaks the plan."""
  room = module.split("/")[0].removesuffix(".py")
  found = []
  for name in sorted(imports_of(source, module)):
    top, _, rest = name.partition(".")
    allowed = CONFINED.get(top)
    if allowed is not None and not module.startswith(tuple(allowed)):
      found.append(f"{module} imports {name}, which only {allowed or 'nobody'} may")
    # vipjax/__init__.py gathers the public names from all rooms.
    if top == "vipjax" and room != "__init__":
      target = rest.split(".")[0]
      if target not in ROOMS:
        found.append(f"{module} imports {name}, which is no room")
      elif ROOMS.index(target) > ROOMS.index(room):
        found.append(f"{module} imports {name}, which comes after it")
  return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module):
  room = module.split("/")[0].removesuffix(".py")
  assert room in ["__init__", *ROOMS], f"{module} is in no room: name it in ROOMS"
  assert faults((PACKAGE / module).read_text(), module) == []


def run_faults(source: str, module: str) -> list[str]:
  """What in the module, of another room than OF_RUNS, is of configs or run folders."""
  found = [
    f"{module} imports {name}"
    for name in sorted(imports_of(source, module))
    if name.startswith(RUN_MODULES)
  ]
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.arg):
      written = ast.unparse(node.annotation) if node.annotation else ""
      if "ConfigDict" in written or node.arg == "workdir":
        found.append(f"{module}:{node.lineno} takes {node.arg}: {written}")
  return found


@pytest.mark.parametrize("module", MODULES)
def test_only_stages_experiments_and_reports_see_configs_and_run_folders(module):
  if module.split("/")[0] not in (*OF_RUNS, "runtime"):
    assert run_faults((PACKAGE / module).read_text(), module) == []


def test_faults_of_runs_are_found():
  source = "import ml_collections\ndef f(config: ml_collections.ConfigDict, workdir): pass"
  assert len(run_faults(source, "sac/agent.py")) == 3
  assert run_faults("from vipjax.runtime import files\ndef f(folder): pass", "sac/agent.py") == []


@pytest.mark.parametrize("module", [m for m in MODULES if m != "runtime/parallel.py"])
def test_pmap_is_used_in_one_place(module):
  tree = ast.parse((PACKAGE / module).read_text())
  named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
  named |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
  named |= {
    alias.name
    for node in ast.walk(tree)
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
  }
  assert "pmap" not in named


@pytest.mark.parametrize(
  ("source", "module", "words"),
  [
    ("from vipjax import reward", "encoder/value.py", "comes after"),
    ("def f():\n  import vipjax.report.page", "sac/agent.py", "comes after"),
    ("from ..sac import agent", "losses/vip.py", "comes after"),
    ("from vipjax.types import Video", "runtime/progress.py", "comes after"),
    ("from vipjax.utils import x", "sac/agent.py", "no room"),
    ("import flax.linen as nn", "sac/agent.py", "only"),
    ("from orbax import checkpoint", "finetune.py", "only"),
    ("import torch", "encoder/value.py", "only"),
    ("import torchvision", "benchmark/workers/pytorch.py", "nobody"),
    ("from tensorflow import io", "videos/read.py", "nobody"),
  ],
)
def test_faults_are_found(source, module, words):
  (fault,) = faults(source, module)
  assert words in fault


@pytest.mark.parametrize(
  ("source", "module"),
  [
    ("from vipjax.types import Video", "videos/read.py"),
    ("from vipjax.runtime import errors", "scene/robots.py"),
    ("from . import resnet", "encoder/value.py"),
    ("from flax import linen", "sac/networks.py"),
    ("import tensorflow_datasets, flax_other", "videos/read.py"),
    ("import vipjax.report", "__init__.py"),
  ],
)
def test_what_is_allowed_passes(source, module):
  assert faults(source, module) == []
