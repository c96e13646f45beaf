//! The page that `stampede dev` prints is true.

use std::process::Command;

use super::support::Dev;

#[tokio::test]
async fn every_address_on_the_page_answers() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let client = stampede_testkit::http_client().build().expect("a client");
    for (what, expected) in
        [("Docs ", "<html"), ("Demo ", r#""phase":"live""#), ("Metrics ", "stampede_recoveries_total")]
    {
        let address = dev.address(what);
        let answer = client.get(&address).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{address}");
        let body = answer.text().await.expect("text");
        assert!(body.to_lowercase().contains(expected), "{address}: {body}");
    }
    let document = format!("{}/openapi.json", dev.address("API "));
    assert_eq!(client.get(document).send().await.expect("an answer").status(), 200);
    let health = dev.address("Metrics ").replace("/metrics", "/healthz");
    assert_eq!(client.get(health).send().await.expect("an answer").status(), 200);
}

#[test]
fn its_lines_can_be_pasted_as_they_stand() {
    // A folder that needs quoting.
    let dir = tempfile::Builder::new().prefix("Ann's shop ").tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let lines: Vec<&str> = dev.page.lines().filter(|line| line.starts_with("    ")).collect();
    assert!(lines.len() >= 12, "{}", dev.page);

    // Without this curl calls a refusal a success.
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join(".curlrc"), "fail-with-body\n").expect("written");
    let script = lines.join("\n");
    let mut bash = Command::new("bash");
    bash.args(["-e", "-o", "pipefail", "-c", &script]).env("CURL_HOME", home.path()).env_remove("API");
    let output = bash.output().expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));

    let expected = [
        r#""phase":"live""#,
        r#""status":"confirmed""#,
        "idempotent-replayed: true",
        r#"{"items":[{"id":"#,
        r#""status":"cancelled""#,
        r#""id":"my-drop""#,
        r#""phase":"paused""#,
    ];
    let mut rest = said.as_str();
    for part in expected {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} in its place:\n{said}"));
        rest = &rest[at + part.len()..];
    }
    assert!(rest.contains(r#""phase":"live""#), "resumed at the end:\n{said}");
}
