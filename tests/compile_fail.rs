//! What the compiler says of mistakes: the type, and what is missing.
//!
//! Run with `COMPILE_FAIL=1`, since it compiles all dependencies anew; with `TRYBUILD=overwrite` as well, it
//! writes the texts that it found.
#![cfg(all(feature = "http", feature = "tower"))]

/// Its texts differ from version to version.
const RUSTC: &str = "rustc 1.95.";

#[test]
fn mistakes_name_the_type_and_the_missing_bound() {
    if std::env::var_os("COMPILE_FAIL").is_none() {
        println!("skipped: set COMPILE_FAIL=1");
        return;
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = std::process::Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if !version.as_ref().is_ok_and(|version| version.starts_with(RUSTC)) {
        println!("skipped: the texts are those of {RUSTC}, this is {version:?}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
