"""Keys that had other names: earlier runs go on, what is written today is refused."""

import pytest

from configs import demo, paper
from vipjax.experiments.ablation import variant_config
from vipjax.runtime import config_words, files, launcher, run_folder
from vipjax.runtime.errors import UserError
from vipjax.runtime.renamed_keys import RENAMED, with_new_names

KNOWN = config_words._keys(paper.get_config())


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_new_names_are_declared_and_old_ones_are_not(old, new):
  assert new in KNOWN and old not in KNOWN


def earlier():
  """The demo's config as an earlier version wrote it."""
  config = files.jsonable(demo.get_config())
  config["reward"]["normalise"] = config["reward"].pop("normalize")
  config["reward"]["goals"] = config["reward"].pop("goal_reduction")
  return config


def test_a_config_of_an_earlier_version_gets_the_new_names():
  then = earlier()
  assert with_new_names(then) == files.jsonable(demo.get_config())
  assert then == earlier()
  assert with_new_names({"reward": 1}) == {"reward": 1} and with_new_names({}) == {}


def test_a_run_begun_before_goes_on(tmp_path):
  files.write_json(tmp_path / "versions.json", {})
  files.write_json(tmp_path / "config.json", earlier())
  assert run_folder.run_config(tmp_path, paper.get_config()).reward.normalize == "first_frame"
  run_folder.open_run(tmp_path, demo.get_config())
  assert files.read_json(tmp_path / "config.json") == files.jsonable(demo.get_config())


def test_a_config_with_an_old_name_is_refused(tmp_path):
  config = demo.get_config()
  config.reward.goals = "nearest"
  with pytest.raises(UserError, match="got reward.goals; use its new name reward.goal_reduction"):
    run_folder.open_run(tmp_path / "run", config)
  assert not (tmp_path / "run").exists()


def test_an_override_with_an_old_name_is_refused(monkeypatch):
  if "config" not in config_words.flags.FLAGS:
    launcher.define_flags()
  argv = ["launch", f"--config={demo.__file__}", "--config.reward.normalise=none"]
  with pytest.raises(UserError, match="use its new name reward.normalize"):
    config_words.check(argv)


def test_a_change_with_an_old_name_is_refused():
  config = paper.get_config()
  config.ablation = {}
  with pytest.raises(UserError, match="use its new name reward.normalize"):
    variant_config(config, ['reward.normalise="none"'], 0)
