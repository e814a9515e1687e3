"""A task's scene in a folder: what a simulator without Meta-World needs, and reading it again.

Meta-World 3.1.1 pins MuJoCo 3.3.0, and MuJoCo Warp needs one that is two years younger. So the
pinned pair writes a folder, once for a task and an arm, and the younger one loads it:

  scene.xml, assets/   the scene under joint torques as MJCF
  scene.json           names, rules and numbers (`Facts`)
  arrays.npz           the placements, and the pinned MuJoCo's numbers of bodies and joints
  expert.npz           optional: episodes of the expert (`vipjax.envs.warp.reference`)
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np

from vipjax.envs.metaworld_task import MOVED_BY_TASKS, require_pinned
from vipjax.envs.robot_env import RobotEnv
from vipjax.envs.vector import Channel
from vipjax.envs.warp.rules import Rules, find_rules
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.scene.rendering import ROTATED_CAMERAS
from vipjax.scene.viewpoints import axes

FORMAT = 1
# What MuJoCo computes of bodies, joints and motors when it compiles a scene. Releases differ in a
# massless body's centre, and so in how soft its contacts are; the pinned one's numbers go along.
COMPILED = (
  "body_ipos", "body_iquat", "body_mass", "body_subtreemass", "body_inertia", "body_invweight0",
  "dof_invweight0", "dof_M0", "tendon_invweight0", "tendon_length0", "actuator_acc0",
)  # fmt: skip
# Warp draws any alpha above 0 as opaque.
_GLASS = 0.5
# Groups of geoms as the renderer is told them.
SCENE, ROBOT, HIDDEN = 0, 1, 4


@dataclasses.dataclass(frozen=True)
class Facts:
  """What of a scene is not in its MJCF.

  Attributes:
    task, robot: names.
    horizon, frame_skip, joint_noise: as RobotEnv has them.
    placement: the seed of the one placement, or None for placements at random.
    base_body: the root of the robot's subtree.
    joints: the arm's seven joints and the two fingers of the observation.
    moved: bodies that resets move; the columns of `Scene.moved`.
    rules: of the task's features and success.
    contacts, constraints: how many a state has at most, with room to spare.
    versions: of MuJoCo and Meta-World that wrote it.
  """

  task: str
  robot: str
  horizon: int
  frame_skip: int
  joint_noise: float
  placement: int | None
  base_body: str
  joints: tuple[str, ...]
  moved: tuple[str, ...]
  rules: Rules
  contacts: int
  constraints: int
  versions: Mapping[str, str]
  format: int = FORMAT


@dataclasses.dataclass(frozen=True)
class Scene:
  """A scene as it stands in a folder.

  Attributes:
    folder: where.
    facts: see `Facts`.
    qpos: float32 [P, nq], the state after each placement's reset, without the noise on its joints.
    qvel: float32 [P, nv], likewise.
    moved: float32 [P, M, 3], positions of the moved bodies, metres.
    goal: float32 [P, 3], the task's goal positions.
    compiled: numbers of `COMPILED` by name.
  """

  folder: pathlib.Path
  facts: Facts
  qpos: np.ndarray
  qvel: np.ndarray
  moved: np.ndarray
  goal: np.ndarray
  compiled: Mapping[str, np.ndarray]

  def compile(self, channels: Sequence[Channel] = ()) -> tuple[mujoco.MjModel, list[str]]:
    """Compiles the scene with the MuJoCo that is here.

    Bodies that resets move become mocap bodies: Warp places what is welded to the world once and
    for all, so that moving them in the model would leave their geoms behind.

    Args:
      channels: their viewpoints become cameras.

    Returns:
      The model, whose geoms have the groups SCENE, ROBOT (both to be drawn) and HIDDEN; and for
      each channel the name of its camera.
    """
    spec = mujoco.MjSpec.from_file(str(self.folder / "scene.xml"))
    for name in self.facts.moved:
      spec.body(name).mocap = True
    cameras = [_camera(spec, i, channel.view) for i, channel in enumerate(channels)]
    model = spec.compile()
    for name, values in self.compiled.items():
      if getattr(model, name).shape == values.shape:
        getattr(model, name)[:] = values
    _group_geoms(model, self.facts.base_body)
    return model, cameras


def read_scene(folder: str | os.PathLike) -> Scene:
  """Reads a folder that `export_scene` wrote.

  Raises:
    UserError: it is none, or of another format.
  """
  folder = pathlib.Path(folder).expanduser()
  path = folder / "scene.json"
  if not path.is_file():
    raise UserError(
      f"expected a folder with an exported scene, got {folder} without scene.json; make one with "
      "python -m launch.export_scene --out=FOLDER in the environment of the base install."
    )
  facts = json.loads(path.read_text(encoding="utf-8"))
  if facts.get("format") != FORMAT:
    raise UserError(
      f"expected an exported scene of format {FORMAT}, got {facts.get('format')} in {folder}; "
      "export it again."
    )
  lists = {name: tuple(facts[name]) for name in ("joints", "moved")}
  known = Facts(**{**facts, **lists, "rules": Rules.from_dict(facts["rules"])})
  with np.load(folder / "arrays.npz") as arrays:
    kept = {name: arrays[name] for name in ("qpos", "qvel", "moved", "goal")}
    return Scene(folder, known, **kept, compiled={name: arrays[name] for name in COMPILED})


def export_scene(
  folder: str | os.PathLike,
  task: str = "window-open",
  robot: str = "sawyer",
  *,
  placement: int | None = None,
  placements: int = 1024,
  seed: int = 0,
  **options: Any,
) -> Scene:
  """Writes a task's scene under joint torques into a folder.

  Args:
    folder: where; what an earlier export wrote there is replaced.
    task: a Meta-World task.
    robot: "sawyer", "panda" or "jaco".
    placement: as for RobotEnv; the seed of the only placement.
    placements: how many placements an episode starts from, each RobotEnv's own of a seed, where
      `placement` is None.
    seed: of the first; the others follow.
    **options: horizon, frame_skip and joint_noise of RobotEnv.

  Raises:
    UserError: as RobotEnv; a task whose numbers no rule explains; or packages other than the pinned
      ones.
  """
  require_pinned()
  if placements < 1:
    raise UserError(f"expected at least 1 placement, got {placements}; raise it.")
  folder = pathlib.Path(folder).expanduser()
  env = RobotEnv(task, robot, "torque", placement=placement, render_mode=None, **options)
  rules = find_rules(env)
  noise, env.joint_noise = env.joint_noise, 0.0
  count = placements if placement is None else 1
  arrays, moved = _placements(env, range(seed, seed + count))
  _write_model(env.task.spec_of_scene, folder)
  pinned = mujoco.MjModel.from_xml_path(str(folder / "scene.xml"))
  _require_equal(env.task._compiled[1], pinned)
  facts = Facts(
    task, robot, env.horizon, env.task.frame_skip, noise, placement, env.robot.base_body,
    env.robot.arm_joints + env.robot.finger_joints, moved, rules, 0, 0,
    {"mujoco": mujoco.__version__, "metaworld": require_pinned()},
  )  # fmt: skip
  compiled = {name: getattr(pinned, name) for name in COMPILED}
  scene = Scene(folder, facts, **arrays, compiled=compiled)
  contacts, constraints = _most_contacts(scene)
  # Contacts of all worlds share one store; constraints have one for each world.
  room = {"contacts": contacts + 16, "constraints": 2 * constraints + 32}
  scene = dataclasses.replace(scene, facts=dataclasses.replace(facts, **room))
  np.savez_compressed(folder / "arrays.npz", **arrays, **compiled)
  files.write_json(folder / "scene.json", dataclasses.asdict(scene.facts))
  return scene


def placed_by_reset(env: RobotEnv, moved: Sequence[int]) -> dict[str, np.ndarray]:
  """What a reset has placed: float32 qpos, qvel, goal and positions of the moved bodies."""
  placed = {
    "qpos": env.data.qpos, "qvel": env.data.qvel, "moved": env.model.body_pos[list(moved)],
    "goal": env.task._get_pos_goal(),
  }  # fmt: skip
  return {name: np.array(values, np.float32) for name, values in placed.items()}


def moved_bodies(env: RobotEnv) -> list[int]:
  """The bodies that the last reset moved; all that resets of any seed move, for none is where the
  scene has it but by chance.

  Raises:
    UserError: a reset moves what Warp cannot place.
  """
  model, pristine = env.model, env.task._pristine
  changed = {
    name: np.flatnonzero(np.abs(getattr(model, name) - pristine[name]).max(axis=1) > 0)
    for name in MOVED_BY_TASKS
  }
  bodies = changed["body_pos"]
  of_world = (model.body_parentid[bodies] == 0) & (model.body_jntnum[bodies] == 0)
  # Sites are marks of the goal, which are not drawn and whose place is told apart.
  if not of_world.all() or len(changed["body_quat"]) or len(changed["geom_pos"]):
    raise UserError(
      "expected a task whose resets move bodies that stand in the world, as window-open's window, "
      f"got {env.task_name}; use it with MuJoCo on the CPU (policy.backend mujoco)."
    )
  return bodies.tolist()


def _placements(
  env: RobotEnv, seeds: Sequence[int]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
  env.reset(seed=seeds[0])
  moved = moved_bodies(env)
  rows = []
  for seed in seeds:
    env.reset(seed=seed)
    rows.append(placed_by_reset(env, moved))
  arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
  return arrays, tuple(env.model.body(body).name for body in moved)


def _write_model(spec: mujoco.MjSpec, folder: pathlib.Path) -> None:
  """Writes an uncompiled spec as MJCF with copies of its meshes and textures."""
  assets = folder / "assets"
  shutil.rmtree(assets, ignore_errors=True)
  assets.mkdir(parents=True)
  # A copied spec forgets where its files are relative to.
  root = pathlib.Path(spec.modelfiledir)
  places = root / spec.meshdir, root / spec.texturedir
  spec = spec.copy()
  for elements, place in zip((spec.meshes, spec.textures), places, strict=True):
    for element in elements:
      if element.file:
        source = place / element.file
        # Files of one name in two folders are two files.
        element.name = element.name or source.stem
        element.file = f"{element.name}{source.suffix.lower()}"
        shutil.copyfile(source, assets / element.file)
  spec.meshdir = spec.texturedir = str(assets)
  model = spec.compile()
  low, high = map(int, spec.compiler.inertiagrouprange)
  tree = ElementTree.fromstring(spec.to_xml().replace(str(assets), "assets"))
  # What MuJoCo 3.3.0 forgets to write. Without the first, masses come out wrong without a word.
  tree.find("compiler").set("inertiagrouprange", f"{low} {high}")
  geoms = list(tree.find("worldbody").iter("geom"))
  # A default of MuJoCo's is left out even where the default of the geom's class is another.
  for number, geom in enumerate(geoms):
    if model.geom_type[number] == mujoco.mjtGeom.mjGEOM_SPHERE:
      geom.set("type", "sphere")
    for name in ("contype", "conaffinity", "condim", "group", "priority"):
      geom.set(name, str(getattr(model, f"geom_{name}")[number]))
  files.write_text(folder / "scene.xml", ElementTree.tostring(tree, encoding="unicode"))


def _require_equal(wanted: mujoco.MjModel, model: mujoco.MjModel) -> None:
  """Raises RuntimeError if a model that was written and read differs in any of its numbers."""
  for name in dir(wanted):
    # Where names and paths begin follows from their lengths, and paths are others.
    strings = name.startswith(("_", "name_", "names")) or name.endswith("pathadr")
    values = None if strings else getattr(wanted, name)
    if isinstance(values, np.ndarray) and np.issubdtype(values.dtype, np.number):
      found = getattr(model, name)
      if name in ("geom_size", "site_size"):
        kinds = getattr(wanted, name.replace("size", "type"))
        values, found = _used(values, kinds), _used(found, kinds)
      if found.shape != values.shape or not np.allclose(
        found, values, rtol=1e-6, atol=1e-6, equal_nan=True
      ):
        raise RuntimeError(f"the written scene differs from the task's in {name}")


def _used(sizes: np.ndarray, kinds: np.ndarray) -> np.ndarray:
  """Sizes [N, 3], 0 where a geom or site of its kind has none."""
  kinds, geom = kinds[:, None], mujoco.mjtGeom
  round_ones = (kinds == geom.mjGEOM_CYLINDER) | (kinds == geom.mjGEOM_CAPSULE)
  count = np.where(kinds == geom.mjGEOM_SPHERE, 1, np.where(round_ones, 2, 3))
  return np.where(np.arange(3) < count, sizes, 0.0)


def _most_contacts(scene: Scene) -> tuple[int, int]:
  """The most contacts and constraints of four episodes of random motion."""
  model, _ = scene.compile()
  rng, most = np.random.default_rng(0), np.zeros(2, int)
  for row in rng.integers(len(scene.qpos), size=4):
    data = mujoco.MjData(model)
    data.qpos[:], data.mocap_pos[:] = scene.qpos[row], scene.moved[row]
    for step in range(scene.facts.horizon):
      if step % 10 == 0:
        data.ctrl[:] = rng.uniform(-1.0, 1.0, model.nu)
      mujoco.mj_step(model, data, scene.facts.frame_skip)
      most = np.maximum(most, [data.ncon, data.nefc])
  return tuple(map(int, most))


def _camera(spec: mujoco.MjSpec, number: int, view) -> str:
  """Adds the viewpoint as a camera, unless the scene has it; returns its name."""
  if view.camera:
    if spec.camera(view.camera) is None:
      names = ", ".join(camera.name for camera in spec.cameras)
      raise UserError(
        f"expected a camera of the scene ({names}), got {view.camera!r}; choose one of these or "
        "leave it empty for a free camera."
      )
    return view.camera
  right, up, forward = axes(view.azimuth, view.elevation)
  quat = np.zeros(4)
  mujoco.mju_mat2Quat(quat, np.stack([right, up, -forward], axis=1).flatten())
  name = f"view_{number}"
  position = np.asarray(view.lookat) - view.distance * forward
  spec.worldbody.add_camera(name=name, pos=position, quat=quat, fovy=45.0)
  return name


def is_rotated(camera: str) -> bool:
  """Whether pictures of the camera come upside down."""
  return camera in ROTATED_CAMERAS


def _group_geoms(model: mujoco.MjModel, base_body: str) -> None:
  robot = model.body_rootid[model.geom_bodyid] == model.body(base_body).id
  # A geom's own colour counts where it is not the default one.
  own = np.abs(model.geom_rgba - [0.5, 0.5, 0.5, 1.0]).max(axis=1) > 1e-6
  with_material = (model.geom_matid >= 0) & ~own
  alpha = model.geom_rgba[:, 3].copy()
  alpha[with_material] = model.mat_rgba[model.geom_matid[with_material], 3]
  drawn = (model.geom_group <= 2) & (alpha > _GLASS)
  model.geom_group[:] = np.where(drawn, np.where(robot, ROBOT, SCENE), HIDDEN)
