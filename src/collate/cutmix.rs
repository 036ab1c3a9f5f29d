//! torchvision's `CutMix`.

use super::mixing::{MixPart, with_neighbours};
use super::{Collate, MixUp};
use crate::error::Result;
use crate::image::{ImageTensor, Layout, Rect, Size};
use crate::memory::{BatchPlan, HostTensor};
use crate::rng::SampleRng;

/// Puts a rectangle of the image before it into each image of a batch, and mixes their labels by its area
/// (`torchvision.transforms.v2.CutMix`; Yun and others, "CutMix: Regularization Strategy to Train Strong Classifiers with
/// Localizable Features", 2019).
///
/// Of samples `(ImageTensor<f32>, i64)`, the label below `num_classes`, the batch is
///
/// * the images, in a rectangle those of the sample before, the first with the last: `[N, C, H, W]` or `[N, H, W, C]`,
/// * labels `[N, num_classes]`: 1 at the label before times the rectangle's share, plus 1 at the own label times the rest.
///
/// One rectangle a batch: its middle lies anywhere, and its share before it is cut off at the margins is `1 - lam`, with
/// `lam` from the distribution Beta(alpha, alpha). It depends on seed, epoch and the place of the batch's first sample in
/// the epoch's order, and not on workers, prefetching or a resume.
///
/// ```
/// use sutler::transform::{RandomChoice, RandomResizedCrop, ToTensor};
/// use sutler::{CutMix, Dataset, ImageFolder, Loader, MixUp};
///
/// let train = ImageFolder::open("fixtures/shapes/train")?.map((RandomResizedCrop::new(32), ToTensor::f32()));
/// let mixed = RandomChoice::new((CutMix::new(4), MixUp::new(4))); // one of the two, drawn for each batch
/// let loader = Loader::builder(train).batch_size(8).shuffle(true).collate(mixed).build()?;
/// let (images, labels) = loader.epoch().next().unwrap()?;
/// assert_eq!((images.shape(), labels.shape()), (&[8, 3, 32, 32][..], &[8, 4][..]));
/// # Ok::<(), sutler::Error>(())
/// ```
///
/// The worker that completes a batch mixes it, in place.
///
/// # Errors
///
/// Those of [`Stack`](crate::Stack), and a label that is negative or not below `num_classes`.
#[derive(Clone, Copy, Debug)]
pub struct CutMix {
    num_classes: usize,
    alpha: f64,
}

impl CutMix {
    /// With `alpha = 1`.
    pub fn new(num_classes: usize) -> Self {
        CutMix { num_classes, alpha: 1.0 }
    }

    /// The parameter of the distribution of `lam`: the smaller, the nearer are rectangles to nothing or everything.
    ///
    /// # Panics
    ///
    /// Unless it is finite and above 0.
    pub fn alpha(self, alpha: f64) -> Self {
        assert!(alpha > 0.0 && alpha.is_finite(), "alpha is above 0, and {alpha} is not");
        CutMix { alpha, ..self }
    }

    /// Draws the rectangle for a batch of images of a size: the rule of torchvision's `CutMix.make_params`.
    pub fn draw(&self, Size { height, width }: Size, rng: &mut SampleRng) -> Rect {
        let lam = rng.beta(self.alpha, self.alpha);
        let (x, y) = (rng.below(width as u32) as usize, rng.below(height as u32) as usize);
        let half = |side: usize| (0.5 * (1.0 - lam).sqrt() * side as f64) as usize;
        let (left, right) = (x.saturating_sub(half(width)), (x + half(width)).min(width));
        let (top, bottom) = (y.saturating_sub(half(height)), (y + half(height)).min(height));
        Rect { top: top as isize, left: left as isize, height: bottom - top, width: right - left }
    }

    /// Puts the part of each image inside `rect` into the next image, and that of the last into the first.
    ///
    /// # Panics
    ///
    /// If the batch does not have four dimensions, or `rect` is not inside its images.
    pub fn paste(batch: &mut HostTensor<f32>, rect: Rect, layout: Layout) {
        let (channels, size) = channels_and_size(batch, layout);
        assert!(rect.is_inside(size), "{rect:?} is not inside images of {size}");
        let (top, left) = (rect.top as usize, rect.left as usize);
        let mut kept = Vec::new();
        // Planes of rows of single values, or one plane of rows of pixels.
        let (planes, step) = match layout {
            Layout::ChannelsFirst => (channels, 1),
            Layout::ChannelsLast => (1, channels),
        };
        for row in (0..planes).flat_map(|plane| (top..top + rect.height).map(move |y| plane * size.height + y)) {
            let start = (row * size.width + left) * step;
            let range = start..start + rect.width * step;
            with_neighbours(batch, range, &mut kept, |values, neighbours| values.copy_from_slice(neighbours));
        }
    }
}

fn channels_and_size(batch: &HostTensor<f32>, layout: Layout) -> (usize, Size) {
    match (layout, batch.shape()) {
        (Layout::ChannelsFirst, &[_, channels, height, width]) => (channels, Size { height, width }),
        (Layout::ChannelsLast, &[_, height, width, channels]) => (channels, Size { height, width }),
        (_, shape) => panic!("a batch of images has four dimensions, and not {shape:?}"),
    }
}

/// As for [`MixUp`](crate::MixUp), and which way the values lie, once a sample has told.
#[derive(Debug)]
pub struct CutMixPart {
    samples: MixPart,
    layout: Option<Layout>,
}

impl Collate<(ImageTensor<f32>, i64)> for CutMix {
    type Batch = (HostTensor<f32>, HostTensor<f32>);
    type Part = CutMixPart;

    fn start(&self, plan: BatchPlan<'_>) -> CutMixPart {
        CutMixPart { samples: MixPart::new(plan), layout: None }
    }

    fn split_off(&self, part: &mut CutMixPart, at: usize) -> CutMixPart {
        CutMixPart { samples: part.samples.split_off(at), layout: part.layout }
    }

    fn push(&self, part: &mut CutMixPart, (image, label): (ImageTensor<f32>, i64)) -> Result<()> {
        part.layout = Some(image.layout());
        part.samples.push(image, label, self.num_classes)
    }

    fn rewind(&self, part: &mut CutMixPart, len: usize) -> Result<()> {
        part.samples.rewind(len);
        Ok(())
    }

    fn unite(&self, part: &mut CutMixPart, next: CutMixPart) {
        part.layout = part.layout.or(next.layout);
        part.samples.unite(next.samples);
    }

    fn finish(&self, CutMixPart { samples, layout }: CutMixPart) -> Result<Self::Batch> {
        let layout = layout.expect("a batch has a sample");
        let mut rng = samples.rng.clone();
        let (mut images, mut labels) = samples.finish();
        let (_, size) = channels_and_size(&images, layout);
        let rect = self.draw(size, &mut rng);
        let share = (rect.width * rect.height) as f64 / (size.width * size.height) as f64;
        Self::paste(&mut images, rect, layout);
        MixUp::mix(&mut labels, 1.0 - share);
        Ok((images, labels))
    }
}
