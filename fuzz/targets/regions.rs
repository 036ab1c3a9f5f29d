//! Parts of files.

use sutler::image::{DecodeOptions, Image, Interpolation, JpegDecoder, LazyImage, Rect, Resampling, Size};
use sutler::transform::{CenterCrop, RandomResizedCrop, Resize, Transform};
use sutler::{Result, SampleRng};

use super::{OF_A_FILE, dice, options, pick, refused};

/// A region of a file is the same part of the whole, or an error: by hand, and by the transforms that ask for one.
pub fn regions(bytes: &[u8]) {
    let mut dice = dice(bytes);
    let options = options(&mut dice);
    let open = |options: &DecodeOptions| LazyImage::new(bytes.to_vec(), options);
    let Ok(lazy) = open(&options) else { return };
    let wanted = Wanted::of(lazy.size(), &mut dice);
    let Wanted { rect, size, resampling, resize, center, random } = wanted;
    let whole = lazy.decode();
    // What libjpeg-turbo refuses zune-jpeg decodes, where it is not damaged by its standards. A part of such a file above the
    // damage is libjpeg-turbo's all the same, which rounds in another way.
    let by_zune = options.jpeg_decoder(JpegDecoder::ZuneJpeg);
    let has_two_decoders = bytes.starts_with(b"\xff\xd8") && by_zune != options;
    let is_exact =
        !has_two_decoders || open(&by_zune).and_then(|lazy| lazy.decode()).ok() != whole.as_ref().ok().cloned();

    let rng = &mut dice.fork();
    let check = |part: &dyn Fn(LazyImage, &mut SampleRng) -> Result<Image>,
                 of_whole: &dyn Fn(Image, &mut SampleRng) -> Result<Image>| {
        let part = part(open(&options).expect("opened before"), &mut rng.clone());
        match &whole {
            Ok(whole) => agree(part, of_whole(whole.clone(), &mut rng.clone()), is_exact),
            // Damage below the part is not seen by who does not look there.
            Err(_) => drop(part.map_err(|error| refused(&error, &OF_A_FILE))),
        }
    };
    check(&|lazy, _| lazy.decode_region(rect), &|whole, _| whole.crop(rect));
    check(&|lazy, _| lazy.decode_resized_crop(rect, size, resampling), &|whole, _| {
        whole.resized_crop(rect, size, resampling)
    });
    check(&|lazy, rng| center.apply(lazy, rng), &|whole, rng| center.apply(whole, rng));
    check(&|lazy, rng| (resize, center).apply(lazy, rng), &|whole, rng| (resize, center).apply(whole, rng));
    check(&|lazy, rng| random.apply(lazy, rng), &|whole, rng| random.apply(whole, rng));

    // At a fraction of its size it has other pixels.
    let scaled = open(&options.scaled_decode(true)).expect("opened before");
    match scaled.decode_resized_crop(rect, size, resampling) {
        Ok(image) => assert_eq!((image.size(), image.channels()), (size, lazy.channels())),
        Err(error) => refused(&error, &OF_A_FILE),
    }
}

/// What is asked for of an image.
struct Wanted {
    rect: Rect,
    size: Size,
    resampling: Resampling,
    resize: Resize,
    center: CenterCrop,
    random: RandomResizedCrop,
}

impl Wanted {
    fn of(image: Size, dice: &mut SampleRng) -> Self {
        use Interpolation::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        let interpolation = pick(&[Nearest, Box, Bilinear, Hamming, Bicubic, Lanczos], dice);
        let resampling = Resampling { interpolation, antialias: dice.bernoulli(0.5) };
        let mut side = |most: usize| match dice.below(64) {
            0 => 0,
            1 => usize::MAX,
            _ => 1 + dice.below(most as u32) as usize,
        };
        let size = Size { height: side(50), width: side(50) };
        let (height, width) = (side(image.height + 20), side(image.width + 20));
        let mut start = |len: usize| match dice.below(32) {
            0 => isize::MIN,
            1 => isize::MAX,
            _ => dice.below(len as u32 + 20) as isize - 10,
        };
        let rect = Rect { top: start(image.height), left: start(image.width), height, width };
        let (short, long) = (image.height.min(image.width), image.height.max(image.width));
        let resize = match long / short {
            0..8 if dice.bernoulli(0.5) => Resize::new(1 + dice.below(40) as usize),
            // The shorter side of a strip would make it a very long one.
            _ => Resize::exact(size),
        };
        Wanted {
            rect,
            size,
            resampling,
            resize: resize.antialias(resampling.antialias).interpolation(interpolation),
            center: CenterCrop::new((height.min(60), width.min(60))),
            random: RandomResizedCrop::new(size).antialias(resampling.antialias).interpolation(interpolation),
        }
    }
}

/// What a file gives where only a part is asked for, and what the whole of it gives.
fn agree(part: Result<Image>, whole: Result<Image>, is_exact: bool) {
    match (part, whole) {
        (Ok(part), Ok(whole)) => {
            assert_eq!((part.size(), part.channels()), (whole.size(), whole.channels()));
            assert!(part == whole || !is_exact, "another part of {}", whole.size());
        }
        // Of two reasons, either may be told.
        (Err(part), Err(_)) => refused(&part, &OF_A_FILE),
        (part, whole) => panic!("the part gives {part:?}, and a part of the whole {whole:?}"),
    }
}
