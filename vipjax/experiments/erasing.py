"""Films with the robot erased against truly robot-free ones, pixel by pixel and as an encoder."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from vipjax import encoder
from vipjax.encoder import ValueFunction
from vipjax.envs import RobotEnv, Stream, episode_seed, record_episode
from vipjax.evaluation import make_curve
from vipjax.runtime import files, ranges
from vipjax.runtime.errors import UserError
from vipjax.runtime.markdown import markdown_table
from vipjax.runtime.progress import Progress
from vipjax.scene import ROBOT, View
from vipjax.scene.silhouette import Calibration, Silhouette
from vipjax.stages.filming import require_tasks
from vipjax.videos import write_video
from vipjax.videos.erase import camera_shift, erase, motion_masks

FILE = "erasing.json"
SOURCES = ("motion", "given", "model")
NOT_ERASED, ROBOT_FREE = "not erased", "robot-free"
_MEASURES = ("mask_error", "other_error", "flat", "embedding", "embedding_seen", "rank_correlation")
_HORIZON, _ATTEMPTS = 400, 5
_MARGIN = 4  # pixels
# The default view, from farther: all of these tasks' objects are in it.
_VIEW = View(distance=1.1)


class Film(NamedTuple):
  """An expert's episode.

  Attributes:
    plain, robot_free: uint8 [T, H, W, 3].
    masks: bool [T, H, W], where the robot is drawn.
    drawn: bool [T, H, W], where its undecimated model would be, by its joint angles alone.
  """

  plain: np.ndarray
  robot_free: np.ndarray
  masks: np.ndarray
  drawn: np.ndarray


def measure(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Films an episode of each task and arm and erases the arm by each source of masks.

  What was measured before stays. Writes `erasing.json`, and to `films/` each film beside its masks,
  its erased twins and the robot-free one.

  Returns:
    {"<task>/<robot>": {source: {...}}}, the sources with "not erased" and "robot-free" beside them:
    "mask_error", mean difference of grey levels from the robot-free film inside the robot's true
    pixels, and "other_error" outside of them; "flat", of what was erased the share that is filled
    flat; "embedding", mean distance of a frame's embedding from that of the robot-free frame, as a
    share of the distance from the robot-free film's first frame to its last; "embedding_seen", the
    same where the pixels that were filled flat have their true colours; "rank_correlation", with
    time, of the distance to the film's own last frame, negated. And under "camera" the
    `camera_shift` of the film and of what `_moving` makes of it.

  Raises:
    UserError: an unknown task, robot, source or encoder, or an expert that fails.
  """
  ranges.check("", config)
  settings = config.erasing
  require_tasks("erasing.tasks", settings.tasks)
  unknown = sorted(set(settings.sources) - set(SOURCES))
  if unknown:
    raise UserError(
      f"expected sources among {', '.join(SOURCES)} in config.erasing.sources, got {unknown}; "
      "choose among these."
    )
  value = encoder.load(settings.encoder)
  results = files.read_json(workdir / FILE, {})
  jobs = [(task, robot) for task in settings.tasks for robot in settings.robots]
  with Progress(len(jobs), "erasing", unit="film") as progress:
    for task, robot in jobs:
      name = f"{task}/{robot}"
      if name not in results:
        film = _film(config, task, robot)
        results[name], shown = _measure(value, film, settings.sources)
        results[name]["camera"] = {
          kind: camera_shift(frames) for kind, frames in _moving(film.plain).items()
        }
        write_video(workdir / "films" / f"{task}_{robot}.mp4", shown, 10, overwrite=True)
        files.write_json(workdir / FILE, results)
      progress.update()
  return results


def table(results: Mapping[str, Any]) -> str:
  """The means over all films by source, then each film, in Markdown."""
  sources = [NOT_ERASED, *(name for name in SOURCES if name in next(iter(results.values())))]
  header = [*(name.replace("_", " ") for name in _MEASURES)]
  means = [
    [source, *_cells(np.mean([[of[source][name] for name in _MEASURES] for of in results.values()],
                             axis=0))]
    for source in [*sources, ROBOT_FREE]
  ]  # fmt: skip
  rows = [
    [name.replace("/", ", "), *(_pair(of[source]) for source in sources)]
    for name, of in results.items()
  ]
  detail = markdown_table(
    ["film", *(f"{source}: mask error, embedding" for source in sources)], rows
  )
  kinds = next(iter(results.values()))["camera"]
  shifts = [
    [
      kind,
      *(f"{extreme(of['camera'][kind] for of in results.values()):.1f}" for extreme in (min, max)),
    ]
    for kind in kinds
  ]
  camera = markdown_table(["the camera's motion, pixels", "least", "greatest"], shifts)
  return "\n\n".join([markdown_table(["masks", *header], means), detail, camera])


def _cells(numbers: np.ndarray) -> list[str]:
  error, other, *shares = numbers
  return [f"{error:.1f}", f"{other:.2f}", *(f"{share:.2f}" for share in shares)]


def _pair(numbers: Mapping[str, float]) -> str:
  return f"{numbers['mask_error']:.1f}, {numbers['embedding']:.2f}"


def _measure(
  value: ValueFunction, film: Film, sources: tuple[str, ...]
) -> tuple[dict[str, dict[str, float]], np.ndarray]:
  """The measures by source, and all films side by side."""
  masks = {"motion": motion_masks(film.plain), "given": film.masks, "model": film.drawn}
  films, erased = {NOT_ERASED: film.plain}, {}
  for source in sources:
    erased[source] = erase(film.plain, masks[source])
    films[source] = erased[source].frames
  films[ROBOT_FREE] = film.robot_free
  true = value.embed(film.robot_free)
  scale = float(np.linalg.norm(true[0] - true[-1]))
  measured = {}
  for source, frames in films.items():
    error = np.abs(frames.astype(np.float32) - film.robot_free).mean(axis=-1)
    embedded, seen = value.embed(frames), frames.copy()
    if source in erased:
      never_seen = erased[source].never_seen
      seen[:, never_seen] = film.robot_free[:, never_seen]
    distances = value.distances(embedded, embedded[-1:])
    curve = make_curve(distances, np.arange(len(frames)), source)
    measured[source] = {
      "mask_error": float(error[film.masks].mean()),
      "other_error": float(error[~film.masks].mean()),
      "flat": erased[source].flat_share if source in erased else 0.0,
      "embedding": float(np.linalg.norm(embedded - true, axis=-1).mean()) / scale,
      "embedding_seen": float(np.linalg.norm(value.embed(seen) - true, axis=-1).mean()) / scale,
      "rank_correlation": float(curve.rank_correlation),
    }
  shown = np.repeat(film.masks[..., None] * np.uint8(255), 3, axis=-1)
  return measured, np.concatenate([film.plain, shown, *list(films.values())[1:]], axis=2)


def _moving(frames: np.ndarray) -> dict[str, np.ndarray]:
  """A film, and films of the same as a moving or a noisy camera would see it, by name."""
  count, side = len(frames), frames.shape[1] - 2 * _MARGIN
  rng = np.random.default_rng(0)
  # Where the window lies that is cut out of each frame.
  pan = np.linspace(0, 4, count).round().astype(int)
  tremor = rng.normal(0, 1, (2, count)).round().astype(int).clip(-_MARGIN, _MARGIN)

  def cut(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.stack([
      frame[_MARGIN + y :, _MARGIN + x :][:side, :side]
      for frame, y, x in zip(frames, down, right, strict=True)
    ])  # fmt: skip

  noisy = frames + rng.normal(0, 4, frames.shape)
  return {
    "static": frames,
    "static, noise of 4 levels": noisy.clip(0, 255).astype(np.uint8),
    "a slow pan by 4 pixels": cut(0 * pan, pan),
    "a tremor of 1 pixel": cut(*tremor),
  }


def _film(config: ml_collections.ConfigDict, task: str, robot: str) -> Film:
  """The first of some episodes in which the expert succeeds."""
  size, record = config.record.size, config.record
  labels, positions = [], []
  with RobotEnv(task, robot, placement=config.seed, horizon=_HORIZON, size=size) as env:

    def note() -> None:
      labels.append(env.labels(_VIEW))
      positions.append(env.data.qpos.copy())

    for number in range(_ATTEMPTS):
      labels.clear()
      positions.clear()
      seed = episode_seed(Stream.RECORDED, config.seed, number)
      plain, free = record_episode(
        env, {"view": _VIEW}, seed, hold=record.hold, frame_stride=record.frame_stride,
        at_frame=note,
      )  # fmt: skip
      if plain.success:
        masks = np.stack(labels) == ROBOT
        return Film(plain.frames, free.frames, masks, _drawn(env, np.stack(positions)))
  raise UserError(
    f"expected the scripted expert to succeed at {task} with {robot} in one of {_ATTEMPTS} "
    "episodes, got none; choose another task or robot."
  )


def _drawn(env: RobotEnv, positions: np.ndarray) -> np.ndarray:
  """Masks from the robot's joint angles and the scene's model with the objects where they start."""
  spec = env.task.spec_of_scene.copy()
  model, base = env.model, env.model.body(env.robot.base_body).id
  for body in (each for each in spec.bodies if each.name):
    known = model.body(body.name)
    if model.body_parentid[known.id] == 0 and known.id != base:  # Resets move objects, as a whole.
      body.pos = known.pos
  joints = np.flatnonzero(model.body_rootid[model.jnt_bodyid] == base)
  with Silhouette(spec, _calibration(env), (env._size, env._size), env.robot.base_body) as drawn:
    names = [model.joint(number).name for number in joints]
    return drawn.masks(positions[:, model.jnt_qposadr[joints]], names)


def _calibration(env: RobotEnv) -> Calibration:
  """The view as a calibrated camera: OpenCV's axes of MuJoCo's free camera."""
  size = env._size
  azimuth, elevation = np.deg2rad([_VIEW.azimuth, _VIEW.elevation])
  forward = np.array([
    np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation),
  ])  # fmt: skip
  right = np.cross(forward, [0.0, 0.0, 1.0])
  right /= np.linalg.norm(right)
  turn = np.stack([right, np.cross(forward, right), forward])
  world_to_camera = np.eye(4)
  world_to_camera[:3, :3] = turn
  world_to_camera[:3, 3] = -turn @ (np.array(_VIEW.lookat) - _VIEW.distance * forward)
  focal = size / 2 / np.tan(np.deg2rad(env.model.vis.global_.fovy) / 2)
  return Calibration(
    np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]), world_to_camera
  )
