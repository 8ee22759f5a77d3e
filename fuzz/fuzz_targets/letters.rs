//! libFuzzer's way into [`tantu_fuzz::letters`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(letters);
