//! From files to pixels: what is read, what is refused, and what the error says.
#![cfg(feature = "vision")]

use std::error::Error as _;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use sutler::image::{
    DecodeOptions, Image, ImageSource, Interpolation, LazyImage, Limits, Normalize, PaddingMode, Rect,
};
use sutler::transform::{
    CenterCrop, Pad, RandomAffine, RandomApply, RandomChoice, RandomCrop, RandomErasing, RandomHorizontalFlip,
    RandomOrder, RandomPerspective, RandomResizedCrop, RandomRotation, RandomVerticalFlip, Resize, ToTensor, Transform,
};
use sutler::{Collate, DType, Dataset, ErrorKind, F16, Idx, ImageFolder, Loader, SampleRng, Stack};

#[path = "../fixtures/generate.rs"]
#[allow(dead_code)] // only its pictures are needed here
mod generate;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

fn rng() -> SampleRng {
    SampleRng::new(0, 0, 0)
}

#[test]
fn a_bad_file_is_refused_with_the_reason() {
    for (name, kind, reason) in [
        ("empty.jpg", ErrorKind::Decode, "the file is empty"),
        ("text.jpg", ErrorKind::Decode, "not an image of a known format"),
        ("truncated.jpg", ErrorKind::Decode, "cannot decode the JPEG"),
        ("header-only.jpg", ErrorKind::Decode, "cannot decode the JPEG"),
        ("truncated.png", ErrorKind::Decode, "cannot decode the PNG"),
        ("huge.jpg", ErrorKind::Limit, "65500x65500 pixels"),
        ("huge.png", ErrorKind::Limit, "983040x983040 pixels"),
    ] {
        let bytes = fs::read(fixture("bad").join(name)).unwrap();
        let error = Image::decode(&bytes, &DecodeOptions::default()).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
}

/// A picture with a grey lower half would train a model.
#[test]
fn no_truncated_jpeg_passes_for_a_picture() {
    let whole = fs::read(fixture("shapes/train/rings/000.jpg")).unwrap();
    assert!(Image::decode(&whole, &DecodeOptions::default()).is_ok());
    for len in (0..whole.len()).step_by(7).chain(whole.len() - 30..whole.len()) {
        assert!(Image::decode(&whole[..len], &DecodeOptions::default()).is_err(), "{len} of {} bytes", whole.len());
    }
}

#[test]
fn what_a_camera_puts_behind_a_jpeg_does_not_matter() {
    let whole = fs::read(fixture("shapes/train/rings/000.jpg")).unwrap();
    let image = Image::decode(&whole, &DecodeOptions::default()).unwrap();
    for trailer in [&b"\xff\xda"[..], b"\xff\xda and a film", b"\0\0\0", b"\xff", b"\xff\xd8\xff\xe1\0\x08"] {
        assert_eq!(Image::decode(&[&whole, trailer].concat(), &DecodeOptions::default()).unwrap(), image);
        // A truncated one does not become whole by it.
        let half = &whole[..whole.len() / 2];
        assert!(Image::decode(&[half, trailer].concat(), &DecodeOptions::default()).is_err());
    }
}

#[test]
fn decoded_pixels_are_the_picture() {
    let picture = generate::ring();
    let decode = |name: &str| Image::decode(&fs::read(fixture(name)).unwrap(), &DecodeOptions::default()).unwrap();
    let png = decode("bad/png-named.jpg");
    assert_eq!(png, Image::new((picture.height, picture.width), 3, picture.rgb.clone()).unwrap());

    // A JPEG of the same picture: no value is exact, most are near.
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95)
        .encode(&picture.rgb, picture.width as u32, picture.height as u32, image::ExtendedColorType::Rgb8)
        .unwrap();
    let jpeg = Image::decode(&jpeg, &DecodeOptions::default()).unwrap();
    let off: u64 = jpeg.pixels().iter().zip(png.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let mean = off as f64 / png.pixels().len() as f64;
    assert!((0.1..4.0).contains(&mean), "off by {mean} on average");
}

#[test]
fn grey_becomes_three_equal_channels_and_alpha_is_dropped() {
    use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
    let encode = |pixels: &[u8], colour| {
        let mut png = Vec::new();
        PngEncoder::new(&mut png).write_image(pixels, 2, 1, colour).unwrap();
        Image::decode(&png, &DecodeOptions::default()).unwrap().pixels().to_vec()
    };
    assert_eq!(encode(&[7, 200], ExtendedColorType::L8), [7, 7, 7, 200, 200, 200]);
    assert_eq!(encode(&[1, 2, 3, 0, 4, 5, 6, 128], ExtendedColorType::Rgba8), [1, 2, 3, 4, 5, 6]);
    let mut grey = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut grey, 100)
        .encode(&[90; 64], 8, 8, ExtendedColorType::L8)
        .unwrap();
    assert_eq!(Image::decode(&grey, &DecodeOptions::default()).unwrap().pixels(), [90; 192]);
}

/// `fixtures/golden/torchvision-0.26-tensors.json`, made by the script beside it.
fn torchvision() -> serde_json::Value {
    serde_json::from_slice(&fs::read(fixture("golden/torchvision-0.26-tensors.json")).unwrap()).unwrap()
}

fn integers<T: TryFrom<u64>>(value: &serde_json::Value) -> Vec<T> {
    let integer = |value: &serde_json::Value| T::try_from(value.as_u64().unwrap()).ok().unwrap();
    value.as_array().unwrap().iter().map(integer).collect()
}

#[test]
fn tensors_are_torchvisions_to_the_last_bit() {
    let golden = torchvision();
    let bytes = || Image::new((16, 16), 3, (0..=255_u8).flat_map(|byte| [byte; 3]).collect()).unwrap();
    let bits = |to_tensor: ToTensor<f32>| -> Vec<u32> {
        to_tensor.apply(bytes(), &mut rng()).unwrap().to_vec().iter().map(|value| value.to_bits()).collect()
    };
    let unit = integers::<u32>(&golden["unit"]);
    assert_eq!(bits(ToTensor::f32()), [&unit[..], &unit[..], &unit[..]].concat());
    let normalised: Vec<u32> = (0..3).flat_map(|channel| integers(&golden["normalised"][channel])).collect();
    assert_eq!(bits(ToTensor::f32().normalize(Normalize::IMAGENET)), normalised);
}

#[test]
fn resampling_is_within_one_level_of_torchvision_on_pil() {
    for case in torchvision()["resized_crop"].as_array().unwrap() {
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let image = Image::new((size("height"), size("width")), 3, integers(&case["pixels"])).unwrap();
        let [top, left, height, width] = integers::<usize>(&case["box"])[..] else { panic!("four numbers") };
        let [to_height, to_width] = integers::<usize>(&case["size"])[..] else { panic!("two numbers") };
        let rect = Rect { top: top as isize, left: left as isize, height, width };
        let resized = image.resized_crop(rect, (to_height, to_width), Interpolation::Bilinear).unwrap();
        let expected = integers::<u8>(&case["result"]);
        let off = resized.pixels().iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(off <= Some(1) && resized.pixels().len() == expected.len(), "off by {off:?} in {rect:?}");
    }
}

#[test]
fn the_contents_decide_on_the_format_and_not_the_name() {
    let bytes = fs::read(fixture("bad/png-named.jpg")).unwrap();
    let image = Image::decode(&bytes, &DecodeOptions::default()).unwrap();
    // The size as a PNG's header has it: width, then height.
    let header = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((image.width(), image.height(), image.channels()), (header(16), header(20), 3));
}

#[test]
fn limits_are_the_users() {
    let bytes = fs::read(fixture("shapes/train/dots/000.jpg")).unwrap();
    let image = Image::decode(&bytes, &DecodeOptions::default()).unwrap();
    let pixels = image.height() * image.width();
    let within = |limit: usize| DecodeOptions::default().limits(Limits::default().max_pixels(limit));
    assert!(Image::decode(&bytes, &within(pixels)).is_ok());
    assert_eq!(Image::decode(&bytes, &within(pixels - 1)).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn an_image_folder_lists_classes_in_order_and_opens_files_lazily() {
    let folder = ImageFolder::open(fixture("shapes/train")).unwrap();
    assert_eq!(folder.classes(), ["checker", "dots", "rings", "stripes"]);
    assert_eq!(folder.len(), 480);
    let (image, label) = folder.get(121, &mut rng()).unwrap();
    assert_eq!((label, folder.label(121)), (1, 1));
    assert_eq!(folder.path(121).unwrap(), fixture("shapes/train/dots/001.jpg"));
    let decoded = image.decode().unwrap();
    assert_eq!((decoded.size(), decoded.channels()), (image.size(), 3));
    assert_eq!(
        decoded,
        LazyImage::open(fixture("shapes/train/dots/001.jpg"), &DecodeOptions::default()).unwrap().decode().unwrap()
    );
}

/// Every picture of the fixtures, as a file's bytes.
fn files() -> Vec<Vec<u8>> {
    let folder = ImageFolder::open(fixture("shapes/val")).unwrap();
    let mut files: Vec<Vec<u8>> = (0..6).map(|i| fs::read(folder.path(17 * i).unwrap()).unwrap()).collect();
    let mut png = std::io::Cursor::new(Vec::new());
    let pixels: Vec<u8> = (0..31 * 22 * 3).map(|i| (i * 7 % 251) as u8).collect();
    image::write_buffer_with_format(&mut png, &pixels, 31, 22, image::ColorType::Rgb8, image::ImageFormat::Png)
        .unwrap();
    files.push(png.into_inner());
    files
}

#[test]
fn a_lazy_image_is_the_decoded_one_and_its_parts() {
    for file in files() {
        let lazy = LazyImage::new(file.clone(), &DecodeOptions::default()).unwrap();
        let image = Image::decode(&file, &DecodeOptions::default()).unwrap();
        assert_eq!(lazy.size(), image.size());
        assert_eq!(lazy.decode().unwrap(), image);
        let (height, width) = (image.height(), image.width());
        for rect in [
            Rect { top: 0, left: 0, height, width },
            Rect { top: 3, left: 5, height: 7, width: 9 },
            Rect { top: height as isize - 1, left: width as isize - 1, height: 1, width: 1 },
            Rect { top: -2, left: -3, height: height + 4, width: width + 9 },
        ] {
            assert_eq!(lazy.decode_region(rect).unwrap(), image.crop(rect).unwrap());
        }
    }
}

#[test]
fn transforms_make_the_same_of_a_lazy_image_as_of_a_decoded_one() {
    fn both<T>(transform: &T, file: &[u8])
    where
        T: Transform<Image, Output = Image> + Transform<LazyImage, Output: ImageSource>,
    {
        for place in 0..8 {
            let image = Image::decode(file, &DecodeOptions::default()).unwrap();
            let lazy = LazyImage::new(file.to_vec(), &DecodeOptions::default()).unwrap();
            let of_image: Image = transform.apply(image, &mut SampleRng::new(1, 2, place)).unwrap();
            let of_lazy = transform.apply(lazy, &mut SampleRng::new(1, 2, place)).unwrap();
            assert_eq!(of_image, of_lazy.into_image().unwrap());
        }
    }
    for file in files() {
        both(&RandomResizedCrop::new(24), &file);
        both(&CenterCrop::new((200, 10)), &file);
        both(&Resize::new(20), &file);
        both(&RandomHorizontalFlip::default(), &file);
        both(&RandomVerticalFlip::default(), &file);
        both(&RandomCrop::new(16), &file);
        both(&RandomCrop::new(40).padding(3).pad_if_needed(true), &file);
        both(&RandomCrop::new(40).pad_if_needed(true).padding_mode(PaddingMode::Reflect), &file);
        both(&Pad::new((1, 2)).padding_mode(PaddingMode::Edge), &file);
        both(&RandomRotation::new(30.0), &file);
        both(&RandomAffine::new(30.0).translate(0.2, 0.2), &file);
        both(&RandomPerspective::default(), &file);
        both(&RandomErasing::default().random_value(), &file);
    }
}

#[test]
fn a_lazy_image_is_refused_when_it_is_read_or_when_it_is_decoded() {
    for entry in fs::read_dir(fixture("bad")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jpg" || extension == "png") {
            let eager =
                Image::decode(&fs::read(&path).unwrap(), &DecodeOptions::default()).map_err(|error| error.kind());
            let lazy = LazyImage::open(&path, &DecodeOptions::default()).and_then(|lazy| lazy.decode());
            assert_eq!(lazy.map_err(|error| error.kind()), eager, "{}", path.display());
        }
    }
    // Cut anywhere, in a header or behind it: an error, and no panic.
    for file in files() {
        for len in (0..file.len().min(700)).chain([file.len() - 1]) {
            let cut = LazyImage::new(file[..len].to_vec(), &DecodeOptions::default()).and_then(|lazy| lazy.decode());
            assert!(cut.is_err() || len + 12 > file.len(), "{len} of {}", file.len());
        }
    }
}

#[test]
fn an_image_folder_without_transforms_is_stacked_as_bytes() {
    let folder = ImageFolder::open(fixture("shapes/val")).unwrap();
    let (image, _) = folder.get(0, &mut rng()).unwrap();
    let alone = folder.subset([0]).unwrap();
    let (bytes, labels) = Loader::builder(alone).build().unwrap().epoch().next().unwrap().unwrap();
    let image = image.decode().unwrap();
    assert_eq!(bytes.shape(), [1, image.height(), image.width(), 3]);
    assert_eq!((&*bytes, &*labels), (image.pixels(), &[0][..]));
}

#[test]
fn an_image_that_a_transform_cannot_decode_is_an_error_with_its_path() {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("a")).unwrap();
    let path = copy.path().join("a/0.jpg");
    let whole = fs::read(fixture("shapes/train/rings/000.jpg")).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let data = ImageFolder::open(copy.path()).unwrap().map(RandomResizedCrop::new(8)).map(ToTensor::u8());
    assert_eq!(data.get(0, &mut rng()).unwrap_err().path(), Some(path.as_path()));
    let error = Loader::builder(data).build().unwrap().epoch().next().unwrap().unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("sample 0 ({}): cannot decode the JPEG", path.display())),
        "{error}"
    );
}

#[test]
fn a_file_that_disappears_is_an_error_with_index_path_and_cause_and_the_rest_goes_on() {
    let copy = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        fs::create_dir(copy.path().join(class)).unwrap();
        for n in 0..4 {
            let from = fixture(&format!("shapes/val/rings/00{n}.jpg"));
            fs::copy(from, copy.path().join(class).join(format!("{n}.jpg"))).unwrap();
        }
    }
    let folder = ImageFolder::open(copy.path()).unwrap();
    let gone = copy.path().join("b/1.jpg");
    fs::remove_file(&gone).unwrap();
    fs::write(copy.path().join("a/2.jpg"), "text").unwrap();
    let error = folder.get(5, &mut rng()).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(gone.as_path())));

    let loader = Loader::builder(folder.map(Resize::exact(8))).batch_size(2).num_workers(2).build().unwrap();
    let results: Vec<_> = loader.epoch().collect();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!((errors[0].index(), errors[0].kind()), (Some(2), ErrorKind::Decode));
    assert_eq!((errors[1].index(), errors[1].kind()), (Some(5), ErrorKind::Io));
    let text = errors[1].to_string();
    assert!(text.starts_with(&format!("sample 5 ({}): cannot read the file: ", gone.display())), "{text}");
    assert!(errors[1].source().unwrap().to_string().contains("No such file"), "{text}");
}

#[test]
fn an_idx_pair_is_images_and_labels_mapped_or_read() {
    let (images, labels) = (fixture("idx/images-idx3-ubyte"), fixture("idx/labels-idx1-ubyte"));
    for digits in [Idx::open(&images, &labels).unwrap(), Idx::read(&images, &labels).unwrap()] {
        assert_eq!(digits.len(), 12);
        for n in 0..12_u8 {
            let (image, label) = digits.get(usize::from(n), &mut rng()).unwrap();
            assert_eq!(label, i64::from(n % 10));
            assert_eq!((image.height(), image.width(), image.channels()), (5, 4, 1));
            assert_eq!(image.pixels(), (20 * n..20 * n + 20).collect::<Vec<u8>>());
        }
    }
}

#[test]
fn a_bad_idx_file_is_refused_by_name_and_reason() {
    let labels = fixture("idx/labels-idx1-ubyte");
    for (name, reason) in [
        ("bad/short-idx3-ubyte", "[12, 5, 4] bytes, but 3 follow"),
        ("bad/overflowing-idx3-ubyte", "but 3 follow"),
        ("bad/text.jpg", "not an IDX file"),
        ("bad/empty.jpg", ""),
        ("bad/missing", "No such file"),
        ("idx/labels-idx1-ubyte", "swapped"),
    ] {
        let path = fixture(name);
        for error in [Idx::open(&path, &labels).unwrap_err(), Idx::read(&path, &labels).unwrap_err()] {
            assert_eq!(error.path(), Some(path.as_path()));
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}

#[test]
fn images_and_labels_that_do_not_match_are_refused() {
    let copy = tempfile::tempdir().unwrap();
    let labels = copy.path().join("labels");
    fs::write(&labels, [&[0, 0, 8, 1, 0, 0, 0, 2][..], &[1, 2]].concat()).unwrap();
    let error = Idx::open(fixture("idx/images-idx3-ubyte"), &labels).unwrap_err();
    assert!(error.to_string().contains("2 labels for the 12 images"), "{error}");
}

#[test]
fn the_usual_chains_give_tensors_of_the_usual_shape() {
    let folder = || ImageFolder::open(fixture("shapes/val")).unwrap();
    let train = folder()
        .map(RandomResizedCrop::new(32))
        .map(RandomHorizontalFlip::default())
        .map(ToTensor::f32().normalize(Normalize::IMAGENET));
    let eval = folder().map(Resize::new(40)).map(CenterCrop::new((32, 24))).map(ToTensor::u8());
    let (images, labels) = Loader::builder(train).batch_size(7).build().unwrap().epoch().next().unwrap().unwrap();
    assert_eq!((images.shape(), labels.shape()), (&[7, 3, 32, 32][..], &[7][..]));
    let (low, high) = images.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
    assert!((-2.2..0.0).contains(&low) && (0.0..2.7).contains(&high), "{low} {high}");
    let (images, _) = Loader::builder(eval).batch_size(7).build().unwrap().epoch().next().unwrap().unwrap();
    assert_eq!(images.shape(), [7, 3, 32, 24]);
}

#[test]
fn a_tensor_holds_the_pixels_of_the_image_plane_by_plane() {
    let folder = ImageFolder::open(fixture("shapes/val")).unwrap();
    let image = folder.get(3, &mut rng()).unwrap().0.decode().unwrap();
    let one = folder.subset([3]).unwrap().map(ToTensor::u8());
    let (bytes, _) = Loader::builder(one).build().unwrap().epoch().next().unwrap().unwrap();
    assert_eq!(bytes.shape(), [1, 3, image.height(), image.width()]);
    for (c, plane) in bytes.chunks(image.height() * image.width()).enumerate() {
        assert!(plane.iter().enumerate().all(|(p, &value)| value == image.pixels()[p * 3 + c]), "channel {c}");
    }
}

#[test]
fn a_batch_of_16_bit_tensors_with_the_channels_last_is_that_of_its_images() {
    let folder = || ImageFolder::open(fixture("shapes/val")).unwrap().map(Resize::exact((6, 5)));
    fn first<D: Dataset + 'static>(data: D) -> <Stack as Collate<D::Sample>>::Batch
    where
        Stack: Collate<D::Sample>,
    {
        Loader::builder(data).batch_size(4).build().unwrap().epoch().next().unwrap().unwrap()
    }
    let (bytes, _) = first(folder());
    let (halves, _) = first(folder().map(ToTensor::f16().normalize(Normalize::IMAGENET).channels_last()));
    assert_eq!((halves.shape(), halves.dtype()), (&[4, 6, 5, 3][..], DType::Float16));
    let Normalize { mean, std } = Normalize::IMAGENET;
    for (i, (half, byte)) in halves.iter().zip(&*bytes).enumerate() {
        let unit = f32::from(*byte) * (1.0 / 255.0);
        assert_eq!(*half, F16::from_f32((unit - mean[i % 3]) / std[i % 3]));
    }
}

#[test]
fn several_images_of_a_sample_are_stacked_before_the_samples_are() {
    let crops = |width: usize| {
        move |(image, label): (LazyImage, i64), _: &mut SampleRng| {
            let image = image.decode()?;
            let crop = |left: isize, width: usize| image.crop(Rect { top: 0, left, height: 4, width });
            Ok(([crop(0, 3)?, crop(5, width)?], label))
        }
    };
    let folder = || ImageFolder::open(fixture("shapes/val")).unwrap();
    let loader = Loader::builder(folder().map(crops(3))).batch_size(2).build().unwrap();
    let (images, _) = loader.epoch().next().unwrap().unwrap();
    assert_eq!(images.shape(), [2, 2, 4, 3, 3]);
    let loader = Loader::builder(folder().map(crops(3)).map(ToTensor::u8())).batch_size(2).build().unwrap();
    let (tensors, _) = loader.epoch().next().unwrap().unwrap();
    assert_eq!(tensors.shape(), [2, 2, 3, 4, 3]);
    for (image, tensor) in images.chunks(36).zip(tensors.chunks(36)) {
        assert!((0..36).all(|i| image[i] == tensor[i % 3 * 12 + i / 3]));
    }

    let loader = Loader::builder(folder().map(crops(2))).batch_size(2).build().unwrap();
    let error = loader.epoch().next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Collate, Some(0)));
    assert!(
        error.to_string().contains("image 1 of the sample has shape [4, 2, 3], and its first [4, 3, 3]"),
        "{error}"
    );
}

#[test]
fn containers_take_lazy_images_with_labels_and_without() {
    let flip = || RandomHorizontalFlip::new(1.0);
    let fill = |value: u8| {
        move |(mut image, label): (Image, i64), _: &mut SampleRng| {
            image.pixels_mut().fill(value);
            Ok((image, label))
        }
    };
    let folder = || ImageFolder::open(fixture("shapes/val")).unwrap();
    let chain = (
        RandomResizedCrop::new(8),
        RandomApply::new(fill(10), 0.5),
        RandomChoice::new((RandomHorizontalFlip::new(0.0), flip())),
        RandomOrder::new((RandomApply::new(fill(20), 0.1), flip(), CenterCrop::new(6))),
    );
    let data = folder().map(chain);
    let (plain, filled) = (0..100).fold((0, 0), |(plain, filled), index| {
        let (image, _) = data.get(index, &mut SampleRng::new(0, 0, index)).unwrap();
        assert_eq!(image.size(), 6.into());
        match image.pixels()[0] {
            first if image.pixels().iter().any(|&value| value != first) => (plain + 1, filled),
            10 | 20 => (plain, filled + 1),
            other => panic!("filled with {other}"),
        }
    });
    // 45 expected to be plain; five standard deviations are 25.
    assert!((20..=70).contains(&plain) && plain + filled == 100, "{plain} and {filled}");

    // Spared, a lazy image is decoded.
    let (lazy, label) = folder().get(0, &mut rng()).unwrap();
    let image = lazy.decode().unwrap();
    let spared = RandomApply::new(flip(), 0.0).apply((lazy, label), &mut rng()).unwrap();
    assert_eq!(spared, (image.clone(), label));
    let lazy =
        LazyImage::new(fs::read(fixture("shapes/train/rings/000.jpg")).unwrap(), &DecodeOptions::default()).unwrap();
    let image = lazy.decode().unwrap();
    assert_eq!(RandomOrder::new((flip(), flip())).apply(lazy, &mut rng()).unwrap(), image);
}

/// The digest of every byte of three shuffled, augmented epochs.
#[test]
fn augmented_epochs_are_the_same_bytes_for_any_number_of_workers_and_any_settings() {
    let digest = |num_workers: usize, prefetch: Option<usize>, chunk: Option<usize>| {
        let train = ImageFolder::open(fixture("shapes/val"))
            .unwrap()
            .map(RandomResizedCrop::new(40))
            .map(RandomHorizontalFlip::default())
            .map(ToTensor::f32().normalize(Normalize::IMAGENET));
        let mut builder = Loader::builder(train).batch_size(16).shuffle(true).seed(3).num_workers(num_workers);
        if let Some(prefetch) = prefetch {
            builder = builder.prefetch_batches(prefetch);
        }
        if let Some(chunk) = chunk {
            builder = builder.chunk_size(chunk);
        }
        let loader = builder.build().unwrap();
        let mut hasher = std::hash::DefaultHasher::new();
        for batch in (0..3).flat_map(|_| loader.epoch()) {
            let (images, labels) = batch.unwrap();
            images.iter().for_each(|value| hasher.write_u32(value.to_bits()));
            labels.hash(&mut hasher);
        }
        assert_eq!(loader.stats().batches, 3 * 100_u64.div_ceil(16));
        hasher.finish()
    };
    let expected = digest(0, None, None);
    for (num_workers, prefetch, chunk) in [
        (0, None, Some(3)),
        (1, None, None),
        (1, Some(1), Some(1)),
        (3, None, None),
        (3, Some(1), Some(5)),
        (3, Some(10), Some(1000)),
        (16, None, None),
        (16, Some(4), Some(1)),
    ] {
        assert_eq!(digest(num_workers, prefetch, chunk), expected, "{num_workers} {prefetch:?} {chunk:?}");
    }
}

#[test]
fn the_stages_of_images_are_parts_of_the_workers_time() {
    for num_workers in [0, 2] {
        let train = ImageFolder::open(fixture("shapes/val")).unwrap();
        let train = train.map(RandomResizedCrop::new(24)).map(ToTensor::f32());
        let loader = Loader::builder(train).batch_size(16).num_workers(num_workers).build().unwrap();
        assert_eq!(loader.stats().stages.total(), std::time::Duration::ZERO);
        let mut earlier = loader.stats();
        for _ in 0..2 {
            assert!(loader.epoch().all(|batch| batch.is_ok()));
            let stats = loader.stats().since(&earlier);
            let stages = stats.stages;
            let each = [stages.read, stages.header, stages.decode, stages.resample, stages.write];
            assert!(each.iter().all(|time| !time.is_zero()), "{stages:?}");
            assert_eq!(each.iter().sum::<std::time::Duration>(), stages.total());
            assert!(stages.total() <= stats.worker_busy, "{stats:?}");
            earlier = loader.stats();
        }
    }
}

/// A sample of an outer loader that reads a whole inner one.
#[test]
fn the_stages_of_a_loader_within_a_sample_are_its_own() {
    let inner = || {
        let images = ImageFolder::open(fixture("shapes/val")).unwrap().map(Resize::exact(8)).map(ToTensor::u8());
        Loader::builder(images).batch_size(10).build().unwrap()
    };
    let outer = move |(image, _): (LazyImage, i64), _: &mut SampleRng| {
        let before = image.decode()?;
        let loader = inner();
        assert!(loader.epoch().all(|batch| batch.is_ok()));
        assert!(!loader.stats().stages.write.is_zero());
        Ok((before.height() as u64, 0_u8))
    };
    let images = ImageFolder::open(fixture("shapes/val")).unwrap().subset([0_usize].to_vec()).unwrap().map(outer);
    let loader = Loader::builder(images).build().unwrap();
    assert!(loader.epoch().all(|batch| batch.is_ok()));
    let stages = loader.stats().stages;
    assert!(!stages.decode.is_zero() && stages.write.is_zero(), "{stages:?}");
}
