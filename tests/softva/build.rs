//! Rust declarations of the driver side of libva, from the headers of the machine that builds.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=src/headers.h");
    let output = Path::new(&env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("va.rs");
    bindgen::Builder::default()
        .header("src/headers.h")
        .allowlist_type("VA.*")
        .allowlist_type("_VA.*")
        .allowlist_var("VA_.*")
        .prepend_enum_name(false)
        .layout_tests(false)
        .impl_debug(true)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
        .generate()
        .expect("reading libva's headers: apt-get install libva-dev libclang-dev")
        .write_to_file(&output)
        .expect("writing the declarations");
}
