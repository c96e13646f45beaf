//! Everybody who may ask: with a token of ours, of a trusted issuer, a forged one, in a header or in a cookie.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use stampede_api::{Role, TokenAlgorithm, TokenKey, TokenSettings, TrustedIssuer};
use stampede_testkit::TestApp;

/// The key by which a `TestApp` signs, and one that is as long.
const SECRET: &str = "a secret of the tests, long enough for HS256";
const OTHER_SECRET: &str = "another secret, just as long as the first one";

const RSA_PUBLIC: &str = include_str!("../../src/auth/tokens/keys/test_rsa.public.pem");
const ED_PUBLIC: &str = include_str!("../../src/auth/tokens/keys/test_ed.public.pem");
const EC_PUBLIC: &str = include_str!("../../src/auth/tokens/keys/test_ec.public.pem");
const EC_PRIVATE: &str = include_str!("../../src/auth/tokens/keys/test_ec.private.pem");

/// The trusted issuer: its subjects are `acme:…`, and of the words in its `role` only `admin` means anything here.
const FOREIGN_ISSUER: &str = "https://login.acme.example";

/// Far in the future, long past, and in between.
const LATER_S: u64 = 4_000_000_000;
const PAST_S: u64 = 1_700_000_000;

/// A page that is none of ours.
pub const FOREIGN_ORIGIN: &str = "https://evil.example";

/// What a caller counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody without a token, or with one that is not believed.
    Nobody,
    /// The shopper whose order it is.
    Owner,
    /// A shopper with another id.
    OtherShopper,
    /// Somebody who runs sales.
    Operator,
    /// The owner or an operator, by a cookie that came with a request which some page may have made the browser send:
    /// good for reading, as the page cannot see the answer, and for nothing else.
    StrayCookie(Reader),
}

/// Who reads by a stray cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The owner.
    Owner,
    /// An operator.
    Operator,
}

/// Somebody who asks.
pub struct Caller {
    /// In words, for the message of a failure.
    pub name: &'static str,
    /// What the service must take them for.
    pub standing: Standing,
    authorization: Option<String>,
    cookie: Option<String>,
    origin: Option<String>,
}

impl Caller {
    fn new(name: &'static str, standing: Standing) -> Self {
        Self { name, standing, authorization: None, cookie: None, origin: None }
    }

    fn bearer(self, token: impl AsRef<str>) -> Self {
        Self { authorization: Some(format!("Bearer {}", token.as_ref())), ..self }
    }

    fn authorization(self, header: String) -> Self {
        Self { authorization: Some(header), ..self }
    }

    fn cookie(self, token: &str) -> Self {
        Self { cookie: Some(format!("theme=dark; stampede={token}")), ..self }
    }

    fn origin(self, origin: &str) -> Self {
        Self { origin: Some(origin.to_owned()), ..self }
    }

    /// Whether the request says that it comes from a page of somebody else.
    pub fn is_from_foreign_page(&self, app: &TestApp) -> bool {
        self.origin.as_ref().is_some_and(|origin| *origin != app.origin)
    }

    /// The request, with what this caller sends along.
    pub fn put_on(&self, request: RequestBuilder) -> RequestBuilder {
        let headers = [("authorization", &self.authorization), ("cookie", &self.cookie), ("origin", &self.origin)];
        headers.into_iter().fold(request, |request, (name, value)| match value {
            Some(value) => request.header(name, value),
            None => request,
        })
    }
}

/// The keys and the issuer that these callers need, beside the key of every `TestApp`.
pub fn settings() -> TokenSettings {
    let public = |kid: &str, algorithm, pem: &str| TokenKey {
        kid: kid.to_owned(),
        algorithm,
        secret: None,
        private_key: None,
        public_key: Some(pem.to_owned()),
    };
    let acme = TrustedIssuer {
        name: "acme".to_owned(),
        issuer: FOREIGN_ISSUER.to_owned(),
        audience: "shop".to_owned(),
        keys: vec![public("ec", TokenAlgorithm::Es256, EC_PUBLIC)],
        roles: [("admin".to_owned(), Role::Operator)].into(),
    };
    let keys = vec![public("rsa", TokenAlgorithm::Rs256, RSA_PUBLIC), public("ed", TokenAlgorithm::EdDsa, ED_PUBLIC)];
    TokenSettings { keys, trusted: vec![acme], ..TokenSettings::default() }
}

/// All of them.
pub fn callers(app: &TestApp) -> Vec<Caller> {
    let mut callers = believed(app);
    callers.extend(forged());
    callers.extend(foreign());
    callers.extend(with_cookies(app));
    callers
}

fn believed(app: &TestApp) -> Vec<Caller> {
    vec![
        Caller::new("anonymous", Standing::Nobody),
        Caller::new("the owner", Standing::Owner).bearer(app.shopper("owner").token()),
        Caller::new("another shopper", Standing::OtherShopper).bearer(app.shopper("other").token()),
        Caller::new("an operator", Standing::Operator).bearer(app.operator().token()),
        Caller::new("the owner, by a scheme in capitals", Standing::Owner)
            .authorization(format!("BEARER  {}", app.shopper("owner").token())),
    ]
}

/// Tokens that say `operator` and must not be believed.
fn forged() -> Vec<Caller> {
    let good = hs256("test", SECRET, &claims(json!({})));
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let (_, payload) = head.split_once('.').expect("three parts");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = part(&json!({"alg": "none", "typ": "JWT", "kid": "test"}));
    let shoppers = hs256("test", SECRET, &claims(json!({"role": "shopper", "sub": "owner"})));
    let (shoppers_head, shoppers_signature) = shoppers.rsplit_once('.').expect("three parts");
    let (header, _) = shoppers_head.split_once('.').expect("three parts");
    let promoted = part(&claims(json!({"sub": "owner"})));
    let by_claims = |over: Value| hs256("test", SECRET, &claims(over));
    let hs512 = Header { kid: Some("test".to_owned()), ..Header::new(Algorithm::HS512) };
    let hs512 = encode(&hs512, &claims(json!({})), &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token");
    let keyless = encode(&Header::default(), &claims(json!({})), &EncodingKey::from_secret(SECRET.as_bytes()));
    let tokens = [
        ("expired", by_claims(json!({"exp": PAST_S}))),
        ("not valid yet", by_claims(json!({"nbf": LATER_S}))),
        ("without an end", by_claims(json!({"exp": null}))),
        ("from another issuer", by_claims(json!({"iss": "somebody"}))),
        ("for another audience", by_claims(json!({"aud": "somebody"}))),
        ("of a role that is none", by_claims(json!({"role": "admin"}))),
        ("without a subject", by_claims(json!({"sub": null}))),
        ("of ours, in the trusted issuer's space", by_claims(json!({"sub": "acme:owner"}))),
        ("alg none, without a signature", format!("{none}.{payload}.")),
        ("alg none, with a signature", format!("{none}.{payload}.{signature}")),
        ("without its signature", format!("{head}.")),
        ("signed with another key", hs256("test", OTHER_SECRET, &claims(json!({})))),
        ("of a key that nobody knows", hs256("unknown", SECRET, &claims(json!({})))),
        ("of no key", keyless.expect("a token")),
        ("of another algorithm with the same secret", hs512),
        ("HS256 with the RSA public key as secret", hs256("rsa", RSA_PUBLIC, &claims(json!({})))),
        ("HS256 with the Ed25519 public key as secret", hs256("ed", ED_PUBLIC, &claims(json!({})))),
        ("HS256 with the trusted issuer's public key as secret", hs256("ec", EC_PUBLIC, &foreign_claims(json!({})))),
        ("a shopper's, made an operator's", format!("{header}.{promoted}.{shoppers_signature}")),
        ("a shopper's payload with an operator's signature", format!("{shoppers_head}.{signature}")),
        ("no token", "operator".to_owned()),
        ("longer than any token", "a".repeat(9_000)),
    ];
    tokens.into_iter().map(|(name, token)| Caller::new(name, Standing::Nobody).bearer(token)).collect()
}

/// Tokens of the trusted issuer: its subjects never meet ours, and its words count where they are mapped.
fn foreign() -> Vec<Caller> {
    let caller = |name, standing, over| Caller::new(name, standing).bearer(es256(&foreign_claims(over)));
    vec![
        caller("the issuer's user of the owner's name", Standing::OtherShopper, json!({"sub": "owner"})),
        caller(
            "the issuer's operator, by a word that is not mapped",
            Standing::OtherShopper,
            json!({"role": "operator"}),
        ),
        caller("the issuer's operator, by a list of words", Standing::OtherShopper, json!({"role": ["admin"]})),
        caller("the issuer's operator, by the mapped word", Standing::Operator, json!({"role": "admin"})),
        caller("the issuer's, expired", Standing::Nobody, json!({"role": "admin", "exp": PAST_S})),
        caller("the issuer's, for another audience", Standing::Nobody, json!({"role": "admin", "aud": "blog"})),
        Caller::new("the issuer's, as if it were ours", Standing::Nobody).bearer(es256(&claims(json!({})))),
    ]
}

fn with_cookies(app: &TestApp) -> Vec<Caller> {
    let (owner, operator) = (app.shopper("owner").token().to_owned(), app.operator().token().to_owned());
    let stray = |reader| Standing::StrayCookie(reader);
    let expired = hs256("test", SECRET, &claims(json!({"exp": PAST_S})));
    vec![
        Caller::new("the owner's cookie, from our origin", Standing::Owner).cookie(&owner).origin(&app.origin),
        Caller::new("an operator's cookie, from our origin", Standing::Operator).cookie(&operator).origin(&app.origin),
        Caller::new("the owner's cookie, no Origin", stray(Reader::Owner)).cookie(&owner),
        Caller::new("an operator's cookie, no Origin", stray(Reader::Operator)).cookie(&operator),
        Caller::new("the owner's cookie, foreign Origin", stray(Reader::Owner)).cookie(&owner).origin(FOREIGN_ORIGIN),
        Caller::new("an operator's cookie, foreign Origin", stray(Reader::Operator))
            .cookie(&operator)
            .origin(FOREIGN_ORIGIN),
        Caller::new("an operator's cookie, Origin null", stray(Reader::Operator)).cookie(&operator).origin("null"),
        Caller::new("an expired cookie, from our origin", Standing::Nobody).cookie(&expired).origin(&app.origin),
        Caller::new("the owner's bearer and an operator's cookie", Standing::Owner).bearer(&owner).cookie(&operator),
        Caller::new("an operator's bearer and the owner's cookie, foreign Origin", Standing::Operator)
            .bearer(&operator)
            .cookie(&owner)
            .origin(FOREIGN_ORIGIN),
        Caller::new("an expired bearer and an operator's cookie, from our origin", Standing::Nobody)
            .bearer(expired)
            .cookie(&operator)
            .origin(&app.origin),
        Caller::new("another scheme and an operator's cookie, from our origin", Standing::Nobody)
            .authorization("Basic b3BlcmF0b3I6".to_owned())
            .cookie(&operator)
            .origin(&app.origin),
    ]
}

/// Claims of our own that are good, and say `operator`, with these put over them; a null takes one away.
fn claims(over: Value) -> Value {
    let good = json!({
        "sub": "operator", "iss": "stampede", "aud": "stampede", "iat": PAST_S, "exp": LATER_S, "role": "operator",
    });
    put_over(good, over)
}

fn foreign_claims(over: Value) -> Value {
    put_over(json!({"sub": "someone", "iss": FOREIGN_ISSUER, "aud": ["shop", "blog"], "exp": LATER_S}), over)
}

fn put_over(mut claims: Value, over: Value) -> Value {
    let (Some(map), Value::Object(over)) = (claims.as_object_mut(), over) else { panic!("claims are objects") };
    for (name, value) in over {
        if value.is_null() {
            map.remove(&name);
        } else {
            map.insert(name, value);
        }
    }
    claims
}

fn hs256(kid: &str, secret: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
    encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
}

fn es256(claims: &Value) -> String {
    let header = Header { kid: Some("ec".to_owned()), ..Header::new(Algorithm::ES256) };
    encode(&header, claims, &EncodingKey::from_ec_pem(EC_PRIVATE.as_bytes()).expect("a key")).expect("a token")
}
