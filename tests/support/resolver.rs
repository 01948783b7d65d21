//! A DNS server on loopback: the names that it knows, in; answers, and what it was asked, out.

use anyhow::Context;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const UNPOISONED: &str = "nothing panics while it holds this lock";

/// A running server, on port 53 of a loopback address of its own; dropped, it ends.
pub struct Resolver {
    address: Ipv4Addr,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Knows those names, all as 127.0.0.1, and answers that there are no others. Port 53 takes root.
    pub fn knowing(names: &[&str]) -> anyhow::Result<Resolver> {
        let (socket, address) = bind()?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (asked, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (asked_of, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !stopped.load(Ordering::SeqCst) {
                let Ok((length, asker)) = socket.recv_from(&mut question) else { continue };
                let Some((name, answer)) = answer(&question[..length], &names) else { continue };
                asked_of.lock().expect(UNPOISONED).push(name);
                let _ = socket.send_to(&answer, asker);
            }
        });
        Ok(Resolver { address, asked, stop, thread: Some(thread) })
    }

    /// What goes into resolv.conf.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The names that it was asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect(UNPOISONED).clone()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind() -> anyhow::Result<(UdpSocket, Ipv4Addr)> {
    let mut last = None;
    for address in (1..=254).map(|last| Ipv4Addr::new(127, 53, 53, last)) {
        match UdpSocket::bind((address, 53)) {
            Ok(socket) => return Ok((socket, address)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("there are addresses")?).context("failed to listen on port 53 of any of 127.53.53.0/24: root may")
}

/// The name in a question (RFC 1035, 4.1), and the answer to it.
fn answer(question: &[u8], names: &[String]) -> Option<(String, Vec<u8>)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*question.get(at)?);
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at + 1..at + 1 + length)?).into_owned());
        at += 1 + length;
    }
    let end = at + 5; // the root label, type and class
    let is_ipv4 = question.get(at + 1..at + 3)? == [0, 1];
    let name = labels.join(".");
    let known = names.contains(&name);
    let addresses = u8::from(known && is_ipv4);
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, if known { 0x80 } else { 0x83 }]); // an answer; NOERROR or NXDOMAIN
    answer.extend([0, 1, 0, addresses, 0, 0, 0, 0]);
    answer.extend(question.get(12..end)?);
    if addresses == 1 {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some((name, answer))
}
