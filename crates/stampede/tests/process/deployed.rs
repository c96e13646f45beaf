//! What the files say with which Stampede is deployed, compared with what the program knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};
use serde_json::Value;

use super::support::{run, stampede};

/// The files that name settings.
const FILES: [&str; 13] = [
    "Dockerfile",
    "docker-compose.yaml",
    "docker-stack.yml",
    "deploy/fly.toml",
    "deploy/swarm-encrypted.yml",
    "deploy/systemd/stampede-api.service",
    "deploy/systemd/stampede-migrate.service",
    "deploy/systemd/stampede-worker.service",
    "docs/deploy.md",
    "scripts/run-production.ps1",
    "scripts/run-production.sh",
    "scripts/swarm.sh",
    "scripts/swarm/test.yml",
];
const UNITS: [&str; 3] = ["api", "worker", "migrate"];
/// How much longer than all that a process waits for at its end it is given.
const MARGIN_MS: u64 = 1_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A setting's variable, its default, and whether it may be a file.
struct Known {
    variable: String,
    default: String,
    secret: bool,
}

fn settings() -> Vec<Known> {
    let (_, page, _) = run(&mut stampede(&["config", "--example"]));
    let lines: Vec<&str> = page.lines().collect();
    let known: Vec<Known> = lines
        .windows(2)
        .filter_map(|pair| {
            let (variable, default) = pair[1].strip_prefix('#')?.split_once('=')?;
            let secret = pair[0].ends_with("(secret)");
            let variable = variable.strip_prefix("STAMPEDE_").map(|_| variable.to_owned())?;
            Some(Known { variable, default: default.to_owned(), secret })
        })
        .collect();
    assert!(known.len() > 50, "the page lists the settings");
    known
}

/// The default of a setting that is a number.
fn number(name: &str) -> u64 {
    let known = settings().into_iter().find(|known| known.variable == name);
    known.and_then(|known| known.default.parse().ok()).unwrap_or_else(|| panic!("{name} has a number"))
}

/// The words of a text that begin as our variables do.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'));
    words.filter(|word| word.starts_with("STAMPEDE_") && word.len() > "STAMPEDE_".len()).collect()
}

/// The services of a stack or compose file that run our image, each with its lines.
fn our_services(file: &str) -> Vec<(String, Vec<String>)> {
    let text = read(file);
    let services = text.split_once("\nservices:\n").expect("services").1;
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in services.lines().take_while(|line| line.is_empty() || line.starts_with([' ', '#'])) {
        let name = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
        match (name.filter(|name| !name.starts_with([' ', '#'])), found.last_mut()) {
            (Some(name), _) => found.push((name.to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line.trim().to_owned()),
            (None, None) => {}
        }
    }
    found.retain(|(_, lines)| lines.iter().any(|line| line == "<<: *stampede"));
    assert!(found.len() >= 3, "{file} runs api, worker and migrate");
    found
}

/// What follows a key in a service's lines.
fn value<'a>(lines: &'a [String], key: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// Words as YAML and Dockerfiles write them: a list, or one line.
fn words(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect())
}

/// Every command with which the files start the program, without its name.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for file in ["docker-compose.yaml", "docker-stack.yml"] {
        for (service, lines) in our_services(file) {
            let mut command = value(&lines, "entrypoint").map(words).unwrap_or_else(|| vec!["stampede".to_owned()]);
            command.extend(value(&lines, "command").map(words).unwrap_or_default());
            found.push((format!("{file}: {service}"), command));
            for check in lines.iter().filter_map(|line| line.strip_prefix("test: [\"CMD\", ")) {
                found.push((format!("{file}: the check of {service}"), words(&format!("[{check}"))));
            }
        }
    }
    for unit in UNITS {
        let text = read(&format!("deploy/systemd/stampede-{unit}.service"));
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).expect("a command");
        found.push((format!("the unit {unit}"), words(start)));
    }
    let dockerfile = read("Dockerfile");
    let check = dockerfile.lines().find(|line| line.starts_with("HEALTHCHECK")).expect("a check");
    found.push(("Dockerfile".to_owned(), words(check.split_once("CMD ").expect("a command").1)));
    let fly = fly();
    let processes = fly["processes"].as_object().expect("processes").values();
    for command in processes.chain([&fly["deploy"]["release_command"]]) {
        let command = format!("stampede {}", command.as_str().expect("text"));
        found.push(("deploy/fly.toml".to_owned(), words(&command)));
    }
    for line in read("docs/deploy.md").lines().filter(|line| line.starts_with("stampede ")) {
        found.push(("docs/deploy.md".to_owned(), words(line.split('#').next().unwrap_or_default())));
    }
    found
}

fn fly() -> Value {
    Figment::from(Toml::string(&read("deploy/fly.toml"))).extract().expect("TOML")
}

#[test]
fn every_setting_that_is_set_exists() {
    let mut known: BTreeSet<String> = ["STAMPEDE_CONFIG".to_owned()].into();
    for Known { variable, secret, .. } in settings() {
        if secret {
            known.insert(format!("{variable}_FILE"));
        }
        known.insert(variable);
    }
    let mut seen = 0;
    for file in FILES {
        let text = read(file);
        for name in variables(&text) {
            assert!(known.contains(name), "{file} names {name}, which is no setting");
            seen += 1;
        }
    }
    assert!(seen > 40, "the files set something");
}

#[test]
fn every_command_is_understood() {
    let commands = commands();
    assert!(commands.len() > 15);
    for (place, command) in commands {
        let (program, arguments) = command.split_first().expect("a command");
        assert_eq!(program, "stampede", "{place}");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--help"]).collect();
        let (code, _, stderr) = run(&mut stampede(&arguments));
        assert_eq!(code, Some(0), "{place}: {arguments:?}: {stderr}");
    }
}

#[test]
fn every_file_that_is_mounted_exists() {
    let mut seen = 0;
    for file in ["docker-compose.yaml", "docker-stack.yml"] {
        for word in read(file).split([' ', ',', ':', '\n']).filter(|word| word.starts_with("./")) {
            assert!(root().join(word).exists(), "{file} names {word}, which is not there");
            seen += 1;
        }
    }
    assert!(seen > 15);
    // A Swarm mounts files, not folders: each must be named.
    let stack = read("docker-stack.yml");
    for folder in [
        "prometheus/rules",
        "grafana/dashboards",
        "grafana/provisioning/datasources",
        "grafana/provisioning/dashboards",
    ] {
        for entry in fs::read_dir(root().join(folder)).expect(folder) {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            assert!(
                stack.contains(&format!("file: ./{folder}/{name},")),
                "docker-stack.yml does not mount {folder}/{name}"
            );
        }
    }
}

#[test]
fn nothing_is_killed_before_it_has_answered() {
    let grace_ms = number("STAMPEDE_SHUTDOWN_GRACE_MS");
    // The workers have five seconds after their limit.
    let drain_ms = number("STAMPEDE_DRAIN_LIMIT_MS") + 5_000;
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().expect("seconds") * 1_000;
    let delay = |text: &str| {
        let digits = |rest: &str| rest.chars().filter(char::is_ascii_digit).collect::<String>();
        text.lines()
            .filter_map(|line| line.split_once("STAMPEDE_SHUTDOWN_DELAY_MS"))
            .map(|(_, rest)| digits(rest).parse::<u64>().expect("a number"))
            .next()
    };
    let check = |place: &str, role: &str, given_ms: u64, delay_ms: u64| {
        let needed = if role == "api" { delay_ms + grace_ms } else { drain_ms };
        assert!(given_ms >= needed + MARGIN_MS, "{place}: {role} is given {given_ms} ms, and may need {needed}");
    };
    for file in ["docker-compose.yaml", "docker-stack.yml"] {
        for (service, lines) in our_services(file).iter().filter(|(service, _)| ["api", "worker"].contains(&&**service))
        {
            let given = seconds(value(lines, "stop_grace_period").expect("a time"));
            check(file, service, given, delay(&lines.join("\n")).unwrap_or_default());
        }
    }
    for role in ["api", "worker"] {
        let unit = read(&format!("deploy/systemd/stampede-{role}.service"));
        let given = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).map(seconds).expect("a time");
        check("systemd", role, given, delay(&unit).unwrap_or_default());
    }
    let fly = fly();
    let delay_ms = fly["env"]["STAMPEDE_SHUTDOWN_DELAY_MS"].as_str().and_then(|ms| ms.parse().ok()).expect("a number");
    check("fly", "api", fly["kill_timeout"].as_u64().expect("seconds") * 1_000, delay_ms);
    // Where something balances, it is given the time to notice.
    let stack = our_services("docker-stack.yml");
    let api = stack.iter().find(|(service, _)| service == "api").expect("an api");
    assert!(delay(&api.1.join("\n")).is_some_and(|ms| ms > 0) && delay_ms > 0);
}

#[test]
fn the_ports_are_those_that_are_listened_on() {
    let port = |name: &str| {
        let known = settings().into_iter().find(|known| known.variable == name).expect("a setting");
        known.default.rsplit_once(':').expect("a port").1.to_owned()
    };
    let (public, admin) = (port("STAMPEDE_LISTEN"), port("STAMPEDE_ADMIN_LISTEN"));
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("\nEXPOSE {public} {admin}\n")));
    assert!(dockerfile.contains(&format!("STAMPEDE_ADMIN_LISTEN=0.0.0.0:{admin}")));
    assert!(read("docker-compose.yaml").contains(&format!("- 127.0.0.1:4000:{public}\n")));
    assert!(read("docker-stack.yml").contains(&format!("- target: {public}\n")));
    let fly = fly();
    assert_eq!(fly["env"]["STAMPEDE_LISTEN"], format!("[::]:{public}"));
    assert_eq!(fly["env"]["STAMPEDE_ADMIN_LISTEN"], format!("[::]:{admin}"));
    assert_eq!(fly["http_service"]["internal_port"].to_string(), public);
    assert_eq!(fly["metrics"]["port"].to_string(), admin);
    // The admin listener is nobody's but the stack's own.
    for file in ["docker-compose.yaml", "docker-stack.yml"] {
        assert!(
            !read(file).contains(&format!(":{admin}")) && !read(file).contains(&format!("target: {admin}")),
            "{file}"
        );
    }
}
