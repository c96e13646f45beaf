// A shopper's token, as the service itself makes them. Pure: k6 and Node.js bring their own `encode` (a text as base64url) and
// `sign` (the HMAC-SHA256 of a text as base64url).

/** How long a token is good for: longer than any run. */
const LIFETIME_S = 24 * 3600;

export function shopperToken(subject, { kid, issuer, audience }, { encode, sign }) {
  const iat = Math.floor(Date.now() / 1000);
  const header = { typ: 'JWT', alg: 'HS256', kid };
  const claims = { sub: subject, iss: issuer, aud: audience, iat, exp: iat + LIFETIME_S, role: 'shopper' };
  const unsigned = `${encode(JSON.stringify(header))}.${encode(JSON.stringify(claims))}`;
  return `${unsigned}.${sign(unsigned)}`;
}
