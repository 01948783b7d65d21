//! Fair shares: what many want at once is given in turns of the tenants, which are namespaces, so that none waits for
//! what another asks for a thousand times.

mod round_robin;
mod semaphore;

pub use round_robin::RoundRobin;
pub use semaphore::{FairPermit, FairSemaphore, Share};
