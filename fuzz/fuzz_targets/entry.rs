//! libFuzzer's way into [`tantu_fuzz::entry`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(entry);
