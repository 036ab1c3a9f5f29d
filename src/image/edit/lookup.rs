//! What depends on a value alone, or on it and the image's histogram: tables of 256 values.

use crate::image::Image;

impl Image {
    /// Makes a negative: 255 less the value (`torchvision.transforms.v2.functional.invert`). Alpha, with which
    /// torchvision refuses a PIL image, stays.
    pub fn invert(&mut self) {
        self.for_each_value(|value| !value);
    }

    /// Keeps the upper `bits` of each value (`torchvision.transforms.v2.functional.posterize`). Alpha, with which
    /// torchvision refuses a PIL image, stays.
    ///
    /// # Panics
    ///
    /// Unless `bits` is in `1..=8`.
    pub fn posterize(&mut self, bits: u8) {
        assert!((1..=8).contains(&bits), "posterize: 1 to 8 bits can be kept, not {bits}");
        let mask = u8::MAX << (8 - bits);
        self.for_each_value(|value| value & mask);
    }

    /// Inverts what is at least `threshold` (`torchvision.transforms.v2.functional.solarize`). Alpha, with which
    /// torchvision refuses a PIL image, stays.
    pub fn solarize(&mut self, threshold: f64) {
        // Bytes are below 127.5 if they are below 128.
        let threshold = threshold.ceil();
        if threshold <= 255.0 {
            let threshold = threshold as u8;
            self.for_each_value(|value| if value < threshold { value } else { !value });
        }
    }

    /// Stretches each channel so that its darkest value becomes 0 and its brightest 255
    /// (`torchvision.transforms.v2.functional.autocontrast`). Alpha, with which torchvision refuses a PIL image, stays.
    pub fn autocontrast(&mut self) {
        let tables = self.extremes().map(|(low, high)| {
            if high <= low {
                return identity();
            }
            // As ImageOps.autocontrast in double precision, cut to whole numbers.
            let scale = 255.0 / f64::from(high - low);
            let offset = -f64::from(low) * scale;
            std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
        });
        self.map_channels(tables.each_ref());
    }

    /// Spreads the values of each channel so that all become about equally frequent
    /// (`torchvision.transforms.v2.functional.equalize`). Alpha, with which torchvision refuses a PIL image, stays.
    pub fn equalize(&mut self) {
        let tables = self.histograms().map(|histogram| {
            // ImageOps.equalize: the brightest value that occurs does not count.
            let brightest = histogram.iter().copied().rfind(|&count| count > 0).unwrap_or(0);
            let step = (histogram.iter().sum::<usize>() - brightest) / 255;
            if step == 0 {
                return identity();
            }
            let mut below = step / 2;
            histogram.map(|count| {
                let value = (below / step).min(255) as u8;
                below += count;
                value
            })
        });
        self.map_channels(tables.each_ref());
    }

    /// Each value but alpha through the table.
    pub(super) fn map_values(&mut self, table: &[u8; 256]) {
        self.for_each_value(|value| table[usize::from(value)]);
    }

    fn for_each_value(&mut self, map: impl Fn(u8) -> u8) {
        match self.channels {
            4 => {
                for [colors @ .., _] in self.pixels_mut().as_chunks_mut::<4>().0 {
                    *colors = colors.map(&map);
                }
            }
            _ => self.pixels_mut().iter_mut().for_each(|value| *value = map(*value)),
        }
    }

    /// Each colour, or the grey of an image of one channel, through a table of its own.
    fn map_channels(&mut self, tables: [&[u8; 256]; 3]) {
        fn map<const C: usize>(pixels: &mut [u8], tables: [&[u8; 256]; 3]) {
            for pixel in pixels.as_chunks_mut::<C>().0 {
                for (value, table) in pixel.iter_mut().zip(tables) {
                    *value = table[usize::from(*value)];
                }
            }
        }
        match self.channels {
            1 => map::<1>(self.pixels_mut(), tables),
            3 => map::<3>(self.pixels_mut(), tables),
            _ => map::<4>(self.pixels_mut(), tables),
        }
    }

    /// The least and the greatest value of each colour.
    fn extremes(&self) -> [(u8, u8); 3] {
        // A multiple of the channels and of a vector, so that each place belongs to one channel.
        const BLOCK: usize = 48;
        let (mut low, mut high) = ([u8::MAX; BLOCK], [u8::MIN; BLOCK]);
        for block in self.pixels().chunks(BLOCK) {
            for ((low, high), &value) in low.iter_mut().zip(&mut high).zip(block) {
                (*low, *high) = ((*low).min(value), (*high).max(value));
            }
        }
        let of = |channel: usize| {
            let places = || (channel % self.channels..BLOCK).step_by(self.channels);
            (places().map(|i| low[i]).min().unwrap_or(0), places().map(|i| high[i]).max().unwrap_or(0))
        };
        [of(0), of(1), of(2)]
    }

    /// How often each value comes, colour by colour.
    fn histograms(&self) -> [[usize; 256]; 3] {
        fn count<const C: usize>(pixels: &[u8]) -> [[usize; 256]; 3] {
            // Two for each channel, so that neighbours that are equal, the usual case, do not wait for each other.
            let mut counts = [[[0_u32; 256]; 3]; 2];
            for (i, pixel) in pixels.as_chunks::<C>().0.iter().enumerate() {
                for (counts, &value) in counts[i % 2].iter_mut().zip(pixel) {
                    counts[usize::from(value)] += 1;
                }
            }
            let [even, odd] = counts;
            std::array::from_fn(|c| std::array::from_fn(|value| (even[c][value] + odd[c][value]) as usize))
        }
        match self.channels {
            1 => count::<1>(self.pixels()),
            3 => count::<3>(self.pixels()),
            _ => count::<4>(self.pixels()),
        }
    }
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u8]) -> Image {
        Image::new((1, values.len()), 1, values.to_vec()).unwrap()
    }

    #[test]
    fn a_threshold_between_two_values_or_beyond_them_divides_them() {
        let solarized = |threshold: f64| {
            let mut image = of(&[0, 127, 128, 255]);
            image.solarize(threshold);
            image.pixels().to_vec()
        };
        assert_eq!(solarized(127.5), [0, 127, 127, 0]);
        assert_eq!(solarized(128.0), [0, 127, 127, 0]);
        assert_eq!(solarized(-3.0), [255, 128, 127, 0]);
        assert_eq!(solarized(255.0), [0, 127, 128, 0]);
        assert_eq!(solarized(255.5), [0, 127, 128, 255]);
    }

    #[test]
    fn an_image_of_one_value_has_nothing_to_stretch_or_spread() {
        let mut image = of(&[7; 3000]);
        image.autocontrast();
        image.equalize();
        assert_eq!(image, of(&[7; 3000]));
    }

    #[test]
    fn stretching_reaches_both_ends() {
        let mut image = of(&[100, 110, 120]);
        image.autocontrast();
        assert_eq!(image.pixels(), [0, 127, 255]);
    }

    #[test]
    #[should_panic(expected = "posterize: 1 to 8 bits")]
    fn no_bits_cannot_be_kept() {
        of(&[1]).posterize(0);
    }
}
