//! libFuzzer's way into [`tantu_fuzz::path_decode`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(path_decode);
