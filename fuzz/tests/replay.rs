//! The corpus and the golden files, replayed without libFuzzer.

use std::path::{Path, PathBuf};
use tantu_fuzz::{Property, TARGETS, value_decode, value_key_decode};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The inputs of a target's corpus, by file name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

/// The named bytes of a golden file.
fn golden(path: &Path) -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (name.to_string(), (0..hex.len()).step_by(2).map(byte).collect())
        })
        .collect()
}

/// Runs a property and says which input broke it.
fn replay(target: &str, name: &str, property: Property, bytes: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| property(bytes)) {
        eprintln!("{target} fails on {name}: {bytes:02x?}");
        std::panic::resume_unwind(panic);
    }
}

/// The encoders' own output is in the corpus; `TANTU_BLESS=1` writes it there.
#[test]
fn what_the_encoders_write_is_a_seed() {
    for (target, property) in TARGETS {
        let seeds = tantu_fuzz::seeds(target);
        if std::env::var_os("TANTU_BLESS").is_some() {
            for (n, bytes) in seeds.iter().enumerate() {
                std::fs::write(root().join("corpus").join(target).join(format!("encoded_{n:02}")), bytes).unwrap();
            }
        }
        let inputs = corpus(target);
        for (n, bytes) in seeds.iter().enumerate() {
            replay(target, &format!("seed {n}"), property, bytes);
            assert!(inputs.iter().any(|(_, input)| input == bytes), "{target}: seed {n} is not in the corpus");
        }
    }
}

#[test]
fn every_input_of_the_corpus_holds() {
    for (target, property) in TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= 20, "{target} has lost its corpus");
        inputs.iter().for_each(|(name, bytes)| replay(target, name, property, bytes));
    }
}

#[test]
fn every_input_with_any_one_byte_changed_holds() {
    for (target, property) in TARGETS {
        for (name, mut bytes) in corpus(target) {
            // A log is opened twice for each: some places are enough.
            let step = if target == "log" { 5 } else { 1 };
            for at in (0..bytes.len().min(64 * step)).step_by(step) {
                let right = bytes[at];
                // Any byte in the short values; a flipped bit and the edges elsewhere.
                let wrongs: Vec<u8> = match target {
                    "value_decode" | "value_key_decode" => (0..=255).collect(),
                    _ => (0..8).map(|bit| right ^ 1 << bit).chain([0, 255]).collect(),
                };
                for wrong in wrongs {
                    bytes[at] = wrong;
                    replay(target, &name, property, &bytes);
                }
                bytes[at] = right;
            }
        }
    }
}

#[test]
fn every_golden_value_holds_and_is_a_seed() {
    let folder = root().join("../base/tests/golden");
    let forms = [
        ("value_decode", "value_form.hex", value_decode as Property),
        ("value_key_decode", "key_form.hex", value_key_decode),
    ];
    for (target, file, property) in forms {
        let seeds = corpus(target);
        for (name, bytes) in golden(&folder.join(file)) {
            replay(target, &name, property, &bytes);
            assert!(seeds.contains(&(name.clone(), bytes)), "corpus/{target}/{name} is missing or differs");
        }
    }
}

#[test]
fn every_target_has_its_binary_and_its_dictionary() {
    for (target, _) in TARGETS {
        for path in [format!("fuzz_targets/{target}.rs"), format!("dicts/{}", tantu_fuzz::dictionary(target))] {
            assert!(root().join(&path).is_file(), "{path} is missing");
        }
    }
}
