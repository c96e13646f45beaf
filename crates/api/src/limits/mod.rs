//! Rate limits: one in front of everything, by client address, and one by user. Each process counts for itself.
//!
//! Both are off unless they are set, and then cost nothing: there is no layer. A request that is over a limit has no
//! effect at all. The one in front stands before the token is verified and the body is read, so refusing costs least where
//! most is refused; the one by user stands where the token has just been verified, before anything else is asked.

mod address;
mod keys;
mod limiter;
mod proxies;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use stampede_domain::{UserDigest, UserId};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::settings::RateLimitSettings;
use crate::state::ApiState;

use address::{AddressKey, client_of};
use limiter::{Limiter, Standing};

pub use proxies::{InvalidProxy, TrustedProxies};

pub(crate) use limiter::{LimiterName, Refused};

/// How often keys that are at rest are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// The limiters that are on.
pub(crate) struct Limits {
    front: Option<Limiter<AddressKey>>,
    user: Option<Limiter<UserDigest>>,
    proxies: TrustedProxies,
}

/// From where a connection comes; the listener puts it into each request, if the limiter in front is on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub IpAddr);

/// How a request's user stands, once that is known: a handler's extractor finds it out, and the layer around it says it.
#[derive(Clone, Default)]
struct UserStanding(Arc<OnceLock<Standing>>);

/// A request that the limiter in front let pass.
pub(crate) struct Admitted {
    front: Option<Standing>,
    user: Option<UserStanding>,
}

impl Limits {
    /// The limiters of these settings.
    ///
    /// # Errors
    /// [`InvalidProxy`] if one of the trusted proxies is none.
    pub fn new(settings: &RateLimitSettings) -> Result<Self, InvalidProxy> {
        let keys_max = settings.keys_max;
        Ok(Self {
            front: settings.front.map(|limit| Limiter::new(LimiterName::Front, limit, keys_max)),
            user: settings.user.map(|limit| Limiter::new(LimiterName::User, limit, keys_max)),
            proxies: TrustedProxies::parse(&settings.trusted_proxies)?,
        })
    }

    /// Whether there is anything to limit.
    pub fn are_on(&self) -> bool {
        self.front.is_some() || self.user.is_some()
    }

    /// Forgets keys that are at rest, again and again until `stop`.
    pub fn keep_small(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        if !self.are_on() {
            return;
        }
        let (limits, stop) = (Arc::clone(self), stop.clone());
        tasks.spawn(async move {
            let mut ticks = interval(FORGET_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                limits.front.iter().for_each(Limiter::forget_at_rest);
                limits.user.iter().for_each(Limiter::forget_at_rest);
            }
        });
    }

    /// Asks the limiter in front, and has the one by user say how it stands.
    pub fn admit<B>(&self, request: &mut Request<B>) -> Result<Admitted, Refused> {
        let front = match &self.front {
            Some(limiter) => {
                // Requests that came by another listener than ours are one client, which errs on the safe side.
                let peer = request.extensions().get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| *peer);
                let client = client_of(peer, request.headers(), &self.proxies);
                Some(limiter.check(&AddressKey::from(client))?)
            }
            None => None,
        };
        let user = self.user.is_some().then(UserStanding::default);
        if let Some(user) = &user {
            request.extensions_mut().insert(user.clone());
        }
        Ok(Admitted { front, user })
    }

    /// Counts a request of a user whose token was verified.
    pub fn check_user(&self, parts: &Parts, user_id: &UserId) -> Result<(), Problem> {
        let Some(limiter) = &self.user else { return Ok(()) };
        let checked = limiter.check(&UserDigest::of(user_id));
        let standing = match &checked {
            Ok(standing) => *standing,
            Err(refused) => refused.standing,
        };
        if let Some(UserStanding(cell)) = parts.extensions.get() {
            // Set before only if one request was verified twice; then it was counted twice, and the first is as true.
            let _ = cell.set(standing);
        }
        checked.map(|_| ()).map_err(Problem::from)
    }
}

/// Asks the limiters before a request goes any further, and writes on its answer how its sender stands.
///
/// Probes of health are passed over: a balancer that probes often must not lose a replica by it. Preflights of browsers
/// never come here: they are answered outside, cost as little as a refusal, and a page could not read their 429.
pub(crate) async fn limit_requests(State(state): State<ApiState>, mut request: Request<Body>, next: Next) -> Response {
    if health::is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    match state.limits().admit(&mut request) {
        Ok(admitted) => {
            let mut response = next.run(request).await;
            admitted.write(response.headers_mut());
            response
        }
        Err(refused) => Reply::from(refused).into_response(),
    }
}

impl Admitted {
    /// Writes on an answer how its sender stands.
    pub fn mark(self, mut reply: Reply) -> Reply {
        self.write(&mut reply.headers);
        reply
    }

    fn write(self, headers: &mut HeaderMap) {
        let user = self.user.and_then(|UserStanding(cell)| cell.get().copied());
        // Where both count, the client must keep to the one with less left; a refusal here is always the user's.
        if let Some(standing) = user.into_iter().chain(self.front).min_by_key(|standing| standing.remaining) {
            standing.write(headers);
        }
    }
}

impl Standing {
    fn write(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset_s));
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        let standing = refused.standing;
        let mut reply = Self::from(Problem::from(refused));
        standing.write(&mut reply.headers);
        reply
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::RateLimited { sender: refused.limiter.sender(), retry_after_s: refused.retry_after_s }
    }
}
