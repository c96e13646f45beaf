//! Everything that the main listener answers: the router, and shortcuts past it.
//!
//! A sale is two requests, sent by everybody at once: how it goes, and an order. Finding a route costs the router several
//! boxes, copies and maps. So these two, in the form in which clients send them, are recognised by a comparison and answered
//! by the same handlers, within the same layer. The router knows them too: it answers a status in any other form (`HEAD`, an
//! encoded path), and has the descriptions of both.

use std::convert::Infallible;
use std::future::{Ready, ready};
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
use tower::Service;

use crate::metrics::RouteMetrics;
use crate::observe::{Observe, ShortResponse};
use crate::orders::place;
use crate::sale_status::show_kept;
use crate::snapshots::SkuWatch;
use crate::state::ApiState;

/// What the listener serves; cheap to clone. A bare [`Router`] is one without shortcuts.
#[derive(Clone)]
pub struct App(Kind);

/// Each connection, and each of its requests, has a clone: so there is one count of them, not two.
#[derive(Clone)]
enum Kind {
    Bare(Router),
    Short(Arc<(Shortcuts, Router)>),
}

/// What is answered past the router.
pub(crate) struct Shortcuts {
    state: ApiState,
    observe: Observe,
    place_order: Route,
    sale_status: Route,
}

/// One of them, with what its path says. A status that is not kept up has to be looked up first, by the router's handler.
enum Shortcut {
    PlaceOrder,
    SaleStatus(Arc<SkuWatch>),
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
        Self(Kind::Short(Arc::new((shortcuts, router))))
    }

    /// The router alone, which gives the same answers, slower: to be merged into another.
    pub fn into_router(self) -> Router {
        match self.0 {
            Kind::Bare(router) => router,
            Kind::Short(both) => both.1.clone(),
        }
    }
}

impl From<Router> for App {
    fn from(router: Router) -> Self {
        Self(Kind::Bare(router))
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
            Method::GET => self.state.snapshots().kept(self.sale_status.parameter(path)?).map(Shortcut::SaleStatus),
            _ => None,
        }
    }

    async fn place_order<B>(&self, request: Request<B>) -> ShortResponse
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    {
        let answer = async |mut request| match self.state.limits().admit(&mut request) {
            Ok(admitted) => admitted.mark(place(&self.state, request).await),
            Err(refused) => refused.into(),
        };
        self.observe.around(&self.place_order.metrics, request, answer).await
    }

    fn sale_status<B>(&self, request: Request<B>, watch: &SkuWatch) -> ShortResponse {
        let answer = |mut request| match self.state.limits().admit(&mut request) {
            Ok(admitted) => admitted.mark(show_kept(&self.state, watch, request.headers().get(IF_NONE_MATCH))),
            Err(refused) => refused.into(),
        };
        self.observe.around_ready(&self.sale_status.metrics, request, answer)
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

/// The answer to one request.
pub struct AppFuture(Answering);

enum Answering {
    Ready(Ready<ShortResponse>),
    Short(Pin<Box<dyn Future<Output = ShortResponse> + Send>>),
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
        AppFuture(match &mut self.0 {
            Kind::Bare(router) => Answering::Routed(Box::new(router.call(request))),
            Kind::Short(both) => match both.0.find(&request) {
                Some(Shortcut::PlaceOrder) => {
                    let both = Arc::clone(both);
                    Answering::Short(Box::pin(async move { both.0.place_order(request).await }))
                }
                Some(Shortcut::SaleStatus(watch)) => Answering::Ready(ready(both.0.sale_status(request, &watch))),
                None => Answering::Routed(Box::new(both.1.clone().call(request))),
            },
        })
    }
}

impl Future for AppFuture {
    type Output = Result<Response<Either<Full<Bytes>, Body>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answering::Ready(answer) => Pin::new(answer).poll(context).map(|answer| Ok(answer.map(Either::Left))),
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
