"""The same encoder and training step, written for PyTorch.

ResNets as torchvision shapes them (arXiv:1512.03385; the stride of a bottleneck on its 3x3
convolution), with VIP's loss (arXiv:2210.00030) and Adam.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def convolution(inputs, outputs, size, stride=1):
  return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class Block(nn.Module):
  """A residual block, with or without bottleneck."""

  def __init__(self, inputs, channels, stride, bottleneck):
    super().__init__()
    outputs = channels * (4 if bottleneck else 1)
    if bottleneck:
      layers = (
        (inputs, channels, 1, 1),
        (channels, channels, 3, stride),
        (channels, outputs, 1, 1),
      )
    else:
      layers = ((inputs, channels, 3, stride), (channels, channels, 3, 1))
    for i, layer in enumerate(layers, 1):
      self.add_module(f"conv{i}", convolution(*layer))
      self.add_module(f"bn{i}", nn.BatchNorm2d(layer[1]))
    self.depth = len(layers)
    self.downsample = None
    if stride != 1 or inputs != outputs:
      self.downsample = nn.Sequential(
        convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
      )

  def forward(self, x):
    y = x
    for i in range(1, self.depth + 1):
      y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
      if i < self.depth:
        y = F.relu(y, inplace=True)
    if self.downsample is not None:
      x = self.downsample(x)
    return F.relu(y + x, inplace=True)


class ResNet(nn.Module):
  """Maps normalized frames [B, 3, H, W] to embeddings [B, D]."""

  def __init__(self, arch, width, embedding_dim):
    super().__init__()
    bottleneck = arch == "resnet50"
    self.conv1, self.bn1 = convolution(3, width, 7, 2), nn.BatchNorm2d(width)
    inputs = width
    for stage, count in enumerate(BLOCKS[arch]):
      channels, blocks = width * 2**stage, []
      for i in range(count):
        stride = 2 if stage > 0 and i == 0 else 1
        blocks.append(Block(inputs, channels, stride, bottleneck))
        inputs = channels * (4 if bottleneck else 1)
      self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
    self.fc = nn.Linear(inputs, embedding_dim)

  def forward(self, x):
    x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
    for stage in range(1, 5):
      x = getattr(self, f"layer{stage}")(x)
    return self.fc(x.mean((2, 3)))


def normalize(levels):
  """Returns colours 0..255 [..., 3, H, W], normalized by ImageNet's mean and deviation."""
  mean = torch.tensor(MEAN, device=levels.device).view(3, 1, 1)
  std = torch.tensor(STD, device=levels.device).view(3, 1, 1)
  return (levels / 255 - mean) / std


def embed(frames, state, arch, width, embedding_dim, result):
  """Prepares embedding the uint8 frames [N, S, S, 3] of a file with the weights of another file.

  It writes the embeddings to the file `result` for a comparison.
  """
  network, device, layout = _network(arch, width, embedding_dim)
  with np.load(state) as arrays:
    network.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays})
  network.eval()
  images = torch.from_numpy(np.load(frames)).to(device).permute(0, 3, 1, 2)

  def run():
    with torch.inference_mode(), _precision(device):
      x = normalize(images.float()).contiguous(memory_format=layout)
      out = network(x).float().cpu()
    return out

  np.save(result, run().numpy())
  return run, _facts(device, layout)


def train(arch, width, embedding_dim, videos, length, source, size, clips, negatives, steps):
  """Prepares fine-tuning steps: crops of random clips, VIP's loss, Adam.

  Args:
    arch, width, embedding_dim: architecture of the network.
    videos, length, source: numbers of random videos, of their frames, and of pixels a side.
    size: size of the network's input in pixels.
    clips: B clips of 4 frames in a batch.
    negatives: permutations of the batch.
    steps: steps in a run.
  """
  network, device, layout = _network(arch, width, embedding_dim)
  network.train()
  optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
  rng = np.random.default_rng(0)
  shape = (videos, length, 3, source, source)
  data = torch.from_numpy(rng.integers(0, 256, shape, np.uint8)).to(device)

  def crops():
    batch = []
    for _ in range(clips):
      start, end = sorted(rng.choice(length - 1, 2, replace=False))
      middle = rng.integers(start, end)
      frames = data[rng.integers(videos), [start, end, middle, middle + 1]].float()
      side = int(source * np.sqrt(rng.uniform(0.2, 1.0)))
      top, left = rng.integers(0, source - side + 1, 2)
      window = frames[:, :, top : top + side, left : left + side]
      batch.append(F.interpolate(window, (size, size), mode="bilinear", antialias=True))
    return normalize(torch.cat(batch)).contiguous(memory_format=layout)

  def run():
    for _ in range(steps):
      optimizer.zero_grad(set_to_none=True)
      x = crops()
      with _precision(device):
        embeddings = network(x)
      vip_loss(embeddings.float().view(clips, 4, -1), negatives).backward()
      optimizer.step()
    if device == "cuda":
      torch.cuda.synchronize()

  return run, _facts(device, layout)


def vip_loss(embeddings, negatives, discount=0.98, epsilon=1e-8):
  """Returns VIP's loss of embeddings [B, 4, D] in the order o_0, g, o_t, o_t+1."""
  first, goal, now, after = embeddings.unbind(1)

  def value(x):
    return -torch.linalg.vector_norm(x - goal, dim=-1)

  def excess(now, after):
    return torch.exp(1 - discount * value(after) + value(now))

  loss = (1 - discount) * -value(first).mean()
  loss = loss + torch.log(epsilon + excess(now, after).mean())
  if negatives:
    orders = [torch.randperm(len(embeddings)) for _ in range(negatives)]
    wrong = torch.stack([excess(now[order], after[order]) for order in orders])
    loss = loss + torch.log(epsilon + wrong.mean())
  flat = embeddings.flatten(0, 1)
  norms = flat.abs().sum(-1).mean() + torch.linalg.vector_norm(flat, dim=-1).mean()
  return loss + 0.001 * norms


def _network(arch, width, embedding_dim):
  device = "cuda" if torch.cuda.is_available() else "cpu"
  torch.manual_seed(0)
  # PyTorch recommends channels last for convolutions on both devices.
  layout = torch.channels_last
  network = ResNet(arch, width, embedding_dim).to(device).to(memory_format=layout)
  return network, device, layout


def _precision(device):
  """Returns a context of bfloat16 on a GPU, as in our program, and float32 on a CPU."""
  return torch.autocast(device, torch.bfloat16, enabled=device != "cpu")


def _facts(device, layout):
  return {
    "torch": torch.__version__,
    "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    "threads": torch.get_num_threads(),
    "layout": str(layout),
  }
