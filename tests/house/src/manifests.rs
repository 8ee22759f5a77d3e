//! The packages of the workspace and the edges between them, as cargo itself understands them.
//!
//! Asking `cargo metadata` instead of reading the manifests by hand means that workspace inheritance,
//! renames and target-specific dependencies cannot hide an edge.

use serde_json::Value;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// How a package depends on another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EdgeKind {
    /// In what is built for users.
    Normal,
    /// Only in tests, examples and benches.
    Dev,
    /// In a build script.
    Build,
}

/// A dependency of one package of the workspace.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Its package name.
    pub name: String,
    /// Its folder relative to the workspace when it is a member; `None` from a registry.
    pub folder: Option<String>,
    /// How.
    pub kind: EdgeKind,
}

/// A package of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder relative to the workspace, as in `engine/lsm`.
    pub folder: String,
    /// What it depends on.
    pub edges: Vec<Edge>,
    /// The first source file of each of its targets, relative to the workspace.
    pub roots: Vec<String>,
}

/// Reads the packages of the workspace at `root`.
///
/// # Errors
/// What cargo said, or what of its answer was not understood.
pub fn packages(root: &Path) -> Result<Vec<Package>, String> {
    packages_in(root, root)
}

/// Reads the packages of a workspace in a folder of the house, such as `fuzz`; their paths are relative to `root`.
///
/// # Errors
/// As [`packages`].
pub fn packages_in(root: &Path, folder: &Path) -> Result<Vec<Package>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(folder)
        .output()
        .map_err(|e| format!("cannot run cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    parse(root, &String::from_utf8_lossy(&output.stdout))
}

/// Reads the answer of `cargo metadata --no-deps`.
///
/// # Errors
/// What of it was not understood.
pub fn parse(root: &Path, text: &str) -> Result<Vec<Package>, String> {
    let metadata: Value = serde_json::from_str(text).map_err(|e| format!("cargo metadata is not JSON: {e}"))?;
    let mut packages = Vec::new();
    for package in array(&metadata, "packages")? {
        let manifest = string(package, "manifest_path")?;
        let folder = relative(root, Path::new(manifest).parent().unwrap_or(root))?;
        let edges =
            array(package, "dependencies")?.iter().map(|edge| parse_edge(root, edge)).collect::<Result<_, _>>()?;
        let roots = array(package, "targets")?
            .iter()
            .map(|target| relative(root, Path::new(string(target, "src_path")?)))
            .collect::<Result<_, _>>()?;
        packages.push(Package { name: string(package, "name")?.to_string(), folder, edges, roots });
    }
    Ok(packages)
}

fn parse_edge(root: &Path, edge: &Value) -> Result<Edge, String> {
    let kind = match edge.get("kind").and_then(Value::as_str) {
        None => EdgeKind::Normal,
        Some("dev") => EdgeKind::Dev,
        Some("build") => EdgeKind::Build,
        Some(other) => return Err(format!("a dependency of an unknown kind: {other}")),
    };
    let folder =
        edge.get("path").and_then(Value::as_str).map(|path| relative(root, &PathBuf::from(path))).transpose()?;
    Ok(Edge { name: string(edge, "name")?.to_string(), folder, kind })
}

fn array<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>, String> {
    value.get(field).and_then(Value::as_array).ok_or_else(|| format!("cargo metadata has no list {field}"))
}

fn string<'a>(value: &'a Value, field: &str) -> Result<&'a str, String> {
    value.get(field).and_then(Value::as_str).ok_or_else(|| format!("cargo metadata has no text {field}"))
}

/// The path below the workspace, with every `..` taken away: a target may live outside its package's folder.
fn relative(root: &Path, path: &Path) -> Result<String, String> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    let below = plain.strip_prefix(root).map_err(|_| format!("{} is outside the workspace", plain.display()))?;
    Ok(below.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"packages":[{"name":"tantu-lsm","manifest_path":"/w/engine/lsm/Cargo.toml",
        "dependencies":[{"name":"tantu-base","kind":null,"path":"/w/base"},{"name":"tantu-weather","kind":"dev","path":"/w/bin/weather"},
                        {"name":"rkyv","kind":null,"source":"registry"}],
        "targets":[{"src_path":"/w/engine/lsm/src/lib.rs"}]}]}"#;

    #[test]
    fn the_edges_of_a_package_keep_their_kind_and_folder() {
        let packages = parse(Path::new("/w"), METADATA).unwrap();
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].folder, "engine/lsm");
        assert_eq!(packages[0].roots, ["engine/lsm/src/lib.rs"]);
        let edges: Vec<_> = packages[0].edges.iter().map(|e| (e.name.as_str(), e.folder.as_deref(), e.kind)).collect();
        assert_eq!(
            edges,
            [
                ("tantu-base", Some("base"), EdgeKind::Normal),
                ("tantu-weather", Some("bin/weather"), EdgeKind::Dev),
                ("rkyv", None, EdgeKind::Normal),
            ]
        );
    }

    #[test]
    fn a_target_outside_its_package_is_found_where_it_is() {
        let text = METADATA.replace("/w/engine/lsm/src/lib.rs", "/w/engine/lsm/../../tests/story.rs");
        assert_eq!(parse(Path::new("/w"), &text).unwrap()[0].roots, ["tests/story.rs"]);
    }

    #[test]
    fn a_path_dependency_outside_the_workspace_is_an_error() {
        let text = METADATA.replace("/w/base", "/elsewhere/base");
        assert!(parse(Path::new("/w"), &text).unwrap_err().contains("/elsewhere/base"));
    }
}
