//! Every route, in one table.

use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::{App, Shortcuts};
use crate::limits::limit_requests;
use crate::observe::Observe;
use crate::state::ApiState;
use crate::{drops, health, openapi, orders, page, products, sale_status, sessions};

const PREFIX: &str = "/api/v1";
const PLACE_ORDER: &str = "/api/v1/orders";
const SALE_STATUS: &str = "/api/v1/products/{sku}/sale-status";
const DOCUMENT: &str = "/api/v1/openapi.json";
const DOCS: &str = "/docs";

/// The routes with their descriptions.
pub(crate) fn table() -> OpenApiRouter<ApiState> {
    let api = OpenApiRouter::new()
        .routes(routes!(sessions::create_session))
        .routes(routes!(sessions::get_session, sessions::delete_session))
        .routes(routes!(products::create_product, products::list_products))
        .routes(routes!(products::get_product))
        .routes(routes!(sale_status::get_sale_status))
        .routes(routes!(drops::create_drop, drops::list_drops))
        .routes(routes!(drops::get_drop, drops::amend_drop))
        .routes(routes!(drops::get_stock))
        .routes(routes!(drops::pause_drop))
        .routes(routes!(drops::resume_drop))
        .routes(routes!(drops::close_drop))
        .routes(routes!(drops::cancel_drop))
        .routes(routes!(drops::restock_drop))
        .routes(routes!(orders::place_order, orders::list_orders))
        .routes(routes!(orders::get_order, orders::cancel_order));
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(health::get_health))
        .routes(routes!(health::get_readiness))
        .routes(routes!(page::get_problem_page))
        .nest(PREFIX, api)
}

/// Everything that the main listener answers.
pub fn router(state: ApiState) -> App {
    let (routes, document) = table().split_for_parts();
    let others = [DOCUMENT.to_owned(), DOCS.to_owned(), format!("{DOCS}/"), format!("{DOCS}/{{*rest}}")];
    let templates: Vec<String> = document.paths.paths.keys().cloned().chain(others).collect();
    let observe = Observe::new(state.settings(), templates.into_iter(), PLACE_ORDER);
    let routes = routes
        .merge(SwaggerUi::new(DOCS).url(DOCUMENT, document))
        .fallback(page::not_found)
        .method_not_allowed_fallback(page::method_not_allowed);
    let routes =
        if state.limits().are_on() { routes.layer(from_fn_with_state(state.clone(), limit_requests)) } else { routes };
    let router = routes.layer(observe.clone()).with_state(state.clone());
    App::new(Shortcuts::new(state, observe, PLACE_ORDER, SALE_STATUS), router)
}
