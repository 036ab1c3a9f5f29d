//! A folder of photographs through other crates' loaders: `photos DIR --mode burn|dataloader-rs`, further as in peer.py.
//!
//! They bring no image transforms, so the work of a sample is written here, plainly, with what sutler decodes and
//! resizes with by default: zune-jpeg and fast_image_resize. `run.py` runs it beside the others.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];
const SCALE: (f64, f64) = (0.08, 1.0);
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
const SEED: u64 = 42;

/// Images of shape `[N, 3, size, size]`, and labels.
type Batch = (Vec<f32>, Vec<i64>);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("a directory of photographs"));
    let (mut mode, mut workers, mut batch_size, mut epochs, mut size) = (String::new(), 2, 64, 3, 224);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        let number = || value.parse::<usize>().expect("a number");
        match name.as_str() {
            "--mode" => mode = value,
            "--workers" => workers = number(),
            "--batch-size" => batch_size = number(),
            "--epochs" => epochs = number(),
            "--size" => size = number(),
            other => panic!("unknown option {other}"),
        }
    }

    let photos = Photos { files: files(&directory), size };
    let count = photos.files.len();
    match mode.as_str() {
        "burn" => {
            let loader = burn::data::dataloader::DataLoaderBuilder::new(Concatenate)
                .batch_size(batch_size)
                .shuffle(SEED)
                .num_workers(workers)
                .build(photos);
            measure(count, size, epochs, || loader.iter().map(|batch| batch.expect("a batch")));
        }
        "dataloader-rs" => {
            let mut loader = dataloader_rs::DataLoader::builder(photos)
                .batch_size(batch_size)
                .sampler(dataloader_rs::RandomSampler::new(SEED))
                .num_workers(workers)
                .collator(Concatenate)
                .build();
            measure(count, size, epochs, || loader.iter().map(|batch| batch.expect("a batch")));
        }
        other => panic!("--mode is burn or dataloader-rs, not {other:?}"),
    }
}

/// Times the epochs and prints the line of JSON that peer.py's `measure` prints.
fn measure<E: Iterator<Item = Batch>>(count: usize, size: usize, epochs: usize, mut epoch: impl FnMut() -> E) {
    let (mut rates, mut first_batch, mut first) = (Vec::new(), None, Vec::new());
    for _ in 0..epochs {
        let started = Instant::now();
        let mut seen = 0;
        for (images, labels) in epoch() {
            first_batch.get_or_insert_with(|| started.elapsed());
            assert_eq!(images.len(), labels.len() * 3 * size * size);
            seen += labels.len();
            first = images;
        }
        assert_eq!(seen, count);
        rates.push(format!("{:.1}", count as f64 / started.elapsed().as_secs_f64()));
    }
    let values = first.len() as f64;
    let mean = first.iter().map(|&value| f64::from(value)).sum::<f64>() / values;
    let variance = first.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / values;
    println!(
        r#"{{"images_per_second":[{}],"first_batch_ms":{:.1},"mean":{mean:.3},"std":{:.3}}}"#,
        rates.join(","),
        first_batch.expect("at least one epoch").as_secs_f64() * 1e3,
        variance.sqrt(),
    );
}

/// Paths and labels, in the order of torchvision's `ImageFolder`.
fn files(directory: &Path) -> Vec<(PathBuf, i64)> {
    let sorted = |directory: &Path| {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let classes = sorted(directory).into_iter().filter(|path| path.is_dir());
    (0..).zip(classes).flat_map(|(label, class)| sorted(&class).into_iter().map(move |path| (path, label))).collect()
}

struct Photos {
    files: Vec<(PathBuf, i64)>,
    size: usize,
}

impl Photos {
    fn load(&self, index: usize) -> (Vec<f32>, i64) {
        let (path, label) = &self.files[index];
        let file = std::fs::read(path).expect("a readable file");
        let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&file), options);
        let pixels = decoder.decode().expect("a JPEG");
        let (width, height) = decoder.dimensions().expect("decoded");
        let (left, top, w, h) = random_part(width, height);
        (to_tensor(&resized(&pixels, (width, height), (left, top, w, h), self.size), self.size), *label)
    }
}

/// torchvision's `RandomResizedCrop.make_params`, but for what it does after ten vain tries.
fn random_part(width: usize, height: usize) -> (usize, usize, usize, usize) {
    let uniform = |(least, most): (f64, f64)| least + (most - least) * fastrand::f64();
    for _ in 0..10 {
        let area = (width * height) as f64 * uniform(SCALE);
        let ratio = uniform((RATIO.0.ln(), RATIO.1.ln())).exp();
        let (w, h) = ((area * ratio).sqrt().round() as usize, (area / ratio).sqrt().round() as usize);
        if 0 < w && w <= width && 0 < h && h <= height {
            return (fastrand::usize(..=width - w), fastrand::usize(..=height - h), w, h);
        }
    }
    (0, 0, width, height)
}

fn resized(pixels: &[u8], from: (usize, usize), part: (usize, usize, usize, usize), size: usize) -> Vec<u8> {
    // Its buffers, and the choice of vector instructions, are worth keeping.
    thread_local!(static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new()));

    let source = ImageRef::new(from.0 as u32, from.1 as u32, pixels, PixelType::U8x3).expect("as many pixels");
    let mut image = Image::new(size as u32, size as u32, PixelType::U8x3);
    let options = ResizeOptions::new()
        .crop(part.0 as f64, part.1 as f64, part.2 as f64, part.3 as f64)
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    RESIZER.with_borrow_mut(|resizer| resizer.resize(&source, &mut image, &options)).expect("a part of the image");
    image.into_vec()
}

/// Flips half of the images, and normalises into planes.
fn to_tensor(pixels: &[u8], size: usize) -> Vec<f32> {
    let flip = fastrand::bool();
    let mut tensor = vec![0.0; 3 * size * size];
    for (channel, plane) in tensor.chunks_exact_mut(size * size).enumerate() {
        let (scale, shift) = (1.0 / (255.0 * STD[channel]), -MEAN[channel] / STD[channel]);
        for (line, row) in plane.chunks_exact_mut(size).zip(pixels.chunks_exact(3 * size)) {
            for (value, pixel) in line.iter_mut().zip(row.chunks_exact(3)) {
                *value = f32::from(pixel[channel]) * scale + shift;
            }
            if flip {
                line.reverse();
            }
        }
    }
    tensor
}

#[derive(Clone)]
struct Concatenate;

impl Concatenate {
    fn concatenate(items: Vec<(Vec<f32>, i64)>) -> Batch {
        let mut images = Vec::with_capacity(items.iter().map(|(image, _)| image.len()).sum());
        let mut labels = Vec::with_capacity(items.len());
        for (image, label) in items {
            images.extend_from_slice(&image);
            labels.push(label);
        }
        (images, labels)
    }
}

impl burn::data::dataset::Dataset<(Vec<f32>, i64)> for Photos {
    fn get(&self, index: usize) -> Result<(Vec<f32>, i64), burn::data::dataset::DatasetError> {
        Ok(self.load(index))
    }

    fn len(&self) -> usize {
        self.files.len()
    }
}

impl burn::data::dataloader::batcher::Batcher<(Vec<f32>, i64), Batch> for Concatenate {
    fn batch(&self, items: Vec<(Vec<f32>, i64)>, _: &burn::tensor::Device) -> Batch {
        Concatenate::concatenate(items)
    }
}

impl dataloader_rs::Dataset for Photos {
    type Item = (Vec<f32>, i64);

    fn get(&self, index: usize) -> dataloader_rs::error::Result<Self::Item> {
        Ok(self.load(index))
    }

    fn len(&self) -> usize {
        self.files.len()
    }
}

impl dataloader_rs::Collator<(Vec<f32>, i64)> for Concatenate {
    type Batch = Batch;

    fn collate(&self, items: Vec<(Vec<f32>, i64)>) -> dataloader_rs::error::Result<Batch> {
        Ok(Concatenate::concatenate(items))
    }
}
