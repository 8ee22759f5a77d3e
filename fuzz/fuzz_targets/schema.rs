//! libFuzzer's way into [`tantu_fuzz::storage::schema`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(storage::schema);
