//! A TCP relay: what listens on one address is reached by another, until it is cut.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A running relay; dropped, it is cut for good.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    cut: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Listens on a free port of `ip` and passes everything on to `target`.
    pub fn start(ip: IpAddr, target: SocketAddr) -> io::Result<Relay> {
        let listener = TcpListener::bind((ip, 0))?;
        let (address, shared) = (listener.local_addr()?, Arc::new(Shared::default()));
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                if theirs.ended.load(Ordering::SeqCst) {
                    return;
                }
                // Who cannot be passed on is hung up on.
                let _ = theirs.pass(from, target);
            }
        });
        Ok(Relay { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection, and each that comes.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.hang_up();
    }

    /// Passes on again.
    pub fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    fn pass(&self, from: TcpStream, target: SocketAddr) -> io::Result<()> {
        if self.cut.load(Ordering::SeqCst) {
            return Ok(());
        }
        let to = TcpStream::connect(target)?;
        let copies = [(from.try_clone()?, to.try_clone()?), (to.try_clone()?, from.try_clone()?)];
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).extend([from, to]);
        for (mut from, mut to) in copies {
            std::thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        Ok(())
    }

    fn hang_up(&self) {
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.hang_up();
        let _ = TcpStream::connect(self.address); // so that it notices
    }
}
