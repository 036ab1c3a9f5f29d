//! Compiles the shim over libtorch, and lets what Cargo builds here find libtorch at run time without LD_LIBRARY_PATH.
//!
//! torch-sys tells its direct dependents where libtorch's shared libraries are (`links = "tch"`, key `libtorch_lib`).
//! Without the feature `tch`, or with torch-sys' `doc-only`, there is no such variable and nothing to do.

#[cfg(feature = "tch")]
use std::env;
#[cfg(feature = "tch")]
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "tch")]
    if let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB") {
        compile_shim(Path::new(&lib));
        find_at_run_time(Path::new(&lib));
    }
}

/// As torch-sys compiles its own.
#[cfg(feature = "tch")]
fn compile_shim(lib: &Path) {
    const SHIM: &str = "src/torch/shim.cpp";
    for variable in ["LIBTORCH_INCLUDE", "LIBTORCH_CXX11_ABI"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed={SHIM}");
    let beside = || lib.parent().unwrap_or(lib).to_path_buf();
    let include = env::var_os("LIBTORCH_INCLUDE").map_or_else(beside, Into::into).join("include");
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false) // of libtorch's headers
        .include(include)
        .define("_GLIBCXX_USE_CXX11_ABI", &*abi)
        .file(SHIM)
        .compile("sutler_torch");
}

#[cfg(all(feature = "tch", unix))]
fn find_at_run_time(lib: &Path) {
    // This package's own tests, examples and benches, however they are started; but not what is built for another machine.
    println!("cargo::rerun-if-env-changed=SUTLER_NO_RPATH");
    if env::var_os("SUTLER_NO_RPATH").is_none() {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }

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

#[cfg(all(feature = "tch", not(unix)))]
fn find_at_run_time(_: &Path) {}
