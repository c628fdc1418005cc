#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}
pub(crate) fn chore(_root: &std::path::Path, _arguments: &Arguments) -> anyhow::Result<()> {
    Ok(())
}
