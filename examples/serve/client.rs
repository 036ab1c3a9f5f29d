//! A client, as far as the load test and the tests need one: requests over a connection that is kept, and a WebSocket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tungstenite::WebSocket;
use tungstenite::protocol::Message;

use crate::store::Error;

/// How long an answer may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

pub struct Answer {
    pub status: u16,
    /// Names are in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Client { address, stream: BufReader::new(connect(address)?) })
    }

    #[cfg(test)]
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.request("GET", path, "", &[])
    }

    /// Sends an image as it is.
    pub fn post(&mut self, image: &[u8]) -> io::Result<Answer> {
        self.request("POST", "/jobs", "Content-Type: application/octet-stream\r\n", image)
    }

    /// `headers` are lines, each with its end.
    pub fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let (host, length) = (self.address, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}\r\n");
        let request = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request)?;
        self.answer()
    }

    /// Reads an answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_string()),
            }
        }
        let bad = || io::Error::other(format!("no answer in HTTP: {lines:?}"));
        let status = lines.first().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(bad)?;
        let header = |line: &String| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_string()))
        };
        let mut answer =
            Answer { status, headers: lines.iter().skip(1).filter_map(header).collect(), body: Vec::new() };
        let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    /// For requests that are none.
    #[cfg(test)]
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Of the job that was accepted.
    pub fn id(&self) -> Option<String> {
        Some(self.json()["id"].as_str()?.to_string()).filter(|_| self.status == 202)
    }
}

/// A WebSocket that is told how far jobs are.
pub struct Socket(WebSocket<TcpStream>);

impl Socket {
    pub fn connect(address: SocketAddr) -> Result<Self, Error> {
        let (socket, _) = tungstenite::client(format!("ws://{address}/ws"), connect(address)?)?;
        Ok(Socket(socket))
    }

    /// Asks for jobs, separated by spaces.
    pub fn ask(&mut self, ids: &str) -> Result<(), Error> {
        Ok(self.0.send(Message::text(ids))?)
    }

    /// The next that is told, as JSON. `None` when the service closes the connection.
    pub fn next(&mut self) -> Result<Option<serde_json::Value>, Error> {
        loop {
            match self.0.read()? {
                Message::Text(text) => return Ok(Some(serde_json::from_str(&text)?)),
                Message::Close(_) => return Ok(None),
                _ => {} // reading answers pings
            }
        }
    }

    /// Asks for a job and waits for its end.
    pub fn end_of(&mut self, id: &str) -> Result<serde_json::Value, Error> {
        self.ask(id)?;
        loop {
            let news = self.next()?.ok_or("the service has closed the connection")?;
            if news["id"] == id && news["status"] != "queued" && news["status"] != "running" {
                return Ok(news);
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
