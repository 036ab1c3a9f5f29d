//! Files that somebody else writes to.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use sutler::image::LazyImage;
use sutler::{Dataset, ErrorKind, Loader, SampleRng};

use crate::folder::{Folder, PATIENCE, epoch, error_of, loader, picture};

#[test]
fn a_file_that_is_replaced_gives_what_it_holds_now() {
    let folder = Folder::of(3);
    let loader = loader(folder.open().unwrap(), 2);
    let path = folder.path("a/0001.ppm");
    let replace = |bytes: &[u8]| {
        fs::write(folder.path("new"), bytes).unwrap();
        fs::rename(folder.path("new"), &path).unwrap();
        epoch(&loader)
    };
    assert_eq!(*replace(&picture(700))[1].as_ref().unwrap(), 700);
    for garbage in [&b"text"[..], b"", &picture(1)[..9]] {
        let results = replace(garbage);
        error_of(&results[1], 1, &path);
        assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::Decode);
        assert_eq!((results[0].as_ref().unwrap(), results[2].as_ref().unwrap()), (&0, &2));
    }
    assert_eq!(*replace(&picture(701))[1].as_ref().unwrap(), 701);
}

const SIDE: usize = 150;

/// Some twenty pages.
fn large_picture() -> (Vec<u8>, Vec<u8>) {
    let pixels: Vec<u8> = (0..SIDE * SIDE * 3).map(|i| (i % 251) as u8).collect();
    ([format!("P6 {SIDE} {SIDE} 255\n").as_bytes(), &pixels].concat(), pixels)
}

#[test]
fn a_file_that_grows_and_shrinks_while_it_is_read_is_whole_or_an_error() {
    let folder = Folder::new();
    let (file, pixels) = large_picture();
    folder.write("a/0.ppm", &file);
    let path = folder.path("a/0.ppm");
    let dataset = folder
        .open()
        .unwrap()
        .map(|(image, _): (LazyImage, i64), _: &mut SampleRng| Ok(image.decode()?.pixels().to_vec()));
    let subset = dataset.subset(vec![0; 64]).unwrap();
    let loader = Loader::builder(subset).batch_size(1).num_workers(2).build().unwrap();

    let (mut whole, mut broken) = (0, 0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut open = OpenOptions::new().append(true).open(&path).unwrap();
            while !is_over.load(Relaxed) {
                open.set_len(0).unwrap();
                file.chunks(7000).for_each(|piece| open.write_all(piece).unwrap());
            }
        });
        let begun = Instant::now();
        while (whole < 100 || broken < 100) && begun.elapsed() < PATIENCE {
            for batch in &loader {
                match batch {
                    Ok(batch) => {
                        assert!(*batch == *pixels, "other pixels than the file ever had");
                        whole += 1;
                    }
                    Err(error) => {
                        assert_eq!((error.kind(), error.path()), (ErrorKind::Decode, Some(&*path)), "{error}");
                        broken += 1;
                    }
                }
            }
        }
        is_over.store(true, Relaxed);
    });
    assert!(whole >= 100 && broken >= 100, "{whole} whole, {broken} broken");
}

/// A file server leases files to its clients, and takes a lease back when somebody else opens the file.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_leased_is_waited_for() {
    use std::os::fd::AsRawFd;
    let folder = Folder::of(1);
    let images = folder.open().unwrap();
    let path = folder.path("a/0000.ppm");
    let leased = OpenOptions::new().write(true).open(&path).unwrap();
    let lease = |command, argument: i32| unsafe { libc::fcntl(leased.as_raw_fd(), command, argument) };
    // By which the holder is told that it is wanted back.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    if lease(libc::F_SETLEASE, libc::F_WRLCK) != 0 {
        return println!("there are no leases on this file system");
    }
    std::thread::scope(|scope| {
        let results = scope.spawn(|| epoch(&loader(images, 1)));
        // Until it is wanted back, or nobody waits for it.
        while lease(libc::F_GETLEASE, 0) == libc::F_WRLCK && !results.is_finished() {
            std::thread::yield_now();
        }
        assert_eq!(lease(libc::F_SETLEASE, libc::F_UNLCK), 0);
        assert_eq!(*results.join().unwrap()[0].as_ref().unwrap(), 0);
    });
}
