//! libjpeg-turbo 3, through its C interface: the whole image or a region of it, at full size or a fraction.

#![allow(unsafe_code, reason = "calls into C; each says why it may")]

use std::ffi::CStr;
use std::os::raw::c_int;

use turbojpeg_sys as tj;

use super::super::decode::in_mode;
use super::{Region, Wanted, rgb_of_inks};
use crate::error::Result;
use crate::image::{ColorMode, DecodeOptions, Image, Rect, Size};

// The bindings take C's `unsigned long` for it, which is too short on 64-bit Windows.
const _: () = assert!(size_of::<tj::size_t>() == size_of::<usize>(), "feature turbojpeg is not for this target");

/// What is wanted of an image of the given size.
///
/// `None` where the library refuses the file: it may be damaged, or of a kind that it does not know, and the other
/// decoder is to say which. (Its warnings are refusals: they stand for damaged data.)
///
/// # Errors
///
/// If memory runs out.
pub(super) fn decode(bytes: &[u8], size: Size, wanted: Wanted, options: &DecodeOptions) -> Result<Option<Region>> {
    let (mut wanted, mut is_lenient) = (wanted, false);
    loop {
        let Some(mut decompressor) = Decompressor::new() else { return Ok(None) };
        let refusal = match decompressor.header(bytes, is_lenient, options) {
            Ok(file) if file.size == size => match decompressor.part(bytes, &file, wanted, options)? {
                Ok(region) => return Ok(Some(region)),
                Err(refusal) => refusal,
            },
            // It sees another image than whoever read the header.
            Ok(_) => Refusal::Fatal,
            Err(refusal) => refusal,
        };
        match refusal {
            // Some files have chroma in unusual proportions, whose blocks are wider than the library believes: it then
            // refuses a part, and not the whole.
            Refusal::Fatal if wanted.rect != Rect::all(size) => wanted.rect = Rect::all(size),
            Refusal::StrayBytes if !is_lenient => is_lenient = true,
            _ => return Ok(None),
        }
    }
}

/// Why the library does not decode a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refusal {
    /// It cannot.
    Fatal,
    /// It would, with a warning.
    Warning,
    /// All is decoded, and before the end marker there are bytes that nobody needs.
    StrayBytes,
}

/// What the library says of a file.
struct File {
    size: Size,
    /// How many pixels wide a block of all components is; `None` where the library does not know the proportions of its
    /// chroma, and then decodes only the whole.
    block_width: Option<usize>,
    is_progressive: bool,
    colors: Colors,
}

#[derive(Clone, Copy, PartialEq)]
enum Colors {
    Gray,
    /// YCbCr or RGB.
    Rgb,
    /// CMYK or YCCK.
    Inks,
}

impl File {
    /// What must be decoded of the scaled image, for the pixels inside `rect` to be those of a full decode.
    ///
    /// Chroma that is stored at half the width is interpolated from the sample on either side, so a pixel at the edge
    /// of a region needs two pixels more; two on the left also keep a region at the right border from being a single
    /// column of chroma wide, where the library changes to plain repetition. Rows need no margin: it keeps those above,
    /// and decodes the one below. Where a progressive file left out coefficients, the library smooths with the two
    /// blocks on either side. (Found by trying all margins on eighty thousand regions; `tests/regions.rs` tries the
    /// rule.)
    fn widened(&self, rect: Rect, denominator: usize, whole: Size) -> Rect {
        let Some(block_width) = self.block_width else { return Rect::all(whole) };
        let block_width = block_width.div_ceil(denominator);
        let margin = 2 + if self.is_progressive { 2 * block_width } else { 0 };
        let top = rect.top as usize / denominator;
        let bottom = (rect.top as usize + rect.height).div_ceil(denominator);
        let left = (rect.left as usize / denominator).saturating_sub(margin);
        let right = ((rect.left as usize + rect.width).div_ceil(denominator) + margin).min(whole.width);
        // A region begins with a block.
        let left = left / block_width * block_width;
        Rect { top: top as isize, left: left as isize, height: bottom - top, width: right - left }
    }
}

/// Where pixels go.
struct Target<'a> {
    /// Begins with the first pixel.
    pixels: &'a mut [u8],
    rows: usize,
    row_bytes: usize,
    /// From row to row, in bytes.
    pitch: usize,
    format: tj::TJPF,
}

/// A decompressor of the library, for one image. It belongs to one thread.
///
/// Used for another image, it would lend it the tables of those before, wherever a file has none of its own: what such
/// a file shows would depend on what its worker has met. A new one takes less than a microsecond.
struct Decompressor(tj::tjhandle);

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: the handle came from tj3Init, and is destroyed here only.
        unsafe { tj::tj3Destroy(self.0) }
    }
}

impl Decompressor {
    /// `None` if there is no memory for it.
    fn new() -> Option<Self> {
        // SAFETY: takes a number, and returns a handle or null.
        let handle = unsafe { tj::tj3Init(tj::TJINIT_TJINIT_DECOMPRESS as c_int) };
        (!handle.is_null()).then_some(Decompressor(handle))
    }

    fn set(&mut self, parameter: tj::TJPARAM, value: usize) -> Result<(), Refusal> {
        let value = c_int::try_from(value).unwrap_or(c_int::MAX);
        // SAFETY: the handle is valid until drop.
        let code = unsafe { tj::tj3Set(self.0, parameter as c_int, value) };
        if code == 0 { Ok(()) } else { Err(Refusal::Fatal) }
    }

    fn get(&self, parameter: tj::TJPARAM) -> c_int {
        // SAFETY: the handle is valid until drop.
        unsafe { tj::tj3Get(self.0, parameter as c_int) }
    }

    /// What the last call failed of.
    fn refusal(&self) -> Refusal {
        // SAFETY: the handle is valid until drop; the text is, until the next call.
        let (code, text) = unsafe { (tj::tj3GetErrorCode(self.0), CStr::from_ptr(tj::tj3GetErrorStr(self.0))) };
        match (code == tj::TJERR_TJERR_WARNING as c_int, text.to_bytes()) {
            (false, _) => Refusal::Fatal,
            // JWRN_EXTRANEOUS_DATA before EOI. Being the first warning, it says that there was none before.
            (true, text) if text.ends_with(b"extraneous bytes before marker 0xd9") => Refusal::StrayBytes,
            (true, _) => Refusal::Warning,
        }
    }

    /// Reads the header, under the limits of `options`. `is_lenient`: warnings do not end the decoding.
    fn header(&mut self, bytes: &[u8], is_lenient: bool, options: &DecodeOptions) -> Result<File, Refusal> {
        self.set(tj::TJPARAM_TJPARAM_STOPONWARNING, usize::from(!is_lenient))?;
        // Zero would be no limit.
        self.set(tj::TJPARAM_TJPARAM_SCANLIMIT, options.limits.max_scans.max(1))?;
        self.set(tj::TJPARAM_TJPARAM_MAXPIXELS, options.limits.max_pixels.max(1))?;
        // By default it copies a colour profile each time.
        self.set(tj::TJPARAM_TJPARAM_SAVEMARKERS, 0)?;
        let length = tj::size_t::try_from(bytes.len()).map_err(|_| Refusal::Fatal)?;
        // SAFETY: reads `length` bytes from a slice of that length.
        let code = unsafe { tj::tj3DecompressHeader(self.0, bytes.as_ptr(), length) };
        if code != 0 {
            return Err(self.refusal());
        }
        // Samples that do not fit in bytes have functions of their own.
        if self.get(tj::TJPARAM_TJPARAM_PRECISION) != 8 || self.get(tj::TJPARAM_TJPARAM_LOSSLESS) != 0 {
            return Err(Refusal::Fatal);
        }
        let side = |parameter| usize::try_from(self.get(parameter)).map_err(|_| Refusal::Fatal);
        // The widths of TJSAMP_444, 422, 420, GRAY, 440, 411 and 441 (tjMCUWidth in turbojpeg.h).
        let widths = [8, 16, 16, 8, 8, 32, 8];
        let subsampling = usize::try_from(self.get(tj::TJPARAM_TJPARAM_SUBSAMP)).ok();
        Ok(File {
            size: Size { height: side(tj::TJPARAM_TJPARAM_JPEGHEIGHT)?, width: side(tj::TJPARAM_TJPARAM_JPEGWIDTH)? },
            block_width: subsampling.and_then(|known| widths.get(known).copied()),
            is_progressive: self.get(tj::TJPARAM_TJPARAM_PROGRESSIVE) != 0,
            colors: match self.get(tj::TJPARAM_TJPARAM_COLORSPACE) as tj::TJCS {
                tj::TJCS_TJCS_GRAY => Colors::Gray,
                tj::TJCS_TJCS_CMYK | tj::TJCS_TJCS_YCCK => Colors::Inks,
                _ => Colors::Rgb,
            },
        })
    }

    /// What is wanted, and what must be decoded with it.
    fn part(
        self,
        bytes: &[u8],
        file: &File,
        Wanted { rect, denominator, in_place }: Wanted,
        options: &DecodeOptions,
    ) -> Result<Result<Region, Refusal>> {
        let (height, width) = (file.size.height.div_ceil(denominator), file.size.width.div_ceil(denominator));
        let whole = Size { height, width };
        let cut = file.widened(rect, denominator, whole);
        let (format, channels) = match (file.colors, options.color_mode) {
            (Colors::Inks, _) => (tj::TJPF_TJPF_CMYK, 4),
            (Colors::Gray, ColorMode::Gray) => (tj::TJPF_TJPF_GRAY, 1),
            (_, ColorMode::RgbAlpha) => (tj::TJPF_TJPF_RGBA, 4),
            _ => (tj::TJPF_TJPF_RGB, 3),
        };
        let mut image = Image::unwritten(if in_place { whole } else { cut.size() }, channels)?;
        let (cut_top, cut_left) = (cut.top as usize, cut.left as usize);
        // Where the image begins, and where in it the cut does.
        let ((top, left), skipped) = match in_place {
            true => ((0, 0), cut_top * width + cut_left),
            false => ((cut_top, cut_left), 0),
        };
        let pitch = image.width() * channels;
        let target = Target {
            pixels: &mut image.pixels_mut()[skipped * channels..],
            row_bytes: cut.width * channels,
            rows: cut.height,
            pitch,
            format,
        };
        let region = (cut != Rect::all(whole)).then_some(cut);
        if let Err(refusal) = self.decompress(bytes, denominator, region, target) {
            return Ok(Err(refusal));
        }
        if file.colors == Colors::Inks {
            image = image.recolored(rgb_of_inks)?;
        }
        Ok(Ok(Region { image: in_mode(image, options.color_mode)?, top, left, denominator }))
    }

    /// Decodes a region of the scaled image, or all of it, to where the target is. That is the end of the decompressor:
    /// it would apply the region to the next image, unchecked.
    fn decompress(self, bytes: &[u8], denominator: usize, region: Option<Rect>, target: Target) -> Result<(), Refusal> {
        let scale = tj::tjscalingfactor { num: 1, denom: denominator as c_int };
        // SAFETY: the handle is valid until drop.
        let scaled = unsafe { tj::tj3SetScalingFactor(self.0, scale) };
        let cropped = region.map_or(0, |rect| {
            let region = tj::tjregion {
                x: rect.left as c_int,
                y: rect.top as c_int,
                w: rect.width as c_int,
                h: rect.height as c_int,
            };
            // SAFETY: the handle is valid until drop.
            unsafe { tj::tj3SetCroppingRegion(self.0, region) }
        });
        if scaled != 0 || cropped != 0 {
            return Err(Refusal::Fatal);
        }
        let length = tj::size_t::try_from(bytes.len()).map_err(|_| Refusal::Fatal)?;
        let pitch = c_int::try_from(target.pitch).map_err(|_| Refusal::Fatal)?;
        let needed = (target.rows - 1) * target.pitch + target.row_bytes;
        assert!(needed <= target.pixels.len() && target.row_bytes <= target.pitch, "the target has room");
        // How much is written is the library's to say, which reads the header once more. It says the same as before:
        // the bytes are the same, and this decompressor has read them to the end of their header, and nothing before
        // them that it refused.
        //
        // SAFETY: reads `length` bytes from a slice of that length. Writes as many rows as the region has, or else the
        // image, `pitch` bytes apart and each as wide as that is: `target` was made for this size, and has room, see
        // above.
        let code = unsafe {
            let (pixels, format) = (target.pixels.as_mut_ptr(), target.format as c_int);
            tj::tj3Decompress8(self.0, bytes.as_ptr(), length, pixels, pitch, format)
        };
        match code {
            0 => Ok(()),
            // Only a lenient decompressor went on to the end.
            _ if self.get(tj::TJPARAM_TJPARAM_STOPONWARNING) == 0 && self.refusal() == Refusal::StrayBytes => Ok(()),
            _ => Err(self.refusal()),
        }
    }
}
