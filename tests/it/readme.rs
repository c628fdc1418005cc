//! What the README and the example configuration show must work.

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

fn example() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rsnap.toml")).unwrap()
}

#[test]
fn the_example_has_the_defaults() {
    let mut shown: rsnap::app::Config = toml::from_str(&example()).unwrap();
    assert_eq!(shown.stores.len(), 1);
    assert_eq!(shown.gateway.data, Path::new("/var/lib/rsnap"));
    // What is a default of others: of the user who starts it, of the store's place, of the plugin itself.
    let defaults = rsnap::app::Config::default();
    shown.gateway.data.clone_from(&defaults.gateway.data);
    shown.stores.clear();
    shown.plugins.writer.settings.clear();
    assert_eq!(format!("{shown:#?}"), format!("{defaults:#?}"));
}

#[test]
fn the_example_has_every_key() {
    let text = example();
    let mut keys = 0;
    let shape = format!("{:#?}", toml::from_str::<rsnap::app::Config>(&text).unwrap());
    for line in shape.lines() {
        let Some((key, _)) = line.trim().split_once(": ") else { continue };
        if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            keys += 1;
            let there = [format!("{key} = "), format!("[{key}"), format!(".{key}")];
            assert!(there.iter().any(|form| text.contains(form)), "{key} is not in deploy/rsnap.toml");
        }
    }
    assert!(keys > 40, "only {keys} keys were looked for");
}

#[test]
fn what_is_commented_out_in_the_example_is_accepted() {
    let example = example();
    let lines = example.lines().map(|line| {
        let code = line.strip_prefix("# ").unwrap_or(line);
        let key = code.split(" = ").next().unwrap_or_default();
        let is_key = code.contains(" = ") && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_key || code.starts_with('[') { code } else { "" }
    });
    let config: rsnap::app::Config = toml::from_str(&lines.collect::<Vec<_>>().join("\n")).unwrap();
    assert!(config.listen.advertise.is_some() && config.listen.tls_name.is_some() && config.tls.key.is_some());
    assert_eq!((config.auth.tokens.len(), config.auth.ticket_keys.len()), (1, 1));
    let etcd = config.etcd.unwrap();
    assert!(etcd.password_file.is_some() && etcd.key.is_some() && etcd.group.is_some());
    assert!(config.tls.client_authorities.is_some() && config.tls.client_revocations.is_some());
    assert_eq!(config.auth.certificates.len(), 1);
    assert!(config.auth.audit.is_some() && config.plugins.writer.sha256.is_some());
    assert!(config.plugins.resolver.settings["sites"]["dc1"]["gateway"].is_str());
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
