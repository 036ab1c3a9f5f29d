//! What samples are, how a batch of them is made, and how both are looked at.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use sutler::chaos::Truncate;
use sutler::{Collate, Error, ErrorKind, HostTensor, Pad, Result, SampleRng, Shape, Stack, Stackable};

use crate::{Check, ensure};

#[cfg(feature = "vision")]
pub use images::{Files, Pictures};

/// A kind of samples. Each is told from every other, and from the same at another place of the order: its number is in it,
/// and what it draws.
pub trait Kind: Send + Sync + Sized + 'static {
    /// What the dataset holds, and chaos cuts short.
    type Raw: Truncate + Send + 'static;
    type Sample: Send + 'static;
    type Collate: Collate<Self::Sample, Batch = Self::Batch> + 'static;
    type Batch: Send + 'static;
    /// How many buffers a batch has.
    const BUFFERS: usize;

    fn raw(id: usize) -> Result<Self::Raw>;

    fn path(id: usize) -> PathBuf {
        format!("/soak/{id}").into()
    }

    /// The transform. It, or the write into the batch, finds out what was cut short.
    fn sample(raw: Self::Raw, rng: &mut SampleRng) -> Result<Self::Sample>;

    fn collate() -> Self::Collate;

    /// What a sample is, in a number.
    fn digest(sample: &Self::Sample) -> Result<u64>;

    /// The same of each sample of a batch, which says as well whether its shape is one.
    fn rows(batch: &Self::Batch) -> Check<Vec<u64>>;
}

fn digest(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The number of a sample and a number that it draws.
fn numbered(id: usize, rng: &mut SampleRng) -> i64 {
    (id as i64) << 32 | i64::from(rng.next_u32())
}

fn has_shape<T: sutler::Element>(tensor: &HostTensor<T>, shape: &[usize]) -> Check {
    ensure!(tensor.shape() == shape, "a batch of shape {:?} instead of {shape:?}", tensor.shape());
    Ok(())
}

/// Bytes, and behind them what shows whether all are there.
fn seal(bytes: &[u8]) -> Vec<u8> {
    [bytes, &digest(bytes).to_le_bytes()].concat()
}

fn open(sealed: &[u8]) -> Result<&[u8]> {
    let cut = || Error::new(ErrorKind::Decode, "something is missing");
    let (bytes, seal) = sealed.split_last_chunk::<8>().ok_or_else(cut)?;
    if *seal == digest(bytes).to_le_bytes() { Ok(bytes) } else { Err(cut()) }
}

fn seal_id(id: usize) -> Vec<u8> {
    seal(&id.to_le_bytes())
}

fn open_id(sealed: &[u8]) -> Result<usize> {
    let bytes = open(sealed)?.first_chunk().ok_or_else(|| Error::msg("no number"))?;
    Ok(usize::from_le_bytes(*bytes))
}

/// `i64`, stacked.
pub struct Numbers;

impl Kind for Numbers {
    type Raw = Vec<u8>;
    type Sample = i64;
    type Collate = Stack;
    type Batch = HostTensor<i64>;
    const BUFFERS: usize = 1;

    fn raw(id: usize) -> Result<Vec<u8>> {
        Ok(seal_id(id))
    }

    fn sample(raw: Vec<u8>, rng: &mut SampleRng) -> Result<i64> {
        Ok(numbered(open_id(&raw)?, rng))
    }

    fn collate() -> Stack {
        Stack
    }

    fn digest(sample: &i64) -> Result<u64> {
        Ok(digest(sample))
    }

    fn rows(batch: &HostTensor<i64>) -> Check<Vec<u64>> {
        has_shape(batch, &[batch.len()])?;
        Ok(batch.iter().map(digest).collect())
    }
}

/// A field that is opened when it is written into the batch: what was cut short shows when something is there already.
#[derive(Clone)]
pub struct Sealed {
    bytes: Vec<u8>,
    drawn: i64,
}

impl Stackable for Sealed {
    type Element = i64;

    fn shape(&self) -> Shape {
        [2].into()
    }

    fn write(&self, slot: &mut [i64]) -> Result<()> {
        slot[0] = self.drawn;
        assert!(self.bytes.len() > 3, "injected by chaos: hardly anything is left");
        slot[1] = open_id(&self.bytes)? as i64;
        Ok(())
    }
}

impl Sealed {
    fn new(bytes: Vec<u8>, rng: &mut SampleRng) -> Self {
        Sealed { bytes, drawn: i64::from(rng.next_u32()) }
    }

    fn values(&self) -> Result<[i64; 2]> {
        Ok([self.drawn, open_id(&self.bytes)? as i64])
    }
}

/// Fields of several types, of which one may fail when others are written.
pub struct Tuples;

impl Kind for Tuples {
    type Raw = (Vec<u8>, u8);
    type Sample = (f32, Sealed, u8);
    type Collate = Stack;
    type Batch = (HostTensor<f32>, HostTensor<i64>, HostTensor<u8>);
    const BUFFERS: usize = 3;

    fn raw(id: usize) -> Result<(Vec<u8>, u8)> {
        Ok((seal_id(id), id as u8))
    }

    fn sample((bytes, label): (Vec<u8>, u8), rng: &mut SampleRng) -> Result<Self::Sample> {
        Ok((f32::from(label) / 2.0, Sealed::new(bytes, rng), label))
    }

    fn collate() -> Stack {
        Stack
    }

    fn digest((half, sealed, label): &Self::Sample) -> Result<u64> {
        Ok(digest((half.to_bits(), &sealed.values()?[..], label)))
    }

    fn rows((halves, sealed, labels): &Self::Batch) -> Check<Vec<u64>> {
        let len = labels.len();
        has_shape(halves, &[len])?;
        has_shape(sealed, &[len, 2])?;
        let fields = halves.iter().zip(sealed.samples()).zip(labels.iter());
        Ok(fields.map(|((half, sealed), label)| digest((half.to_bits(), sealed, label))).collect())
    }
}

/// Bytes of different lengths, padded.
pub struct Sequences;

impl Sequences {
    const PADDING: u8 = 0xAA;

    /// How long a sample is.
    pub fn len(id: usize) -> usize {
        1 + id * 7 % 23
    }
}

impl Kind for Sequences {
    type Raw = Vec<u8>;
    type Sample = (Vec<u8>, i64);
    type Collate = (Pad<u8>, Stack);
    type Batch = ((HostTensor<u8>, HostTensor<i64>), HostTensor<i64>);
    const BUFFERS: usize = 3;

    fn raw(id: usize) -> Result<Vec<u8>> {
        Ok(seal_id(id))
    }

    fn sample(raw: Vec<u8>, rng: &mut SampleRng) -> Result<Self::Sample> {
        let id = open_id(&raw)?;
        let number = numbered(id, rng);
        Ok(((0..Self::len(id)).map(|_| rng.next_u32() as u8).collect(), number))
    }

    fn collate() -> Self::Collate {
        (Pad::new(Self::PADDING), Stack)
    }

    fn digest((bytes, number): &Self::Sample) -> Result<u64> {
        Ok(digest((&bytes[..], number)))
    }

    fn rows(((values, lengths), numbers): &Self::Batch) -> Check<Vec<u64>> {
        let longest = lengths.iter().copied().max().unwrap_or(0) as usize;
        has_shape(values, &[numbers.len(), longest])?;
        has_shape(lengths, &[numbers.len()])?;
        let rows = values.samples().zip(lengths.iter()).zip(numbers.iter());
        rows.map(|((row, len), number)| {
            let (bytes, padding) = row.split_at(*len as usize);
            ensure!(padding.iter().all(|byte| *byte == Self::PADDING), "padding of {padding:?}");
            Ok(digest((bytes, number)))
        })
        .collect()
    }
}

/// Maps, of which a field may fail when another is written.
pub struct Maps;

impl Kind for Maps {
    type Raw = Vec<u8>;
    type Sample = BTreeMap<&'static str, Sealed>;
    type Collate = Stack;
    type Batch = BTreeMap<&'static str, HostTensor<i64>>;
    const BUFFERS: usize = 2;

    fn raw(id: usize) -> Result<Vec<u8>> {
        Ok(seal_id(id))
    }

    fn sample(raw: Vec<u8>, rng: &mut SampleRng) -> Result<Self::Sample> {
        // The first is always whole.
        Ok(BTreeMap::from([("a", Sealed::new(seal_id(7), rng)), ("b", Sealed::new(raw, rng))]))
    }

    fn collate() -> Stack {
        Stack
    }

    fn digest(sample: &Self::Sample) -> Result<u64> {
        Ok(digest((&sample["a"].values()?[..], &sample["b"].values()?[..])))
    }

    fn rows(batch: &Self::Batch) -> Check<Vec<u64>> {
        ensure!(batch.keys().eq(&["a", "b"]), "a batch with the keys {:?}", batch.keys());
        let (a, b) = (&batch["a"], &batch["b"]);
        has_shape(a, &[a.len() / 2, 2])?;
        has_shape(b, a.shape())?;
        Ok(a.samples().zip(b.samples()).map(digest).collect())
    }
}

/// Strings, which stay a list.
pub struct Texts;

impl Kind for Texts {
    type Raw = String;
    type Sample = String;
    type Collate = Stack;
    type Batch = Vec<String>;
    const BUFFERS: usize = 0;

    fn raw(id: usize) -> Result<String> {
        Ok(format!("{id}:vollständig"))
    }

    fn sample(raw: String, rng: &mut SampleRng) -> Result<String> {
        match raw.strip_suffix(":vollständig") {
            Some(number) => Ok(format!("{number} and {}", rng.next_u32())),
            None => Err(Error::new(ErrorKind::Decode, "something is missing")),
        }
    }

    fn collate() -> Stack {
        Stack
    }

    fn digest(sample: &String) -> Result<u64> {
        Ok(digest(sample))
    }

    fn rows(batch: &Vec<String>) -> Check<Vec<u64>> {
        Ok(batch.iter().map(digest).collect())
    }
}

#[cfg(feature = "vision")]
mod images {
    use std::sync::OnceLock;

    use sutler::image::{DecodeOptions, ImageTensor, LazyImage};
    use sutler::transform::{RandomCrop, RandomHorizontalFlip, Resize, ToTensor, Transform};
    use sutler::{Dataset, ImageFolder};

    use super::*;

    /// The files; their sizes differ, and are 56 pixels or more.
    fn path(id: usize) -> PathBuf {
        static FILES: OnceLock<ImageFolder> = OnceLock::new();
        let open = || ImageFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/shapes/val"));
        let files = FILES.get_or_init(|| open().expect("the fixtures are there"));
        files.path(id % files.len()).expect("a file has a path")
    }

    fn raw(id: usize) -> Result<(LazyImage, usize)> {
        Ok((LazyImage::open(path(id), &DecodeOptions::default())?, id))
    }

    /// JPEG files, decoded and cropped by transforms.
    pub struct Pictures;

    impl Kind for Pictures {
        type Raw = (LazyImage, usize);
        type Sample = (ImageTensor<u8>, i64);
        type Collate = Stack;
        type Batch = (HostTensor<u8>, HostTensor<i64>);
        const BUFFERS: usize = 2;

        fn raw(id: usize) -> Result<Self::Raw> {
            raw(id)
        }

        fn path(id: usize) -> PathBuf {
            path(id)
        }

        fn sample((image, id): Self::Raw, rng: &mut SampleRng) -> Result<Self::Sample> {
            let number = numbered(id, rng);
            (RandomCrop::new(24), RandomHorizontalFlip::new(0.5), ToTensor::u8()).apply((image, number), rng)
        }

        fn collate() -> Stack {
            Stack
        }

        fn digest((tensor, number): &Self::Sample) -> Result<u64> {
            Ok(digest((&tensor.to_vec()[..], number)))
        }

        fn rows((pixels, numbers): &Self::Batch) -> Check<Vec<u64>> {
            has_shape(pixels, &[numbers.len(), 3, 24, 24])?;
            Ok(pixels.samples().zip(numbers.iter()).map(digest).collect())
        }
    }

    /// JPEG files that are decoded into the batch, behind a number that is there already.
    pub struct Files;

    impl Kind for Files {
        type Raw = (LazyImage, usize);
        type Sample = (i64, LazyImage);
        type Collate = Stack;
        type Batch = (HostTensor<i64>, HostTensor<u8>);
        const BUFFERS: usize = 2;

        fn raw(id: usize) -> Result<Self::Raw> {
            raw(id)
        }

        fn path(id: usize) -> PathBuf {
            path(id)
        }

        fn sample((image, id): Self::Raw, rng: &mut SampleRng) -> Result<Self::Sample> {
            Ok((numbered(id, rng), Resize::exact((16, 20)).apply(image, rng)?))
        }

        fn collate() -> Stack {
            Stack
        }

        fn digest((number, image): &Self::Sample) -> Result<u64> {
            Ok(digest((number, image.decode()?.pixels())))
        }

        fn rows((numbers, pixels): &Self::Batch) -> Check<Vec<u64>> {
            has_shape(pixels, &[numbers.len(), 16, 20, 3])?;
            Ok(numbers.iter().zip(pixels.samples()).map(digest).collect())
        }
    }
}
