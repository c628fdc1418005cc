//! `rsnap repair`.

use super::args::RepairArgs;
use super::output::{Output, Stream};
use super::verify::{held, local, other_site};
use crate::client::ClientError;
use crate::client::repair as engine;
use crate::client::verify::Other;
use crate::retry::Backoff;

pub(super) async fn repair(args: &RepairArgs, output: &Output) -> Result<(), ClientError> {
    let backoff = Backoff { retries: args.retries, ..Backoff::default() };
    let damaged = held(&args.volume, &args.snapshot)?;
    let intact = match (other_site(&args.other, &damaged)?, &args.source) {
        (Some(held), _) => Other::Held(held),
        (None, Some(source)) => local(source, &args.ceph).await?,
        (None, None) => return Err(ClientError::Usage("name SOURCE or --other-gateway".to_owned())),
    };
    let reporter = output.reporter(Stream::Answers);
    let repaired = engine::repair(&damaged, &intact, backoff, &*reporter).await?;
    reporter.end();
    output.repaired(&repaired)?;
    match repaired.unmendable {
        0 => Ok(()),
        left => {
            let name = &repaired.side.name;
            Err(ClientError::Damaged(format!("{left} bytes of snapshot {name} cannot be mended in place")))
        }
    }
}
