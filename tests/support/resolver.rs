//! A DNS server: the names that it knows, in; answers, and what it was asked, out.

use anyhow::Context;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const UNPOISONED: &str = "nothing panics while it holds this lock";

/// A running server on port 53; dropped, it ends. There are no names but those that it knows.
pub struct Resolver {
    address: Ipv4Addr,
    names: Arc<Mutex<BTreeMap<String, Ipv4Addr>>>,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// On a loopback address of its own. Port 53 takes root.
    pub fn on_loopback() -> anyhow::Result<Resolver> {
        let mut last = None;
        for address in (1..=254).map(|last| Ipv4Addr::new(127, 53, 53, last)) {
            match Resolver::on(address) {
                Ok(resolver) => return Ok(resolver),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("there are addresses")?)
    }

    /// On that address.
    pub fn on(address: Ipv4Addr) -> anyhow::Result<Resolver> {
        let socket = UdpSocket::bind((address, 53)).with_context(|| format!("{address}, port 53: root may"))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let names = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let (asked, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (known, asked_of, stopped) = (Arc::clone(&names), Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !stopped.load(Ordering::SeqCst) {
                let Ok((length, asker)) = socket.recv_from(&mut question) else { continue };
                let found = answer(&question[..length], &known.lock().expect(UNPOISONED));
                let Some((name, answer)) = found else { continue };
                asked_of.lock().expect(UNPOISONED).push(name);
                let _ = socket.send_to(&answer, asker);
            }
        });
        Ok(Resolver { address, names, asked, stop, thread: Some(thread) })
    }

    /// From now on a name is that address.
    pub fn knows(&self, name: &str, address: Ipv4Addr) {
        self.names.lock().expect(UNPOISONED).insert(name.to_owned(), address);
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

/// The name in a question (RFC 1035, 4.1), and the answer to it.
fn answer(question: &[u8], names: &BTreeMap<String, Ipv4Addr>) -> Option<(String, Vec<u8>)> {
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
    let known = names.get(&name);
    let address = known.filter(|_| is_ipv4);
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, if known.is_some() { 0x80 } else { 0x83 }]); // an answer; NOERROR or NXDOMAIN
    answer.extend([0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    answer.extend(question.get(12..end)?);
    if let Some(address) = address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    Some((name, answer))
}
