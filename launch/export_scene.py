"""Writes a task's scene for vipjax.envs.warp, which runs beside a newer MuJoCo.

    python -m launch.export_scene --task=window-open --out=scenes/window-open

Run it in the environment of the base install: the scene, its placements and its success are those
of the pinned Meta-World and MuJoCo. --episodes also writes episodes of the scripted expert, for
`python -m launch.warp_parity`.
"""

import pathlib

from absl import flags

from vipjax.runtime import launcher

_TASK = flags.DEFINE_string("task", "window-open", "a Meta-World task")
_ARM = flags.DEFINE_string("arm", "sawyer", "sawyer, panda or jaco")
_OUT = flags.DEFINE_string("out", None, "the folder of the scene")
_PLACEMENT = flags.DEFINE_integer(
  "placement", None, "the seed of the only placement", lower_bound=0
)
_PLACEMENTS = flags.DEFINE_integer(
  "placements", 1024, "from how many placements episodes start", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "of the first placement", lower_bound=0)
_HORIZON = flags.DEFINE_integer("horizon", 200, "control steps of an episode", lower_bound=1)
_EPISODES = flags.DEFINE_integer("episodes", 0, "of the scripted expert", lower_bound=0)
flags.mark_flag_as_required("out")


def main(_):
  from vipjax.envs.warp.reference import record_reference
  from vipjax.envs.warp.scene import export_scene

  out = pathlib.Path(_OUT.value).expanduser()
  scene = export_scene(
    out, _TASK.value, _ARM.value, placement=_PLACEMENT.value, placements=_PLACEMENTS.value,
    seed=_SEED.value, horizon=_HORIZON.value,
  )  # fmt: skip
  print(f"{scene.facts.task}, {scene.facts.robot}: {len(scene.goal)} placements in {out}")
  if _EPISODES.value:
    successes = record_reference(scene, _EPISODES.value)
    print(f"{_EPISODES.value} episodes of the expert, {successes} succeed")


if __name__ == "__main__":
  launcher.run(main)
