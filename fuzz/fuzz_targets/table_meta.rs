//! libFuzzer's way into [`tantu_fuzz::table_meta`].
#![cfg_attr(fuzzing, no_main)]

tantu_fuzz::target!(table_meta);
