//! Just enough of Redis's protocol to ask a private server whether it is there, and to stop it.

use std::io::{Error, ErrorKind, Result};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that one answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// The longest answer that is read; `INFO server` has about a kilobyte.
const MAX_BYTES: usize = 64 * 1024;

/// A connection to a Redis on this machine.
pub(super) struct Connection(BufStream<TcpStream>);

impl Connection {
    /// Connects, and says the password.
    ///
    /// # Errors
    /// `ConnectionRefused` if nobody is there, `PermissionDenied` if the password is wrong.
    pub async fn open(port: u16, password: &str) -> Result<Self> {
        let stream = within(TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await?;
        let mut connection = Self(BufStream::new(stream));
        connection.ask(&["AUTH", password]).await?;
        Ok(connection)
    }

    /// Sends a command and reads its answer, which must be a string.
    pub async fn ask(&mut self, command: &[&str]) -> Result<String> {
        within(self.exchange(command)).await
    }

    async fn exchange(&mut self, command: &[&str]) -> Result<String> {
        let mut request = format!("*{}\r\n", command.len());
        for word in command {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.write_all(request.as_bytes()).await?;
        self.0.flush().await?;
        let line = self.line().await?;
        match line.split_at_checked(1) {
            Some(("+", text)) => Ok(text.to_owned()),
            Some(("$", length)) => self.bulk(length).await,
            Some(("-", error)) => Err(Error::new(ErrorKind::PermissionDenied, error.to_owned())),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let limit = MAX_BYTES as u64;
        (&mut self.0).take(limit).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    async fn bulk(&mut self, length: &str) -> Result<String> {
        let length = length.parse::<usize>().ok().filter(|length| *length <= MAX_BYTES);
        let mut text = vec![0; length.ok_or(ErrorKind::InvalidData)? + 2];
        self.0.read_exact(&mut text).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

async fn within<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(ANSWER, answer).await.map_err(|_| Error::from(ErrorKind::TimedOut))?
}
