//! One command over one connection: enough of the Redis protocol to set a test up and to look at the result.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Sends one command and returns the reply as `redis-cli` prints it to a pipe: one line per value, nil as an empty
/// line, an error as its text.
pub(crate) fn call(port: u16, command: &[&str], limit: Duration) -> io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(&encode(command))?;

    let mut lines = Vec::new();
    read_reply(&mut BufReader::new(stream), &mut lines)?;
    Ok(lines.join("\n"))
}

fn encode(command: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for part in command {
        bytes.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
    }
    bytes
}

fn read_reply(reader: &mut impl BufRead, lines: &mut Vec<String>) -> io::Result<()> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
    }
    let line = String::from_utf8_lossy(&line);
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or_else(|| bad_reply(&line))?;
    match kind {
        "+" | "-" | ":" => lines.push(rest.to_owned()),
        "$" => match rest.parse::<i64>().map_err(|_| bad_reply(&line))? {
            -1 => lines.push(String::new()),
            length => {
                let length = usize::try_from(length).map_err(|_| bad_reply(&line))?;
                let mut bytes = vec![0; length + 2];
                reader.read_exact(&mut bytes)?;
                lines.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
        },
        "*" => {
            // A nil array (-1) has no elements either.
            let count: i64 = rest.parse().map_err(|_| bad_reply(&line))?;
            for _ in 0..count {
                read_reply(reader, lines)?;
            }
        }
        _ => return Err(bad_reply(&line)),
    }
    Ok(())
}

fn bad_reply(line: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("not a reply of the Redis protocol: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reply: &str) -> io::Result<String> {
        let mut lines = Vec::new();
        read_reply(&mut reply.as_bytes(), &mut lines)?;
        Ok(lines.join("\n"))
    }

    #[test]
    fn replies_read_as_redis_cli_prints_them() {
        assert_eq!(read("+OK\r\n").expect("a status"), "OK");
        assert_eq!(read("-ERR no\r\n").expect("an error"), "ERR no");
        assert_eq!(read(":7\r\n").expect("a number"), "7");
        assert_eq!(read("$-1\r\n").expect("nil"), "");
        assert_eq!(read("$4\r\na\r\nb\r\n").expect("a string"), "a\r\nb");
        assert_eq!(read("*2\r\n:1\r\n*1\r\n$1\r\nx\r\n").expect("a list"), "1\nx");
    }

    #[test]
    fn a_cut_reply_is_an_error() {
        assert!(read("").is_err());
        assert!(read("$4\r\nab").is_err());
        assert!(read("what\r\n").is_err());
    }
}
