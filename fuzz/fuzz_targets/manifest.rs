//! libFuzzer's way into [`tantu_fuzz::storage::manifest`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(storage::manifest);
