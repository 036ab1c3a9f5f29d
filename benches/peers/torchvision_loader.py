"""torch's DataLoader over torchvision's ImageFolder, transforms v2.

--mode pil: PIL decodes, and the transforms act on PIL images; --mode jpeg: torchvision's decode_jpeg, and on tensors.
"""

import PIL
import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision.datasets.folder import pil_loader
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

import peer


def jpeg_loader(path):
    return decode_jpeg(read_file(path), mode=ImageReadMode.RGB)


settings = peer.arguments()
loader, to_image = {"pil": (pil_loader, [v2.ToImage()]), "jpeg": (jpeg_loader, [])}[settings.mode]
transform = v2.Compose(
    [
        v2.RandomResizedCrop(settings.size, scale=peer.SCALE, ratio=peer.RATIO, antialias=True),
        v2.RandomHorizontalFlip(0.5),
        *([v2.RandAugment()] if settings.augment == "randaugment" else []),
        *to_image,
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(peer.MEAN, peer.STD),
    ]
)
batches = DataLoader(
    torchvision.datasets.ImageFolder(settings.directory, transform, loader=loader),
    batch_size=settings.batch_size,
    shuffle=True,
    num_workers=settings.workers,
    persistent_workers=True,
)
versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
if settings.mode == "pil":
    versions += f", Pillow {PIL.__version__}"
peer.measure(settings, versions, lambda: (images for images, _ in batches))
