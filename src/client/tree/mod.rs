//! Content trees seen from the command line: a gateway's, page by page, and that of an image that lies here.
//!
//! Both are asked for pages by what their parents say of them, and nothing that does not fit is ever given out: a
//! gateway that lies, or whose store is broken, is noticed at the first page that matters. So a comparison ends with
//! knowledge about content, whoever the sites belong to.
//!
//! | module | does |
//! |---|---|
//! | `remote` | fetches pages from a gateway, many in one round trip |
//! | `local` | builds the tree of an image in one read, in a file |
//! | `difference` | descends two trees where they differ |

mod difference;
mod local;
mod remote;
#[cfg(test)]
mod tests;

pub(super) use difference::Difference;
pub(super) use local::LocalTree;
pub(super) use remote::RemoteTree;

use async_trait::async_trait;

use super::ClientError;
use crate::content::{Hash, Page, Place, Root};

/// A page, and the hash that it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) place: Place,
    pub(super) hash: Hash,
}

/// A tree whose pages are proven as they are given out.
#[async_trait]
pub(super) trait Tree: Send + Sync {
    /// Bytes of the image.
    fn size(&self) -> u64;
    fn root(&self) -> Root;
    /// The top page, proven by the root.
    async fn top(&self) -> Result<Page, ClientError>;
    /// These pages in this order, each proven by its hash. A hash of zeroes is not asked for.
    async fn pages(&self, wanted: &[Wanted]) -> Result<Vec<Page>, ClientError>;
}

/// Proves the top page of a tree.
fn proven_top(page: Page, size: u64, root: Root) -> Result<Page, ClientError> {
    match Root::new(size, page.hash()) {
        actual if actual == root => Ok(page),
        actual => Err(wrong(root.to_string(), actual.to_string())),
    }
}

/// Proves one page by what its parent says.
fn proven(page: Page, wanted: &Wanted) -> Result<Page, ClientError> {
    match page.hash() {
        actual if actual == wanted.hash => Ok(page),
        actual => Err(wrong(format!("{:?}", wanted.hash), format!("{actual:?}"))),
    }
}

fn wrong(expected: String, actual: String) -> ClientError {
    ClientError::Integrity { what: "a page of the content tree does not lead to its content root", expected, actual }
}
