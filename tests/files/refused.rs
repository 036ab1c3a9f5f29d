//! What cannot be read, or must not be.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use sutler::image::{DecodeOptions, LazyImage, Limits};
use sutler::{ErrorKind, Idx, ImageFolder};

use crate::alone::{again_within, alone, passed, to_run};
use crate::folder::{Folder, at_once, epoch, error_of, loader, number, system_code};

/// Or this machine would have none left, should `/dev/zero` be read after all.
const LITTLE_MEMORY: &str = "-v 4000000";

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Makes something at a path.
type Make = fn(&Path);

/// What is no regular file: what it is called, and how it is made.
fn irregular() -> [(&'static str, Make); 6] {
    [
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a FIFO", make_fifo),
        ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
        ("a device", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("a device", |path| std::os::unix::fs::symlink("/dev/null", path).unwrap()),
        ("a device", |path| std::os::unix::fs::symlink("/dev/tty", path).unwrap()),
    ]
}

#[test]
fn what_is_no_regular_file_is_refused_at_once_and_the_other_samples_arrive() {
    if alone().is_none() {
        let name = "refused::what_is_no_regular_file_is_refused_at_once_and_the_other_samples_arrive";
        return passed(&again_within(LITTLE_MEMORY, name, "").output().unwrap());
    }
    let (count, folder) = (irregular().len(), Folder::of(20));
    let files = folder.open().unwrap();
    // In the place of a file that was there when the folder was listed; any but a directory would be listed as well.
    for (at, (_, make)) in irregular().into_iter().enumerate() {
        let path = folder.path(format!("a/{:04}.ppm", 3 * at));
        fs::remove_file(&path).unwrap();
        make(&path);
    }
    assert_eq!(folder.listed().len(), 19);
    let results = at_once(move || epoch(&loader(files, 4)));
    assert_eq!(results.len(), 20);
    for (index, result) in results.iter().enumerate() {
        if index % 3 != 0 || index / 3 >= count {
            assert_eq!(*result.as_ref().unwrap(), index as i64);
            continue;
        }
        let text = error_of(result, index, &folder.path(format!("a/{index:04}.ppm")));
        let what = irregular()[index / 3].0;
        assert!(text.ends_with(&format!(": it is {what}, and only regular files are read")), "{text}");
        assert_eq!(result.as_ref().unwrap_err().kind(), ErrorKind::Io);
    }
}

#[test]
fn what_is_no_regular_file_is_no_idx_file_and_no_image_either() {
    if alone().is_none() {
        let name = "refused::what_is_no_regular_file_is_no_idx_file_and_no_image_either";
        return passed(&again_within(LITTLE_MEMORY, name, "").output().unwrap());
    }
    for (at, (what, make)) in irregular().into_iter().enumerate() {
        let folder = Folder::new();
        let path = folder.path(format!("{at}"));
        make(&path);
        let file = path.clone();
        let errors = at_once(move || {
            let image = LazyImage::open(&file, &DecodeOptions::default());
            [image.map(drop), Idx::open(&file, &file).map(drop), Idx::read(&file, &file).map(drop)]
                .map(Result::unwrap_err)
        });
        for error in errors {
            assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*path)), "{error}");
            assert!(error.to_string().contains(&format!("it is {what}, ")), "{error}");
        }
    }
}

#[test]
fn a_huge_file_is_refused_before_it_is_read_and_the_other_samples_arrive() {
    if alone().is_none() {
        let name = "refused::a_huge_file_is_refused_before_it_is_read_and_the_other_samples_arrive";
        return passed(&again_within(LITTLE_MEMORY, name, "").output().unwrap());
    }
    let folder = Folder::of(4);
    let path = folder.path("a/0002.ppm");
    // One hole, which takes no room on the disk.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let files = folder.open().unwrap();
    let results = at_once(move || epoch(&loader(files, 2)));
    let text = error_of(&results[2], 2, &path);
    assert!(text.ends_with("the file exceeds the limit of 1073741824 bytes (Limits::max_file_bytes)"), "{text}");
    assert_eq!(results[2].as_ref().unwrap_err().kind(), ErrorKind::Limit);
    for index in [0, 1, 3] {
        assert_eq!(*results[index].as_ref().unwrap(), index as i64);
    }
}

#[test]
fn a_file_of_as_many_bytes_as_it_may_have_is_read() {
    let folder = Folder::of(1);
    let path = folder.path("a/0000.ppm");
    let bytes = fs::metadata(&path).unwrap().len();
    let open = |most| LazyImage::open(&path, &DecodeOptions::default().limits(Limits::default().max_file_bytes(most)));
    for most in [bytes, bytes + 1, u64::MAX] {
        assert_eq!(number(&open(most).unwrap().decode().unwrap()), 0);
    }
    for most in [bytes - 1, 0] {
        assert_eq!(open(most).map(drop).unwrap_err().kind(), ErrorKind::Limit);
    }
    // Of a file that says that it is empty, the bytes count that come.
    #[cfg(target_os = "linux")]
    for most in [0, 2] {
        let options = DecodeOptions::default().limits(Limits::default().max_file_bytes(most));
        assert_eq!(LazyImage::open("/proc/self/maps", &options).map(drop).unwrap_err().kind(), ErrorKind::Limit);
    }
}

#[test]
fn a_file_that_is_gone_is_an_error_until_it_is_back() {
    let folder = Folder::of(3);
    let loader = loader(folder.open().unwrap(), 2);
    let path = folder.path("a/0001.ppm");
    fs::remove_file(&path).unwrap();
    let results = epoch(&loader);
    assert!(results[0].is_ok() && results[2].is_ok());
    let text = error_of(&results[1], 1, &path);
    assert!(text.ends_with("cannot read the file: No such file or directory (os error 2)"), "{text}");
    folder.picture("a/0001.ppm", 1);
    assert_eq!(epoch(&loader).into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fails_is_an_error_of_its_samples() {
    let folder = Folder::of(4);
    // Where a process has no memory, here at 0, this is an input/output error.
    let path = folder.path("a/0002.ppm");
    fs::remove_file(&path).unwrap();
    folder.link(&path, "/proc/self/mem");
    let results = epoch(&loader(folder.open().unwrap(), 2));
    let text = error_of(&results[2], 2, &path);
    assert!(text.contains("Input/output error (os error 5): the system's log may say"), "{text}");
    assert_eq!(system_code(results[2].as_ref().unwrap_err()), Some(libc::EIO));
    for index in [0, 1, 3] {
        assert_eq!(*results[index].as_ref().unwrap(), index as i64);
    }
    let error = Idx::read(&path, &path).unwrap_err();
    assert_eq!((error.path(), system_code(&error)), (Some(&*path), Some(libc::EIO)));
}

#[test]
fn what_this_user_may_not_read_is_an_error_that_says_so() {
    if let Some(root) = alone() {
        return without_permission(Path::new(&root));
    }
    let folder = Folder::new();
    (0..3).for_each(|number| folder.picture(format!("files/a/{number}.ppm"), number));
    folder.picture("directories/a/0.ppm", 0);
    folder.picture("directories/b/1.ppm", 1);
    let allow = |name: &str, mode| fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).unwrap();
    allow("files/a/1.ppm", 0);
    allow("directories/b", 0);
    if fs::File::open(folder.path("files/a/1.ppm")).is_err() {
        without_permission(folder.root());
    } else {
        // Permissions do not count for this user. So the test runs again without what sets it above them.
        let name = "refused::what_this_user_may_not_read_is_an_error_that_says_so";
        let mut lowered = Command::new("setpriv");
        lowered.arg("--bounding-set=-dac_override,-dac_read_search").arg(std::env::current_exe().unwrap());
        match to_run(lowered, name, folder.root().to_str().unwrap()).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => println!("skipped: there is no setpriv here"),
            output => passed(&output.unwrap()),
        }
    }
    allow("directories/b", 0o755);
}

fn without_permission(root: &Path) {
    const ADVICE: &str =
        "Permission denied (os error 13): give this user the right to read it, and to enter the directories above it";
    let results = epoch(&loader(ImageFolder::open(root.join("files")).unwrap(), 2));
    let path = root.join("files/a/1.ppm");
    let text = error_of(&results[1], 1, &path);
    assert!(text.ends_with(ADVICE), "{text}");
    assert_eq!((results[0].as_ref().unwrap(), results[2].as_ref().unwrap()), (&0, &2));

    let idx = Idx::open(&path, &path).unwrap_err();
    let listing = ImageFolder::open(root.join("directories")).unwrap_err();
    for (error, path) in [(idx, path), (listing, root.join("directories/b"))] {
        assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*path)), "{error}");
        assert!(error.to_string().ends_with(ADVICE), "{error}");
    }
}
