//! libFuzzer's way into [`tantu_fuzz::storage::document`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(storage::document);
