//! Lets what Cargo builds here find libtorch at run time without LD_LIBRARY_PATH.
//!
//! torch-sys tells its direct dependents where libtorch's shared libraries are (`links = "tch"`, key `libtorch_lib`).
//! Without the feature `tch`, or with torch-sys' `doc-only`, there is no such variable and nothing to do.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB") {
        find_at_run_time(Path::new(&lib));
    }
}

#[cfg(unix)]
fn find_at_run_time(lib: &Path) {
    // This package's own tests, examples and benches, however they are started.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());

    // Doctests, and `cargo run` and `cargo test` of crates that depend on this one: Cargo puts native search paths on
    // the loader's path for what it runs, but only those inside the target directory.
    let out = env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR for build scripts");
    let link = Path::new(&out).join("libtorch");
    let _ = std::fs::remove_file(&link); // of an earlier run, perhaps to another libtorch
    match std::os::unix::fs::symlink(lib, &link) {
        Ok(()) => println!("cargo::rustc-link-search=native={}", link.display()),
        Err(error) => {
            println!("cargo::warning=doctests will not find libtorch: cannot create {}: {error}", link.display());
        }
    }
}

#[cfg(not(unix))]
fn find_at_run_time(_: &Path) {}
