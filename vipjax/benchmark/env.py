"""Times environment steps without pictures, against Meta-World and envpool."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vipjax.benchmark import measure
from vipjax.benchmark.bench import Bench
from vipjax.benchmark.peers import PeerSpec
from vipjax.benchmark.results import SuiteResult
from vipjax.envs import FrameVectorEnv

ABOUT = (
  "Steps of window-open with random actions, counted over all environments; a step is five steps "
  "of the physics for all. Ours: torque control, one worker process per core, Meta-World's success "
  "and shaped reward at each step. Meta-World, unchanged: end-effector control, Gymnasium's "
  "AsyncVectorEnv, one process per environment."
)


def run(
  bench: Bench, num_envs: int = 9, steps: int = 50, sweep_envs: Sequence[int] = (1, 3, 9, 27, 64)
) -> SuiteResult:
  """Measures environment steps.

  Args:
    bench: measures the cases.
    num_envs: number of environments in the comparison with the peers.
    steps: steps of all environments in a run.
    sweep_envs: numbers of environments in the table of rates.
  """
  settings = {"num_envs": num_envs, "steps": steps}
  specs = [
    PeerSpec(
      "Meta-World", "metaworld_vector.metaworld", ("metaworld", "gymnasium"),
      {**settings, "size": 0},
    ),
    PeerSpec("envpool", "metaworld_vector.envpool", ("envpool",), settings),
  ]  # fmt: skip
  with FrameVectorEnv({}, num_envs) as env:
    ours = stepping(env, steps)
    case = bench.compare(f"{num_envs} environments", "steps", steps * num_envs, ours, specs)
  rows = []
  for count in sweep_envs:
    with FrameVectorEnv({}, count) as env:
      seconds = measure.median_seconds(stepping(env, steps), bench.repeats)
    rows.append({"environments": str(count), "steps/s": steps * count / seconds})
  return SuiteResult("env", ABOUT, [case], bench.skipped, bench.peak, {"More environments": rows})


def stepping(env: FrameVectorEnv, steps: int) -> Callable[[], float]:
  """Resets the environments and returns a contender that steps all of them `steps` times a run."""
  rng = np.random.default_rng(0)
  env.reset(seed=0)
  shape = (env.num_envs, *env.action_space.shape)
  return measure.timed(lambda: env.step(rng.uniform(-1, 1, shape)), times=steps)
