//! Which tokens are believed. The keys beside this file were made for it and are used nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::settings::{TokenAlgorithm, TrustedIssuer};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";

fn secret_key(kid: &str, secret: &str) -> TokenKey {
    TokenKey {
        kid: kid.to_owned(),
        algorithm: TokenAlgorithm::Hs256,
        secret: Some(SecretString::from(secret)),
        private_key: None,
        public_key: None,
    }
}

fn pair(kid: &str, algorithm: TokenAlgorithm, private: &str, public: &str) -> TokenKey {
    let (private_key, public_key) = (Some(SecretString::from(private)), Some(public.to_owned()));
    TokenKey { kid: kid.to_owned(), algorithm, secret: None, private_key, public_key }
}

fn ec_key() -> TokenKey {
    let (private, public) = (include_str!("keys/test_ec.private.pem"), include_str!("keys/test_ec.public.pem"));
    pair("ec", TokenAlgorithm::Es256, private, public)
}

fn ed_key() -> TokenKey {
    let (private, public) = (include_str!("keys/test_ed.private.pem"), include_str!("keys/test_ed.public.pem"));
    pair("ed", TokenAlgorithm::EdDsa, private, public)
}

fn rsa_key() -> TokenKey {
    let (private, public) = (include_str!("keys/test_rsa.private.pem"), include_str!("keys/test_rsa.public.pem"));
    pair("rsa", TokenAlgorithm::Rs256, private, public)
}

fn trusted(roles: &[(&str, Role)]) -> TrustedIssuer {
    TrustedIssuer {
        name: "acme".to_owned(),
        issuer: "https://login.acme.example".to_owned(),
        audience: "shop".to_owned(),
        keys: vec![ec_key()],
        roles: roles.iter().map(|(word, role)| ((*word).to_owned(), *role)).collect(),
    }
}

fn tokens(keys: Vec<TokenKey>, trusted: Vec<TrustedIssuer>) -> Tokens {
    Tokens::new(&TokenSettings { keys, trusted, ..TokenSettings::default() }).expect("usable keys")
}

fn own() -> Tokens {
    tokens(vec![secret_key("k1", SECRET), rsa_key()], vec![trusted(&[("admin", Role::Operator)])])
}

fn now_s() -> i64 {
    Timestamp::now().as_ms() / 1_000
}

/// Claims of our own that are good, with these put over them.
fn own_claims(over: Value) -> Value {
    let mut claims = json!({
        "sub": "ann", "iss": "stampede", "aud": "stampede", "iat": now_s(), "exp": now_s() + 60, "role": "shopper",
    });
    put_over(&mut claims, over);
    claims
}

fn foreign_claims(over: Value) -> Value {
    let mut claims = json!({
        "sub": "auth0|7", "iss": "https://login.acme.example", "aud": ["shop", "blog"], "exp": now_s() + 60,
    });
    put_over(&mut claims, over);
    claims
}

fn put_over(claims: &mut Value, over: Value) {
    let (Value::Object(claims), Value::Object(over)) = (claims, over) else { panic!("objects") };
    for (name, value) in over {
        if value.is_null() {
            claims.remove(&name)
        } else {
            claims.insert(name, value)
        };
    }
}

fn hs256(kid: Option<&str>, secret: &str, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) };
    encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).expect("signed")
}

fn es256(claims: &Value) -> String {
    let key = EncodingKey::from_ec_pem(include_bytes!("keys/test_ec.private.pem")).expect("a key");
    encode(&own_header("ec", Algorithm::ES256), claims, &key).expect("signed")
}

fn by_hand(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[test]
fn every_algorithm_signs_what_it_verifies() {
    for key in [secret_key("k", SECRET), rsa_key(), ec_key(), ed_key()] {
        let algorithm = key.algorithm;
        let tokens = tokens(vec![key], Vec::new());
        let user = "ann|1".parse().expect("an id");
        let issued = tokens.issue(&user, Role::Operator, Duration::from_secs(60)).expect("issued");
        let identity = tokens.verify(&issued.token).expect("believed");
        assert_eq!((identity.user_id, identity.role), (user, Role::Operator), "{algorithm:?}");
        assert_eq!(identity.expires_at, issued.expires_at);
    }
}

#[test]
fn claims_must_be_ours_and_good_now() {
    let tokens = own();
    let verify = |over| tokens.verify(&hs256(Some("k1"), SECRET, &own_claims(over)));
    assert_eq!(verify(json!({})).expect("believed").user_id.as_str(), "ann");
    let refused = [
        json!({ "exp": now_s() - 1 }),
        json!({ "exp": null }),
        json!({ "nbf": now_s() + 60 }),
        json!({ "iss": "somebody" }),
        json!({ "iss": null }),
        json!({ "aud": "blog" }),
        json!({ "aud": null }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": "a\nb" }),
        json!({ "role": null }),
        json!({ "role": "admin" }),
        json!({ "role": ["operator"] }),
        json!({ "sub": "acme:auth0|7" }),
    ];
    for over in refused {
        assert_eq!(verify(over.clone()), Err(TokenRefused::NotValid), "{over}");
    }
}

#[test]
fn a_token_without_a_signature_is_none() {
    let claims = own_claims(json!({}));
    for alg in ["none", "None", "NONE"] {
        for signature in ["", "AAAA"] {
            let token = by_hand(&json!({ "alg": alg, "typ": "JWT", "kid": "k1" }), &claims, signature);
            assert!(own().verify(&token).is_err(), "{alg}");
        }
    }
    let signed = hs256(Some("k1"), SECRET, &claims);
    let head = &signed[..=signed.rfind('.').expect("three parts")];
    assert_eq!(own().verify(head), Err(TokenRefused::NotValid));
    assert!(own().verify(head.trim_end_matches('.')).is_err());
    for text in ["", ".", "..", "a.b.c", "Bearer x"] {
        assert!(own().verify(text).is_err(), "{text}");
    }
}

#[test]
fn a_key_is_good_for_its_own_tokens_only() {
    let claims = own_claims(json!({}));
    assert_eq!(own().verify(&hs256(Some("k1"), OTHER_SECRET, &claims)), Err(TokenRefused::NotValid));
    assert_eq!(own().verify(&hs256(Some("k2"), SECRET, &claims)), Err(TokenRefused::UnknownKey));
    assert_eq!(own().verify(&hs256(None, SECRET, &claims)), Err(TokenRefused::UnknownKey));
    let mut signed = hs256(Some("k1"), SECRET, &claims);
    let changed = if signed.pop() == Some('A') { 'E' } else { 'A' };
    signed.push(changed);
    assert!(own().verify(&signed).is_err());
}

#[test]
fn a_public_key_is_no_secret() {
    // The classical confusion: the verifier's public key, used as the secret of an HS256 token that names that key.
    let public = include_str!("keys/test_rsa.public.pem");
    let token = hs256(Some("rsa"), public, &own_claims(json!({})));
    assert_eq!(own().verify(&token), Err(TokenRefused::WrongAlgorithm));
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS512) };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&header, &own_claims(json!({})), &key).expect("signed");
    assert_eq!(own().verify(&token), Err(TokenRefused::WrongAlgorithm), "the same secret, another algorithm");
}

#[test]
fn a_trusted_issuers_subjects_have_its_name() {
    let tokens = own();
    let verify = |over| tokens.verify(&es256(&foreign_claims(over)));
    let identity = verify(json!({})).expect("believed");
    assert_eq!((identity.user_id.as_str(), identity.role), ("acme:auth0|7", Role::Shopper));
    let refused = [
        json!({ "iss": "stampede" }),
        json!({ "aud": "stampede" }),
        json!({ "iss": "stampede", "aud": "stampede", "role": "operator" }),
        json!({ "exp": now_s() - 120 }),
        json!({ "sub": null }),
    ];
    for over in refused {
        assert_eq!(verify(over.clone()), Err(TokenRefused::NotValid), "{over}");
    }
}

#[test]
fn a_trusted_issuers_role_counts_where_it_is_mapped() {
    let role = |tokens: &Tokens, role: Value| {
        tokens.verify(&es256(&foreign_claims(json!({ "role": role })))).expect("ok").role
    };
    let mapped = own();
    assert_eq!(role(&mapped, json!("admin")), Role::Operator);
    assert_eq!(role(&mapped, json!("operator")), Role::Shopper, "our word, but nobody mapped it");
    assert_eq!(role(&mapped, json!(["admin"])), Role::Shopper);
    assert_eq!(role(&mapped, json!(7)), Role::Shopper);
    let unmapped = tokens(vec![secret_key("k1", SECRET)], vec![trusted(&[])]);
    assert_eq!(role(&unmapped, json!("admin")), Role::Shopper);
}

#[test]
fn two_issuers_may_call_their_keys_alike() {
    let ours = TokenKey { kid: "ec".to_owned(), ..secret_key("ec", SECRET) };
    let tokens = tokens(vec![ours], vec![trusted(&[])]);
    assert!(tokens.verify(&es256(&foreign_claims(json!({})))).is_ok());
    assert!(tokens.verify(&hs256(Some("ec"), SECRET, &own_claims(json!({})))).is_ok());
}

#[test]
fn keys_are_rotated_by_their_order() {
    let (old, new) = (secret_key("old", SECRET), secret_key("new", OTHER_SECRET));
    let user = "ann".parse().expect("an id");
    let before = tokens(vec![old.clone()], Vec::new());
    let issued = before.issue(&user, Role::Shopper, Duration::from_secs(60)).expect("issued");
    let after = tokens(vec![new, old], Vec::new());
    assert!(after.verify(&issued.token).is_ok());
    let issued = after.issue(&user, Role::Shopper, Duration::from_secs(60)).expect("issued");
    assert_eq!(before.verify(&issued.token), Err(TokenRefused::UnknownKey));
}

#[test]
fn what_cannot_be_used_is_refused_at_the_start() {
    let new = |keys: Vec<TokenKey>, trusted: Vec<TrustedIssuer>| {
        Tokens::new(&TokenSettings { keys, trusted, ..TokenSettings::default() }).err()
    };
    let short = new(vec![secret_key("k", &SECRET[1..])], Vec::new());
    assert!(matches!(short, Some(InvalidTokens::ShortSecret { bytes: 31, .. })));
    let twice = new(vec![secret_key("k", SECRET), secret_key("k", OTHER_SECRET)], Vec::new());
    assert!(matches!(twice, Some(InvalidTokens::DuplicateKid { .. })));
    let wrong_key = new(vec![TokenKey { algorithm: TokenAlgorithm::Rs256, ..ec_key() }], Vec::new());
    assert!(matches!(wrong_key, Some(InvalidTokens::Key { .. })));
    for name in ["", "a:b", "Acme", "a b"] {
        let issuer = TrustedIssuer { name: name.to_owned(), ..trusted(&[]) };
        assert!(matches!(new(Vec::new(), vec![issuer]), Some(InvalidTokens::IssuerName(_))), "{name}");
    }
    let unsigned = tokens(Vec::new(), Vec::new());
    let issued = unsigned.issue(&"ann".parse().expect("an id"), Role::Shopper, Duration::from_secs(1));
    assert!(matches!(issued, Err(InvalidTokens::NoSigningKey)));
    let foreign = own().issue(&"acme:7".parse().expect("an id"), Role::Shopper, Duration::from_secs(1));
    assert!(matches!(foreign, Err(InvalidTokens::Issue(_))));
}

#[test]
fn a_token_is_verified_once_and_believed_until_it_expires() {
    let tokens = own();
    let token = hs256(Some("k1"), SECRET, &own_claims(json!({})));
    let first = tokens.verify(&token).expect("believed");
    assert_eq!((tokens.verify(&token).as_ref(), tokens.verified.len()), (Ok(&first), 1));
    let (from_s, until_s) = (now_s(), first.expires_at.as_ms() / 1_000);
    assert_eq!(tokens.verified.find(&token, until_s - 1).as_ref(), Some(&first));
    assert_eq!(tokens.verified.find(&token, until_s), None, "it has expired");
    assert_eq!(tokens.verified.find(&token, from_s - 60), None, "the clock was set back: `nbf` may lie ahead");
    let foreign = es256(&foreign_claims(json!({})));
    assert_eq!(tokens.verify(&foreign), tokens.verify(&foreign));
    assert_eq!(tokens.verified.len(), 2);
}

#[test]
fn nothing_is_believed_for_being_like_a_token_that_was() {
    let tokens = own();
    let token = hs256(Some("k1"), SECRET, &own_claims(json!({})));
    tokens.verify(&token).expect("believed");
    let signature = token.rsplit('.').next().expect("three parts");
    let header = json!({ "alg": "HS256", "typ": "JWT", "kid": "k1" });
    let forged = by_hand(&header, &own_claims(json!({ "role": "operator" })), signature);
    assert_eq!(tokens.verify(&forged), Err(TokenRefused::NotValid), "the signature of another token");
    let changed = own_claims(json!({ "sub": "eve" }));
    assert_eq!(tokens.verify(&hs256(Some("k1"), OTHER_SECRET, &changed)), Err(TokenRefused::NotValid));
    assert_eq!(tokens.verified.len(), 1, "what is refused is not remembered");
}

#[test]
fn as_many_tokens_are_remembered_as_there_is_room_for() {
    let many = |cache_max_bytes| {
        let settings =
            TokenSettings { keys: vec![secret_key("k1", SECRET)], cache_max_bytes, ..TokenSettings::default() };
        let tokens = Tokens::new(&settings).expect("usable keys");
        for shopper in 0..1_000 {
            let token = hs256(Some("k1"), SECRET, &own_claims(json!({ "sub": format!("shopper-{shopper}") })));
            tokens.verify(&token).expect("believed");
        }
        tokens.verified.len()
    };
    let kept = many(100_000);
    assert!((100..=600).contains(&kept), "{kept}");
    assert_eq!((many(0), many(u64::from(u32::MAX))), (0, 1_000));
}
