//! A worker that is warm asks for no memory: what a sample needs was there for the one before.
#![cfg(feature = "vision")]

use std::hint::black_box;
use std::path::{Path, PathBuf};

use allocation_counter::measure;
use sutler::image::{Image, Interpolation, LazyImage, Normalize, Rect};
use sutler::transform::{CenterCrop, RandomHorizontalFlip, ToTensor};
use sutler::{Dataset, ImageFolder, Loader, SampleRng};

const SAMPLES: usize = 64;

fn folder() -> ImageFolder {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/shapes/val");
    ImageFolder::open(root).unwrap()
}

/// How often memory is asked for, once `work` has been done before.
fn allocations(work: impl Fn()) -> u64 {
    work();
    measure(work).count_total
}

/// The part of each image that is resampled.
const PART: Rect = Rect { top: 5, left: 3, height: 41, width: 37 };

fn part(image: LazyImage) -> sutler::Result<Image> {
    image.decode_resized_crop(PART, 24, Interpolation::Bilinear)
}

#[test]
fn a_sample_asks_for_no_memory_but_what_its_decoder_and_its_resampler_ask_for() {
    let flip = RandomHorizontalFlip::new(0.5);
    let to_tensor = ToTensor::f32().normalize(Normalize::IMAGENET);
    let samples = folder()
        .map(|(image, label): (LazyImage, i64), _: &mut SampleRng| Ok((part(image)?, label)))
        .map(flip)
        .map(to_tensor);
    let mut out = vec![0_f32; 3 * 24 * 24];
    let out = std::cell::RefCell::new(&mut out[..]);
    let whole = allocations(|| {
        for index in 0..SAMPLES {
            let (tensor, _) = samples.get(index, &mut SampleRng::new(0, 0, index)).unwrap();
            tensor.write_to(&mut out.borrow_mut());
        }
    });

    // The same decoding alone, and the same resampling alone.
    let folder = folder();
    let lazy: Vec<LazyImage> =
        (0..SAMPLES).map(|index| folder.get(index, &mut SampleRng::new(0, 0, index)).unwrap().0).collect();
    let decoder = allocations(|| lazy.iter().for_each(|image| drop(black_box(image.decode_region(PART).unwrap()))));
    let images: Vec<Image> = lazy.iter().map(|image| image.decode_region(PART).unwrap()).collect();
    let resampler = allocations(|| {
        images.iter().for_each(|image| drop(black_box(image.resize(24, Interpolation::Bilinear).unwrap())))
    });

    println!("{SAMPLES} samples: {whole} allocations, {decoder} of the decoder, {resampler} of the resampler");
    assert_eq!(whole, decoder + resampler);
    if cfg!(feature = "turbojpeg") {
        assert_eq!(decoder, 0, "what libjpeg-turbo asks for itself, in C, is not counted");
    }
}

/// Without a resampler, whose tables of weights are its own business.
#[cfg(feature = "turbojpeg")]
#[test]
fn with_libjpeg_turbo_a_cropped_sample_asks_for_nothing() {
    let samples = folder().map(CenterCrop::new(32)).map(ToTensor::u8());
    let out = std::cell::RefCell::new(vec![0_u8; 3 * 32 * 32]);
    let count = allocations(|| {
        for index in 0..SAMPLES {
            let (tensor, _) = samples.get(index, &mut SampleRng::new(0, 0, index)).unwrap();
            tensor.write_to(&mut out.borrow_mut());
        }
    });
    assert_eq!(count, 0);
}

/// Without workers, since what is counted is what the thread of the test asks for.
#[test]
fn a_loader_asks_for_memory_by_batch_and_not_by_sample() {
    let epoch = |samples: usize| {
        let subset = folder().subset((0..samples).collect::<Vec<_>>()).unwrap();
        let dataset = subset.map(CenterCrop::new(32)).map(ToTensor::u8());
        let loader = Loader::builder(dataset).batch_size(samples).build().unwrap();
        allocations(|| {
            for batch in &loader {
                black_box(batch.unwrap());
            }
        })
    };
    let decoder = |samples: usize| {
        let folder = folder();
        let lazy: Vec<LazyImage> =
            (0..samples).map(|index| folder.get(index, &mut SampleRng::new(0, 0, index)).unwrap().0).collect();
        allocations(|| lazy.iter().for_each(|image| drop(black_box(image.decode_region(PART).unwrap()))))
    };
    // One batch of thirty, and one of ninety.
    assert_eq!(epoch(30) - decoder(30), epoch(90) - decoder(90));
}
