//! Who is asking.

mod caller;
mod cookie;
mod keys;
mod origin;
mod tokens;

pub use keys::InvalidTokens;
pub use tokens::{Identity, IssuedToken, TokenRefused, Tokens};

pub(crate) use caller::{Caller, MaybeOperator, Operator};
pub(crate) use cookie::SessionCookie;
pub(crate) use origin::Origins;
