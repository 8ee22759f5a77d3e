//! libFuzzer's way into [`tantu_fuzz::storage::depot_index`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(storage::depot_index);
