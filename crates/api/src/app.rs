//! Everything that the main listener answers: the router, and shortcuts past it.
//!
//! A sale is two requests, sent by everybody at once: how it goes, and an order. Finding a route costs the router several
//! boxes, copies and maps. So these two, in the form in which clients send them, are recognised by a comparison and answered
//! by the same handlers, within the same layer. The router knows them too: it answers a status in any other form (`HEAD`, an
//! encoded path), and has the descriptions of both.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::header::IF_NONE_MATCH;
use axum::http::{Method, Request, Response};
use axum::routing::future::RouteFuture;
use axum::{BoxError, Router};
use bytes::Bytes;
use http_body_util::{Either, Full};
use stampede_domain::Sku;
use tower::Service;

use crate::metrics::RouteMetrics;
use crate::observe::Observe;
use crate::orders::place;
use crate::sale_status::show;
use crate::state::ApiState;

/// What the listener serves; cheap to clone. A bare [`Router`] is one without shortcuts.
#[derive(Clone)]
pub struct App {
    shortcuts: Option<Arc<Shortcuts>>,
    router: Router,
}

/// What is answered past the router.
pub(crate) struct Shortcuts {
    state: ApiState,
    observe: Observe,
    place_order: Route,
    sale_status: Route,
}

/// One of them, with what its path says.
enum Shortcut {
    PlaceOrder,
    SaleStatus(Sku),
}

/// One of the routes.
struct Route {
    /// The path before and after its parameter; all of it is before if there is none.
    before: &'static str,
    after: &'static str,
    metrics: Arc<RouteMetrics>,
}

impl App {
    /// A router, and the shortcuts past it.
    pub(crate) fn new(shortcuts: Shortcuts, router: Router) -> Self {
        Self { shortcuts: Some(Arc::new(shortcuts)), router }
    }

    /// The router alone, which gives the same answers, slower: to be merged into another.
    pub fn into_router(self) -> Router {
        self.router
    }
}

impl From<Router> for App {
    fn from(router: Router) -> Self {
        Self { shortcuts: None, router }
    }
}

impl Shortcuts {
    /// Shortcuts to the routes with these templates.
    pub fn new(state: ApiState, observe: Observe, place_order: &'static str, sale_status: &'static str) -> Self {
        let (place_order, sale_status) = (Route::new(place_order, &observe), Route::new(sale_status, &observe));
        Self { state, observe, place_order, sale_status }
    }

    /// The shortcut for a request, if there is one.
    fn find<B>(&self, request: &Request<B>) -> Option<Shortcut> {
        let path = request.uri().path();
        match *request.method() {
            Method::POST => (path == self.place_order.before).then_some(Shortcut::PlaceOrder),
            Method::GET => self.sale_status.parameter(path)?.parse().ok().map(Shortcut::SaleStatus),
            _ => None,
        }
    }

    fn answer<B>(self: &Arc<Self>, shortcut: Shortcut, request: Request<B>) -> ShortFuture
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    {
        match shortcut {
            Shortcut::PlaceOrder => self.place_order(request),
            Shortcut::SaleStatus(sku) => self.sale_status(request, sku),
        }
    }

    fn place_order<B>(self: &Arc<Self>, request: Request<B>) -> ShortFuture
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    {
        let this = Arc::clone(self);
        let answer = async move |mut request| match this.state.limits().admit(&mut request) {
            Ok(admitted) => admitted.mark(place(&this.state, request).await),
            Err(refused) => refused.into(),
        };
        Box::pin(self.observe.around(&self.place_order.metrics, request, answer))
    }

    fn sale_status<B>(self: &Arc<Self>, request: Request<B>, sku: Sku) -> ShortFuture
    where
        B: Send + 'static,
    {
        let this = Arc::clone(self);
        let answer = move |mut request: Request<B>| {
            let admitted = this.state.limits().admit(&mut request);
            // All that is needed of it: what is kept is moved about.
            let asked = request.headers().get(IF_NONE_MATCH).cloned();
            async move {
                match admitted {
                    Ok(admitted) => admitted.mark(show(&this.state, &sku, asked.as_ref()).await),
                    Err(refused) => refused.into(),
                }
            }
        };
        Box::pin(self.observe.around(&self.sale_status.metrics, request, answer))
    }
}

impl Route {
    fn new(template: &'static str, observe: &Observe) -> Self {
        let parameter = template.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?.1)));
        let (before, after) = parameter.unwrap_or((template, ""));
        Self { before, after, metrics: observe.route(template) }
    }

    /// What stands in a path of this route for its parameter, unless it is encoded.
    fn parameter<'a>(&self, path: &'a str) -> Option<&'a str> {
        let parameter = path.strip_prefix(self.before)?.strip_suffix(self.after)?;
        (!parameter.contains(['/', '%'])).then_some(parameter)
    }
}

type ShortFuture = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// The answer to one request.
pub struct AppFuture(Answering);

enum Answering {
    Short(ShortFuture),
    Routed(Box<RouteFuture<Infallible>>),
}

impl<B> Service<Request<B>> for App
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<Full<Bytes>, Body>>;
    type Error = Infallible;
    type Future = AppFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // As the router is: always.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> AppFuture {
        if let Some(shortcuts) = &self.shortcuts
            && let Some(shortcut) = shortcuts.find(&request)
        {
            return AppFuture(Answering::Short(shortcuts.answer(shortcut, request)));
        }
        AppFuture(Answering::Routed(Box::new(self.router.call(request))))
    }
}

impl Future for AppFuture {
    type Output = Result<Response<Either<Full<Bytes>, Body>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answering::Short(answer) => answer.as_mut().poll(context).map(|answer| Ok(answer.map(Either::Left))),
            Answering::Routed(answer) => {
                Pin::new(answer).poll(context).map(|answer| answer.map(|answer| answer.map(Either::Right)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_between_what_is_fixed() {
        let route = |before, after| Route {
            before,
            after,
            metrics: crate::metrics::HttpMetrics::new(std::iter::empty()).route(None),
        };
        let status = route("/products/", "/sale-status");
        assert_eq!(status.parameter("/products/air-1/sale-status"), Some("air-1"));
        for path in
            ["/products/air-1", "/products/a/b/sale-status", "/products/%61/sale-status", "/products/sale-status", "/"]
        {
            assert_eq!(status.parameter(path), None, "{path}");
        }
    }
}
