//! Turns the folder `lua/` into the registry of scripts: includes resolved, headers read.
//!
//! A script is addressed by the hash of its text, so two versions of this software run side by side during a rolling
//! update. The registry is what the folder holds; nothing is listed by hand.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

const INCLUDE: &str = "--@include ";

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../lua");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut scripts: Vec<PathBuf> = fs::read_dir(&root)
        .expect("the lua folder exists")
        .map(|entry| entry.expect("readable folder").path())
        .filter(|path| path.is_dir() && !path.ends_with("lib"))
        .flat_map(|folder| fs::read_dir(folder).expect("readable folder"))
        .map(|entry| entry.expect("readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lua"))
        .collect();
    scripts.sort();

    let mut registry = String::new();
    let mut names = Vec::new();
    for path in &scripts {
        let name = path.strip_prefix(&root).expect("below the root").with_extension("").display().to_string();
        let constant = name.replace('/', "_").to_uppercase();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let header = Header::parse(&name, &text);
        let source = resolve(&root, &text, &mut HashSet::new());
        writeln!(
            registry,
            "/// {}\npub static {constant}: Script = Script {{\n    name: {name:?},\n    source: {source:?},\n    \
             fixed_keys: {},\n    keys_per_drop: {},\n    returns: &{:?},\n    logs: &{:?},\n    sha1: OnceLock::new(),\n    operation: Operation::new({name:?}),\n}};",
            header.purpose, header.fixed_keys, header.keys_per_drop, header.returns, header.logs
        )
        .expect("writing to a string");
        names.push(constant);
    }
    writeln!(registry, "/// All scripts, in order of their names.\npub static SCRIPTS: &[&Script] = &[")
        .expect("string");
    for name in names {
        writeln!(registry, "    &{name},").expect("writing to a string");
    }
    registry.push_str("];\n");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("registry.rs");
    fs::write(out, registry).expect("OUT_DIR is writable");
}

/// What a script says of itself above its first line of code.
struct Header {
    purpose: String,
    fixed_keys: usize,
    keys_per_drop: usize,
    returns: Vec<String>,
    logs: Vec<String>,
}

impl Header {
    fn parse(name: &str, text: &str) -> Self {
        let lines: Vec<&str> = text.lines().take_while(|line| line.starts_with("--")).collect();
        let field = |word: &str| {
            lines.iter().find_map(|line| line.strip_prefix("-- ")?.strip_prefix(word)?.strip_prefix(' ')).map(str::trim)
        };
        let required = |word| field(word).unwrap_or_else(|| panic!("lua/{name}: the header lacks {word}"));
        let list = |text: &str| text.split(", ").map(str::to_owned).collect::<Vec<_>>();
        let counts = required("KEYS").split(':').next().unwrap_or_default();
        let (fixed, per_drop) = match counts.split_once(" + ") {
            Some((fixed, per_drop)) => (fixed, per_drop.trim_end_matches(" per drop")),
            None => (counts, "0"),
        };
        let count = |text: &str| text.trim().parse().unwrap_or_else(|_| panic!("lua/{name}: KEYS says {text:?}"));
        let logs = required("LOGS");
        Self {
            purpose: lines[0].trim_start_matches("-- ").to_owned(),
            fixed_keys: count(fixed),
            keys_per_drop: count(per_drop),
            returns: list(required("RETURNS")),
            logs: if logs == "nothing" { Vec::new() } else { list(logs) },
        }
    }
}

/// The text with each include replaced by the named file, once per script, and comments taken out: Redis keeps every
/// script that it has seen. What an indented include brings is known in its block alone, and costs nothing where the block is passed
/// over: as a function is made each time that a script comes by it, a script that is often called has those it rarely needs there.
fn resolve(root: &Path, text: &str, seen: &mut HashSet<String>) -> String {
    let mut resolved = String::new();
    for line in text.lines() {
        if let Some(name) = line.trim_start().strip_prefix(INCLUDE) {
            let mut in_block = seen.clone();
            let known = if line.starts_with(INCLUDE) { &mut *seen } else { &mut in_block };
            if known.insert(name.to_owned()) {
                let path = root.join(name).with_extension("lua");
                let included = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                resolved.push_str(&resolve(root, &included, known));
            }
        } else if !line.trim_start().starts_with("--") && !line.trim().is_empty() {
            resolved.push_str(line);
            resolved.push('\n');
        }
    }
    resolved
}
