//! The codes of problems: what each means, its status, what to change, whether to repeat it.

use std::fmt;

use axum::http::StatusCode;

/// Declares the codes as one table, so that none of the columns can be forgotten.
macro_rules! codes {
    ($($name:ident, $code:literal, $status:ident, $retryable:literal, $title:literal, $meaning:literal, $advice:literal;)*) => {
        /// A stable name for a kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as clients see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// Whether the same request, with the same key, may succeed later.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }

            /// A few words for it.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to change, or when to try again.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }
        }
    };
}

codes! {
    MalformedRequest, "malformed-request", BAD_REQUEST, false, "Malformed request",
        "The request cannot be read: its body is not JSON, or a header does not have its form.",
        "Correct what `errors` names and send it again.";
    InvalidRequest, "invalid-request", UNPROCESSABLE_ENTITY, false, "Invalid request",
        "The request can be read, but a field is unknown, missing, of the wrong type or out of range.",
        "Correct what `errors` names and send it again.";
    SaleNotActive, "sale-not-active", BAD_REQUEST, true, "Sale not active",
        "The drop does not sell in its present phase.",
        "Wait for `starts_at` if the phase is scheduled; the same key may be used then.";
    Unauthenticated, "unauthenticated", UNAUTHORIZED, false, "Unauthenticated",
        "The request needs a token, and has none that is valid.",
        "Get a token and send it as `Authorization: Bearer`.";
    Forbidden, "forbidden", FORBIDDEN, false, "Forbidden",
        "The token is valid, but may not do this.",
        "Ask with a token that may.";
    NotFound, "not-found", NOT_FOUND, false, "Not found",
        "There is no such thing, or the one who asks may not see it.",
        "Check the address.";
    MethodNotAllowed, "method-not-allowed", METHOD_NOT_ALLOWED, false, "Method not allowed",
        "The address exists, but does not know this method.",
        "Use one of the methods that `Allow` names.";
    LimitReached, "limit-reached", FORBIDDEN, false, "Limit reached",
        "The user would hold more units than the drop allows one user.",
        "Ask for fewer units, or cancel an order first.";
    SoldOut, "sold-out", CONFLICT, true, "Sold out",
        "No unit is available. A cancellation or a restock may bring some back.",
        "Try again if units come back; the same key may be used then.";
    InsufficientStock, "insufficient-stock", CONFLICT, true, "Insufficient stock",
        "Fewer units are available than were asked for.",
        "Ask for at most `available` units, with a new key.";
    PriceChanged, "price-changed", CONFLICT, false, "Price changed",
        "The order would cost something else than `expected_total`.",
        "Show the new price to the shopper and order again with it, with a new key.";
    IdempotencyKeyRequired, "idempotency-key-required", BAD_REQUEST, false, "Idempotency key required",
        "The request must carry an `Idempotency-Key`, so that repeating it is safe.",
        "Send an `Idempotency-Key` of 1 to 255 visible ASCII characters.";
    IdempotencyKeyReused, "idempotency-key-reused", UNPROCESSABLE_ENTITY, false, "Idempotency key reused",
        "The key was used for another request before.",
        "Use a new key for a new request; repeat a request unchanged.";
    ProductExists, "product-exists", CONFLICT, false, "Product exists",
        "The sku is taken by a product that says something else.",
        "Choose another sku, or send exactly what was sent before.";
    DropExists, "drop-exists", CONFLICT, false, "Drop exists",
        "The id is taken by a drop that says something else.",
        "Choose another id, or send exactly what was sent before.";
    DropOverlaps, "drop-overlaps", CONFLICT, false, "Drop overlaps",
        "Two drops of one sku may not sell at the same time.",
        "Choose another window, or end the other drop first.";
    InvalidTransition, "invalid-transition", CONFLICT, false, "Invalid transition",
        "The drop's phase does not admit this change.",
        "Look at the drop's phase.";
    CancellationClosed, "cancellation-closed", CONFLICT, false, "Cancellation closed",
        "The order cannot be cancelled any more: its time has passed, or its owner has cancelled too many.",
        "Ask an operator.";
    BodyTooLarge, "body-too-large", PAYLOAD_TOO_LARGE, false, "Body too large",
        "The body has more bytes than `limit`.",
        "Send a smaller body.";
    UnsupportedMediaType, "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, false, "Unsupported media type",
        "The body is not declared as JSON.",
        "Send JSON with `Content-Type: application/json`.";
    HeadersTooLarge, "headers-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, false, "Headers too large",
        "The request line and headers together have more bytes than `limit`.",
        "Send fewer or shorter headers.";
    RateLimited, "rate-limited", TOO_MANY_REQUESTS, true, "Rate limited",
        "One address, or one user, sends more requests than it may. A request that is answered so has no effect.",
        "Wait as long as `Retry-After` says and send it again, with the same key. Answers before this one say in \
         `RateLimit-Remaining` how many more requests may be sent at once, and in `RateLimit-Reset` in how many seconds as \
         many as `RateLimit-Limit`.";
    OutcomeUnknown, "outcome-unknown", SERVICE_UNAVAILABLE, true, "Outcome unknown",
        "The request may or may not have taken effect. It is neither a success nor a refusal.",
        "Send it again with the same key: that settles it, and never does it twice.";
    ShardRecovering, "shard-recovering", SERVICE_UNAVAILABLE, true, "Shard recovering",
        "The part of the hot state in which this drop lives is being recovered.",
        "Wait as long as `Retry-After` says and send it again, with the same key.";
    ArchiveBehind, "archive-behind", SERVICE_UNAVAILABLE, true, "Archive behind",
        "The archive is behind by so much that no new order is accepted. Nothing happened.",
        "Wait as long as `Retry-After` says and send it again, with the same key.";
    Unavailable, "unavailable", SERVICE_UNAVAILABLE, true, "Unavailable",
        "Something that the request needs does not answer. Nothing happened.",
        "Wait as long as `Retry-After` says and send it again, with the same key.";
    Internal, "internal", INTERNAL_SERVER_ERROR, true, "Internal error",
        "A fault of the server.",
        "Send it again, with the same key; if it stays, report the `request_id`.";
}

impl Code {
    /// The code with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_contracts() {
        let contract = [
            ("malformed-request", 400),
            ("invalid-request", 422),
            ("sale-not-active", 400),
            ("unauthenticated", 401),
            ("forbidden", 403),
            ("not-found", 404),
            ("method-not-allowed", 405),
            ("limit-reached", 403),
            ("sold-out", 409),
            ("insufficient-stock", 409),
            ("price-changed", 409),
            ("idempotency-key-required", 400),
            ("idempotency-key-reused", 422),
            ("product-exists", 409),
            ("drop-exists", 409),
            ("drop-overlaps", 409),
            ("invalid-transition", 409),
            ("cancellation-closed", 409),
            ("body-too-large", 413),
            ("unsupported-media-type", 415),
            ("headers-too-large", 431),
            ("rate-limited", 429),
            ("outcome-unknown", 503),
            ("shard-recovering", 503),
            ("archive-behind", 503),
            ("unavailable", 503),
            ("internal", 500),
        ];
        let table: Vec<_> = Code::ALL.iter().map(|code| (code.as_str(), code.status().as_u16())).collect();
        assert_eq!(table, contract);
    }

    #[test]
    fn what_may_pass_is_worth_a_retry() {
        for code in Code::ALL.iter().filter(|code| code.status().as_u16() >= 429 && code.status().as_u16() != 431) {
            assert!(code.retryable(), "{code}");
        }
    }
}
