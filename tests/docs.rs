//! Documents and sources agree: every setting and command is described, every file says what it holds, none is too long.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::{Path, PathBuf};

use ticklane::command::{CommandTable, Flags};

/// Lines of a source file, tests included.
const SOURCE_LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// True if `text` has `word` in backticks.
fn names(text: &str, word: &str) -> bool {
    text.contains(&format!("`{word}`"))
}

/// Every Rust file below `src`, with its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Every (section, key) of the default file; the section of all businesses is `business`.
fn settings() -> Vec<(String, String)> {
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in read("conf/ticklane.toml").lines() {
        if line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']', ' ']).to_owned();
        } else if let Some((key, _)) = line.split_once('=') {
            let setting = (section.clone(), key.trim().to_owned());
            if !settings.contains(&setting) {
                settings.push(setting);
            }
        }
    }
    settings
}

#[test]
fn tuning_describes_every_setting_in_its_section() {
    let tuning = read("tuning.md");
    let settings = settings();
    assert!(settings.len() > 50, "only {} settings were found", settings.len());
    let mut missing = Vec::new();
    for (section, key) in settings {
        let heading = format!("[{section}]");
        let described = tuning
            .split("\n### ")
            .skip(1)
            .filter(|part| part.lines().next().is_some_and(|line| line.contains(&heading)))
            .flat_map(str::lines)
            .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
            .any(|cell| names(cell, &key));
        if !described {
            missing.push(format!("{section}.{key}"));
        }
    }
    assert!(
        missing.is_empty(),
        "tuning.md has no row for {}",
        missing.join(", ")
    );
}

#[test]
fn readme_names_every_command() {
    let readme = read("README.md");
    let table = CommandTable::default();
    let missing: Vec<&str> = table
        .iter()
        .map(|(_, command)| command)
        .filter(|command| !command.flags.has(Flags::INTERNAL) && !names(&readme, command.name))
        .map(|command| command.name)
        .collect();
    assert!(
        missing.is_empty(),
        "README.md does not name {}",
        missing.join(", ")
    );
}

#[test]
fn every_source_file_says_what_it_holds() {
    let sources = sources();
    assert!(
        sources.len() > 50,
        "only {} source files were found",
        sources.len()
    );
    let silent: Vec<&str> = sources
        .iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(
        silent.is_empty(),
        "no //! sentence at the head of {}",
        silent.join(", ")
    );
}

#[test]
fn no_source_file_is_too_long() {
    let mut too_long = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > SOURCE_LINES_MAX {
            too_long.push(format!("{name} has {lines} lines"));
        }
    }
    assert!(
        too_long.is_empty(),
        "more than {SOURCE_LINES_MAX} lines: {}",
        too_long.join("; ")
    );
}
