//! What every handler may use.

use std::sync::Arc;
use std::time::Duration;

use stampede_archive::Archive;
use stampede_domain::DropDefinition;
use stampede_engine::Engine;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::auth::{InvalidTokens, Origins, SessionCookie, Tokens};
use crate::filters::Filters;
use crate::health::Readiness;
use crate::limits::{InvalidProxy, Limits};
use crate::metrics::OrderMetrics;
use crate::settings::{ApiSettings, SignIn};
use crate::snapshots::Snapshots;
use crate::terms::Terms;

/// The longest that filters of buyers may be used without a confirmation, as units that come back are held for as long.
const MAX_FILTER_AGE: Duration = Duration::from_millis(DropDefinition::MAX_HOLD_MS as u64);

/// The settings cannot be used as they are.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// The tokens' part.
    #[error(transparent)]
    Tokens(#[from] InvalidTokens),
    /// Sessions are to be given out, but no token can be signed.
    #[error("sign-in is {}, but no key can sign: give an HS256 secret or a private key", .0.as_str())]
    SignInWithoutKey(SignIn),
    /// An origin is an address, a pattern, or nothing.
    #[error("not an origin such as https://shop.example: {0:?}")]
    Origin(String),
    /// A trusted proxy is none.
    #[error("trusted proxies: {0}")]
    Proxies(#[from] InvalidProxy),
    /// Two settings contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// What every handler may use; cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Inner>);

struct Inner {
    engine: Engine,
    archive: Arc<dyn Archive>,
    settings: ApiSettings,
    tokens: Tokens,
    cookie: SessionCookie,
    origins: Origins,
    snapshots: Arc<Snapshots>,
    filters: Arc<Filters>,
    terms: Terms,
    readiness: Readiness,
    order_metrics: OrderMetrics,
    limits: Arc<Limits>,
    /// Stops the background when the last state is gone, in case nobody called [`ApiState::shutdown`].
    stop: DropGuard,
    tasks: TaskTracker,
}

impl ApiState {
    /// Checks the settings and starts keeping snapshots. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`InvalidSettings`] if the settings cannot be used.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, settings: ApiSettings) -> Result<Self, InvalidSettings> {
        let tokens = Tokens::new(&settings.tokens)?;
        check(&settings, &tokens)?;
        let limits = Arc::new(Limits::new(&settings.rate_limits)?);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let snapshots = Snapshots::start(&engine, &archive, &settings, &tasks, &stop);
        let filters = Filters::start(&engine, &settings, &tasks, &stop);
        limits.keep_small(&tasks, &stop);
        Ok(Self(Arc::new(Inner {
            tokens,
            cookie: SessionCookie::new(settings.secure_cookies),
            origins: Origins::new(&settings.public_origins, &settings.cors_origins),
            snapshots,
            filters,
            terms: Terms::default(),
            readiness: Readiness::default(),
            order_metrics: OrderMetrics::new(),
            limits,
            stop: stop.drop_guard(),
            tasks,
            engine,
            archive,
            settings,
        })))
    }

    /// Stops what runs in the background and waits for it.
    pub async fn shutdown(&self) {
        self.0.stop.token().cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn archive(&self) -> &dyn Archive {
        self.0.archive.as_ref()
    }

    pub(crate) fn settings(&self) -> &ApiSettings {
        &self.0.settings
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    pub(crate) fn cookie(&self) -> SessionCookie {
        self.0.cookie
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    pub(crate) fn snapshots(&self) -> &Arc<Snapshots> {
        &self.0.snapshots
    }

    pub(crate) fn filters(&self) -> &Filters {
        &self.0.filters
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.0.terms
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    pub(crate) fn order_metrics(&self) -> &OrderMetrics {
        &self.0.order_metrics
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }
}

fn check(settings: &ApiSettings, tokens: &Tokens) -> Result<(), InvalidSettings> {
    if settings.sign_in != SignIn::Off && !tokens.can_sign() {
        return Err(InvalidSettings::SignInWithoutKey(settings.sign_in));
    }
    let origins = settings.public_origins.iter().chain(&settings.cors_origins);
    if let Some(bad) = origins.into_iter().find(|origin| !Origins::is_origin(origin)) {
        return Err(InvalidSettings::Origin(bad.clone()));
    }
    let contradictions = [
        (settings.snapshot_refresh.is_zero(), "the refresh of snapshots must take some time"),
        (
            settings.snapshot_max_age <= settings.snapshot_refresh,
            "snapshots would be too old before they are refreshed",
        ),
        (settings.shutdown_grace < settings.request_timeout, "the shutdown's grace is shorter than one request's time"),
        (
            settings.body_read_timeout >= settings.request_timeout,
            "a request would be over before its body counts as late",
        ),
        (
            [settings.rate_limits.front, settings.rate_limits.user].iter().flatten().any(|limit| !limit.is_sound()),
            "a rate limit needs a period, and its burst must come back within a year",
        ),
        (settings.filter_max_age > MAX_FILTER_AGE, "units that come back are held for at most 10 s"),
        (settings.max_connections == 0, "there must be room for a connection"),
        (!(1..=1_000).contains(&settings.quantity_max), "the largest quantity is 1 to 1000"),
    ];
    match contradictions.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, message)) => Err(InvalidSettings::Contradiction(message)),
        None => Ok(()),
    }
}
