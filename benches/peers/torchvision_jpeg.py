"""torch's DataLoader over torchvision's ImageFolder: torchvision's decode_jpeg, transforms v2 on tensors."""

import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

import peer

settings = peer.arguments()
transform = v2.Compose(
    [
        v2.RandomResizedCrop(settings.size, scale=peer.SCALE, ratio=peer.RATIO, antialias=True),
        v2.RandomHorizontalFlip(0.5),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(peer.MEAN, peer.STD),
    ]
)


def load(path):
    return decode_jpeg(read_file(path), mode=ImageReadMode.RGB)


loader = DataLoader(
    torchvision.datasets.ImageFolder(settings.directory, transform, loader=load),
    batch_size=settings.batch_size,
    shuffle=True,
    num_workers=settings.workers,
    persistent_workers=True,
)
versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
peer.measure(settings, versions, lambda: (images for images, _ in loader))
