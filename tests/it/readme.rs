//! What the README shows must work.

use std::path::Path;

/// The first block of the README in the given language.
fn block(language: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("\n```").unwrap().0.to_owned()
}

#[test]
fn the_configuration_is_accepted() {
    let config: rsnap::app::Config = toml::from_str(&block("toml")).unwrap();
    assert_eq!(config.gateway.site.as_str(), "dc2");
    assert_eq!(config.plugins.policy.component, "nearest-base");
}

#[test]
fn the_plugin_is_the_one_of_the_tests() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ten-line-policy/src/lib.rs");
    let code = |text: &str| {
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim_end());
        lines.filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(code(&block("rust")), code(&std::fs::read_to_string(fixture).unwrap()));
}
