//! IDX files.

use std::fs;

use sutler::{Dataset, ErrorKind, Idx, SampleRng};

use super::{measured, refused, text};

/// A file is refused, or has the items that its header tells, as images and as labels; read and mapped alike.
pub fn idx(bytes: &[u8]) {
    /// More items than these are not given a partner.
    const MOST: usize = 1 << 16;
    if bytes.len() > 2 && !bytes.starts_with(&[0, 0]) && !bytes.starts_with(&[0x1f, 0x8b]) {
        return; // as whatever is no such file
    }
    let dim = |at: usize| bytes.get(at..at + 4).map_or(0, |dim| u32::from_be_bytes(dim.try_into().unwrap()) as usize);
    let items = dim(4);
    let some_items = || [0, items / 2, items.saturating_sub(1)].into_iter().filter(|&item| item < items);
    let get = |idx: &Idx, item: usize| idx.get(item, &mut SampleRng::new(0, 0, item)).expect("an item");
    if items <= MOST {
        let (height, width) = (dim(8), dim(12));
        let each = height * width;
        for idx in opened(bytes, &idx_file(&[items], items)).iter().flatten() {
            assert_eq!((idx.len(), bytes.len()), (items, 16 + items * each));
            for item in some_items() {
                let (image, label) = get(idx, item);
                assert_eq!((image.size(), image.channels(), label), ((height, width).into(), 1, item as i64 & 255));
                assert_eq!(image.pixels(), &bytes[16 + item * each..][..each]);
            }
        }
        for idx in opened(&idx_file(&[items, 1, 1], items), bytes).iter().flatten() {
            assert_eq!((idx.len(), bytes.len()), (items, 8 + items));
            some_items().for_each(|item| assert_eq!(get(idx, item).1, i64::from(bytes[8 + item])));
        }
    }
    // Labels of no images.
    assert!(opened(bytes, &idx_file(&[0], 0)).is_none_or(|idxs| items == 0 && idxs[0].len() == 0));
}

/// A file of bytes that count up.
fn idx_file(dims: &[usize], data: usize) -> Vec<u8> {
    let dims_of_file = dims.iter().flat_map(|&dim| (dim as u32).to_be_bytes());
    [0, 0, 8, dims.len() as u8].into_iter().chain(dims_of_file).chain((0..data).map(|item| item as u8)).collect()
}

/// A pair of files, read and mapped.
fn opened(images: &[u8], labels: &[u8]) -> Option<[Idx; 2]> {
    let thread = std::thread::current().id();
    let folder = std::env::temp_dir().join(format!("sutler-idx-{}-{thread:?}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for temporary files");
    let size = images.len() + labels.len();
    let paths = [("images", images), ("labels", labels)].map(|(name, bytes)| {
        fs::write(folder.join(name), bytes).expect("a temporary file");
        folder.join(name)
    });
    let (read, asked) = measured(|| Idx::read(&paths[0], &paths[1]));
    assert!(asked <= size + (64 << 10), "{asked} bytes to read {size}");
    let (mapped, asked) = measured(|| Idx::open(&paths[0], &paths[1]));
    assert!(asked <= 64 << 10, "{asked} bytes to map files");
    let _ = fs::remove_dir_all(&folder); // a map stays, or keeps its file there
    match (read, mapped) {
        (Ok(read), Ok(mapped)) => Some([read, mapped]),
        (Err(error), mapped) => {
            refused(&error, &[ErrorKind::Decode]);
            assert_eq!(text(&mapped), format!("{error:?}"));
            None
        }
        (Ok(_), Err(error)) => panic!("read, but not mapped: {error:?}"),
    }
}
