//! The layers of `src/`: a module imports downwards only.
//!
//! Large crates grow cycles one innocent `use` at a time, and no tool refuses the plain cycle of two modules. So the
//! paths in the sources are read here and held against the table: `crate::…`, `rsnap::…` (in `main.rs`) and `super::…`
//! that climbs to the crate's root.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Every top-level module, from the top layer to the bottom. A module that is not here is an error: give it a place.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["app"],
    &["admin", "cli", "http", "net"],
    &["client", "transfer"],
    &["cluster", "plugin"],
    &["image", "keystone"],
    &["accept", "api", "audit", "buffer", "coding", "drain", "keys", "retry", "telemetry", "tls"],
    &["content", "quantity", "secret"],
    &["id", "metrics", "sync"],
];

/// Imports within one layer, from and to. Each is a decision: two modules that may know each other only one way.
const NEIGHBOURS: &[(&str, &str)] = &[];

/// The leaf crates, which import nothing of the gateway.
const LEAVES: &[&str] = &["rbd", "sys", "wire"];

/// A path in the sources that leads to a top-level module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Import {
    file: PathBuf,
    line: usize,
    from: String,
    to: String,
}

impl fmt::Display for Import {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, from, to } = self;
        write!(formatter, "{}:{line}: {from} imports {to}", file.display())
    }
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Why an import is not allowed.
fn fault(import: &Import) -> Option<String> {
    let Import { from, to, .. } = import;
    let unknown = |module: &str| Some(format!("{import}: {module} has no layer; give it one in LAYERS"));
    let Some(above) = rank(from) else { return unknown(from) };
    let Some(below) = rank(to) else { return unknown(to) };
    if from == to || above < below {
        return None;
    }
    if above > below {
        return Some(format!("{import}, which is above it"));
    }
    let listed = NEIGHBOURS.contains(&(from.as_str(), to.as_str()));
    (!listed).then(|| format!("{import}, its neighbour; move what they share down, or list it in NEIGHBOURS"))
}

/// The source with comments and literals blanked, line breaks kept.
fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = blank_length(rest);
        let (blank, tail) = rest.split_at(if length == 0 { next.len_utf8() } else { length });
        if length == 0 {
            out.push(next);
        } else {
            out.extend(blank.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = tail;
    }
    out
}

/// The length of the comment or literal at the start of `text`, 0 if there is none.
fn blank_length(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |at| at + 2);
    }
    if text.starts_with('"') {
        return quoted_length(text, '"');
    }
    if text.starts_with('\'') {
        return character_length(text);
    }
    raw_string_length(text)
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal; a lifetime is none.
fn character_length(text: &str) -> usize {
    let mut characters = text.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => quoted_length(text, '\''),
        (Some(c), Some('\'')) => c.len_utf8() + 2,
        _ => 0,
    }
}

fn raw_string_length(text: &str) -> usize {
    let Some(after) = text.strip_prefix('r') else { return 0 };
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 1 + hashes + 1;
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// Words and single characters, each with its line; `::` is one token.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                _ => word,
            };
            found.push((number + 1, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    found
}

/// The module path of a file below `src/`: `src/image/file/read.rs` is `image`, `file`, `read`.
fn module_of(file: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod" || (path.len() == 1 && last == "lib")) {
        path.pop();
    }
    path
}

/// Reads the paths of one file. Follows braces, since `super` means another module inside `mod tests { … }`.
struct Reader<'a> {
    file: &'a Path,
    tokens: Vec<(usize, &'a str)>,
    module: Vec<String>,
    /// For each open brace, whether it opened a module.
    braces: Vec<bool>,
    found: Vec<Import>,
}

fn imports(file: &Path, text: &str) -> Vec<Import> {
    let code = code_only(text);
    let mut reader =
        Reader { file, tokens: tokens(&code), module: module_of(file), braces: Vec::new(), found: Vec::new() };
    for at in 0..reader.tokens.len() {
        reader.read(at);
    }
    reader.found
}

impl Reader<'_> {
    fn token(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |(_, token)| token)
    }

    fn read(&mut self, at: usize) {
        match self.token(at) {
            "{" => self.open(at),
            "}" => self.close(),
            "crate" if self.token(at + 1) == "::" => self.branch(at + 2),
            "rsnap" if self.file == Path::new("main.rs") && self.token(at + 1) == "::" => self.branch(at + 2),
            "super" if at == 0 || self.token(at - 1) != "::" => self.climb(at),
            _ => {}
        }
    }

    fn open(&mut self, at: usize) {
        let is_module = at >= 2 && self.token(at - 2) == "mod";
        if is_module {
            let name = self.token(at - 1).to_owned();
            self.module.push(name);
        }
        self.braces.push(is_module);
    }

    fn close(&mut self) {
        if self.braces.pop() == Some(true) {
            self.module.pop();
        }
    }

    /// `super::super::x`: counts when it leads out of the top-level module.
    fn climb(&mut self, start: usize) {
        let mut at = start;
        let mut left = self.module.len();
        while self.token(at) == "super" && self.token(at + 1) == "::" {
            at += 2;
            left = left.saturating_sub(1);
        }
        if left == 0 && at > start {
            self.branch(at);
        }
    }

    /// The first segment after the root, or all of them in `{a, b::c}`.
    fn branch(&mut self, at: usize) {
        if self.token(at) != "{" {
            return self.record(at);
        }
        let mut depth = 0;
        for inner in at..self.tokens.len() {
            match self.token(inner) {
                "{" => depth += 1,
                "}" if depth == 1 => return,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 1 && matches!(self.token(inner), "{" | ",") && !matches!(self.token(inner + 1), "{" | "}") {
                self.record(inner + 1);
            }
        }
    }

    fn record(&mut self, at: usize) {
        let Some((line, to)) = self.tokens.get(at).map(|(line, token)| (*line, (*token).to_owned())) else { return };
        let from = self.module.first().cloned().unwrap_or_else(|| "lib".to_owned());
        self.found.push(Import { file: self.file.to_owned(), line, from, to });
    }
}

/// All Rust files below `directory`, relative to it.
fn sources(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(current) = open.pop() {
        for entry in current.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn in_leaf(file: &Path) -> bool {
    LEAVES.iter().any(|leaf| file.starts_with(leaf))
}

#[test]
fn modules_import_downwards_only() {
    let sources = sources(&source_folder());
    let gateway = sources.iter().filter(|(file, _)| !in_leaf(file) && *file != Path::new("lib.rs"));
    let imports: Vec<Import> = gateway.flat_map(|(file, text)| imports(file, text)).collect();
    assert!(imports.len() > 20, "only {} imports were found: the scan is broken", imports.len());
    let faults: Vec<String> = imports.iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{} imports break the layers:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let sources = sources(&source_folder());
    let gateway = sources.keys().filter(|file| !in_leaf(file) && *file != Path::new("lib.rs"));
    let unknown: Vec<String> =
        gateway.filter_map(|file| module_of(file).first().cloned()).filter(|module| rank(module).is_none()).collect();
    assert!(unknown.is_empty(), "give these a layer in LAYERS: {unknown:?}");
}

#[test]
fn leaf_crates_do_not_know_the_gateway() {
    for leaf in LEAVES {
        let folder = source_folder().join(leaf);
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let table: toml::Table = manifest.parse().unwrap();
        let dependencies = table.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let ours: Vec<&String> = dependencies.keys().filter(|name| name.starts_with("rsnap")).collect();
        assert!(ours.is_empty(), "{leaf} depends on {ours:?}");
        for (file, text) in sources(&folder) {
            let code = code_only(&text);
            let named = tokens(&code).iter().any(|(_, token)| *token == "rsnap");
            assert!(!named, "{leaf}/{} names the gateway's crate", file.display());
        }
    }
}

#[test]
fn an_upward_import_is_found() {
    let text = "//! crate::app is only mentioned\nuse crate::{content::Root, transfer::Transfers};\nconst T: &str = \"crate::app\";\n";
    let imports = imports(Path::new("image/file.rs"), text);
    let found: Vec<&str> = imports.iter().map(|import| import.to.as_str()).collect();
    assert_eq!(found, ["content", "transfer"]);
    let faults: Vec<String> = imports.iter().filter_map(fault).collect();
    assert_eq!(faults, ["image/file.rs:2: image imports transfer, which is above it"]);
}

#[test]
fn a_climb_out_of_the_module_is_found() {
    let text = "use super::Inside;\nmod tests {\n    use super::super::Also;\n    use super::super::super::http::Router;\n}\nuse super::super::app;\n";
    let imports = imports(Path::new("image/file.rs"), text);
    let found: Vec<(usize, &str)> = imports.iter().map(|import| (import.line, import.to.as_str())).collect();
    assert_eq!(found, [(4, "http"), (6, "app")]);
    assert!(imports.iter().all(|import| fault(import).is_some()));
}

#[test]
fn neighbours_and_strangers_are_refused() {
    let import = |from: &str, to: &str| {
        fault(&Import { file: PathBuf::from("x.rs"), line: 1, from: from.to_owned(), to: to.to_owned() })
    };
    assert!(import("http", "transfer").is_none() && import("http", "http").is_none());
    assert!(import("tls", "retry").unwrap().contains("neighbour"));
    assert!(import("http", "surprise").unwrap().contains("has no layer"));
}

#[test]
fn literals_and_comments_are_no_code() {
    let code = code_only("a /* crate::x */ 'b' '\\'' r#\"crate::y \"# \"\\\" crate::z\" &'static str // crate::w");
    assert!(!code.contains("crate"), "{code}");
    assert!(code.contains("&'static str"), "{code}");
}
