//! torchvision's `RandomErasing`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Fill, Image, ImageSource, ImageTensor, Rect, Size};
use crate::memory::Element;
use crate::rng::SampleRng;

/// Erases a random rectangle of an image with probability `p` (`torchvision.transforms.v2.RandomErasing`).
///
/// The rectangle has a random share of the image's area (default: 0.02 to 0.33) and a random aspect ratio (default: 0.3
/// to 3.3). It becomes 0, or what else is asked for.
///
/// It acts on images, and as torchvision's recipes have it, on what [`ToTensor`](super::ToTensor) makes: then values are
/// in the unit of the tensor, so that 0 is the mean of a normalised one, and noise is standard normal.
///
/// ```
/// # use sutler::{Dataset, ImageFolder, SampleRng};
/// use sutler::image::Normalize;
/// use sutler::transform::{RandomErasing, RandomResizedCrop, ToTensor};
///
/// let to_tensor = ToTensor::f32().normalize(Normalize::IMAGENET);
/// let train = (RandomResizedCrop::new(64), to_tensor, RandomErasing::new(0.25).random_value());
/// # let train = ImageFolder::open("fixtures/shapes/train")?.map(train);
/// # train.get(0, &mut SampleRng::new(0, 0, 0))?;
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RandomErasing {
    p: f64,
    scale: (f64, f64),
    ratio: (f64, f64),
    /// `None` for random values.
    value: Option<ErasingValue>,
}

/// What a [`RandomErasing`] puts into its rectangle: a number for all channels, or one a channel. For the bytes of an
/// image, what is behind the point is cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErasingValue {
    values: [f32; 4],
    len: usize,
}

impl ErasingValue {
    fn values(&self) -> &[f32] {
        &self.values[..self.len]
    }

    fn bytes(&self) -> Fill {
        let [a, b, c, d] = self.values.map(|value| value as u8);
        match self.len {
            1 => a.into(),
            3 => [a, b, c].into(),
            _ => [a, b, c, d].into(),
        }
    }
}

macro_rules! erasing_values {
    ($($number:ty),*) => {$(
        /// For all channels.
        impl From<$number> for ErasingValue {
            fn from(value: $number) -> Self {
                ErasingValue { values: [value.into(); 4], len: 1 }
            }
        }

        /// For RGB.
        impl From<[$number; 3]> for ErasingValue {
            fn from(values: [$number; 3]) -> Self {
                let [r, g, b] = values.map(f32::from);
                ErasingValue { values: [r, g, b, 0.0], len: 3 }
            }
        }

        /// For RGBA.
        impl From<[$number; 4]> for ErasingValue {
            fn from(values: [$number; 4]) -> Self {
                ErasingValue { values: values.map(f32::from), len: 4 }
            }
        }
    )*};
}

erasing_values! { u8, f32 }

impl RandomErasing {
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn new(p: f64) -> Self {
        RandomErasing { p: probability(p), scale: (0.02, 0.33), ratio: (0.3, 3.3), value: Some(0_u8.into()) }
    }

    /// The least and the greatest share of the area.
    ///
    /// # Panics
    ///
    /// Unless `0 <= least <= greatest <= 1`.
    pub fn scale(mut self, least: f64, greatest: f64) -> Self {
        let ordered = 0.0 <= least && least <= greatest && greatest <= 1.0;
        assert!(ordered, "scale: 0 <= {least} <= {greatest} <= 1 does not hold");
        self.scale = (least, greatest);
        self
    }

    /// The least and the greatest aspect ratio, height over width.
    ///
    /// # Panics
    ///
    /// Unless `0 < least <= greatest`.
    pub fn ratio(mut self, least: f64, greatest: f64) -> Self {
        assert!(0.0 < least && least <= greatest, "ratio: 0 < {least} <= {greatest} does not hold");
        self.ratio = (least, greatest);
        self
    }

    /// What the rectangle is filled with: a number for all channels, or one a channel.
    pub fn value(mut self, value: impl Into<ErasingValue>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Fills the rectangle with noise: `value="random"` in torchvision. The bytes of an image are drawn uniformly, where
    /// torchvision draws from a normal distribution, of which bytes keep little more than 255, 0 and 1. Those of a tensor
    /// are standard normal, from a generator of their own.
    pub fn random_value(mut self) -> Self {
        self.value = None;
        self
    }

    /// Draws whether to erase, and what part of an image of size `from`: the rule of torchvision's
    /// `RandomErasing.make_params`. `None` also where ten rectangles in a row did not fit.
    pub fn draw(&self, from: Size, rng: &mut SampleRng) -> Option<Rect> {
        if !rng.bernoulli(self.p) {
            return None;
        }
        let area = (from.height * from.width) as f64;
        for _ in 0..10 {
            let erased = area * rng.uniform_range(self.scale.0, self.scale.1);
            let aspect = rng.uniform_range(self.ratio.0.ln(), self.ratio.1.ln()).exp();
            let height = (erased * aspect).sqrt().round_ties_even() as usize;
            let width = (erased / aspect).sqrt().round_ties_even() as usize;
            // A side as long as the image's does not count as fitting there.
            if height < from.height && width < from.width {
                let top = rng.below((from.height - height + 1) as u32) as isize;
                let left = rng.below((from.width - width + 1) as u32) as isize;
                return Some(Rect { top, left, height, width });
            }
        }
        None
    }
}

/// `p = 0.5`, as in torchvision.
impl Default for RandomErasing {
    fn default() -> Self {
        Self::new(0.5)
    }
}

impl RandomErasing {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let drawn = self.draw(image.size(), rng);
        let mut image = image.into_image()?;
        match (drawn, self.value) {
            (None, _) => {}
            (Some(rect), Some(value)) => image.erase(rect, value.bytes())?,
            (Some(rect), None) => image.erase_with(rect, || (rng.next_u32() >> 24) as u8),
        }
        Ok(image)
    }
}

acts_on_images!(RandomErasing);

impl RandomErasing {
    fn of_tensor<T: Element>(&self, mut tensor: ImageTensor<T>, rng: &mut SampleRng) -> Result<ImageTensor<T>> {
        match (self.draw(tensor.size(), rng), self.value) {
            (None, _) => {}
            (Some(rect), Some(value)) => tensor.erase(rect, value.values())?,
            // Drawn when the tensor is written.
            (Some(rect), None) => tensor.erase_with_noise(rect, rng.fork()),
        }
        Ok(tensor)
    }
}

impl<T: Element> Transform<ImageTensor<T>> for RandomErasing {
    type Output = ImageTensor<T>;

    fn apply(&self, tensor: ImageTensor<T>, rng: &mut SampleRng) -> Result<ImageTensor<T>> {
        self.of_tensor(tensor, rng)
    }
}

impl<T: Element, L: Send> Transform<(ImageTensor<T>, L)> for RandomErasing {
    type Output = (ImageTensor<T>, L);

    fn apply(&self, (tensor, label): (ImageTensor<T>, L), rng: &mut SampleRng) -> Result<Self::Output> {
        Ok((self.of_tensor(tensor, rng)?, label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rectangle_lies_inside_and_keeps_scale_and_ratio() {
        let from = Size { height: 300, width: 500 };
        let mut erased = 0;
        for index in 0..4000 {
            let Some(rect) = RandomErasing::default().draw(from, &mut SampleRng::new(1, 0, index)) else { continue };
            erased += 1;
            assert!(rect.is_inside(from), "{rect:?}");
            let share = (rect.height * rect.width) as f64 / (300.0 * 500.0);
            let ratio = rect.height as f64 / rect.width as f64;
            // A side rounds by at most half a pixel, of 30 or more.
            assert!((0.019..=0.336).contains(&share) && (0.29..=3.36).contains(&ratio), "{rect:?}");
        }
        // Five standard deviations of a binomial(4000, 0.5) are 158.
        assert!(2000_usize.abs_diff(erased) < 158, "{erased}");
    }

    #[test]
    fn the_rectangle_gets_the_value_and_the_rest_stays() {
        let image = Image::new((20, 30), 3, vec![200; 1800]).unwrap();
        let erased = |erasing: RandomErasing| {
            let rect = erasing.draw(image.size(), &mut SampleRng::new(0, 0, 5)).unwrap();
            let erased = erasing.apply(image.clone(), &mut SampleRng::new(0, 0, 5)).unwrap();
            let inside = erased.crop(rect).unwrap();
            let changed = erased.pixels().iter().filter(|&&value| value != 200).count();
            (inside.pixels().to_vec(), changed)
        };
        let (black, changed) = erased(RandomErasing::new(1.0));
        assert!(black.iter().all(|&value| value == 0) && changed == black.len());
        let (coloured, changed) = erased(RandomErasing::new(1.0).value([1, 2, 3]));
        assert!(coloured.as_chunks::<3>().0.iter().all(|pixel| *pixel == [1, 2, 3]) && changed == coloured.len());
        let (noise, changed) = erased(RandomErasing::new(1.0).scale(0.3, 0.3).random_value());
        let mean = noise.iter().map(|&value| f64::from(value)).sum::<f64>() / noise.len() as f64;
        // The mean of uniform bytes has a standard deviation of 74 / sqrt(n); here n is about 540.
        assert!((mean - 127.5).abs() < 16.0 && changed > noise.len() - 20, "{mean}, {changed} of {}", noise.len());
    }

    #[test]
    fn a_tensor_is_erased_in_the_same_place_in_its_own_unit() {
        use crate::image::Normalize;
        use crate::transform::ToTensor;
        let image = Image::new((20, 30), 3, vec![200; 1800]).unwrap();
        let erasing = RandomErasing::new(1.0);
        let erased = |erasing: RandomErasing, to_tensor: ToTensor<f32>| {
            let rng = &mut SampleRng::new(0, 0, 5);
            let tensor = to_tensor.channels_last().apply(image.clone(), &mut SampleRng::new(0, 0, 0)).unwrap();
            (erasing.apply((tensor, 7), rng).unwrap().0.to_vec(), rng.next_u32())
        };
        let black = erasing.apply(image.clone(), &mut SampleRng::new(0, 0, 5)).unwrap();
        let (tensor, after) = erased(erasing, ToTensor::f32());
        for (value, byte) in tensor.iter().zip(black.pixels()) {
            assert_eq!(*value == 0.0, *byte == 0);
        }
        // A value of its own does not change what is drawn; noise is one draw more, however large it is.
        let coloured = erasing.value([-0.5, 0.5, 1.5]);
        let (tensor, after_coloured) = erased(coloured, ToTensor::f32().normalize(Normalize::IMAGENET));
        assert_eq!(after_coloured, after);
        for (at, byte) in black.pixels().iter().enumerate().filter(|(_, byte)| **byte == 0) {
            assert_eq!(tensor[at], [-0.5, 0.5, 1.5][at % 3], "{byte}");
        }
        let (noise, after_noise) = erased(erasing.random_value(), ToTensor::f32());
        let inside: Vec<f32> = noise.iter().zip(black.pixels()).filter(|(_, b)| **b == 0).map(|(v, _)| *v).collect();
        assert!(inside.iter().any(|v| *v < 0.0) && inside.iter().all(|v| v.abs() < 6.0) && after_noise != after);
        let error = erasing.value([0.0; 4]).apply(image.clone(), &mut SampleRng::new(0, 0, 5)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Config);
    }

    #[test]
    fn what_does_not_fit_is_not_erased() {
        let whole = RandomErasing::new(1.0).scale(1.0, 1.0).ratio(1.0, 1.0);
        assert_eq!(whole.draw(Size::from(10), &mut SampleRng::new(0, 0, 0)), None);
    }

    #[test]
    #[should_panic(expected = "scale")]
    fn more_than_all_is_refused() {
        let _ = RandomErasing::default().scale(0.5, 1.5);
    }
}
