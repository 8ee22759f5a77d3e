//! libFuzzer's way into [`tantu_fuzz::entry`]. Built without libFuzzer, it replays the files it is given.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tantu_fuzz::entry(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        tantu_fuzz::entry(&std::fs::read(path)?);
    }
    Ok(())
}
