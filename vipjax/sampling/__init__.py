"""Draws of what a training step sees, from explicit random keys."""

from vipjax.sampling.frames import (
  SAMPLERS,
  Sampler,
  clip_indices,
  frame_subset,
  progress_pairs,
  sample_cycles,
  sample_positions,
  sample_starts,
  sample_videos,
)
from vipjax.sampling.intents import IntentFrames, any_frames, intent_indices

__all__ = [
  "SAMPLERS",
  "IntentFrames",
  "Sampler",
  "any_frames",
  "clip_indices",
  "frame_subset",
  "intent_indices",
  "progress_pairs",
  "sample_cycles",
  "sample_positions",
  "sample_starts",
  "sample_videos",
]
