//! Requests to one Keystone, with a token of our own that is made when it is needed.

use std::error::Error as _;
use std::fmt;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use tokio::sync::Mutex;

use super::account::{Account, Config};
use super::answer::Token;
use crate::secret;
use crate::tls::{TrustError, trust};

/// Largest answer: a token in a cloud with hundreds of roles.
const ANSWER_MAX: usize = 256 << 10;
/// A token of our own is not used any more so shortly before its end.
const MARGIN: Duration = Duration::from_secs(60);
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// Why Keystone's word is not to be had; nothing of it is a secret.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("Keystone does not answer{0}")]
    Silent(String),
    #[error("Keystone refuses the gateway's own account ({0})")]
    Refused(StatusCode),
    #[error("Keystone answers what it should not: {0}")]
    Strange(String),
    #[error(transparent)]
    Secret(#[from] secret::SecretError),
}

/// A Keystone, and our token there.
pub struct Keystone {
    client: Client,
    /// Without a slash at its end.
    url: String,
    account: Account,
    own: Mutex<Option<Own>>,
}

#[derive(Clone)]
struct Own {
    token: HeaderValue,
    expires: SystemTime,
}

impl fmt::Debug for Keystone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keystone").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Keystone {
    /// Asks nothing yet.
    pub fn new(config: &Config) -> Result<Self, TrustError> {
        let client = Client::builder()
            .tls_backend_preconfigured(trust(config.ca.as_deref())?)
            .https_only(true)
            .redirect(Policy::none())
            .no_proxy()
            .timeout(config.timeout.0)
            .user_agent(concat!("rsnap/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| TrustError::Client(error.to_string()))?;
        let (url, account) = (config.url.trim_end_matches('/').to_owned(), config.account.clone());
        Ok(Self { client, url, account, own: Mutex::default() })
    }

    /// What `subject` stands for; `None`: it is not valid. `expired`: or was, not too long ago.
    pub async fn validate(&self, subject: &HeaderValue, expired: bool) -> Result<Option<Token>, Failure> {
        let own = self.token().await?;
        let answer = self.look(subject, expired, &own).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return judge(answer).await;
        }
        // Revoked before its time, or of a Keystone whose keys are new.
        self.forget(&own).await;
        let own = self.token().await?;
        judge(self.look(subject, expired, &own).await?).await
    }

    async fn look(&self, subject: &HeaderValue, expired: bool, own: &HeaderValue) -> Result<Response, Failure> {
        let query = if expired { "nocatalog&allow_expired=1" } else { "nocatalog" };
        let request = self.client.request(Method::GET, format!("{}/auth/tokens?{query}", self.url));
        send(request.header(AUTH_TOKEN, own).header(SUBJECT_TOKEN, subject)).await
    }

    /// A token of our own.
    pub async fn token(&self) -> Result<HeaderValue, Failure> {
        let mut own = self.own.lock().await;
        if let Some(own) = own.as_ref().filter(|own| SystemTime::now() + MARGIN < own.expires) {
            return Ok(own.token.clone());
        }
        let made = self.log_in().await?;
        *own = Some(made.clone());
        Ok(made.token)
    }

    /// Says that Keystone does not take this token of ours any more.
    pub async fn forget(&self, token: &HeaderValue) {
        let mut own = self.own.lock().await;
        if own.as_ref().is_some_and(|own| own.token == token) {
            *own = None;
        }
    }

    async fn log_in(&self) -> Result<Own, Failure> {
        let file = self.account.file().clone();
        let secret = tokio::task::spawn_blocking(move || secret::read(&file)).await;
        let secret = secret.map_err(|error| Failure::Strange(error.to_string()))??;
        let request = self.client.post(format!("{}/auth/tokens?nocatalog", self.url));
        let body = self.account.request(&secret).to_string();
        let answer = send(request.header(CONTENT_TYPE, "application/json").body(body)).await?;
        if answer.status() != StatusCode::CREATED {
            return Err(refused(answer.status()));
        }
        let mut token = answer.headers().get(&SUBJECT_TOKEN).cloned().ok_or_else(|| strange("there is no token"))?;
        token.set_sensitive(true);
        let expires = Token::parse(&read(answer).await?).map_err(strange)?.expires;
        Ok(Own { token, expires })
    }
}

async fn judge(answer: Response) -> Result<Option<Token>, Failure> {
    match answer.status() {
        StatusCode::OK => Token::parse(&read(answer).await?).map(Some).map_err(strange),
        // No such token; 400: nothing that could be one.
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(None),
        status => Err(refused(status)),
    }
}

fn refused(status: StatusCode) -> Failure {
    match status.is_client_error() {
        true => Failure::Refused(status),
        false => Failure::Strange(format!("the status {status}")),
    }
}

fn strange(text: &str) -> Failure {
    Failure::Strange(text.to_owned())
}

async fn send(request: RequestBuilder) -> Result<Response, Failure> {
    request.send().await.map_err(|error| silent(&error))
}

async fn read(mut answer: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| silent(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_MAX {
            return Err(Failure::Strange(format!("more than {ANSWER_MAX} bytes")));
        }
    }
    Ok(body)
}

/// The causes alone: the error's own text has the address in it.
fn silent(error: &reqwest::Error) -> Failure {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let late = if error.is_timeout() { ": too late" } else { "" };
    Failure::Silent(causes.map(|cause| format!(": {cause}")).collect::<String>() + late)
}
