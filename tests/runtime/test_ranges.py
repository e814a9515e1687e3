"""Every number of a config has a range, which is checked before any work."""

import dataclasses
import importlib
import math
import os
import pathlib
import subprocess
import sys

import pytest

from configs import ablation, pretrain
from vipjax.experiments.ablation import variant_config
from vipjax.finetune.settings import Settings, TccSettings
from vipjax.reward import RewardSettings
from vipjax.reward.settings import ROBOT_FREE
from vipjax.runtime import ranges
from vipjax.runtime.errors import UserError
from vipjax.sac.agent import SacSettings
from vipjax.sac.online_settings import OnlineSettings
from vipjax.sac.rollout import LoopSettings
from vipjax.scene import View
from vipjax.stages.corpus import CorpusSettings
from vipjax.videos.export import FORMATS

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
# Keys that hold one of some words.
WORDS = {
  "record.format", "encoder.head", "finetune.loss", "finetune.artefact",
  "finetune.tcc.temperature_unit", "policy.backend", "policy.critic.norm", "policy.drawing",
  "policy.input", "reward.robot_free",
}  # fmt: skip
MAY_BE_EMPTY = {
  "policy.critic.hidden",
  "corpus.close_azimuths",
  "ablation.seeds",
  "ceiling.seeds",
  "cross.seeds",
  "ten_tasks.seeds",
  "vptr.seeds",
}


def config_of(name):
  return importlib.import_module(f"configs.{name}").get_config()


def numbers_of(values, known=""):
  """Keys of numbers and of tuples of them; "*" for the names of views and expectations.

  Keys of a stage of pretraining and of what fits a task are those of a config.
  """
  for key, value in values.items():
    name = f"{known}.{'*' if known in ('views', 'expect') else key}".lstrip(".")
    name = "" if known in ("pretrain", "for_task") else name
    if hasattr(value, "items"):
      yield from numbers_of(value, name)
      continue
    items = value if isinstance(value, tuple) and value else (value,)
    if all(isinstance(item, int | float) and not isinstance(item, bool) for item in items):
      yield name


def test_no_number_of_our_configs_is_without_a_range():
  known = {key for name in CONFIGS for key in numbers_of(config_of(name))}
  assert "corpus.astray" in known and known <= set(ranges.RANGES)
  # None or an empty tuple may stand for numbers.
  no_number = {"policy.target_entropy", "policy.critic.hidden"}
  assert set(ranges.RANGES) - known <= no_number | WORDS


def test_no_setting_of_the_corpus_is_without_a_range():
  settings = {f"corpus.{field.name}" for field in dataclasses.fields(CorpusSettings)}
  assert settings - {"corpus.controls"} == {key for key in ranges.RANGES if "corpus." in key}


@pytest.mark.parametrize("name", CONFIGS)
def test_our_own_configs_pass(name):
  ranges.check("", config_of(name))


def test_a_stage_of_pretraining_is_checked_as_a_config():
  config = pretrain.get_config()
  config.pretrain.mini.finetune.steps = 0
  with pytest.raises(UserError, match="expected config.pretrain.mini.finetune.steps of at least 1"):
    ranges.check("", config)


def test_words_are_those_that_there_are():
  assert all(map(ranges.RANGES["record.format"].holds, FORMATS))
  assert all(map(ranges.RANGES["reward.robot_free"].holds, ROBOT_FREE))
  with pytest.raises(UserError, match="config.finetune.artefact 'last' or 'best', got 'first'"):
    ranges.check("finetune", {"artefact": "first"})


@pytest.mark.parametrize(
  ("name", "value"),
  [
    (name, value)
    for name in ranges.RANGES
    for value in [math.nan, math.inf, -math.inf, True, "1", (), (math.nan,)]
    if not (name in MAY_BE_EMPTY and value == ())
  ],
)
def test_no_range_has_what_is_no_number(name, value):
  *sections, key = name.replace("*", "left").split(".")
  config = {key: value}
  for section in reversed(sections):
    config = {section: config}
  with pytest.raises(UserError, match=rf"^expected config\.{name.replace('*', 'left')} [^\n]*$"):
    ranges.check("", config)


@pytest.mark.parametrize(
  ("name", "good", "bad"),
  [
    ("seed", [0, 2**40], [-1, 0.0]),
    ("env.placement", [-1, 0], [-2]),
    ("views.*.lookat", [(0, 1.0, -2.0)], [(0.0, 1.0), 1.0, ("x", 0.0, 0.0)]),
    ("views.*.lookat", [None], [(None, 0.0, 0.0)]),
    ("views.*.distance", [0.1, None], [0.0]),
    ("data.fps", [0, 30.0], [-1.0]),
    ("finetune.steps", [1], [0, 1.5]),
    ("finetune.learning_rate", [1, 1e-9], [0.0, -1.0]),
    ("finetune.discount", [0.0, 1.0], [-0.1, 1.1]),
    ("finetune.crop_scale", [(0.2, 1.0), [0.5, 0.5]], [0.5, (1.0, 0.2), (0.0, 1.0), (0.5, 1.1)]),
    ("finetune.sampler.momentum", [0.0], [1.0]),
    ("finetune.sampler.floor", [1.0], [0.0]),
    ("corpus.astray", [(0, 1), [5, 100]], [(5, 5), (-1, 5), (5, 100.0), (5,)]),
    ("corpus.noise", [(0.0,), (0, 0.1)], [(-0.1,), 0.1]),
    ("corpus.distance", [(0.9, 0.9)], [(0.0, 1.0), (1.4, 0.85)]),
    ("corpus.close_azimuths", [(), (-40.0, 140)], [40.0, ("left",)]),
    ("policy.hidden", [(8,), (8, 16)], [8, (8, 0), (8.5,)]),
    ("policy.target_entropy", [None, -4.0], []),
    ("policy.critic.hidden", [(), (8,)], [8, (0,)]),
    ("policy.critic.bins", [0, 2, 101], [1, -1, 2.5]),
  ],
)
def test_ranges(name, good, bad):
  *_, holds = ranges.RANGES[name]
  assert [bool(holds(value)) for value in (*good, *bad)] == [True] * len(good) + [False] * len(bad)


@pytest.mark.parametrize(
  ("make", "options", "words"),
  [
    (Settings, {"learning_rate": -1.0}, "config.finetune.learning_rate above 0"),
    (Settings, {"crop_scale": (1.0, 0.2)}, "config.finetune.crop_scale .*the lesser first"),
    (TccSettings, {"temperature": 0.0}, "config.finetune.tcc.temperature above 0"),
    (RewardSettings, {"discount": 2.0}, "config.policy.discount from 0 to 1"),
    (View, {"azimuth": math.nan}, "azimuth that is finite"),
    (OnlineSettings, {"learning_rate": math.inf}, "above 0 and finite"),
    (SacSettings, {"target_rate": 0.0}, "config.policy.target_rate above 0"),
    (LoopSettings, {"warmup_steps": 1.5}, "config.policy.warmup_steps of at least 1"),
    (
      lambda **options: variant_config(ablation.get_config(), options["changes"], 0),
      {"changes": ["finetune.last_goal=1.5"]},
      "config.finetune.last_goal from 0 to 1",
    ),
  ],
)  # fmt: skip
def test_settings_are_checked_where_they_are_made(make, options, words):
  with pytest.raises(UserError, match=f"^expected [^\n]*{words}[^\n]*, got [^\n]*$"):
    make(**options)


@pytest.mark.parametrize(
  ("override", "words"),
  [
    ("finetune.crop_scale=0.5", "of two numbers above 0, at most 1, the lesser first, got (0.5,)"),
    ("finetune.crop_scale=(1.0,0.2)", "the lesser first, got (1.0, 0.2)"),
    ("finetune.crop_scale[0]=0.4", "such as --config.finetune.crop_scale=(0.4, 1.0)"),
    ("finetune.learning_rate=inf", "above 0 and finite, or None, got inf"),
  ],
)
def test_a_launcher_says_so_before_it_makes_a_folder(tmp_path, override, words):
  done = subprocess.run(
    [sys.executable, "-m", "launch.finetune", "--config=configs/demo.py",
     f"--workdir={tmp_path / 'run'}", f"--config.{override}"],
    cwd=ROOT, env=dict(os.environ), capture_output=True, text=True,
  )  # fmt: skip
  assert (done.returncode, done.stdout) == (1, "")
  (line,) = done.stderr.splitlines()
  assert line.startswith("error: ") and words in line
  assert not (tmp_path / "run").exists()
