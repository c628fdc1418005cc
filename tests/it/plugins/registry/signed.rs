//! Signatures of the real `minisign`: beside a file and in an artifact.

use std::fs;
use std::path::{Path, PathBuf};

use super::server::Registry;
use super::{decision, gateway, no_gateway, output, pair, policy, pull, pulled, refused, tables, tool};
use crate::plugins::put;
use crate::support::{Gateway, Image, Options};

/// Somebody who signs.
pub struct Signer {
    folder: tempfile::TempDir,
    pub key: String,
}

impl Signer {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        output(tool("minisign").args(["-G", "-W", "-p"]).arg(path("public")).arg("-s").arg(path("secret")));
        let public = fs::read_to_string(path("public")).unwrap();
        let key = public.lines().nth(1).unwrap().to_owned();
        Self { folder, key }
    }

    /// A copy of a component, and its signature.
    pub fn sign(&self, component: &Path) -> (PathBuf, PathBuf) {
        let copy = self.folder.path().join(component.file_name().unwrap());
        fs::copy(component, &copy).unwrap();
        output(tool("minisign").arg("-S").arg("-s").arg(self.folder.path().join("secret")).arg("-m").arg(&copy));
        let signature = PathBuf::from(format!("{}.minisig", copy.display()));
        (copy, signature)
    }

    fn required(&self) -> String {
        format!("keys = [\"{}\"]\nrequired = true", self.key)
    }
}

#[test]
fn a_signed_component_comes_with_its_signature() {
    let (registry, signer, other) = (Registry::start(), Signer::new(), Signer::new());
    let (component, signature) = signer.sign(&policy("ten-line-policy"));
    let (digest, _) = registry.push("house-rule", "v1", &component, Some(&signature));
    let pinned = format!("{}@{digest}", registry.reference("house-rule"));
    let file = registry.path("signed.wasm");

    let told = refused(&pull(&registry, &pinned, &file, &["--public-key", &other.key]), &file);
    assert!(told.contains("not of a trusted key") && told.contains("--public-key"), "{told}");
    let told = no_gateway(&pinned, &tables(&registry, &registry.login(), &other.required()));
    assert!(told.contains("not of a trusted key") && told.contains("plugins.signatures.keys"), "{told}");

    let told = pulled(&pull(&registry, &pinned, &file, &["--public-key", &other.key, "--public-key", &signer.key]));
    assert_eq!((&told["signed"], &told["trusted"]), (&true.into(), &true.into()));
    assert_eq!(fs::read(format!("{}.minisig", file.display())).unwrap(), fs::read(&signature).unwrap());

    // The other two plugins are files beside which there is no signature: the writer that is compiled in needs none.
    let resolver = signer.sign(&policy("static")).0;
    let signatures = format!("{}\n[plugins.resolver]\ncomponent = \"{}\"", signer.required(), resolver.display());
    let extra = tables(&registry, &registry.login(), &signatures);
    let writer = Some("component = \"builtin:image\"\nstores = [\"main\"]".to_owned());
    let signed = Gateway::start_with(&Options { policy: Some(pinned), extra, writer, ..Options::default() });
    put(&signed, "v", "t1", &Image::random(65_536, 1).bytes).expect(201);
    assert_eq!(decision(&signed), pair("full", "house-rule"));
}

#[test]
fn what_is_not_signed_is_refused_where_it_must_be() {
    let (registry, signer) = (Registry::start(), Signer::new());
    let (digest, _) = registry.push("house-rule", "v1", &policy("ten-line-policy"), None);
    let pinned = format!("{}@{digest}", registry.reference("house-rule"));
    let file = registry.path("none.wasm");
    let told = refused(&pull(&registry, &pinned, &file, &["--public-key", &signer.key]), &file);
    assert!(told.contains("is not signed") && told.contains("minisign -S"), "{told}");
    for component in [pinned.as_str(), &policy("ten-line-policy").display().to_string()] {
        let told = no_gateway(component, &tables(&registry, &registry.login(), &signer.required()));
        assert!(told.contains("is not signed") && told.contains("take required from"), "{told}");
    }
    // Where signatures are only looked at, one that is not there is none that is wrong.
    let looked_at = format!("keys = [\"{}\"]", signer.key);
    let gateway = gateway(&registry, &pinned, &looked_at);
    put(&gateway, "v", "t1", &Image::random(65_536, 1).bytes).expect(201);
    assert_eq!(decision(&gateway), pair("full", "house-rule"));
}

#[test]
fn a_file_that_was_changed_after_it_was_signed_is_refused() {
    let (registry, signer) = (Registry::start(), Signer::new());
    let (component, signature) = signer.sign(&policy("ten-line-policy"));
    let mut bytes = fs::read(&component).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&component, &bytes).unwrap();
    let optional = format!("keys = [\"{}\"]", signer.key);
    let told = no_gateway(&component.display().to_string(), &tables(&registry, &registry.login(), &optional));
    assert!(told.contains("not of a trusted key, or of another file"), "{told}");
    fs::write(&signature, "untrusted comment: nothing\n").unwrap();
    let told = no_gateway(&component.display().to_string(), &tables(&registry, &registry.login(), &optional));
    assert!(told.contains("cannot be read") && told.contains("as it is"), "{told}");
}
