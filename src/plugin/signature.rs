//! Who vouches for a component: detached signatures as `minisign` makes them.
//!
//! A digest says which component it is; a signature says that somebody the operator trusts has released it, so that a
//! new version needs no new trust. The format is that of a tool that people have, and signs the file itself; signatures
//! inside of components were refused, because their tools are young and change what is signed.

use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// Largest file of a signature, in bytes; those of `minisign` have about 300.
pub(super) const SIGNATURE_MAX: u64 = 4 << 10;

/// `[plugins.signatures]`: whose signatures are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignaturesConfig {
    /// Public keys, as the second line of `minisign.pub` has them. A signature by another key is refused.
    pub keys: Vec<String>,
    /// Whether each component must be signed. What is compiled in needs no signature.
    pub required: bool,
}

impl SignaturesConfig {
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        for (number, key) in self.keys.iter().enumerate() {
            if PublicKey::from_base64(key).is_err() {
                faults.push(format!(
                    "plugins.signatures.keys: number {} is no public key; give the second line of minisign.pub",
                    number + 1
                ));
            }
        }
        if self.required && self.keys.is_empty() {
            faults.push("plugins.signatures.required: needs a key in plugins.signatures.keys".to_owned());
        }
    }

    /// Whether a signature is looked at.
    pub(super) fn matter(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Checks the component called `name` with its signature, as far as keys are known.
    pub(super) fn check(&self, name: &str, component: &[u8], signature: Option<&[u8]>) -> Result<(), Fault> {
        if !self.matter() {
            return Ok(());
        }
        let Some(signature) = signature else {
            return if self.required { Err(unsigned(name)) } else { Ok(()) };
        };
        let broken = || {
            let remedy = "sign it with `minisign -S`, and pass on the .minisig as it is";
            Fault::new(format!("the signature of {name} cannot be read"), remedy)
        };
        let text = std::str::from_utf8(signature).map_err(|_| broken())?;
        let signature = Signature::decode(text).map_err(|_| broken())?;
        let mut keys = self.keys.iter().filter_map(|key| PublicKey::from_base64(key).ok());
        if keys.any(|key| key.verify(component, &signature, false).is_ok()) {
            return Ok(());
        }
        Err(Fault::new(
            format!("the signature of {name} is not of a trusted key, or of another file"),
            "do not use it; find out who has signed or changed it. A new signer's key goes into plugins.signatures.keys \
             (--public-key)",
        ))
    }
}

fn unsigned(name: &str) -> Fault {
    Fault::new(
        format!("{name} is not signed, and each plugin must be"),
        "sign it with `minisign -S` and put the .minisig beside the file (or into the artifact), or take required from \
         plugins.signatures",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A signature that `minisign` made of the word `test`, and its key.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==";
    const OTHER: &str = "RWSeltKShrshLKHwZuBKBQCphgqOxjqHsgZmLOHWCRGRjQ5bUGfc3KD1";

    fn trusting(keys: &[&str], required: bool) -> SignaturesConfig {
        SignaturesConfig { keys: keys.iter().map(|key| (*key).to_owned()).collect(), required }
    }

    fn fault(config: &SignaturesConfig, component: &[u8], signature: Option<&str>) -> Option<String> {
        config.check("it", component, signature.map(str::as_bytes)).err().map(|fault| fault.text)
    }

    #[test]
    fn a_signature_is_of_a_trusted_key_and_of_this_file() {
        let config = trusting(&[OTHER, KEY], true);
        assert_eq!(fault(&config, b"test", Some(SIGNATURE)), None);
        for (config, component) in [(&config, b"tesT"), (&trusting(&[OTHER], false), b"test")] {
            assert!(fault(config, component, Some(SIGNATURE)).unwrap().contains("not of a trusted key"));
        }
        assert!(fault(&config, b"test", Some("untrusted comment: x\n")).unwrap().contains("cannot be read"));
    }

    #[test]
    fn only_what_must_be_signed_must_be_signed() {
        assert!(fault(&trusting(&[KEY], true), b"test", None).unwrap().contains("is not signed"));
        assert_eq!(fault(&trusting(&[KEY], false), b"test", None), None);
        assert_eq!(fault(&trusting(&[], false), b"test", Some("nobody looks")), None);
    }

    #[test]
    fn keys_are_checked_before_they_are_needed() {
        let faults = |config: SignaturesConfig| {
            let mut faults = Vec::new();
            config.validate(&mut faults);
            faults.join(" ")
        };
        assert_eq!(faults(trusting(&[KEY], true)), "");
        assert!(faults(trusting(&[KEY, "RWQ"], false)).contains("number 2"));
        assert!(faults(trusting(&[], true)).contains("needs a key"));
    }
}
