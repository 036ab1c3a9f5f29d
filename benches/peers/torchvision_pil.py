"""torch's DataLoader over torchvision's ImageFolder: PIL decodes, transforms v2 on PIL images."""

import PIL
import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import peer

settings = peer.arguments()
transform = v2.Compose(
    [
        v2.RandomResizedCrop(settings.size, scale=peer.SCALE, ratio=peer.RATIO, antialias=True),
        v2.RandomHorizontalFlip(0.5),
        *([v2.RandAugment()] if settings.augment == "randaugment" else []),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(peer.MEAN, peer.STD),
    ]
)
loader = DataLoader(
    torchvision.datasets.ImageFolder(settings.directory, transform),
    batch_size=settings.batch_size,
    shuffle=True,
    num_workers=settings.workers,
    persistent_workers=True,
)
versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}"
peer.measure(settings, versions, lambda: (images for images, _ in loader))
