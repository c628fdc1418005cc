//! The JSON of the HTTP interface, shared by the gateway and by our own command line.
//!
//! One set of types for both ends, so that they cannot drift apart; the OpenAPI document is generated from them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media type of `rbd export-diff`'s format 1.
pub const RBD_DIFF: &str = "application/vnd.ceph.rbd-diff";
/// Media type of `rbd export --export-format 2`'s chain stream.
pub const RBD_IMAGE: &str = "application/vnd.ceph.rbd-image";
/// Media type of a raw image.
pub const RAW: &str = "application/octet-stream";
/// Media type of plain bytes that a client of tus sends.
pub const TUS_BYTES: &str = "application/offset+octet-stream";
/// Media type of pages of a content tree, one after the other.
pub const TREE_PAGES: &str = "application/vnd.rsnap.tree-pages";
/// Media type of the lines of a check.
pub const CHECK_LINES: &str = "application/x-ndjson";

/// Request header: the target's snapshot that an incremental stream starts from.
pub const BASE: &str = "rsnap-base";
/// Request header: the content root that the sender knows the base to have.
pub const BASE_ROOT: &str = "rsnap-base-root";
/// Request header or trailer, and response header: the content root of the whole snapshot.
pub const CONTENT_ROOT: &str = "rsnap-content-root";
/// Request trailer: the BLAKE3 digest of the body, 64 hexadecimal digits, from senders that cannot tell the content root.
/// The registered digests of `Content-Digest` cost several times as much.
pub const BODY_DIGEST: &str = "rsnap-body-digest";
/// Request header: the volume's id at the source.
pub const SOURCE_VOLUME: &str = "rsnap-source-volume";
/// Request header: the snapshot's id at the source.
pub const SOURCE_SNAPSHOT: &str = "rsnap-source-snapshot";

/// Request header: a mark that the source gives to the snapshot's content and to no other.
pub const SOURCE_MARK: &str = "rsnap-source-mark";
/// Request header: the mark of the base's content at the source, for a sender that does not know its root.
pub const BASE_MARK: &str = "rsnap-base-mark";

/// Request header: the bytes of the image that a request of changes is about, `FIRST-END`, without the byte at END.
pub const RANGE: &str = "rsnap-range";

/// What the types of this interface's own problems begin with.
pub const PROBLEMS: &str = "urn:rsnap:problem:";
/// The same of problems that are registered for all.
pub const PROBLEMS_OF_IANA: &str = "https://iana.org/assignments/http-problem-types#";

/// Answer of `GET /server`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServerAnswer {
    /// `ip:port` of the gateway to send to.
    pub server: String,
    pub ip: String,
    pub port: u16,
    /// Transfers that run there now, as far as is known.
    pub connections: u64,
    /// `etcd`: the gateway with the least to do, by the counts in etcd. `self`: the gateway that answers names itself,
    /// because it has no etcd or cannot reach it.
    #[serde(default)]
    pub source: Source,
    /// How old the knowledge of the other gateways is: milliseconds since etcd last said anything. Without, etcd never
    /// has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// The name to verify in that gateway's certificate; only with a ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_name: Option<String>,
    /// SHA-256 of that gateway's certificate (DER), in hexadecimal: for callers who pin instead; only with a ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_sha256: Option<String>,
    /// The permission for one transfer: show it as `Authorization: Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// When the ticket expires, RFC 3339. A transfer must start before; it may last longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Where an answer about gateways comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Etcd,
    #[default]
    #[serde(rename = "self")]
    Own,
}

/// Answer of `GET /v1/servers`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServersAnswer {
    /// Whether etcd answers now; `self` without.
    pub source: Source,
    /// Milliseconds since etcd last said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// The one that answers first, then the others by address.
    pub servers: Vec<ServerEntry>,
}

/// One registered gateway.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServerEntry {
    /// `ip:port`.
    pub server: String,
    /// Transfers that run there.
    pub connections: u64,
    pub state: ServerState,
    /// Milliseconds since it was alive for certain. Without, that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

/// Whether a gateway can be named to senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// The gateway that answers.
    Own,
    /// It can be named.
    Ready,
    /// It has not been heard of for too long, or not yet.
    Silent,
    /// It has no record that is signed for this group, so nobody is sent there.
    Unsigned,
}

/// A snapshot on the source, in a plan request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSnapshot {
    /// The source's id.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// Content root, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// A mark that the source gives to this content and to no other, where it has such marks: 1 to 512 printable ASCII
    /// characters without spaces. It proves the same content only where the same account has sent it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
}

/// Body of `POST /v1/volumes/{volume}/snapshots/{snapshot}/plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The volume's id at the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_volume: Option<String>,
    /// The source's id of the wanted snapshot; it is one of `chain`.
    pub wanted: String,
    /// The source's chain up to the wanted snapshot, oldest first.
    pub chain: Vec<SourceSnapshot>,
    /// The sender can compare content trees: it can send what differs from any snapshot of the target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebase: bool,
}

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing: it is there.
    Present,
    Full,
    Incremental,
    /// What differs from a base that the source does not have, found by comparing content trees.
    Rebase,
    Refused,
}

/// The base of an incremental plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanBase {
    /// The target's id.
    pub snapshot: String,
    /// The source's id of the same content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_snapshot: Option<String>,
    pub root: String,
}

/// Answer to a plan request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanAnswer {
    pub action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PlanBase>,
    /// Why, in words.
    pub reason: String,
    /// The chain policy that decided.
    pub policy: String,
    /// Of `present` and `incremental`: the same content on both sides is proven, by content roots or by marks that the
    /// same account gave. False: only names and sizes agree.
    #[serde(default)]
    pub proven: bool,
}

/// A committed snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotAnswer {
    pub volume: String,
    pub snapshot: String,
    /// Bytes.
    pub size: u64,
    /// Content root.
    pub root: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_volume: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_mark: Option<String>,
    /// When it was committed, RFC 3339.
    pub created: String,
    /// Bytes that the transfer stored, without holes.
    pub stored: u64,
}

/// Answer of `GET /v1/volumes/{volume}/snapshots`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChainAnswer {
    pub volume: String,
    /// In the order of their commits.
    pub snapshots: Vec<SnapshotAnswer>,
    /// Names in the storage whose data is not whole any more.
    pub damaged: Vec<String>,
}

/// Answer of `GET /v1/sites/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteAnswer {
    pub name: String,
    pub keystone: String,
    pub region: String,
    pub gateway: String,
}

/// One line of the answer of `GET /v1/volumes/{volume}/snapshots/{snapshot}/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum CheckLine {
    /// Everything before `position` is done; `read` bytes were read.
    Progress { position: u64, read: u64 },
    /// These bytes of the image are not provably what was committed.
    Damaged {
        offset: u64,
        length: u64,
        detail: String,
        /// Whether a repair with the right bytes mends it: not where the content tree itself is damaged.
        mendable: bool,
    },
    /// The end.
    Done {
        read: u64,
        /// Bytes that are damaged.
        damaged: u64,
    },
}

/// Answer of `POST /v1/volumes/{volume}/snapshots/{snapshot}/repair`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepairAnswer {
    /// Bytes of the leaves that were sent.
    pub received: u64,
    /// Bytes that were wrong and were written again.
    pub written: u64,
}

/// RFC 9457 problem details.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable URN, `urn:rsnap:problem:<kind>`; the kinds are listed in the OpenAPI document.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What happened this time, and what to do.
    pub detail: String,
    /// The transfer's id in the gateway's log, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<String>,
    /// Of bytes for an upload: where they began, and where it goes on.
    #[serde(rename = "provided-offset", default, skip_serializing_if = "Option::is_none")]
    pub provided_offset: Option<u64>,
    #[serde(rename = "expected-offset", default, skip_serializing_if = "Option::is_none")]
    pub expected_offset: Option<u64>,
}

/// An unfinished transfer, or one that was finished not long ago.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UploadAnswer {
    /// The path of its own.
    pub path: String,
    pub volume: String,
    pub snapshot: String,
    /// Bytes of the image.
    pub size: u64,
    /// The target's snapshot that it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_volume: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_mark: Option<String>,
    /// What of the image is durable, ascending.
    pub durable: Vec<UploadRange>,
    /// When somebody last worked on it, RFC 3339.
    pub touched: String,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<SnapshotAnswer>,
}

/// Bytes of the image, without the one at `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadRange {
    pub start: u64,
    pub end: u64,
}

/// Answer of `GET /v1/volumes/{volume}/snapshots/{snapshot}/uploads`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UploadsAnswer {
    pub uploads: Vec<UploadAnswer>,
}

/// What became of one part of what was read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reread {
    /// `certificate`, `client-authorities`, `secrets` or `plugins`; stable.
    pub subject: Cow<'static, str>,
    /// What is in use now, each in words.
    pub taken: Vec<String>,
    /// Why what was there stays in use instead.
    pub fault: Option<String>,
}
