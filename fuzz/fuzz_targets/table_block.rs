//! libFuzzer's way into [`tantu_fuzz::table_block`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(table_block);
