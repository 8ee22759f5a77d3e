//! libFuzzer's way into [`tantu_fuzz::value_key_decode`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(value_key_decode);
