//! One connection to one member of etcd, and what is asked over it.
//!
//! The client library does not open a broken keep-alive or watch again, and its own way to connect to several members
//! answers every fault with silence. So a connection here is to one member and lives as long as everything on it works:
//! whatever fails ends it, and [`super::driver`] opens the next one, to the next member. Every question has a time
//! limit; the two streams are held to theirs by [`super::session`].

use std::time::Duration;

use etcd_client::{
    Channel, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, GetOptions, KvClient,
    LeaseKeepAliveStream, LeaseKeeper, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse, WatchOptions, WatchStream,
};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::config::Config;
use super::counter::{Known, Lease, Purpose, Reply, Request, Revision};
use super::names::{self, GATEWAYS, GROUP, KEY_MAX, VALUE_MAX};
use super::view::Change;
use crate::secret::{self, SecretError};

/// Largest answer that is taken.
const ANSWER_MAX: usize = 16 << 20;
/// Keys that are read at once: some hundred bytes each where nobody but gateways writes. Where an answer is too large, it
/// is asked for again with so few that values of the greatest length that etcd takes by itself fit.
const KEYS: i64 = 10_000;
const KEYS_LARGE: i64 = 8;
/// Most keys that are looked at: twice as many as the most gateways have.
const KEYS_MAX: usize = 50_000;

/// Bytes of an answer about one key besides its value, at most: the key and some numbers.
const AROUND_A_VALUE: usize = 4096;

/// Why a connection cannot be used, or not any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("could not connect to etcd at {endpoint}: {detail}")]
    Unreachable { endpoint: String, detail: String },
    #[error("etcd does not accept etcd.user and etcd.password_file: {0}")]
    Credentials(String),
    #[error("etcd does not let etcd.user read and write the keys that begin with \"/rsnap/\": {0}")]
    Permission(String),
    #[error("etcd has not answered for {0:?}")]
    Slow(Duration),
    #[error("etcd ended the connection: {0}")]
    Lost(String),
    #[error(
        "what etcd holds under \"/rsnap/\" is more than any gateways write; find out who writes there, and remove it"
    )]
    TooLarge,
    #[error("etcd.{key}: {source}")]
    File { key: &'static str, source: SecretError },
    #[error("the etcd client failed: {0}")]
    Client(String),
}

impl Fault {
    /// Tells faults apart of which each is worth a line in the log.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Credentials(_) => "credentials",
            Self::Permission(_) => "permission",
            Self::Slow(_) => "slow",
            Self::Lost(_) => "lost",
            Self::TooLarge => "too large",
            Self::File { .. } => "file",
            Self::Client(_) => "client",
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let Error::GRpcStatus(status) = error else { return Self::Lost(error.to_string()) };
        let text = status.message().to_owned();
        match status.code() {
            // A token is forgotten when etcd ends or nobody uses it: the next connection asks for another.
            Code::Unauthenticated if text.contains("invalid auth token") => Self::Lost(text),
            Code::Unauthenticated => Self::Credentials(text),
            Code::PermissionDenied => Self::Permission(text),
            // etcd 3.4 answers a wrong password as an invalid argument.
            Code::InvalidArgument if text.contains("authentication failed") => Self::Credentials(text),
            Code::FailedPrecondition if text.contains("authentication is not enabled") => Self::Credentials(text),
            Code::OutOfRange if text.contains("message length too large") => Self::TooLarge,
            Code::Cancelled | Code::Unknown | Code::Unavailable if text.is_empty() => {
                Self::Lost("no reason".to_owned())
            }
            _ => Self::Lost(text),
        }
    }
}

/// Everything that etcd holds, at one revision.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) revision: Revision,
    pub(super) all: Vec<Change>,
}

/// The stream that keeps a lease alive.
#[derive(Debug)]
pub(super) struct Keeper {
    /// The time that etcd has granted.
    pub(super) ttl: Duration,
    pub(super) requests: LeaseKeeper,
    pub(super) answers: LeaseKeepAliveStream,
}

/// What a request of the counter came to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// Of the answer as a whole; 0 where it has none that counts.
    pub(super) revision: Revision,
    pub(super) keeper: Option<Keeper>,
    /// What the registry's group key is, where a write has met another one than was expected.
    pub(super) group: Option<Option<Group>>,
}

/// The registry's group key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    text: Vec<u8>,
    revision: Revision,
}

impl Group {
    pub(super) fn found(change: &Change) -> Option<Self> {
        Some(Self { text: change.value.clone()?, revision: change.revision })
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether the key is still that. Every gateway writes it again all the time, so its text is compared; but one that
    /// is longer than any of ours is not sent round.
    fn is_there(&self) -> Compare {
        if self.text.len() > VALUE_MAX {
            return Compare::mod_revision(GROUP, CompareOp::Equal, self.revision);
        }
        Compare::value(GROUP, CompareOp::Equal, self.text.clone())
    }
}

/// What writes carry besides the count.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) own: std::net::SocketAddr,
    /// The signed record of this gateway.
    pub(super) record: Vec<u8>,
    /// The signed group record that we write.
    pub(super) group: Vec<u8>,
    /// The group record that we expect to find.
    pub(super) expected_group: Option<Group>,
    pub(super) ttl: Duration,
}

/// A connection to one member.
#[derive(Clone)]
pub(super) struct Connection {
    client: Client,
    timeout: Duration,
}

impl Connection {
    pub(super) async fn open(config: &Config, endpoint: &str) -> Result<Self, Fault> {
        let timeout = config.timeout.0;
        let mut options = ConnectOptions::new().with_require_leader(true);
        if let (Some(user), Some(file)) = (&config.user, &config.password_file) {
            options = options.with_user(user, read("password_file", file)?);
        }
        let unreachable = |detail: String| Fault::Unreachable { endpoint: endpoint.to_owned(), detail };
        let connector = connector(config, endpoint)?;
        let channel = match tokio::time::timeout(timeout, connector.connect()).await {
            Err(_) => return Err(unreachable(format!("it has not answered for {timeout:?}"))),
            Ok(Err(fault)) => return Err(unreachable(causes(&fault))),
            Ok(Ok(channel)) => channel,
        };
        let client = within(timeout, Client::from_channel(Channel::Tonic(channel), Some(options))).await?;
        Ok(Self { client, timeout })
    }

    fn keys(&self) -> KvClient {
        self.client.kv_client().max_decoding_message_size(ANSWER_MAX)
    }

    /// Everything that the gateways have written, and of what strangers have written the beginnings.
    pub(super) async fn read_all(&self) -> Result<Snapshot, Fault> {
        let (mut revision, mut all, mut from, mut keys) = (0, Vec::new(), Vec::from(GATEWAYS), KEYS);
        loop {
            let options = GetOptions::new().with_range(names::END).with_limit(keys).with_revision(revision);
            let mut answer = match within(self.timeout, self.keys().get(from.clone(), Some(options))).await {
                Err(Fault::TooLarge) if keys > KEYS_LARGE => {
                    keys = KEYS_LARGE;
                    continue;
                }
                answer => answer?,
            };
            if revision == 0 {
                revision = answer.header().map_or(0, |header| header.revision());
            }
            let more = answer.more();
            let pairs = answer.take_kvs();
            all.extend(pairs.iter().map(change));
            if all.len() > KEYS_MAX {
                return Err(Fault::TooLarge);
            }
            match pairs.last() {
                Some(last) if more => from = [last.key(), b"\0"].concat(),
                _ => return Ok(Snapshot { revision, all }),
            }
        }
    }

    /// What changes after `revision`.
    pub(super) async fn watch_after(&self, revision: Revision) -> Result<WatchStream, Fault> {
        let options = WatchOptions::new().with_range(names::END).with_start_revision(revision + 1).with_fragment();
        let mut client = self.client.watch_client().max_decoding_message_size(ANSWER_MAX);
        within(self.timeout, client.watch(GATEWAYS, Some(options))).await
    }

    /// The value of one key, whosever it is; `TooLarge` when it is longer than `largest`.
    pub(super) async fn value(&self, key: &str, largest: usize) -> Result<Option<Vec<u8>>, Fault> {
        let mut client = self.client.kv_client().max_decoding_message_size(largest + AROUND_A_VALUE);
        let answer = within(self.timeout, client.get(key, None)).await?;
        match answer.kvs().first().map(|pair| pair.value()) {
            Some(value) if value.len() > largest => Err(Fault::TooLarge),
            value => Ok(value.map(<[u8]>::to_vec)),
        }
    }

    /// Opens the stream that keeps `lease` alive; `None` when etcd does not know the lease.
    pub(super) async fn keep(&self, lease: Lease, ttl: Duration) -> Result<Option<Keeper>, Fault> {
        let mut client = self.client.lease_client();
        let opened = tokio::time::timeout(self.timeout, client.keep_alive(lease)).await;
        match opened.map_err(|_| Fault::Slow(self.timeout))? {
            Ok((requests, answers)) => Ok(Some(Keeper { ttl, requests, answers })),
            Err(Error::LeaseKeepAliveError(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Does what the counter wants.
    pub(super) async fn perform(self, request: Request, entry: Entry) -> Result<Answer, Fault> {
        match request {
            Request::Grant => self.grant(entry.ttl).await,
            Request::Read => self.read(&entry).await,
            Request::Write { .. } => self.write(request, &entry).await,
            Request::Delete { expected } => {
                let (server, gateway) = (names::server(entry.own), names::gateway(entry.own));
                let delete = |key| TxnOp::delete(key, None::<DeleteOptions>);
                let transaction = Txn::new()
                    .when([Compare::mod_revision(server.clone(), CompareOp::Equal, expected)])
                    .and_then([delete(server.clone()), delete(gateway)])
                    .or_else([TxnOp::get(server, None)]);
                let answer = within(self.timeout, self.keys().txn(transaction)).await?;
                Ok(judge(&answer, expected, &entry))
            }
        }
    }

    async fn grant(&self, ttl: Duration) -> Result<Answer, Fault> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let granted = within(self.timeout, self.client.lease_client().grant(seconds, None)).await?;
        let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or_default());
        let keeper = self.keep(granted.id(), ttl).await?;
        Ok(Answer { reply: Reply::Granted(granted.id()), revision: 0, keeper, group: None })
    }

    async fn read(&self, entry: &Entry) -> Result<Answer, Fault> {
        let answer = within(self.timeout, self.keys().get(names::server(entry.own), None)).await?;
        let known = answer.kvs().first().map_or(Known::ABSENT, known);
        let revision = answer.header().map_or(0, |header| header.revision());
        Ok(Answer { reply: Reply::Found(known, revision), revision, keeper: None, group: None })
    }

    async fn write(&self, request: Request, entry: &Entry) -> Result<Answer, Fault> {
        let Request::Write { count, expected, lease, purpose, .. } = request else {
            return Err(Fault::Client("a write was expected".to_owned()));
        };
        let server = names::server(entry.own);
        let put = |key: String, value: Vec<u8>| TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)));
        let mut compares = vec![Compare::mod_revision(server.clone(), CompareOp::Equal, expected)];
        let mut puts = vec![put(server.clone(), count.to_string().into_bytes())];
        let mut gets = vec![TxnOp::get(server, None)];
        if purpose != Purpose::Change {
            compares.push(match &entry.expected_group {
                None => Compare::create_revision(GROUP, CompareOp::Equal, 0),
                Some(group) => group.is_there(),
            });
            puts.push(put(names::gateway(entry.own), entry.record.clone()));
            puts.push(put(GROUP.to_owned(), entry.group.clone()));
            gets.push(TxnOp::get(GROUP, None));
        }
        let transaction = Txn::new().when(compares).and_then(puts).or_else(gets);
        let answer = tokio::time::timeout(self.timeout, self.keys().txn(transaction)).await;
        match answer.map_err(|_| Fault::Slow(self.timeout))? {
            Ok(answer) => Ok(judge(&answer, expected, entry)),
            Err(error) if is_lease_gone(&error) => {
                Ok(Answer { reply: Reply::LeaseGone, revision: 0, keeper: None, group: None })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a transaction on our key came to. When only the group key differed, the caller is told what it is.
fn judge(answer: &TxnResponse, expected: Revision, entry: &Entry) -> Answer {
    let revision = answer.header().map_or(0, |header| header.revision());
    if answer.succeeded() {
        return Answer { reply: Reply::Done(revision), revision, keeper: None, group: None };
    }
    let mut found = answer.op_responses().into_iter().filter_map(|response| match response {
        TxnOpResponse::Get(get) => Some(get),
        _ => None,
    });
    let known = found.next().and_then(|get| get.kvs().first().map(known)).unwrap_or(Known::ABSENT);
    let group = found.next().map(|get| get.kvs().first().and_then(|pair| Group::found(&change(pair))));
    let group = group.filter(|group| *group != entry.expected_group);
    debug_assert!(known.revision != expected || group.is_some());
    Answer { reply: Reply::Overtaken(known, revision), revision, keeper: None, group }
}

fn known(pair: &etcd_client::KeyValue) -> Known {
    Known { revision: pair.mod_revision(), lease: pair.lease() }
}

/// A key that was read.
fn change(pair: &etcd_client::KeyValue) -> Change {
    let (key, value) = (names::cut(pair.key(), KEY_MAX), Some(names::cut(pair.value(), VALUE_MAX)));
    Change { key, value, revision: pair.mod_revision(), lease: pair.lease() }
}

/// The changes that a watch brought.
pub(super) fn changes(response: &etcd_client::WatchResponse) -> Vec<Change> {
    let changed = |event: &etcd_client::Event| {
        let pair = event.kv()?;
        let deleted = event.event_type() == etcd_client::EventType::Delete;
        let change = change(pair);
        Some(if deleted { Change { value: None, ..change } } else { change })
    };
    response.events().iter().filter_map(changed).collect()
}

fn is_lease_gone(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.code() == Code::NotFound && status.message().contains("lease"))
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Fault::Slow(limit)),
    }
}

fn connector(config: &Config, endpoint: &str) -> Result<Endpoint, Fault> {
    let unreachable =
        |fault: tonic::transport::Error| Fault::Unreachable { endpoint: endpoint.to_owned(), detail: causes(&fault) };
    let connector = Endpoint::from_shared(endpoint.to_owned()).map_err(unreachable)?.connect_timeout(config.timeout.0);
    if endpoint.starts_with("http://") {
        return Ok(connector);
    }
    let mut tls = match &config.ca {
        Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca", file)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
        tls = tls.identity(Identity::from_pem(read("certificate", certificate)?, read("key", key)?));
    }
    connector.tls_config(tls).map_err(unreachable)
}

fn read(key: &'static str, file: &std::path::Path) -> Result<String, Fault> {
    secret::read(file).map_err(|source| Fault::File { key, source })
}

/// An error with what caused it: the library's own text says only "transport error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
