//! libFuzzer's way into [`tantu_fuzz::storage::log`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(storage::log);
