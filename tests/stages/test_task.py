"""What fits a task: from the config's table, else chosen, once in a run."""

import dataclasses

import pytest

from configs import ablation, demo, judge, paper
from vipjax.runtime import files, ranges
from vipjax.scene import View
from vipjax.stages import task
from vipjax.stages.task import filled, fit_to_task


def config_of(made=demo, name="window-open", views=False, **overrides):
  config = made.get_config()
  config.env.task = name
  if views:
    config.views.front = config.views.side = dataclasses.asdict(View())
  config.update_from_flattened_dict(overrides)
  return config.lock()


def numbers(config):
  policy = config.policy
  return config.env.horizon, policy.steps, policy.discount, policy.eval_every


@pytest.mark.parametrize(
  ("made", "expected"),
  [
    (paper, (200, 2_000_000, 0.99, 20_000)),
    (demo, (200, 24_000, 0.97, 1350)),
    (ablation, (200, 24_000, 0.97, 1350)),
    (judge, (200, 24_000, 0.97, 1350)),
  ],
)
def test_at_the_window_everything_stands_in_the_table(made, expected, tmp_path, monkeypatch):
  monkeypatch.setattr(task, "open_env", None)
  config = config_of(made)
  fitted = fit_to_task(config, tmp_path)
  assert numbers(fitted) == expected and fitted.views.side.distance == 1.05
  assert fitted.policy.views == ("front",)
  # The config stays as the user gave it, and nothing was chosen.
  assert numbers(config) == (None,) * 4 and list(tmp_path.iterdir()) == []
  ranges.check("", fitted)


def test_what_the_user_gives_stays(tmp_path, monkeypatch):
  monkeypatch.setattr(task, "open_env", None)
  given = {"env.horizon": 50, "policy.steps": 7, "policy.discount": 0.5, "policy.eval_every": 3}
  fitted = fit_to_task(config_of(name="door-open", views=True, **given), tmp_path)
  assert numbers(fitted) == (50, 7, 0.5, 3)


def test_another_task_gets_more_actions_and_the_horizon_of_its_expert(
  tmp_path, monkeypatch, capsys
):
  # The fourth episode is the first that the expert solves: in 217 steps, and 1.5 x 217 is 325.5.
  config = config_of(name="button-press-wall", views=True)
  fitted = fit_to_task(config, tmp_path)
  assert numbers(fitted) == (330, 30_000, 0.97, 2000)
  assert fitted.policy.views == ("front", "side")
  assert "horizon 330 control steps; the scripted expert takes 217 steps" in capsys.readouterr().out
  chosen = files.read_json(tmp_path / "task.json")
  assert chosen == {"env": {"horizon": 330}, "expert_steps": 217}
  monkeypatch.setattr(task, "open_env", None)
  assert numbers(fit_to_task(config, tmp_path)) == numbers(fitted)
  # As reports read it: from JSON.
  stored = filled(files.jsonable(config), chosen)
  assert (stored["env"]["horizon"], stored["reward"]["potential"]) == (330, "subgoal")
  assert filled({}, chosen) == {}


@pytest.mark.parametrize(
  ("name", "control", "octaves", "mixed"),
  [
    ("door-open", "torque", 4, False), ("door-open", "end_effector", 4, True),
    ("window-open", "end_effector", 1, False),
  ],
)  # fmt: skip
def test_what_fits_the_task_counts_before_the_control_and_that_before_any(
  name, control, octaves, mixed
):
  config = config_of(name=name, **{"env.control": control})
  noise = filled(config).policy.exploration
  assert (noise.octaves, noise.mixed) == (octaves, mixed)
  assert filled(files.jsonable(config))["policy"]["exploration"] == noise.to_dict()


@pytest.mark.parametrize(("steps", "horizon"), [(90, 200), (133, 200), (134, 210), (None, 200)])
def test_the_horizon(steps, horizon, tmp_path, monkeypatch):
  monkeypatch.setattr(task, "steps_to_success", lambda env, seed: steps)
  config = config_of(name="door-open", views=True)
  assert fit_to_task(config, tmp_path).env.horizon == horizon


def test_views_that_were_chosen_before_stay(tmp_path, monkeypatch):
  view = dataclasses.asdict(View(azimuth=77.0))
  files.write_json(tmp_path / "task.json", {"views": {"front": {"view": view, "side": 0.5}}})
  monkeypatch.setattr(task, "steps_to_success", lambda env, seed: 100)
  config = config_of(name="door-open", **{f"views.side.{key}": view[key] for key in view})
  fitted = fit_to_task(config, tmp_path)
  assert (fitted.views.front.azimuth, fitted.env.horizon) == (77.0, 200)
  assert files.read_json(tmp_path / "task.json")["views"]["front"]["view"]["azimuth"] == 77.0
