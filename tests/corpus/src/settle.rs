//! Random modules that accept their settings.
//!
//! What a gateway asks of a guest first is whether it accepts its settings, and random code hardly ever says yes: all of it
//! would end there. So in most modules that one function is replaced by one that does nothing but say yes, and what runs
//! before and after it by nothing.

use anyhow::{Context, Result};
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Function, Module};
use wasmparser::{ExternalKind, FunctionBody, Parser, Payload, TypeRef};

/// Ends the names of the function that is replaced, and of the one which frees its answer.
const NAME: &str = "#configure";
/// Begins the name of the one which frees.
const FREES: &str = "cabi_post";
/// What runs before all others.
const FIRST: &str = "_initialize";
/// Where the answer is: zeroes, which say yes, unless the module's own data is just there.
const ANSWER: i32 = 0x8000;

/// The module with its settings accepted.
pub(crate) fn settle(module: &[u8]) -> Result<Vec<u8>> {
    let (mut replacement, mut settled) = (Replacement { places: places(module)?, seen: 0 }, Module::new());
    let copied = replacement.parse_core_module(&mut settled, Parser::new(0), module);
    copied.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(settled.finish())
}

/// Which of the module's own functions are replaced.
#[derive(Debug)]
struct Places {
    /// Says yes.
    answers: u32,
    /// Do nothing.
    nothing: Vec<u32>,
}

fn places(module: &[u8]) -> Result<Places> {
    let (mut imported, mut answers, mut nothing) = (0, None, Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let (name, index) = (export.name, export.index);
                    match export.kind == ExternalKind::Func {
                        true if name == FIRST || name.starts_with(FREES) && name.ends_with(NAME) => nothing.push(index),
                        true if name.ends_with(NAME) => answers = Some(index),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let own = |index: u32| index.checked_sub(imported);
    let answers = answers.and_then(own).context("the module has no function for its settings")?;
    Ok(Places { answers, nothing: nothing.into_iter().filter_map(own).collect() })
}

struct Replacement {
    places: Places,
    /// Functions that have been copied.
    seen: u32,
}

impl Reencode for Replacement {
    type Error = std::convert::Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Self::Error>> {
        let place = self.seen;
        self.seen += 1;
        let mut function = Function::new([]);
        if place == self.places.answers {
            function.instructions().i32_const(ANSWER).end();
        } else if self.places.nothing.contains(&place) {
            function.instructions().end();
        } else {
            return wasm_encoder::reencode::utils::parse_function_body(self, code, body);
        }
        code.function(&function);
        Ok(())
    }
}
