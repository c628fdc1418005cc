//! `GET /v1/volumes/{volume}/snapshots/{snapshot}/tree`: pages of a snapshot's content tree.

#![allow(unused_qualifications, reason = "the macro of utoipa qualifies the query types that it is given")]

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Action;
use super::caller::Caller;
use super::names::{self, Target};
use super::problem::{Kind, Problem};
use super::{Gateway, answers};
use crate::api;
use crate::content::{HEIGHT, Place};
use crate::transfer::PAGES_MAX;

/// Which pages are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TreeQuery {
    /// Levels with the numbers of their pages, such as `10:0;2:7-9,12`; at most 2048 pages.
    pages: String,
}

/// Read pages of the content tree
///
/// A page is the hashes of the 16 nodes below it, 512 bytes; the answer is the pages that were asked for, in that order.
/// Level 1 has a page for each MiB, with the hashes of its 64 KiB leaves; each level above has one for 16 pages of the
/// level below; level 10 has one page, whose hash is with the size in the content root. Hash each page and find that hash
/// in its parent, up to the root: then nobody has to be believed. Two snapshots are compared by descending only where
/// the hashes differ. A hash of zeroes stands for zeroes.
#[utoipa::path(
    get,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/tree",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        TreeQuery,
    ),
    responses(
        (status = 200, description = "The pages", body = Vec<u8>, content_type = "application/vnd.rsnap.tree-pages"),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn tree(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    target: Target,
    uri: Uri,
) -> Result<Response, Problem> {
    caller.permit(Action::Read(&target.volume))?;
    let places = places(&names::query::<TreeQuery>(&uri)?.pages)?;
    let permit = gateway.transfers.admit_read()?;
    let image = gateway.transfers.open(&target.volume, &target.snapshot).await?;
    let root = image.record().root;
    let pages = gateway.transfers.pages(permit, image, &places).await?;
    gateway.metrics.sent_bytes.inc_by(u64::try_from(pages.len()).unwrap_or_default());
    let described = [(CONTENT_TYPE, HeaderValue::from_static(api::TREE_PAGES))];
    let [_, root] = answers::identity(&root);
    Ok((described, [root], pages).into_response())
}

fn places(list: &str) -> Result<Vec<Place>, Problem> {
    let listed = rsnap_wire::pages::parse(list, PAGES_MAX);
    let listed = listed.map_err(|fault| Problem::new(Kind::BadRequest, fault.to_string()))?;
    let place = |(level, index)| {
        Place::new(level, index).ok_or_else(|| {
            let detail = format!("the tree has levels 1 to {HEIGHT}, and no page {index} of level {level}");
            Problem::new(Kind::BadRequest, detail)
        })
    };
    listed.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_outside_the_tree_are_refused() {
        assert_eq!(places("10:0;1:3-4").unwrap().len(), 3);
        for list in ["0:0", "11:0", "10:1", "1:0-2048", "1", ""] {
            assert_eq!(places(list).unwrap_err().kind(), Kind::BadRequest, "{list:?}");
        }
    }
}
