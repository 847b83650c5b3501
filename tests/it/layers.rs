//! Checks that a module uses only the modules below it, and that comments fit in a line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::world::files;

/// The modules of the crate, lowest first. Each module may use only those before it.
const BOTTOM_UP: [&str; 21] = [
    "model",
    "printable",
    "secret",
    "plain_file",
    "process_group",
    "terminal",
    "process_limits",
    "hint",
    "failure",
    "threads",
    "telemetry",
    "lake",
    "wechat",
    "fetch",
    "metrics",
    "simulator",
    "pipeline",
    "operations",
    "report",
    "settings",
    "cli",
];

/// Pairs of modules: the first must not use the second, although it is above it.
const APART: [(&str, &str); 6] = [
    ("wechat", "lake"),
    ("fetch", "lake"),
    ("metrics", "lake"),
    ("metrics", "wechat"),
    ("metrics", "fetch"),
    ("simulator", "lake"),
];

/// Returns the code of a file without comments and unit tests.
fn code(path: &Path) -> String {
    let text = fs_err::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// Returns the modules that a text names, as in `crate::lake` and `use crate::{lake, fetch}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        match rest.strip_prefix('{') {
            None => drop(names.insert(rest.chars().take_while(|c| is_word(*c)).collect())),
            Some(group) => {
                let mut depth = 0;
                let mut word = String::new();
                for character in group.chars() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        _ if depth == 0 && is_word(character) => word.push(character),
                        // The path after `::` is inside the module that was already named.
                        ':' if depth == 0 => {}
                        ',' if depth == 0 => drop(names.insert(std::mem::take(&mut word))),
                        _ => {}
                    }
                }
                names.insert(word);
            }
        }
    }
    names
}

fn collect(folder: &Path, module: &str, used: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => collect(&path, module, used),
            Some(extension) if extension == "rs" => {
                used.entry(module.to_owned()).or_default().extend(named(&code(&path)));
            }
            _ => {}
        }
    }
}

#[test]
fn a_module_uses_only_modules_below_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut used = BTreeMap::new();
    for entry in fs_err::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true => collect(&path, &name, &mut used),
            false => drop(used.insert(name, named(&code(&path)))),
        }
    }
    let place = |module: &str| BOTTOM_UP.iter().position(|name| *name == module);
    for (module, names) in &used {
        // These modules may use every other module.
        if ["lib", "main", "commands"].contains(&module.as_str()) {
            continue;
        }
        let own = place(module).unwrap_or_else(|| panic!("{module} has no place in the list"));
        for name in names.iter().filter(|name| *name != module) {
            let Some(other) = place(name) else { continue };
            assert!(other < own, "{module} uses {name}, which stands above it");
            let pair = (module.as_str(), name.as_str());
            assert!(!APART.contains(&pair), "{module} uses {name}");
        }
        assert!(!names.contains("commands"), "{module} uses commands");
    }
    assert!(used.len() > 15 && used["pipeline"].contains("lake"), "{used:?}");
}

/// Files of the lake outside `store` that reach the file system themselves. Each says why at its
/// top.
const BESIDE_THE_STORE: [&str; 2] = ["lock.rs", "mounts.rs"];

#[test]
fn only_the_store_reaches_the_files_of_a_lake() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lake");
    let mut checked = 0;
    for entry in fs_err::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() || BESIDE_THE_STORE.contains(&name) {
            continue;
        }
        let code = code(&path);
        for door in [
            "fs_err",
            "std::fs",
            "rustix::fs",
            "plain_file",
            "File::open",
            "File::create",
            "OpenOptions",
            ".exists()",
            ".is_file()",
            ".is_dir()",
            ".is_symlink()",
            ".symlink_metadata()",
            ".read_dir()",
            ".read_link()",
            ".canonicalize()",
        ] {
            assert!(!code.contains(door), "{name} uses {door}");
        }
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
    let folders =
        fs_err::read_dir(&folder).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(folders.count(), 1, "this test checks no other folder than `store`");
}

/// Maximum number of columns of a line with a comment.
const COLUMNS: usize = 100;

#[test]
fn no_comment_is_longer_than_a_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_code = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let paths: Vec<PathBuf> = files(&root.join("src")).into_iter().filter(is_code).collect();
    assert!(paths.len() > 100, "{}", paths.len());
    for path in &paths {
        let text = fs_err::read_to_string(path).unwrap();
        for (line, number) in text.lines().zip(1..) {
            let is_long = line.trim_start().starts_with("//") && line.chars().count() > COLUMNS;
            assert!(!is_long, "{}:{number}: {line}", path.display());
        }
    }
}
