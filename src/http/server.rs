//! `GET /server`: the address to send to, and on request the permission to do so.
//!
//! The caller reached us through a load balancer that also serves the rest of the cloud; a transfer of days must not
//! go through it. The answer is the address of the gateway with the least to do, or this gateway's own when it knows no
//! other. Nothing is asked of anybody for it: what is known of the other gateways is here already. What a caller must
//! verify at another gateway comes from that gateway's signed record and never from the key that holds its count.

#![allow(unused_qualifications, reason = "the macro of utoipa qualifies the query types that it is given")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, Uri};
use serde::Deserialize;
use utoipa::IntoParams;

use super::audit::{Entry, Event};
use super::auth::{Action, Wanted};
use super::caller::Caller;
use super::names;
use super::problem::{Kind, Problem};
use super::{Gateway, answers};
use crate::api::{self, ServerAnswer, ServerEntry, ServerState, ServersAnswer};
use crate::cluster::{self, Choice, Member};
use crate::content::SIZE_MAX;

/// What a ticket is wanted for. All but the project, or none.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerQuery {
    /// The target's volume id.
    volume: Option<String>,
    /// The target's snapshot id; for a whole chain several, separated by commas.
    snapshot: Option<String>,
    /// Size of the volume, in bytes.
    size: Option<u64>,
    /// The project that owns the volume.
    project: Option<String>,
}

impl ServerQuery {
    fn wanted(self) -> Result<Option<Wanted>, Problem> {
        match (self.volume, self.snapshot, self.size) {
            (Some(volume), Some(snapshots), Some(size)) if size <= SIZE_MAX => Ok(Some(Wanted {
                project: self.project.map(|project| project.parse()).transpose()?,
                volume: volume.parse()?,
                snapshots: names::snapshots(&snapshots)?,
                size,
                holder: None,
            })),
            (None, None, None) if self.project.is_none() => Ok(None),
            (_, _, Some(size)) if size > SIZE_MAX => {
                Err(Problem::new(Kind::ImageSize, format!("an image has at most {SIZE_MAX} bytes")))
            }
            _ => Err(Problem::new(Kind::BadRequest, "a ticket needs volume, snapshot and size")),
        }
    }
}

/// Where to send
///
/// The address to send to: of the gateway with the fewest transfers, or of the one that answers when it knows no other.
/// Senders that come at the same time are told different ones. With volume, snapshot and size also a ticket for that
/// transfer, and what to verify in the certificate at that address.
#[utoipa::path(
    get,
    path = "/server",
    params(ServerQuery),
    responses(
        (status = 200, description = "The address", body = ServerAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn server(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
) -> Result<([(HeaderName, &'static str); 1], Json<ServerAnswer>), Problem> {
    caller.permit(Action::Server)?;
    let wanted = names::query::<ServerQuery>(&uri)?.wanted()?;
    let choice = gateway.cluster.choose();
    if choice.is_own() {
        gateway.refuse_when_stopping()?;
    }
    let plain = address(&choice);
    let answer = match wanted {
        None => plain,
        Some(wanted) => with_ticket(&gateway, &caller, &choice, plain, wanted).await?,
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)))
}

fn address(choice: &Choice) -> ServerAnswer {
    ServerAnswer {
        server: choice.address.to_string(),
        ip: choice.address.ip().to_string(),
        port: choice.address.port(),
        connections: choice.count,
        source: source(choice.source),
        age_ms: choice.age.map(milliseconds),
        tls_name: None,
        tls_sha256: None,
        ticket: None,
        expires: None,
    }
}

fn source(source: cluster::Source) -> api::Source {
    match source {
        cluster::Source::Etcd => api::Source::Etcd,
        cluster::Source::Own => api::Source::Own,
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// All gateways
///
/// The gateways that are registered in etcd, as this one knows them: with their transfers, and whether they can be named.
#[utoipa::path(
    get,
    path = "/v1/servers",
    responses(
        (status = 200, description = "The gateways", body = ServersAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn servers(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
) -> Result<([(HeaderName, &'static str); 1], Json<ServersAnswer>), Problem> {
    caller.permit(Action::Servers)?;
    let known = gateway.cluster.members();
    let own = known.members.first().map(|(member, _)| member.address);
    let entry = |(member, age): (Member, Option<Duration>)| {
        let ready = age.is_some_and(|age| gateway.cluster.lifetime().is_none_or(|lifetime| age < lifetime));
        let state = match (own == Some(member.address), member.signed, ready) {
            (true, ..) => ServerState::Own,
            (_, false, _) => ServerState::Unsigned,
            (_, _, true) => ServerState::Ready,
            (_, _, false) => ServerState::Silent,
        };
        ServerEntry {
            server: member.address.to_string(),
            connections: member.count,
            state,
            age_ms: age.map(milliseconds),
        }
    };
    let servers = known.members.into_iter().map(entry).collect();
    let answer = ServersAnswer { source: source(known.source), age_ms: known.age.map(milliseconds), servers };
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)))
}

async fn with_ticket(
    gateway: &Gateway,
    caller: &Caller,
    choice: &Choice,
    plain: ServerAnswer,
    wanted: Wanted,
) -> Result<ServerAnswer, Problem> {
    let entry = Entry {
        volume: wanted.volume.to_string(),
        snapshots: wanted.snapshots.iter().map(ToString::to_string).collect(),
        ..Entry::new(Event::Ticket, caller.label(), &caller.origin)
    };
    let wanted = Wanted { holder: caller.sender(), ..wanted };
    let minted = gateway.authority.mint(wanted, SystemTime::now()).map_err(Problem::from);
    let nonce = minted.as_ref().ok().map(|(_, claims)| claims.jti.clone());
    gateway.audit.record(Entry { ticket: nonce, ..entry.ended(minted.as_ref()) }).await;
    let (ticket, claims) = minted?;
    let (tls_name, tls_sha256) = match &choice.record {
        Some(record) => (record.tls_name.clone(), record.tls_sha256.clone()),
        None => {
            let certificate = gateway.certificate.now();
            (certificate.name.clone(), certificate.sha256.clone())
        }
    };
    Ok(ServerAnswer {
        tls_name: Some(tls_name),
        tls_sha256: Some(tls_sha256),
        ticket: Some(ticket),
        expires: Some(answers::moment(UNIX_EPOCH + Duration::from_secs(claims.exp))),
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &str) -> Result<Option<Wanted>, Kind> {
        let uri = format!("/server?{query}").parse().unwrap();
        names::query::<ServerQuery>(&uri).and_then(ServerQuery::wanted).map_err(|problem| problem.kind())
    }

    #[test]
    fn a_ticket_is_asked_for_with_everything_or_not_at_all() {
        assert!(wanted("").unwrap().is_none());
        let all = wanted("volume=v1&snapshot=s1,s2&size=4096&project=p1").unwrap().unwrap();
        assert_eq!((all.snapshots.len(), all.size, all.project.unwrap().as_str()), (2, 4096, "p1"));
        for (query, kind) in [
            ("volume=v1", Kind::BadRequest),
            ("project=p1", Kind::BadRequest),
            ("volume=v1&snapshot=s1", Kind::BadRequest),
            ("volume=v1&snapshot=s1&size=big", Kind::BadRequest),
            ("volume=v1&snapshot=s1&size=-1", Kind::BadRequest),
            ("volume=v1&snapshot=s1&size=18446744073709551615", Kind::ImageSize),
            ("volume=..%2Fv1&snapshot=s1&size=1", Kind::BadName),
            ("volume=v1&snapshot=&size=1", Kind::BadName),
            ("volum=v1", Kind::BadRequest),
        ] {
            assert_eq!(wanted(query).unwrap_err(), kind, "{query}");
        }
    }
}
