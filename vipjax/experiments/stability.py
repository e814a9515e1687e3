"""The simulation under the wildest torques: does it diverge, and does the hand stay inside?"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np

from vipjax.envs import RobotEnv
from vipjax.envs.metaworld_task import WORKSPACE_SLACK
from vipjax.runtime import files, ranges
from vipjax.runtime.markdown import markdown_table
from vipjax.runtime.progress import Progress

FILE = "stability.json"
# Control steps that a held torque lasts: a quarter of a second, enough for the arm to swing.
_HELD = 20

# For each motion the steps that an action lasts, and what makes the action, float [8], from its
# number and a generator.
MOTIONS: dict[str, tuple[int, Callable[[int, np.random.Generator], np.ndarray]]] = {
  "all +1": (1, lambda number, rng: np.ones(8)),
  "all -1": (1, lambda number, rng: -np.ones(8)),
  "bang-bang": (_HELD, lambda number, rng: np.full(8, (-1.0) ** number)),
  "random signs": (1, lambda number, rng: rng.choice((-1.0, 1.0), 8)),
  "random signs, held": (_HELD, lambda number, rng: rng.choice((-1.0, 1.0), 8)),
  "uniform": (1, lambda number, rng: rng.uniform(-1.0, 1.0, 8)),
  "uniform, held": (_HELD, lambda number, rng: rng.uniform(-1.0, 1.0, 8)),
}


def measure(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Drives every arm by every motion; what was measured before stays.

  Writes `stability.json` after every motion.

  Returns:
    {robot: {motion: what `drive` returned}}.

  Raises:
    UserError: an unknown robot, or fewer than 1 step.
  """
  ranges.check("", config)
  settings = config.stability
  results = files.read_json(workdir / FILE, {})
  jobs = [
    (robot, motion)
    for robot in settings.robots
    for motion in MOTIONS
    if motion not in results.get(robot, {})
  ]
  with Progress(len(jobs), "stability", unit="motion") as progress:
    for robot, motion in jobs:
      results.setdefault(robot, {})[motion] = drive(robot, motion, settings.steps, config.seed)
      files.write_json(workdir / FILE, results)
      progress.update()
  return results


def drive(robot: str, motion: str, steps: int, seed: int = 0) -> dict[str, float]:
  """Drives an arm through one episode of window-open by torques of a kind.

  Args:
    robot: the arm.
    motion: a key of MOTIONS.
    steps: control steps, at least 1, without a reset between them.
    seed: seed of the episode and of the torques.

  Returns:
    "diverged" (steps that MuJoCo gave up), "warnings" (others that it counted), "outside" (metres
    by which the hand went past a wall of its workspace, at most; 0 if it never did) and "fastest"
    (rad/s, of the arm's joints).

  Raises:
    UserError: an unknown robot.
  """
  held, action_of = MOTIONS[motion]
  rng, diverged, outside, fastest = np.random.default_rng(seed), 0, 0.0, 0.0
  with RobotEnv(robot=robot, horizon=steps + 1, render_mode=None) as env:
    low, high = env.task.mocap_low - WORKSPACE_SLACK, env.task.mocap_high + WORKSPACE_SLACK
    dofs = [env.model.joint(name).dofadr[0] for name in env.robot.arm_joints]
    hand = env.data.body(env.robot.hand_body)
    env.reset(seed=seed)
    for step in range(steps):
      if step % held == 0:
        action = action_of(step // held, rng)
      diverged += env.step(action)[-1]["diverged"]
      outside = max(outside, (low - hand.xpos).max(), (hand.xpos - high).max())
      fastest = max(fastest, np.abs(env.data.qvel[dofs]).max())
    warnings = sum(warning.number for warning in env.data.warning)
  return {
    "diverged": int(diverged),
    "warnings": int(warnings),
    "outside": float(outside),
    "fastest": float(fastest),
  }


def table(results: dict[str, Any]) -> str:
  """The results in Markdown, a row for each arm and motion."""
  header = ["arm", "torques", "diverged", "warnings", "past a wall, m", "fastest joint, rad/s"]
  rows = []
  for robot, motions in results.items():
    for motion, numbers in motions.items():
      words = [robot, motion, str(numbers["diverged"]), str(numbers["warnings"])]
      words += [f"{numbers['outside']:.3f}", f"{numbers['fastest']:.1f}"]
      rows.append(words)
  return markdown_table(header, rows)
