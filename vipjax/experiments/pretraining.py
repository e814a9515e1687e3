"""Pretraining in stages: each trains on a corpus, from or taught by the stages before it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import ml_collections

from vipjax import encoder
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.stages.corpus import record_corpus
from vipjax.stages.finetune import finetune


def record_stages(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Records the corpora of all stages, which `pretrain` then finds; raises as that does.

  Returns:
    {stage: what `record_corpus` returns}.
  """
  return {name: record_corpus(stage, folder) for name, stage, folder in _stages(config, workdir)}


def pretrain(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Records and trains all stages; what is done is kept, so that an interrupted run goes on.

  Each stage is a run folder of its own, `<stage>/`; its `encoder.init` and `finetune.teachers` may
  name stages before it. The encoder of the last is also `encoder/`.

  Returns:
    {stage: what `finetune` returns}.

  Raises:
    UserError: there are no stages, or one is not declared in config.pretrain.
  """
  results, begun_from = {}, None
  for name, stage, folder in _stages(config, workdir):
    begun_from = begun_from or stage.encoder.init
    record_corpus(stage, folder)
    results[name] = finetune(stage, folder)
  value = encoder.load(folder / "encoder")
  # The metadata of all stages together; those of the last one name folders of this run.
  stages = {name: result["steps"] for name, result in results.items()}
  facts = {"fine_tuned_from": begun_from, "steps": sum(stages.values()), "stages": stages}
  kept = {key: fact for key, fact in value.metadata.items() if key != "distilled_from"}
  value = value.replace(metadata=kept | facts)
  encoder.save(workdir / "encoder", value, overwrite=True)
  return results


def _stages(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> Iterator[tuple[str, ml_collections.ConfigDict, pathlib.Path]]:
  """Yields the name, the config and the opened run folder of each stage."""
  options = config.pretrain
  declared = sorted(set(options) - {"stages"})
  if not options.stages or not set(options.stages) <= set(declared):
    raise UserError(
      f"expected stages of config.pretrain in config.pretrain.stages, got {tuple(options.stages)}; "
      f"choose among {', '.join(declared)}."
    )
  done: dict[str, pathlib.Path] = {}
  recorded: dict[str, pathlib.Path] = {}
  for name in options.stages:
    # A launcher's config is locked; this copy is locked only when it has lost its stages.
    stage = ml_collections.ConfigDict(config.to_dict())
    del stage["pretrain"]
    stage.lock().update(options[name])
    encoders = {earlier: str(folder / "encoder") for earlier, folder in done.items()}
    stage.encoder.init = encoders.get(stage.encoder.init, stage.encoder.init)
    stage.finetune.teachers = tuple(encoders.get(each, each) for each in stage.finetune.teachers)
    folder = done[name] = run_folder.open_run(workdir / name, stage)
    # A corpus that an earlier stage records is not recorded again.
    first = recorded.setdefault(stage.corpus.to_json(), folder)
    if first != folder and not (folder / "videos").exists():
      (folder / "videos").symlink_to(pathlib.Path("..") / first.name / "videos")
    yield name, stage, folder
