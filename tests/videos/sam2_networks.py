"""Two small networks with the inputs and outputs of SAM 2's exports, which segment by colour."""

from __future__ import annotations

import pathlib

import onnx.parser

SIDE = 64
_HEAD = '<ir_version: 10, opset_import: ["" : 18]>\n'
_FEATURES = """float[1,3,16,16] image_embed, float[1,3,64,64] high_res_feats_0,
  float[1,3,32,32] high_res_feats_1"""
ENCODER = f"""encoder (float[1,3,64,64] image) => ({_FEATURES}) {{
  image_embed = AveragePool<kernel_shape = [4, 4], strides = [4, 4]>(image)
  high_res_feats_0 = Identity(image)
  high_res_feats_1 = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(image)
}}"""
# It offers three masks: what has the points' colour near the mask that was fed, what has it
# anywhere (which it thinks best where no mask was fed), and everything (best where one was).
DECODER = f"""decoder ({_FEATURES}, float[1,N,2] point_coords, float[1,N] point_labels,
  float[1,1,16,16] mask_input, float[1] has_mask_input)
  => (float[1,3,64,64] masks, float[1,3] iou_predictions) {{
  swapped = Constant<value_ints = [1, 0]>()
  one_axis = Constant<value_ints = [1]>()
  colour_axis = Constant<value_ints = [2]>()
  space = Constant<value_ints = [3, 4]>()
  label_space = Constant<value_ints = [2, 3]>()
  zero = Constant<value_float = 0.0>()
  one = Constant<value_float = 1.0>()
  far = Constant<value_float = 1000.0>()
  near_enough = Constant<value_float = 2.0>()
  margin = Constant<value_float = 0.1>()

  picture = Transpose<perm = [0, 2, 3, 1]>(high_res_feats_0)
  corner = Floor(point_coords)
  whole = Cast<to = 7>(corner)
  places = Gather<axis = 2>(whole, swapped)
  points = GatherND<batch_dims = 1>(picture, places)
  colours = Unsqueeze(points, space)
  pixels = Unsqueeze(high_res_feats_0, one_axis)
  apart = Sub(pixels, colours)
  absolute = Abs(apart)
  distance = ReduceSum<keepdims = 0>(absolute, colour_axis)

  labels = Unsqueeze(point_labels, label_space)
  beside = Sub(one, labels)
  not_inside = Mul(beside, far)
  not_beside = Mul(labels, far)
  to_inside = Add(distance, not_inside)
  to_beside = Add(distance, not_beside)
  inside = ReduceMin<keepdims = 1>(to_inside, one_axis)
  outside = ReduceMin<keepdims = 1>(to_beside, one_axis)
  alike = Sub(near_enough, inside)
  unlike = Sub(outside, margin)
  anywhere = Min(alike, unlike)

  around = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(mask_input)
  split = Constant<value_ints = [1, 1, 16, 1, 16, 1]>()
  repeated = Constant<value_ints = [1, 1, 16, 4, 16, 4]>()
  full = Constant<value_ints = [1, 1, 64, 64]>()
  rows = Reshape(around, split)
  larger = Expand(rows, repeated)
  last = Reshape(larger, full)
  was_fed = Greater(has_mask_input, zero)
  near_last = Min(anywhere, last)
  nothing = Sub(anywhere, far)
  followed = Where(was_fed, near_last, nothing)
  blank = Mul(anywhere, zero)
  everything = Add(blank, one)
  masks = Concat<axis = 1>(followed, anywhere, everything)

  thought = Constant<value_floats = [0.2, 0.9, 0.5]>()
  more = Constant<value_floats = [0.0, 0.0, 0.49]>()
  added = Mul(has_mask_input, more)
  sum = Add(thought, added)
  first_axis = Constant<value_ints = [0]>()
  iou_predictions = Unsqueeze(sum, first_axis)
}}"""


def write_networks(folder: pathlib.Path, encoder: str = ENCODER, decoder: str = DECODER) -> None:
  for name, text in (("encoder", encoder), ("decoder", decoder)):
    model = onnx.parser.parse_model(_HEAD + text)
    onnx.save(model, folder / f"small.{name}.onnx")
