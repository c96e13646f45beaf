//! `stampede token`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use stampede_api::{InvalidTokens, Role, Tokens};
use stampede_domain::UserId;

use super::{duration, print};
use crate::config::Loaded;
use crate::private_file;

/// Tokens that are signed before they are written; bounds the memory, and is work enough for all processors.
const BATCH: u64 = 65_536;

const EXAMPLES: &str = "\
Examples:
  stampede token --operator
  stampede token --shopper ann --expires 1h
  stampede token --shoppers 100000 --out tokens.txt";

/// Signs tokens for operators and shoppers with the deployment's key.
///
/// One token goes to standard output, many go to a file, one on each line. Whoever has such a token is that user until it
/// expires: it cannot be called back.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[group(skip)]
#[command(group(clap::ArgGroup::new("whom").required(true).args(["operator", "shopper", "shoppers"])))]
pub struct Options {
    /// For an operator; of this user id, or `operator`.
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "operator")]
    operator: Option<String>,
    /// For a shopper of this user id.
    #[arg(long, value_name = "ID")]
    shopper: Option<String>,
    /// For so many shoppers, called shopper-1, shopper-2 and so on.
    #[arg(long, value_name = "N", requires = "out", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    shoppers: Option<u64>,
    /// The file to write to; only its owner may read it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long the tokens are good for: 90s, 30m, 12h, 7d.
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = duration)]
    expires: Duration,
}

/// Signs the tokens.
///
/// # Errors
/// If there is no key, or the file cannot be written.
pub fn run(options: &Options, loaded: &Loaded) -> anyhow::Result<()> {
    let tokens = Tokens::new(&loaded.config.token_settings())?;
    if !tokens.can_sign() {
        bail!(
            "no key can sign: set STAMPEDE_TOKEN_SECRET to the deployment's secret, or say with --dir whose `stampede dev` \
             is meant"
        );
    }
    let (id, role) = match (&options.operator, &options.shopper, options.shoppers, &options.out) {
        (Some(id), ..) => (id, Role::Operator),
        (_, Some(id), ..) => (id, Role::Shopper),
        (_, _, Some(count), Some(out)) => return write_many(&tokens, count, options.expires, out),
        _ => bail!("say for whom: --operator, --shopper ID, or --shoppers N --out FILE"),
    };
    let user_id: UserId = id.parse().with_context(|| format!("{id:?} cannot be a user id"))?;
    let token = format!("{}\n", tokens.issue(&user_id, role, options.expires)?.token);
    match &options.out {
        Some(out) => private_file::write(out, token.as_bytes()).with_context(|| cannot_write(out)),
        None => print(&token),
    }
}

fn cannot_write(out: &Path) -> String {
    format!("{} cannot be written", out.display())
}

fn write_many(tokens: &Tokens, count: u64, lifetime: Duration, out: &Path) -> anyhow::Result<()> {
    let mut file = BufWriter::new(private_file::create(out).with_context(|| cannot_write(out))?);
    let mut next = 1;
    while next <= count {
        let last = count.min(next + BATCH - 1);
        for lines in sign_batch(tokens, next, last, lifetime)? {
            file.write_all(lines.as_bytes()).with_context(|| cannot_write(out))?;
        }
        next = last + 1;
    }
    file.flush().with_context(|| cannot_write(out))?;
    print(&format!("{count} tokens are in {}.\n", out.display()))
}

/// The lines of these shoppers, in order, signed by all processors.
fn sign_batch(tokens: &Tokens, first: u64, last: u64, lifetime: Duration) -> anyhow::Result<Vec<String>> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let share = (last - first + 1).div_ceil(threads);
    std::thread::scope(|scope| {
        let starts = (0..threads).map(|thread| first + thread * share).filter(|start| *start <= last);
        let signing: Vec<_> = starts
            .map(|start| scope.spawn(move || sign(tokens, start, last.min(start + share - 1), lifetime)))
            .collect();
        let joined = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().map_err(|_| anyhow::anyhow!("a thread that signed tokens ended early"))
        };
        signing.into_iter().map(|thread| Ok(joined(thread)??)).collect()
    })
}

fn sign(tokens: &Tokens, first: u64, last: u64, lifetime: Duration) -> Result<String, InvalidTokens> {
    let mut lines = String::new();
    for number in first..=last {
        let id = format!("shopper-{number}");
        let user_id: UserId = id.parse().map_err(|_| InvalidTokens::Issue(id))?;
        lines.push_str(&tokens.issue(&user_id, Role::Shopper, lifetime)?.token);
        lines.push('\n');
    }
    Ok(lines)
}
