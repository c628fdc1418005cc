//! Which files a scaffold is made of.

use std::path::PathBuf;

use super::{File, Language, Scaffold, bindings};
use crate::plugin::Kind;
use crate::plugin::fault::Fault;
use crate::plugin::kit::{contract, question};

/// A path in the scaffold, and the text for it before names are replaced.
type Template = (&'static str, &'static str);

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../../../../plugins/templates/", $path))
    };
}

macro_rules! sdk {
    ($file:literal) => {
        (concat!("vendor/rsnap-plugin/src/", $file), include_str!(concat!("../../../../plugins/sdk/src/", $file)))
    };
}

const RUST: [Template; 16] = [
    ("Cargo.toml", template!("rust/Cargo.toml.template")),
    // The versions that the shipped plugins are built with. Cargo drops those that are not used here.
    ("Cargo.lock", include_str!("../../../../plugins/Cargo.lock")),
    ("build.sh", template!("rust/build.sh")),
    ("README.md", template!("rust/README.md")),
    (".gitignore", template!("rust/gitignore")),
    ("vendor/rsnap-plugin/Cargo.toml", template!("rust/sdk.toml.template")),
    sdk!("bindings.rs"),
    sdk!("chains.rs"),
    sdk!("http.rs"),
    sdk!("instance.rs"),
    sdk!("keys.rs"),
    sdk!("lib.rs"),
    sdk!("log.rs"),
    sdk!("policy.rs"),
    sdk!("resolver.rs"),
    sdk!("writer.rs"),
];

const C: [Template; 3] = [
    ("build.sh", template!("c/build.sh")),
    ("README.md", template!("c/README.md")),
    (".gitignore", template!("c/gitignore")),
];

const PYTHON: [Template; 4] = [
    ("build.sh", template!("python/build.sh")),
    ("README.md", template!("python/README.md")),
    (".gitignore", template!("python/gitignore")),
    ("requirements.txt", template!("python/requirements.txt")),
];

const JAVASCRIPT: [Template; 5] = [
    ("build.sh", template!("javascript/build.sh")),
    ("build.mjs", template!("javascript/build.mjs")),
    ("README.md", template!("javascript/README.md")),
    (".gitignore", template!("javascript/gitignore")),
    ("package.json", template!("javascript/package.json")),
];

/// What is the same for all kinds.
fn common(language: Language) -> &'static [Template] {
    match language {
        Language::Rust => &RUST,
        Language::C => &C,
        Language::Python => &PYTHON,
        Language::JavaScript => &JAVASCRIPT,
    }
}

/// The plugin itself.
fn code(language: Language, kind: Kind) -> Template {
    use Kind::{Policy, Resolver, Writer};
    use Language::{C, JavaScript, Python, Rust};
    match (language, kind) {
        (Rust, Writer) => ("src/lib.rs", template!("rust/writer/lib.rs")),
        (Rust, Policy) => ("src/lib.rs", template!("rust/policy/lib.rs")),
        (Rust, Resolver) => ("src/lib.rs", template!("rust/resolver/lib.rs")),
        (C, Writer) => ("plugin.c", template!("c/writer/plugin.c")),
        (C, Policy) => ("plugin.c", template!("c/policy/plugin.c")),
        (C, Resolver) => ("plugin.c", template!("c/resolver/plugin.c")),
        (Python, Writer) => ("plugin.py", template!("python/writer/plugin.py")),
        (Python, Policy) => ("plugin.py", template!("python/policy/plugin.py")),
        (Python, Resolver) => ("plugin.py", template!("python/resolver/plugin.py")),
        (JavaScript, Writer) => ("plugin.js", template!("javascript/writer/plugin.js")),
        (JavaScript, Policy) => ("plugin.js", template!("javascript/policy/plugin.js")),
        (JavaScript, Resolver) => ("plugin.js", template!("javascript/resolver/plugin.js")),
    }
}

/// Settings to try it with, and how to do that.
fn of_kind(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Writer => (template!("kinds/writer.toml"), template!("kinds/writer.md")),
        Kind::Policy => (template!("kinds/policy.toml"), template!("kinds/policy.md")),
        Kind::Resolver => (template!("kinds/resolver.toml"), template!("kinds/resolver.md")),
    }
}

impl Scaffold<'_> {
    /// All files, with the plugin's own names.
    pub(super) fn files(&self) -> Result<Vec<File>, Fault> {
        let (settings, how) = of_kind(self.kind);
        let mut files: Vec<File> = common(self.language)
            .iter()
            .copied()
            .chain([code(self.language, self.kind)])
            .map(|template| self.file(template))
            .collect();
        files.iter_mut().filter(|file| file.path.ends_with("README.md")).for_each(|file| file.text += &self.named(how));
        files.push(self.file(("settings.toml", settings)));
        files.extend(question::example(self.kind).map(|text| plain("question.json".into(), format!("{text}\n"))));
        let wit = |(name, text): &(&str, &str)| plain(format!("wit/rsnap-plugin/{name}").into(), (*text).to_owned());
        files.extend(contract::FILES.iter().map(wit));
        if self.language == Language::C {
            let bindings = bindings::c(self.kind)?;
            files.extend(bindings.into_iter().map(|(name, text)| plain(format!("bindings/{name}").into(), text)));
        }
        Ok(files)
    }

    fn file(&self, (path, text): Template) -> File {
        let own = !path.starts_with("vendor/");
        let text = if own { self.named(text) } else { text.to_owned() };
        File { path: PathBuf::from(path), text, executable: path.ends_with(".sh") }
    }

    fn named(&self, text: &str) -> String {
        let camel: String = self.name.split('-').map(capitalised).collect();
        text.replace("my-plugin", self.name)
            .replace("my_plugin", &self.name.replace('-', "_"))
            .replace("MyPlugin", &camel)
            .replace("KIND", self.kind.table())
            .replace("WORLD", self.kind.world())
    }
}

fn plain(path: PathBuf, text: String) -> File {
    File { path, text, executable: false }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
