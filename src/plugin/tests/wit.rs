//! The contract does not change by accident.

use std::fs;
use std::path::{Path, PathBuf};

use wit_parser::{Resolve, SourceMap, WorldId};

use crate::plugin::Kind;

/// The versions that plugins were built for, with the hashes of their files. They are kept for ever in
/// `tests/fixtures/wit-<version>`, with plugins that use what is new in them.
const FROZEN: [(&str, &str); 3] = [
    ("0.1.0", "410148279b4fb98ecf25e8a93ef979e37ba8f4e28e13c5388dd2cd0e65cd1db1"),
    ("0.1.1", "6db5c913bf6f8959992b6df29204fb38641e81e32b2dae54fe46ce3e1b09d8e5"),
    ("0.1.2", "a891396d87acae8922ba8c92d6963c2327832e84569db86b41fc3f3ea6934c81"),
];

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    package: String,
    version: String,
    /// Once true, the files of this version do not change any more.
    frozen: bool,
    blake3: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wit")
}

/// All files in the order of their names, without what changes nothing: blank lines and space at the ends of lines.
/// Comments count: they are the contract.
fn normalised(folder: &Path) -> String {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let content = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = content.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        format!("{name}\n{}\n", lines.join("\n"))
    };
    files.iter().map(text).collect()
}

#[test]
fn the_contract_is_the_one_that_was_decided_on() {
    let lock: Lock = toml::from_str(&fs::read_to_string(folder().join("rsnap-plugin.lock")).unwrap()).unwrap();
    let text = normalised(&folder().join("rsnap-plugin"));
    let package = format!("package {}@{};", lock.package, lock.version);
    assert!(text.contains(&package), "wit/rsnap-plugin.lock is for {package} and the files are not");
    let actual = blake3::hash(text.as_bytes()).to_hex();
    let decision = if lock.frozen {
        "This version is frozen: give the package a new version, lock the new one, and leave tests/fixtures/wit-<version> \
         as it is."
    } else {
        "This version is not frozen yet: if the change is meant, and the shipped plugins and the SDK follow it, write \
         the new hash into the lock. If plugins built before must be refused, raise the version as well."
    };
    assert_eq!(
        actual.as_str(),
        lock.blake3,
        "\nThe files in wit/rsnap-plugin are not those of wit/rsnap-plugin.lock (left: the files' hash).\n{decision}\n"
    );
}

fn frozen(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/wit-{version}"))
}

/// The world of a kind in files that are changed by `change` on the way.
fn world(resolve: &mut Resolve, folder: &Path, kind: Kind, change: impl Fn(String) -> String) -> WorldId {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut sources = SourceMap::default();
    for file in files {
        sources.push_str(&file.display().to_string(), change(fs::read_to_string(&file).unwrap()));
    }
    let package = resolve.push_group(sources.parse().map_err(|(_, error)| error.to_string()).unwrap()).unwrap();
    resolve.select_world(&[package], Some(kind.world())).unwrap()
}

/// Whether a gateway for the changed contract of today runs what was built for an old version.
fn runs(version: &str, kind: Kind, change: impl Fn(String) -> String) -> Result<(), String> {
    let mut resolve = Resolve::default();
    // Two packages of one name and version would be one.
    let renamed = |text: String| text.replace(&format!("@{version};"), "@0.0.0;");
    let old = world(&mut resolve, &frozen(version), kind, renamed);
    let new = world(&mut resolve, &folder().join("rsnap-plugin"), kind, change);
    wit_component::semver_check(resolve, old, new).map_err(|error| format!("{error:#}"))
}

#[test]
fn the_contract_grows_and_breaks_nothing_that_was_built() {
    for (version, hash) in FROZEN {
        let found = blake3::hash(normalised(&frozen(version)).as_bytes()).to_hex();
        assert_eq!(found.as_str(), hash, "the files in tests/fixtures/wit-{version} are not those of that version");
        for kind in Kind::ALL {
            let broken = runs(version, kind, |text| text).err();
            assert_eq!(
                broken, None,
                "\na {kind} of version {version} does not run any more: give new functions new names, new fields new \
                 records, and a new export a new world; or make a version that breaks\n"
            );
        }
    }
}

/// What may be done to the contract, and what may not.
#[test]
fn a_change_that_breaks_old_plugins_is_noticed() {
    let grown: [(&str, &str); 2] = [
        ("    now: func() -> u64;", "    now: func() -> u64;\n    resolution: func() -> u64;"),
        ("world chain-policy {", "interface more { hello: func(); }\nworld chain-policy {\n    import more;"),
    ];
    let broken: [(&str, &str); 5] = [
        ("    now: func() -> u64;", "    now: func() -> u32;"),
        ("        created: u64,", "        created: u64,\n        tags: list<string>,"),
        ("        present,\n", "        present,\n        later,\n"),
        ("    keys: func() -> list<string>;", ""),
        ("    export policy;", "    export policy;\n    export writer;"),
    ];
    let changed = |(from, to): (&'static str, &'static str)| {
        let found = std::cell::Cell::new(false);
        let result = runs("0.1.0", Kind::Policy, |text| {
            found.set(found.get() || text.contains(from));
            text.replacen(from, to, 1)
        });
        assert!(found.get(), "{from:?} is not in the contract any more");
        result
    };
    for change in grown {
        assert_eq!(changed(change), Ok(()), "{change:?}");
    }
    for change in broken {
        assert!(changed(change).is_err(), "{change:?} was not noticed");
    }
}
