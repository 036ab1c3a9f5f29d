//! `LazyImage`: an image file that is read and not yet decoded.

use std::io;
use std::path::Path;

use image::ImageFormat;

use super::decode::decode;
use super::header::Header;
use super::jpeg::{self, Region, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::image::geometry::Part;
use crate::image::scratch::{Scratch, read_file};
use crate::image::{DecodeOptions, Image, JpegDecoder, Limits, Rect, Resampling, Size};
use crate::stats::{Stage, timed};

/// An image file that is read and not yet decoded: its bytes, and the size that its header tells.
///
/// This is what [`ImageFolder`](crate::ImageFolder) gives. Transforms take it as they take an [`Image`]; one that crops first
/// says so before anything is decoded, and with feature `turbojpeg` a JPEG is then decoded only where it is needed. A resize
/// is put off until it is known what is cut out of it. In a closure of your own, [`decode`](LazyImage::decode) it:
///
/// ```
/// use sutler::image::LazyImage;
/// use sutler::{Dataset, ImageFolder, SampleRng};
///
/// let brightness = ImageFolder::open("fixtures/shapes/val")?.map(|(image, label): (LazyImage, i64), _: &mut SampleRng| {
///     let image = image.decode()?;
///     let sum: u64 = image.pixels().iter().map(|&value| u64::from(value)).sum();
///     Ok((sum as f32 / image.pixels().len() as f32, label))
/// });
/// assert!(brightness.get(0, &mut SampleRng::new(0, 0, 0))?.0 > 0.0);
/// # Ok::<(), sutler::Error>(())
/// ```
pub struct LazyImage {
    content: Content,
    /// What is to be made of it.
    resize: Option<(Size, Resampling)>,
}

enum Content {
    File(File),
    /// Of an image that was resized twice.
    Image(Image),
}

struct File {
    bytes: Scratch,
    header: Header,
    options: DecodeOptions,
}

impl LazyImage {
    /// Reads a file and its header.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is no regular file (but a FIFO, a socket, a device or a directory), or is not an image within
    /// the [`Limits`](crate::image::Limits).
    pub fn open(path: impl AsRef<Path>, options: &DecodeOptions) -> Result<Self> {
        let path = path.as_ref();
        let read = || {
            let most = options.limits.max_file_bytes;
            match timed(Stage::Read, || read_file(path, most)).map_err(|source| unreadable(path, source))? {
                Some(bytes) => Self::of(bytes, options),
                None => Err(Error::new(
                    ErrorKind::Limit,
                    format!("the file exceeds the limit of {most} bytes (Limits::max_file_bytes)"),
                )),
            }
        };
        read().map_err(|error| error.with_path(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())))
    }

    /// Reads the header of a file's bytes.
    ///
    /// # Errors
    ///
    /// If they are not an image of a known format within the [`Limits`](crate::image::Limits).
    pub fn new(bytes: Vec<u8>, options: &DecodeOptions) -> Result<Self> {
        Self::of(Scratch::from(bytes), options)
    }

    fn of(bytes: Scratch, options: &DecodeOptions) -> Result<Self> {
        let header = timed(Stage::Header, || Header::read(&bytes, options))?;
        Ok(LazyImage { content: Content::File(File { bytes, header, options: *options }), resize: None })
    }

    /// Height and width in pixels.
    pub fn size(&self) -> Size {
        match self.resize {
            Some((size, _)) => size,
            None => self.content.size(),
        }
    }

    /// How many channels a pixel will have.
    pub fn channels(&self) -> usize {
        match &self.content {
            Content::File(file) => file.options.color_mode.channels(),
            Content::Image(image) => image.channels(),
        }
    }

    /// Decodes all of it, as [`Image::decode`] does.
    ///
    /// # Errors
    ///
    /// If the file is damaged.
    pub fn decode(&self) -> Result<Image> {
        match self.resize {
            None => self.content.decode(),
            Some((size, resampling)) => {
                self.content.decode_resized_crop(Rect::all(self.content.size()), size, resampling)
            }
        }
    }

    /// The part inside `rect`: the same pixels as [`decode`](LazyImage::decode) and [`Image::crop`] give.
    ///
    /// # Errors
    ///
    /// If the file is damaged (where it was looked at: not below the part), the rectangle is empty, or has more pixels than
    /// [`Limits`](crate::image::Limits) allow by default.
    pub fn decode_region(&self, rect: Rect) -> Result<Image> {
        match (self.resize, &self.content) {
            (None, Content::File(file)) => file.decode_region(rect),
            (Some((size, resampling)), Content::File(file)) => file.decode_region_resized(rect, size, resampling),
            (_, Content::Image(_)) => self.decode()?.crop(rect),
        }
    }

    /// The part inside `rect`, resampled to `size`: the same pixels as [`decode`](LazyImage::decode) and
    /// [`Image::resized_crop`] give, unless a scaled decode was allowed.
    ///
    /// # Errors
    ///
    /// As [`decode_region`](LazyImage::decode_region) and [`Image::resized_crop`].
    pub fn decode_resized_crop(
        &self,
        rect: Rect,
        size: impl Into<Size>,
        resampling: impl Into<Resampling>,
    ) -> Result<Image> {
        match self.resize {
            None => self.content.decode_resized_crop(rect, size.into(), resampling.into()),
            Some(_) => self.decode()?.resized_crop(rect, size, resampling),
        }
    }

    /// Of as many of its file's first bytes as `kept` says for their number, as if the file ended there.
    ///
    /// # Errors
    ///
    /// If no header is left, or the file was decoded before.
    pub(crate) fn truncated(self, kept: impl FnOnce(usize) -> usize) -> Result<Self> {
        let Content::File(File { bytes, options, .. }) = &self.content else {
            let problem = "an image that was resized twice has no file any more that could be cut short: cut it before";
            return Err(Error::new(ErrorKind::Config, problem));
        };
        let prefix = bytes[..kept(bytes.len())].to_vec();
        Ok(LazyImage { resize: self.resize, ..Self::new(prefix, options)? })
    }

    /// Remembers that it is to be resampled.
    pub(in crate::image) fn resized(self, size: Size, resampling: Resampling) -> Result<Self> {
        Limits::default().check(size)?;
        let content = match self.resize {
            None => self.content,
            Some(_) => Content::Image(self.decode()?),
        };
        Ok(LazyImage { content, resize: Some((size, resampling)) })
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    // Nobody looks for what `ls` shows.
    let problem = match path.is_symlink() {
        true => "cannot read what this link leads to",
        false => "cannot read the file",
    };
    Error::new(ErrorKind::Io, problem).with_source(source)
}

impl Content {
    fn size(&self) -> Size {
        match self {
            Content::File(file) => file.size(),
            Content::Image(image) => image.size(),
        }
    }

    fn decode(&self) -> Result<Image> {
        match self {
            Content::File(file) => file.decode(),
            Content::Image(image) => Ok(image.clone()),
        }
    }

    fn decode_resized_crop(&self, rect: Rect, size: Size, resampling: Resampling) -> Result<Image> {
        match self {
            Content::File(file) => file.decode_resized_crop(rect, size, resampling),
            Content::Image(image) => image.resized_crop(rect, size, resampling),
        }
    }
}

impl File {
    fn size(&self) -> Size {
        self.header.orientation.of_size(self.header.size)
    }

    fn decode(&self) -> Result<Image> {
        self.header.orientation.upright(decode(&self.bytes, &self.header, &self.options)?)
    }

    /// Whether there is a decoder for parts of this file.
    fn has_regions(&self) -> bool {
        self.header.format == ImageFormat::Jpeg && self.options.jpeg_decoder != JpegDecoder::ZuneJpeg
    }

    fn decode_part(&self, wanted: Wanted) -> Result<Region> {
        jpeg::decode_part(&self.bytes, self.header.size, wanted, &self.options)
    }

    fn decode_region(&self, rect: Rect) -> Result<Image> {
        let inside = rect.within(self.size());
        if !self.has_regions() || inside.is_empty() {
            return self.decode()?.crop(rect);
        }
        let stored = self.header.orientation.stored(inside, self.size());
        let region = self.decode_part(Wanted { rect: stored, denominator: 1, in_place: false })?;
        let part = stored.shifted(-(region.top as isize), -(region.left as isize));
        let image = self.header.orientation.upright(region.image.cropped(part)?)?;
        image.cropped(rect.shifted(-inside.top, -inside.left))
    }

    fn decode_resized_crop(&self, rect: Rect, size: Size, resampling: Resampling) -> Result<Image> {
        if !self.has_regions() || rect.is_empty() {
            return self.decode()?.resized_crop(rect, size, resampling);
        }
        if !rect.is_inside(self.size()) {
            return self.decode_region(rect)?.resize(size, resampling);
        }
        let stored = self.header.orientation.stored(rect, self.size());
        let denominator = self.denominator(rect.size(), size, resampling);
        let region = self.decode_part(Wanted { rect: stored, denominator, in_place: false })?;
        let part = Part::scaled(stored, region.denominator, region.top, region.left);
        let orientation = self.header.orientation;
        if orientation.is_upright() {
            // Resampling reads from the whole as well as from a crop of it: no copy.
            return region.image.resized_part(part, size, resampling);
        }
        // Turned before it is resampled, as the whole would be.
        let turned = orientation.upright(region.image.cropped(part.outer())?)?;
        turned.resized_part(orientation.shown(part.within_outer(), turned.size()), size, resampling)
    }

    /// The part inside `rect` of the image resampled to `size`.
    fn decode_region_resized(&self, rect: Rect, size: Size, resampling: Resampling) -> Result<Image> {
        let all = Rect::all(self.size());
        let inside = rect.within(size);
        if !self.has_regions()
            || inside.is_empty()
            || !self.header.orientation.is_upright()
            || self.denominator(all.size(), size, resampling) > 1
        {
            return self.decode_resized_crop(all, size, resampling)?.crop(rect);
        }
        // All of it is resampled, so that the weights are those of the whole; decoded is what the part is made of. The
        // rest of the canvas is whatever was there, and goes into pixels that are cut off.
        let needed = resampling.sources(inside, size, self.size());
        let canvas = self.decode_part(Wanted { rect: needed, denominator: 1, in_place: true })?.image;
        canvas.resize(size, resampling)?.crop(rect)
    }

    /// By how much the decoder may scale down what is then resampled from one size to another.
    fn denominator(&self, from: Size, to: Size, resampling: Resampling) -> usize {
        // What does not average is not to be averaged before.
        if !self.options.scaled_decode || !resampling.averages() {
            return 1;
        }
        let fits = |&by: &usize| from.height / by >= to.height && from.width / by >= to.width;
        [8, 4, 2].into_iter().find(fits).unwrap_or(1)
    }
}

impl std::fmt::Debug for LazyImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.content {
            Content::File(file) => {
                write!(f, "LazyImage({}, {} bytes of {:?})", self.size(), file.bytes.len(), file.header.format)
            }
            Content::Image(_) => write!(f, "LazyImage({}, decoded)", self.size()),
        }
    }
}
