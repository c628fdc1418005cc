//! One connection at work: the counter's requests, the watch, the lease, all in one task.
//!
//! The loop waits for whatever happens next and hands it to who decides: [`Counter`] for our own key, [`View`] for the
//! others. It decides one thing itself, when to give the connection up: an answer that does not come in time, a stream
//! that ends, and a stream that says nothing. The last is asked for a sign of life all the time, because a member that
//! was stopped or cut off leaves connections that look well for hours.

use std::pin::Pin;
use std::time::Duration;

use etcd_client::{WatchResponse, WatchStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::counter::{Counter, Known};
use super::driver::Context;
use super::etcd::{self, Answer, Connection, Entry, Fault, Group, Keeper};
use super::horizon::Moment;
use super::names::{self, Name};
use super::view::Change;

/// How many signs of life may be missing.
const SIGNS: u32 = 3;
/// The periodic refresh comes this often in the life of a lease. What proves that a gateway lives is up to three of them
/// old (its last two, and our own last one), and two may be lost.
const REFRESHES: u32 = 6;
/// How soon a newcomer is greeted by a refresh, so that it knows that we live; spread, since all do it at once.
const GREETING: Duration = Duration::from_millis(500);
/// How many refreshes that takes: the first tells only that there was one before.
const GREETINGS: u32 = 3;

type Asked = Pin<Box<dyn Future<Output = Result<Answer, Fault>> + Send>>;

/// See the module.
pub(super) struct Session<'a> {
    context: &'a mut Context,
    connection: Connection,
    watch: WatchStream,
    keeper: Option<Keeper>,
    asked: Option<(Moment, Asked)>,
    /// When the watch last said anything.
    heard: Instant,
    /// Since when an answer to the keep-alive is awaited.
    kept: Option<Instant>,
    refresh_at: Instant,
    refreshed: Instant,
    /// Refreshes that come soon.
    greetings: u32,
    /// The group record that etcd holds.
    group: Option<Group>,
}

impl<'a> Session<'a> {
    /// Connects, reads everything, and watches from there.
    pub(super) async fn open(context: &'a mut Context, endpoint: &str) -> Result<Self, Fault> {
        let connection = Connection::open(&context.config, endpoint).await?;
        let asked = context.now();
        let all = connection.read_all().await?;
        let watch = connection.watch_after(all.revision).await?;
        let keeper = match context.counter.lease() {
            Some(lease) => connection.keep(lease, context.config.ttl.0).await?,
            None => None,
        };
        context.counter.connected();
        if let (Some(lease), None) = (context.counter.lease(), &keeper) {
            context.counter.lease_gone(lease);
        }
        let group = all.all.iter().find(|change| change.key == names::GROUP.as_bytes());
        let group = group.and_then(Group::found);
        let now = Instant::now();
        let mut session = Self {
            context,
            connection,
            watch,
            keeper,
            asked: None,
            heard: now,
            kept: None,
            refresh_at: now,
            refreshed: now,
            greetings: GREETINGS,
            group: None,
        };
        session.refresh_at = now + session.period();
        session.soon();
        session.context.heard();
        session.context.take_changes();
        session.take_group(group);
        session.context.totals.connections.inc();
        let moment = session.context.now();
        session.context.shared.edit(|state| state.view.reset(all.revision, asked, moment, all.all));
        Ok(session)
    }

    /// Works until something fails, or the gateway ends.
    pub(super) async fn run(mut self) -> Fault {
        let mut signs = interval(self.context.config.timeout.0);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.ask();
            self.context.publish(true);
            let worked = tokio::select! {
                answer = answered(&mut self.asked) => self.answered(answer),
                message = self.watch.message() => self.saw(message),
                kept = kept(&mut self.keeper) => self.kept(kept),
                renewed = self.context.changed() => self.changed(renewed),
                _ = signs.tick() => self.sign().await,
                () = sleep_until(self.refresh_at) => self.refresh().await,
            };
            if let Err(fault) = worked {
                return fault;
            }
        }
    }

    fn counter(&mut self) -> &mut Counter {
        &mut self.context.counter
    }

    /// How often our key is written.
    fn period(&self) -> Duration {
        self.keeper.as_ref().map_or(self.context.config.ttl.0, |keeper| keeper.ttl) / REFRESHES
    }

    /// Sends what the counter wants next.
    fn ask(&mut self) {
        let Some(request) = self.counter().next_request() else { return };
        let entry = Entry {
            own: self.context.own,
            record: self.context.record.clone(),
            group: self.context.group_record.clone(),
            expected_group: self.group.clone(),
            ttl: self.context.config.ttl.0,
        };
        let asked = Box::pin(self.connection.clone().perform(request, entry));
        self.asked = Some((self.context.now(), asked));
    }

    fn answered(&mut self, answer: (Moment, Result<Answer, Fault>)) -> Result<(), Fault> {
        self.asked = None;
        let (asked, answer) = answer;
        let answer = answer?;
        self.context.heard();
        if answer.revision > 0 {
            self.context.shared.edit(|state| state.view.mark(answer.revision, asked));
        }
        if let Some(keeper) = answer.keeper {
            self.keeper = Some(keeper);
            self.kept = None;
        }
        if matches!(answer.reply, super::counter::Reply::Overtaken(..)) {
            self.context.totals.overtaken.inc();
        }
        self.counter().reply(answer.reply);
        if let Some(group) = answer.group {
            self.take_group(group);
        }
        Ok(())
    }

    fn saw(&mut self, message: Result<Option<WatchResponse>, etcd_client::Error>) -> Result<(), Fault> {
        let response = message?.ok_or_else(|| Fault::Lost("the watch ended".to_owned()))?;
        if response.canceled() {
            let compacted = response.compact_revision();
            let reason = response.cancel_reason();
            return Err(Fault::Lost(format!("the watch was cancelled, compacted at {compacted}: {reason}")));
        }
        self.heard = Instant::now();
        self.context.heard();
        let changes = etcd::changes(&response);
        for change in &changes {
            match names::parse(&change.key) {
                Ok(Some(Name::Server(address))) if address == self.context.own => self.saw_own(change),
                Ok(Some(Name::Group)) => self.take_group(Group::found(change)),
                _ => {}
            }
        }
        let now = self.context.now();
        if self.context.shared.edit(|state| state.view.apply(now, changes)) {
            self.greet();
        }
        Ok(())
    }

    /// Our own key: gone, or somebody else's.
    fn saw_own(&mut self, change: &Change) {
        if change.value.is_none() {
            return self.counter().vanished(change.revision);
        }
        self.counter().seen(Known { revision: change.revision, lease: change.lease });
        if self.counter().lease() != Some(change.lease) {
            self.context.tell_foreign_writer();
        }
    }

    /// With other secrets, the registry may belong to somebody else.
    fn changed(&mut self, secrets: bool) -> Result<(), Fault> {
        if secrets {
            self.take_group(self.group.clone());
        }
        Ok(())
    }

    fn take_group(&mut self, group: Option<Group>) {
        let refused = self.context.judge_group(group.as_ref().map(Group::text));
        self.counter().refuse(refused);
        self.group = group;
    }

    /// Writes soon, so that others see that we live: newcomers, and everybody when we are one.
    fn greet(&mut self) {
        self.greetings = GREETINGS;
        self.soon();
    }

    fn soon(&mut self) {
        let spread = GREETING.min(self.period() / 2);
        let soon = Instant::now() + spread / 2 + (spread / 2).mul_f64(self.context.random.fraction());
        self.refresh_at = self.refresh_at.min(soon.max(self.refreshed + spread * 2));
    }

    fn kept(
        &mut self,
        kept: Result<Option<etcd_client::LeaseKeepAliveResponse>, etcd_client::Error>,
    ) -> Result<(), Fault> {
        let answer = kept?.ok_or_else(|| Fault::Lost("the keep-alive ended".to_owned()))?;
        self.kept = None;
        self.context.heard();
        if answer.ttl() <= 0 {
            self.keeper = None;
            self.counter().lease_gone(answer.id());
        }
        Ok(())
    }

    /// Asks the watch for a sign of life, and gives up on streams that have given none.
    async fn sign(&mut self) -> Result<(), Fault> {
        let limit = self.context.config.timeout.0 * SIGNS;
        let silent = self.heard.elapsed() > limit || self.kept.is_some_and(|since| since.elapsed() > limit);
        if silent {
            return Err(Fault::Slow(limit));
        }
        Ok(self.watch.request_progress().await?)
    }

    async fn refresh(&mut self) -> Result<(), Fault> {
        self.refreshed = Instant::now();
        self.refresh_at = self.refreshed + self.period();
        self.greetings = self.greetings.saturating_sub(1);
        if self.greetings > 0 {
            self.soon();
        }
        self.counter().refresh_due();
        if let Some(keeper) = &mut self.keeper {
            keeper.requests.keep_alive().await?;
            self.kept.get_or_insert_with(Instant::now);
        }
        Ok(())
    }
}

async fn answered(asked: &mut Option<(Moment, Asked)>) -> (Moment, Result<Answer, Fault>) {
    match asked {
        Some((moment, asked)) => (*moment, asked.await),
        None => std::future::pending().await,
    }
}

async fn kept(keeper: &mut Option<Keeper>) -> Result<Option<etcd_client::LeaseKeepAliveResponse>, etcd_client::Error> {
    match keeper {
        Some(keeper) => keeper.answers.message().await,
        None => std::future::pending().await,
    }
}
