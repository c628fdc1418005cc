//! `GET /v1/sites/{name}`: where a site is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::Gateway;
use super::auth::Action;
use super::caller::Caller;
use super::problem::Problem;
use crate::api::{self, SiteAnswer};
use crate::id::SiteName;
use crate::plugin::Site;

/// Resolve a site
///
/// The addresses of a site, as the site resolver knows them.
#[utoipa::path(
    get,
    path = "/v1/sites/{name}",
    params(("name" = String, Path, description = "The site's name")),
    responses(
        (status = 200, description = "The site", body = SiteAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn site(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<SiteAnswer>, Problem> {
    caller.permit(Action::Sites)?;
    let name: SiteName = name.parse()?;
    Ok(Json(gateway.transfers.site(&name).await?.into()))
}

impl From<Site> for SiteAnswer {
    fn from(site: Site) -> Self {
        Self { name: site.name.into(), keystone: site.keystone, region: site.region, gateway: site.gateway }
    }
}
