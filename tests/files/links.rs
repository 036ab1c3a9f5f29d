//! Symbolic links: followed, and where they lead nowhere or in a circle, named.

use std::fs;

use crate::folder::{Folder, epoch, error_of, loader, system_code};

#[test]
fn classes_directories_and_files_may_be_links() {
    let elsewhere = Folder::new();
    elsewhere.picture("cats/1.ppm", 1);
    elsewhere.picture("cats/more/2.ppm", 2);
    let folder = Folder::new();
    folder.picture("b/0.ppm", 0);
    folder.link("a", elsewhere.path("cats"));
    folder.link("b/more", elsewhere.path("cats/more"));
    folder.link("b/once-more", "more"); // a link to a link, and to what was listed before: no loop
    folder.link("c/3.ppm", "../b/0.ppm");
    folder.link("d", "/dev/null"); // no directory, and so no class
    let listed = ["a/1.ppm", "a/more/2.ppm", "b/0.ppm", "b/more/2.ppm", "b/once-more/2.ppm", "c/3.ppm"];
    assert_eq!(folder.listed(), listed.map(std::path::PathBuf::from));
    let images = folder.open().unwrap();
    assert_eq!(images.classes(), ["a", "b", "c"]);
    let numbers: Vec<i64> = epoch(&loader(images, 2)).into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers, [1, 2, 0, 2, 2, 0]);
}

#[test]
fn a_link_that_is_called_an_image_and_leads_nowhere_is_an_error_of_its_sample() {
    let folder = Folder::of(1);
    folder.link("a/1-gone.ppm", "gone.ppm");
    folder.link("a/2-itself.ppm", "2-itself.ppm");
    folder.link("a/3-there.ppm", "4-back.ppm");
    folder.link("a/4-back.ppm", "3-there.ppm");
    // As many in a row as the system follows at most, and one more.
    folder.link("a/5-000.ppm", "0000.ppm");
    (1..41).for_each(|i| folder.link(format!("a/5-{i:03}.ppm"), format!("5-{:03}.ppm", i - 1)));
    let results = epoch(&loader(folder.open().unwrap(), 2));
    assert_eq!(results.len(), 5 + 41);
    for (index, name, code) in [
        (1, "1-gone.ppm", libc::ENOENT),
        (2, "2-itself.ppm", libc::ELOOP),
        (3, "3-there.ppm", libc::ELOOP),
        (4, "4-back.ppm", libc::ELOOP),
        (45, "5-040.ppm", libc::ELOOP),
    ] {
        let text = error_of(&results[index], index, &folder.path("a").join(name));
        assert!(text.contains("): cannot read what this link leads to: "), "{text}");
        assert_eq!(system_code(results[index].as_ref().unwrap_err()), Some(code));
    }
    assert_eq!(*results[0].as_ref().unwrap(), 0);
    if cfg!(target_os = "linux") {
        assert!(results[5..45].iter().all(|result| *result.as_ref().unwrap() == 0));
    }
}

/// It may have led to a class, or to a directory of images, on a disk that is not mounted today.
#[test]
fn a_link_that_leads_nowhere_and_may_have_been_a_directory_is_refused_by_name() {
    for name in ["b", "a/more", "a/deep/more"] {
        let folder = Folder::of(1);
        folder.picture("a/deep/1.ppm", 1);
        for target in ["/no/such/disk", folder.path(name).to_str().unwrap()] {
            folder.link(name, target);
            let text = folder.refused_for(name);
            assert!(text.contains("cannot follow this link, repair or remove it: "), "{text}");
            fs::remove_file(folder.path(name)).unwrap();
        }
        assert_eq!(folder.listed().len(), 2);
    }
    let folder = Folder::new();
    folder.link("a", "b");
    folder.link("b", "a");
    let text = folder.open().unwrap_err().to_string();
    assert!(text.contains("cannot follow this link, repair or remove it: "), "{text}");
}

/// Emacs marks a file that is being edited by such a link.
#[test]
fn hidden_links_are_left_out_wherever_they_lead() {
    let folder = Folder::of(1);
    folder.link(".b", "nowhere");
    folder.link("a/.#0000.ppm", "somebody@host.123:456");
    folder.link("a/.up", "..");
    folder.link("a/.itself", ".itself");
    assert_eq!(folder.listed().len(), 1);
}

#[test]
fn a_loop_of_links_is_refused_with_the_link_and_where_it_leads_back_to() {
    for (link, target, back) in
        [("a/deep/again", "..", "a"), ("a/deep/again.ppm", ".", "a/deep"), ("a/up", "..", "a/up"), ("b", ".", "b")]
    {
        let folder = Folder::of(1);
        folder.picture("a/deep/1.ppm", 1);
        folder.link(link, target);
        let error = folder.open().unwrap_err();
        let text = error.to_string();
        let expected = format!("a loop of links, remove it: this one leads back to {}", folder.path(back).display());
        assert!(text.ends_with(&expected), "{text}");
        assert!(error.path().unwrap().ends_with(link), "{text}");
    }
    // Each class leads into the other.
    let folder = Folder::new();
    folder.picture("a/0.ppm", 0);
    folder.picture("b/1.ppm", 1);
    folder.link("a/b", "../b");
    folder.link("b/a", "../a");
    let text = folder.refused_for("a/b/a");
    assert!(text.ends_with(&format!("leads back to {}", folder.path("a").display())), "{text}");
}
