//! No answer of a Portainer, however long, deep or slow, costs much memory. The peak of this process is measured, so each
//! test is a process of its own: one test here.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]

use dockseal::adapters::portainer::{
    Access, PortainerApi, PortainerError, PortainerServer, RequestTimeouts, ServerCredential,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

/// How much the answers may add to the peak: what is kept of one is at most 4 MiB, and a vector doubles.
const MAX_PEAK: u64 = 32 << 20;

/// Sends a beginning, and a piece again and again.
#[derive(Clone, Copy)]
struct Answer {
    head: &'static str,
    begin: &'static str,
    again: &'static str,
    /// How often: much more than is read.
    times: usize,
}

const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
const ERROR: &str = "HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
const ENDLESS: usize = 40 << 20;

async fn server(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, answer: Answer) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    stream.write_all(answer.head.as_bytes()).await?;
    stream.write_all(answer.begin.as_bytes()).await?;
    let each = 1 + (64 << 10) / answer.again.len();
    let piece = answer.again.repeat(each);
    for _ in 0..answer.times / each {
        stream.write_all(piece.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn portainer(url: String) -> PortainerApi {
    let timeouts = RequestTimeouts { answer: Duration::from_secs(60), ..RequestTimeouts::default() };
    let access = Access { url, roots: None, server_name: None, timeouts };
    PortainerApi::new(&access, ServerCredential::ApiKey(Zeroizing::new("ptr_x".to_owned()))).unwrap()
}

fn unreadable<T: std::fmt::Debug>(answer: Result<T, PortainerError>, expected: &str) {
    match answer {
        Err(PortainerError::Unreadable(why)) => assert!(why.contains(expected), "{why}"),
        other => panic!("{expected}: {:.300}", format!("{other:?}")),
    }
}

#[tokio::test]
async fn hostile_answers_cost_little_memory_and_say_what_is_wrong() {
    let list = |begin, again| Answer { head: JSON, begin, again, times: ENDLESS / again.len() };
    // Once before it is measured, for what is allocated only once.
    let answer = Answer { head: JSON, begin: "[]", again: " ", times: 0 };
    assert_eq!(portainer(server(answer).await).environments().await, Ok(Vec::new()));
    let before = peak();
    for (answer, expected) in [
        (list("[{}", ",{}"), "more than 10000 entries"),
        (list("[", "["), "nested"),
        (list("[{\"Name\":\"", "x"), "too large"),
        (list("[{\"Name\":\"a\",\"Snapshots\":[\"", "y"), "cannot be read"),
        (list("", " "), "cannot be read"),
        (list("[{\"TagIds\":[1", ",1"), "too large"),
        (Answer { head: CHUNKED, begin: "3\r\n[{}\r\n", again: "3\r\n,{}\r\n", times: ENDLESS / 8 }, "10000 entries"),
    ] {
        let found = portainer(server(answer).await).environments().await;
        match expected {
            "cannot be read" => assert!(matches!(found, Err(PortainerError::Unreadable(_))), "{found:?}"),
            _ => unreadable(found, expected),
        }
    }
    unreadable(portainer(server(list("{\"Username\":\"", "x")).await).me().await, "too large");
    unreadable(portainer(server(list("{\"Version\":\"", "x")).await).status().await, "too large");
    let error = Answer { head: ERROR, begin: "{\"message\":\"", again: "x", times: ENDLESS };
    match portainer(server(error).await).environments().await {
        Err(PortainerError::Refused { status: 500, message }) => assert!(message.len() < 1024, "{}", message.len()),
        other => panic!("{other:?}"),
    }
    let headers =
        Answer { head: "HTTP/1.1 200 OK\r\n", begin: "", again: "X: yyyyyyyyyyyyyyyy\r\n", times: ENDLESS / 21 };
    assert!(portainer(server(headers).await).environments().await.is_err());
    let grown = peak() - before;
    assert!(grown < MAX_PEAK, "the peak grew by {} MiB", grown >> 20);
}
