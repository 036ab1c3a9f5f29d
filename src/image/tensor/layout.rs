//! From interleaved bytes to values in either order: the write into the batch.

use crate::memory::{Element, as_bytes};

/// Which way the values of an image tensor lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[C, H, W]`: a plane a channel, what torch's layers expect.
    #[default]
    ChannelsFirst,
    /// `[H, W, C]`: a batch `[N, H, W, C]` is, permuted to `[N, C, H, W]`, what torch calls `channels_last`.
    ChannelsLast,
}

/// How many pixels are taken apart at a time: what the first-level cache holds while each channel passes over them.
const BLOCK: usize = 1024;

/// Writes each byte as what `tables` have for it, a table a channel.
pub(super) fn write<T: Element, const C: usize>(pixels: &[u8], out: &mut [T], tables: [&[T; 256]; C], layout: Layout) {
    let pixels = pixels.as_chunks::<C>().0;
    if let Some(bytes) = as_bytes(out) {
        // Bytes stay what they are.
        return match layout {
            Layout::ChannelsFirst => planes_of_bytes(pixels, bytes),
            Layout::ChannelsLast => bytes.copy_from_slice(pixels.as_flattened()),
        };
    }
    match layout {
        Layout::ChannelsFirst => planes(pixels, out, |channel, byte| tables[channel][usize::from(byte)]),
        Layout::ChannelsLast => {
            for (pixel, out) in pixels.iter().zip(out.as_chunks_mut::<C>().0) {
                *out = std::array::from_fn(|channel| tables[channel][usize::from(pixel[channel])]);
            }
        }
    }
}

/// Takes pixels apart. A table look-up a value is exact to the last bit by construction, and no slower than arithmetic:
/// what costs is that values are stored one at a time. One plane after another, because a loop over one output needs no
/// checks.
fn planes<T: Copy, const C: usize>(pixels: &[[u8; C]], out: &mut [T], value: impl Fn(usize, u8) -> T) {
    for (number, block) in pixels.chunks(BLOCK).enumerate() {
        for channel in 0..C {
            let out = &mut out[channel * pixels.len() + number * BLOCK..][..block.len()];
            for (out, pixel) in out.iter_mut().zip(block) {
                *out = value(channel, pixel[channel]);
            }
        }
    }
}

fn planes_of_bytes<const C: usize>(pixels: &[[u8; C]], out: &mut [u8]) {
    match C {
        1 => out.copy_from_slice(pixels.as_flattened()),
        3 => planes_of_rgb(pixels.as_flattened(), out),
        _ => planes(pixels, out, |_, byte| byte),
    }
}

/// Four pixels at a time, from three words to three words: a fifth of the time of single bytes.
fn planes_of_rgb(bytes: &[u8], out: &mut [u8]) {
    let (red, rest) = out.split_at_mut(bytes.len() / 3);
    let (green, blue) = rest.split_at_mut(bytes.len() / 3);
    let (reds, red) = red.as_chunks_mut::<4>();
    let (greens, green) = green.as_chunks_mut::<4>();
    let (blues, blue) = blue.as_chunks_mut::<4>();
    let (fours, rest) = bytes.as_chunks::<12>();
    for (((pixels, red), green), blue) in fours.iter().zip(reds).zip(greens).zip(blues) {
        let word = |at: usize| u32::from_le_bytes([pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]]);
        // From the lowest byte: R0 G0 B0 R1, G1 B1 R2 G2, B2 R3 G3 B3.
        let (a, b, c) = (word(0), word(4), word(8));
        *red = (a & 0xff | a >> 16 & 0xff00 | b & 0xff_0000 | c << 16 & 0xff00_0000).to_le_bytes();
        *green = (a >> 8 & 0xff | b << 8 & 0xff00 | b >> 8 & 0xff_0000 | c << 8 & 0xff00_0000).to_le_bytes();
        *blue = (a >> 16 & 0xff | b & 0xff00 | c << 16 & 0xff_0000 | c & 0xff00_0000).to_le_bytes();
    }
    for (((pixel, red), green), blue) in rest.as_chunks::<3>().0.iter().zip(red).zip(green).zip(blue) {
        [*red, *green, *blue] = *pixel;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the definition: value (c, p) is what table c has for byte c of pixel p.
    fn check<T: Element + PartialEq + std::fmt::Debug, const C: usize>(value: fn(usize, u8) -> T) {
        let tables: [[T; 256]; C] = std::array::from_fn(|c| std::array::from_fn(|byte| value(c, byte as u8)));
        // Around the sizes of blocks and of words.
        for count in [0, 1, 2, 3, 4, 5, 7, 8, 35, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 6] {
            let pixels: Vec<u8> = (0..count * C).map(|i| (i * 37 + i / 256) as u8).collect();
            let mut first = vec![value(0, 99); count * C];
            let mut last = first.clone();
            write(&pixels, &mut first, tables.each_ref(), Layout::ChannelsFirst);
            write(&pixels, &mut last, tables.each_ref(), Layout::ChannelsLast);
            for (p, pixel) in pixels.as_chunks::<C>().0.iter().enumerate() {
                for c in 0..C {
                    assert_eq!(first[c * count + p], value(c, pixel[c]), "channel {c} of pixel {p} of {count}");
                    assert_eq!(last[p * C + c], value(c, pixel[c]), "channel {c} of pixel {p} of {count}");
                }
            }
        }
    }

    #[test]
    fn either_layout_has_every_value_in_its_place() {
        fn float(c: usize, byte: u8) -> f32 {
            f32::from(byte) * 2.0 + c as f32
        }
        check::<f32, 1>(float);
        check::<f32, 3>(float);
        check::<f32, 4>(float);
        check::<u8, 1>(|_, byte| byte);
        check::<u8, 3>(|_, byte| byte);
        check::<u8, 4>(|_, byte| byte);
    }
}
