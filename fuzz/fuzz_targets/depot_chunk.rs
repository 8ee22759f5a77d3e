//! libFuzzer's way into [`tantu_fuzz::storage::depot_chunk`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(storage::depot_chunk);
