//! What a component says of itself: its name, its version, what it was made with.
//!
//! Nothing of it is proven. The sections are those that the tools of the component model write and read.

use std::collections::BTreeMap;

use serde::Serialize;
use wasmparser::{
    ComponentName, ComponentNameSectionReader, KnownCustom, Name, Parser, Payload, ProducersSectionReader,
};

use crate::plugin::text::clean;

/// Custom sections that are one text each.
const TEXTS: [&str; 7] = ["version", "description", "authors", "licenses", "homepage", "source", "revision"];
/// Longest text that is taken over, in bytes; it is cut there.
const SECTION_MAX: usize = 1024;
/// Producers of one field; a file may name thousands.
const PRODUCERS_MAX: usize = 32;

/// What a component says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    pub name: Option<String>,
    /// `version`, `description`, `authors`, `licenses`, `homepage`, `source`, `revision`, those that are there.
    #[serde(flatten)]
    pub texts: BTreeMap<String, String>,
    /// `language`, `processed-by`, `sdk`: what it was made with, with versions; of all parts together.
    pub producers: BTreeMap<String, Vec<String>>,
    /// Core modules inside.
    pub modules: usize,
}

impl Metadata {
    pub(super) fn read(bytes: &[u8]) -> wasmparser::Result<Self> {
        let mut metadata = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ModuleSection { .. } => metadata.modules += 1,
                Payload::CustomSection(section) => match section.as_known() {
                    KnownCustom::Producers(producers) => metadata.add_producers(producers)?,
                    KnownCustom::ComponentName(names) if depth == 1 => metadata.name = component_name(names)?,
                    KnownCustom::Name(names) if depth == 1 => metadata.name = module_name(names)?,
                    _ if depth == 1 => metadata.add_text(section.name(), section.data()),
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(metadata)
    }

    fn add_text(&mut self, name: &str, data: &[u8]) {
        if TEXTS.contains(&name) {
            let start = data.get(..SECTION_MAX).unwrap_or(data);
            self.texts.insert(name.to_owned(), clean(&String::from_utf8_lossy(start)));
        }
    }

    fn add_producers(&mut self, sections: ProducersSectionReader<'_>) -> wasmparser::Result<()> {
        for field in sections {
            let field = field?;
            if !["language", "processed-by", "sdk"].contains(&field.name) {
                continue;
            }
            let known = self.producers.entry(field.name.to_owned()).or_default();
            for value in field.values {
                let value = value?;
                let text = clean(format!("{} {}", value.name, value.version).trim());
                if !known.contains(&text) && known.len() < PRODUCERS_MAX {
                    known.push(text);
                }
            }
        }
        Ok(())
    }
}

fn component_name(names: ComponentNameSectionReader<'_>) -> wasmparser::Result<Option<String>> {
    for name in names {
        if let ComponentName::Component { name, .. } = name? {
            return Ok(Some(clean(name)));
        }
    }
    Ok(None)
}

fn module_name(names: wasmparser::NameSectionReader<'_>) -> wasmparser::Result<Option<String>> {
    for name in names {
        if let Name::Module { name, .. } = name? {
            return Ok(Some(clean(name)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wat: &str) -> Metadata {
        Metadata::read(&wat::parse_str(wat).unwrap()).unwrap()
    }

    #[test]
    fn names_and_texts_of_the_outermost_level_count() {
        let found = read(
            "(component $mine (@custom \"version\" \"1.2.3\") (@custom \"description\" \"two\\0alines\")
             (@custom \"unknown\" \"x\") (core module $inner (@custom \"version\" \"9\")))",
        );
        assert_eq!((found.name.as_deref(), found.modules), (Some("mine"), 1));
        let texts: Vec<_> = found.texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(texts, [("description", "two\\nlines"), ("version", "1.2.3")]);
    }

    #[test]
    fn long_texts_are_cut() {
        let found = read(&format!("(component (@custom \"version\" \"{}\"))", "x".repeat(5000)));
        assert_eq!(found.texts["version"].len(), SECTION_MAX);
    }

    #[test]
    fn what_it_was_made_with_is_collected_from_all_parts() {
        let producers = |tool: &str| format!("(@producers (processed-by \"{tool}\" \"1.0\"))");
        let found =
            read(&format!("(component {} (core module {} {}))", producers("a"), producers("b"), producers("a")));
        assert_eq!(found.producers["processed-by"], ["a 1.0", "b 1.0"]);
    }
}
