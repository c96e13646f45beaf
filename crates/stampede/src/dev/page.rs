//! What a dev prints when it is ready: where everything is, and lines to paste.

use std::net::SocketAddr;

use super::demo;
use super::folder::Folder;
use crate::roles::reachable;

/// Where a dev is.
pub struct Page<'a> {
    /// The API's address.
    pub listen: SocketAddr,
    /// The address of the metrics.
    pub admin_listen: SocketAddr,
    /// Its folder.
    pub folder: &'a Folder,
    /// Whether there is a demo.
    pub demo: bool,
}

// In what follows, lines for a shell begin with four spaces, and no other line does: the tests run them as they stand.

const HEAD: &str = "
Stampede runs. Ctrl-C stops it; what it knows stays in DIR

API      ORIGIN/api/v1
Docs     ORIGIN/docs
Metrics  ADMIN/metrics
";

const DEMO: &str = "Demo     ORIGIN/api/v1/products/SKU/sale-status
";

const SHOPPER: &str = r#"
To buy something, paste into another terminal. Sign in:
    API=ORIGIN/api/v1 JSON='Content-Type: application/json'
    ME="Authorization: Bearer $(curl -sS "$API/sessions" -H "$JSON" -d '{"handle":"ann_example"}' | sed 's/.*"token":"\([^"]*\)".*/\1/')"

See what is sold:
    curl -sS -w '\n' "$API/products/SKU/sale-status"

Order one:
    curl -sS -w '\n' -i "$API/orders" -H "$ME" -H "$JSON" -H 'Idempotency-Key: first' -d '{"drop_id":"DROP"}'

Order again with the same key: it is the same order, and says Idempotent-Replayed: true
    curl -sS -w '\n' -i "$API/orders" -H "$ME" -H "$JSON" -H 'Idempotency-Key: first' -d '{"drop_id":"DROP"}'

See your orders, and cancel the newest:
    curl -sS -w '\n' "$API/orders" -H "$ME"
    ORDER=$(curl -sS "$API/orders" -H "$ME" | grep -o '"id":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
    curl -sS -w '\n' -X DELETE "$API/orders/$ORDER" -H "$ME"
"#;

const OPERATOR: &str = r#"
To sell something, as an operator:
    API=ORIGIN/api/v1 JSON='Content-Type: application/json'
    OP="Authorization: Bearer $(cat TOKEN_FILE)"
    CAP='{"sku":"cap","name":"Cap","price":{"amount_minor":2900,"currency":"EUR"}}'
    curl -sS -w '\n' "$API/drops" -H "$OP" -H "$JSON" -d '{"id":"my-drop","product":'"$CAP"',"mode":"instant","stock_units":10}'

Pause it, and let it go on:
    curl -sS -w '\n' -X POST "$API/drops/my-drop/pause" -H "$OP"
    curl -sS -w '\n' -X POST "$API/drops/my-drop/resume" -H "$OP"

"#;

impl Page<'_> {
    /// The page's text.
    pub fn text(&self) -> String {
        let dir = self.folder.path().display().to_string();
        let parts = if self.demo { [HEAD, DEMO, SHOPPER, OPERATOR].concat() } else { [HEAD, OPERATOR].concat() };
        // Paths come last: they may hold any word.
        parts
            .replace("ORIGIN", &format!("http://{}", reachable(self.listen)))
            .replace("ADMIN", &format!("http://{}", reachable(self.admin_listen)))
            .replace("SKU", demo::SKU)
            .replace("DROP", demo::DROP)
            .replace("TOKEN_FILE", &shell_quoted(&self.folder.operator_token().display().to_string()))
            .replacen("DIR", &dir, 1)
    }
}

/// A text as one word of a shell.
fn shell_quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(shell_quoted("/tmp/a_b-1.x"), "/tmp/a_b-1.x");
        assert_eq!(shell_quoted("/tmp/Bob's shop"), r"'/tmp/Bob'\''s shop'");
    }

    #[test]
    fn a_listener_on_all_addresses_is_called_at_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("empty");
        let (listen, admin_listen) =
            ("0.0.0.0:80".parse().expect("an address"), "[::]:90".parse().expect("an address"));
        let page = Page { listen, admin_listen, folder: &folder, demo: false }.text();
        assert!(page.contains("http://127.0.0.1:80/api/v1\n") && page.contains("http://[::1]:90/metrics\n"), "{page}");
        assert!(!page.contains("ORIGIN") && !page.contains("demo-sneaker"), "{page}");
    }
}
