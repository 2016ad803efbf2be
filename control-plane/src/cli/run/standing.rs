//! What a sidecar says about itself, and when its user is told.
//!
//! The sidecar answers `GET /standing` on its admin socket. [`Told`] is pure: it says each thing once, and nothing that
//! most likely mends itself within seconds (an application that is still starting is not healthy yet).

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use http::Method;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use usher_config::value::Port;

use super::{super::client::Server, progress::Progress, role::Role};
use crate::clock;

/// How long an application may be unhealthy before its user is told: most start within this.
const UNHEALTHY_FOR: Duration = Duration::from_secs(5);

/// How long a control plane that was started together with us may need until it answers.
const UNANSWERED_FOR: Duration = Duration::from_secs(3);

/// How often a sidecar is asked while its command runs. One request on a Unix socket: nothing to notice.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long its answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What it says. Whatever it leaves out is not known to it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Standing {
    /// The configuration it runs; `None` or 0: none yet.
    pub(super) revision: Option<u64>,
    /// SPIFFE ID.
    pub(super) identity: Option<String>,
    /// It is from an earlier run.
    pub(super) identity_kept: bool,
    /// Why it is not further.
    pub(super) waiting_for: Option<String>,
    /// Absent: it does not say, so nothing speaks against it.
    pub(super) admission: Option<Admission>,
    /// Absent: no application, or not checked yet.
    pub(super) health: Option<Health>,
    /// Nobody can call its application: there is no such Service, which a notice says.
    pub(super) uncalled: bool,
    /// There may be notices in a moment.
    pub(super) checking: bool,
    /// Settings that will not work.
    pub(super) notices: Vec<String>,
}

/// The control plane's word on identity and service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "reason")]
pub(super) enum Admission {
    /// Nothing yet.
    Pending,
    /// It may be it.
    Admitted,
    /// It may not: why.
    Refused(String),
}

/// Of the application.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Health {
    health: Verdict,
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Healthy,
    Unhealthy,
}

/// Where to ask. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Ask(pub(super) Server);

impl Ask {
    /// `None`: no answer, or not one of a sidecar of this version.
    pub(super) async fn standing(&self) -> Option<Standing> {
        let body = self
            .0
            .ask(Method::GET, "/standing", bytes::Bytes::new(), ANSWER_WITHIN)
            .await
            .ok()?;
        serde_json::from_slice(&body).ok()
    }

    /// Tells the user what changes, for as long as it is polled.
    pub(super) async fn follow(self, progress: Progress, mut told: Told) -> Infallible {
        loop {
            sleep(ASK_EVERY).await;
            let Some(standing) = self.standing().await else {
                continue;
            };
            told.tell(&standing, progress);
        }
    }
}

/// A line for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// Something works now.
    Good(String),
    /// Something to mend.
    Bad(String),
}

impl News {
    fn tell(&self, progress: Progress) {
        match self {
            Self::Good(text) => progress.say(text),
            Self::Bad(text) => progress.warn(text),
        }
    }
}

/// What the user has heard.
#[derive(Debug)]
pub(super) struct Told {
    role: Role,
    /// When the configuration was kept that it began with; `None`: there was none.
    kept_at: Option<SystemTime>,
    unanswered_since: Option<Instant>,
    unanswered: bool,
    unhealthy_since: Option<Instant>,
    unhealthy: bool,
    healthy: bool,
    notices: usize,
    refused: bool,
    /// The port of the application, if somebody had it before the command started.
    taken: Option<Port>,
}

impl Told {
    /// Nothing yet.
    pub(super) fn of(role: Role, kept_at: Option<SystemTime>) -> Self {
        Self {
            role,
            kept_at,
            unanswered_since: None,
            unanswered: false,
            unhealthy_since: None,
            unhealthy: false,
            healthy: false,
            notices: 0,
            refused: false,
            taken: None,
        }
    }

    /// What is kept now, after the sidecar has looked at it: what it could not use, it has removed.
    pub(super) fn is_kept(&mut self, kept_at: Option<SystemTime>) {
        self.kept_at = self.kept_at.filter(|_| kept_at.is_some());
    }

    /// The command starts now, and somebody has its port already.
    pub(super) fn port_is_taken(&mut self, port: Option<Port>) {
        self.taken = port;
    }

    /// Says what the command should not be the first to hear of.
    pub(super) fn tell_notices(&mut self, standing: &Standing, progress: Progress) {
        for notice in self.notices(standing) {
            notice.tell(progress);
        }
    }

    /// Says what is new.
    pub(super) fn tell(&mut self, standing: &Standing, progress: Progress) {
        for news in self.news(standing, Instant::now()) {
            news.tell(progress);
        }
    }

    fn notices<'a>(&mut self, standing: &'a Standing) -> impl Iterator<Item = News> + use<'a> {
        let heard = self.notices;
        self.notices = heard.max(standing.notices.len());
        let unheard = standing.notices.iter().skip(heard);
        unheard.cloned().map(News::Bad)
    }

    /// What is new. Pure: `now` is an argument.
    pub(super) fn news(&mut self, standing: &Standing, now: Instant) -> Vec<News> {
        let mut news: Vec<News> = self.notices(standing).collect();
        match &standing.admission {
            Some(Admission::Refused(reason)) if !self.refused => {
                self.refused = true;
                news.push(News::Bad(format!(
                    "the control plane no longer lets this {} be its service: {reason}",
                    self.role
                )));
            }
            Some(Admission::Admitted) => self.refused = false,
            Some(Admission::Pending | Admission::Refused(_)) | None => {}
        }
        news.extend(self.answer(standing, now));
        if let Some(health) = standing.health.as_ref().filter(|_| !standing.uncalled) {
            news.extend(self.health(health, now));
        }
        news
    }

    /// A mistyped `--control-plane` is no reason for a command that was in the mesh before not to start; nor for its user
    /// to find out when nothing changes any more.
    fn answer(&mut self, standing: &Standing, now: Instant) -> Option<News> {
        let is_unanswered = standing.admission == Some(Admission::Pending);
        let cause = standing.waiting_for.as_ref().filter(|_| is_unanswered);
        let Some((cause, kept_at)) = cause.zip(self.kept_at) else {
            self.unanswered_since = None;
            return std::mem::take(&mut self.unanswered)
                .then(|| News::Good("the control plane answers now".into()));
        };
        let since = *self.unanswered_since.get_or_insert(now);
        if self.unanswered || now.duration_since(since) < UNANSWERED_FOR {
            return None;
        }
        self.unanswered = true;
        Some(News::Bad(format!(
            "{cause}\n  until it answers the {} goes on with the configuration kept at {}, and hears of no change",
            self.role,
            clock::text(kept_at)
        )))
    }

    fn health(&mut self, health: &Health, now: Instant) -> Option<News> {
        if health.health == Verdict::Healthy {
            let first = !std::mem::replace(&mut self.healthy, true);
            self.unhealthy_since = None;
            let again = std::mem::take(&mut self.unhealthy);
            return match (first, again, self.taken) {
                (_, true, _) => Some("the application is healthy now: callers are sent to it".into()),
                (true, false, None) => {
                    Some("the application is healthy: callers are sent to it".into())
                }
                (true, false, Some(port)) => Some(format!(
                    "who has port {port} is healthy: callers are sent there, be it the command or not"
                )),
                (false, false, _) => None,
            }
            .map(News::Good);
        }
        let since = *self.unhealthy_since.get_or_insert(now);
        if self.unhealthy || now.duration_since(since) < UNHEALTHY_FOR {
            return None;
        }
        self.unhealthy = true;
        let failure = health.failure.as_deref().unwrap_or("its check fails");
        Some(News::Bad(format!(
            "the application is not healthy, so nobody is sent to it: {failure}\n  does it listen on $HOST:$PORT? \
             what is checked: Workload.spec.healthCheck (http path, grpc service or tcp)"
        )))
    }
}

#[cfg(test)]
mod tests;
